"""What a node says of itself: which built-in type its value is of, and whether it is one value or many."""

from dataclasses import dataclass, field
from typing import Final

from asyncua import ua

from plantgate.sdk import Rejected, Unavailable
from plantgate_connectors.opcua.answered import read
from plantgate_connectors.opcua.failures import status_name, translated
from plantgate_connectors.opcua.nodeids import node_id
from plantgate_connectors.opcua.session import Session

_ENUMERATION: Final = 29
_INT32: Final = 6
_BUILT_IN: Final = range(1, 13)
"""Boolean to String, those of the built-in types that a setpoint can be (OPC 10000-6, 5.1.2)."""
_RANKS: Final = (-1, -2, -3)
"""One value, any, one value or one dimension (OPC 10000-3, 5.6.2)."""
_LEVELS_MOST: Final = 20


@dataclass(slots=True)
class Seen:
    """Outlives the sessions: with which type each tag was met first, so that a changed program is noticed."""

    types: dict[str, str] = field(default_factory=dict)
    """DataType by tag, its namespace by URI: the number is of one session only."""


async def built_in(session: Session, tag: str, node: ua.NodeId, known: dict[ua.NodeId, int]) -> "tuple[int, ua.NodeId]":
    """The built-in type a value of this node is sent as, and the DataType it declares.

    `known` holds what types of this session stand for. Raises `Rejected` for nodes whose value is no single number,
    truth value or text, and `Unavailable` when the server does not say.
    """
    [kind, rank] = await _attributes(session, node, ua.AttributeIds.DataType, ua.AttributeIds.ValueRank)
    for answer in (kind, rank):
        code = answer.StatusCode.value if answer.StatusCode is not None else 0
        if code in _NEVER:
            raise Rejected(f"{tag}: {node.to_string()}: the server says {status_name(code)}; check the node id")
        if code >> 30:
            raise Unavailable(f"{tag}: the server does not tell the node's type ({status_name(code)})")
    declared = kind.Value.Value if kind.Value is not None else None
    if not isinstance(declared, ua.NodeId):
        raise Unavailable(f"{tag}: the server does not tell the node's type")
    if rank.Value is None or rank.Value.Value not in _RANKS:
        raise Rejected(f"{tag}: the node holds an array, and only single values are written")
    found = known.get(declared)
    if found is None:
        found = known[declared] = await _stands_for(session, tag, declared)
    return found, declared


_NEVER: Final = frozenset(
    {
        ua.StatusCodes.BadNodeIdUnknown,
        ua.StatusCodes.BadNodeIdInvalid,
        ua.StatusCodes.BadAttributeIdInvalid,
    }
)


async def _attributes(session: Session, node: ua.NodeId, *wanted: ua.AttributeIds) -> list[ua.DataValue]:
    parameters = ua.ReadParameters()
    parameters.NodesToRead = [ua.ReadValueId(node, ua.UInt32(attribute)) for attribute in wanted]
    with translated(session.context, "read what the node declares"):
        answers = await read(session.protocol, parameters)
        if len(answers) != len(wanted):
            raise ua.UaError(f"asked for {len(wanted)} attributes, got {len(answers)}")
    return answers


async def _stands_for(session: Session, tag: str, declared: ua.NodeId) -> int:
    """Up the tree of types to a built-in one (OPC 10000-3, 5.8.3)."""
    kind = declared
    for _ in range(_LEVELS_MOST):
        if kind.NamespaceIndex == 0 and isinstance(kind.Identifier, int):
            if kind.Identifier in _BUILT_IN:
                return kind.Identifier
            if kind.Identifier == _ENUMERATION:
                return _INT32
        above = await _supertype(session, kind)
        if above is None:
            break
        kind = above
    raise Rejected(f"{tag}: the node's type {declared.to_string()} is no truth value, number or text of one kind")


async def _supertype(session: Session, kind: ua.NodeId) -> "ua.NodeId | None":
    wanted = ua.BrowseDescription()
    wanted.NodeId = kind
    wanted.BrowseDirection = ua.BrowseDirection.Inverse
    wanted.ReferenceTypeId = node_id(ua.ObjectIds.HasSubtype)
    wanted.IncludeSubtypes = True
    wanted.NodeClassMask = ua.UInt32(0)
    wanted.ResultMask = ua.UInt32(0)
    parameters = ua.BrowseParameters()
    parameters.NodesToBrowse = [wanted]
    with translated(session.context, "look up the node's type"):
        [result] = await session.client.uaclient.session.browse(parameters)
    references = result.References or []
    if not references:
        return None
    found = references[0].NodeId
    return node_id(found.Identifier, found.NamespaceIndex)
