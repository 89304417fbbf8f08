"""Fetches the definitions of structured data types from the server, once each, when a value of the type was met."""

from typing import Final, cast

from asyncua import ua

from plantgate_connectors.opcua.failures import translated
from plantgate_connectors.opcua.nodeids import node_id
from plantgate_connectors.opcua.session import Session
from plantgate_connectors.opcua.structures import Definition, Member

_HAS_ENCODING: Final = ua.ObjectIds.HasEncoding
_HAS_SUBTYPE: Final = ua.ObjectIds.HasSubtype
_ENUMERATION: Final = 29
_ABSTRACT: Final = {24, 26, 27, 28}
"""BaseDataType, Number, Integer, UInteger: such a field is encoded as a Variant."""
_STRUCTURE, _VARIANT, _INT32 = 22, 24, 6
_BUILT_IN_LAST: Final = 25
_SUPERTYPES_MOST: Final = 20
_TYPES_MOST: Final = 2_000
"""Data types fetched in one session; a server with more is playing with us."""


class Definitions:
    """Structured types of one session, by the encoding ids that values carry. What was not to be had is asked once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._by_encoding: dict[ua.NodeId, Definition | None] = {}
        self._by_type: dict[ua.NodeId, int | Definition | None] = {}
        self._wanted: set[ua.NodeId] = set()
        self.reasons: dict[str, str] = {}
        """Why a type cannot be read, by its encoding id."""

    def asked(self, encoding: ua.NodeId) -> bool:
        """True once the type was asked for; otherwise it is noted, and `learn` will ask."""
        if encoding in self._by_encoding:
            return True
        if len(self._wanted) < _TYPES_MOST:
            self._wanted.add(encoding)
        return False

    def get(self, encoding: ua.NodeId) -> Definition | None:
        """The definition; None if the server did not give one."""
        return self._by_encoding.get(encoding)

    @property
    def unlearned(self) -> bool:
        """True when values were met whose types have not been asked for yet."""
        return bool(self._wanted)

    async def learn(self) -> None:
        """Ask for all types met since. Raises `Unavailable` when the session is gone."""
        wanted, self._wanted = sorted(self._wanted, key=str), set()
        with translated(self._session.context, "read data type definitions"):
            for encoding in wanted:
                await self._learn(encoding)

    async def _learn(self, encoding: ua.NodeId) -> None:
        self._by_encoding[encoding] = None
        parent = await self._parent(encoding, _HAS_ENCODING)
        if parent is None:
            self.reasons[str(encoding)] = "the server does not say which data type it encodes"
            return
        kind = await self._kind(parent)
        if isinstance(kind, Definition):
            self._by_encoding[encoding] = kind
        else:
            self.reasons[str(encoding)] = "the server gives no DataTypeDefinition for it"

    async def _kind(self, data_type: ua.NodeId) -> int | Definition | None:
        """A built-in type's number, or a definition; None where neither can be found out."""
        if data_type in self._by_type:
            return self._by_type[data_type]
        if (built_in := _built_in(data_type)) is not None:
            return built_in
        if len(self._by_type) >= _TYPES_MOST:
            return None
        answer = await self._definition(data_type)
        if isinstance(answer, ua.StructureDefinition):
            return await self._structure(data_type, answer)
        kind: int | Definition | None = _INT32 if isinstance(answer, ua.EnumDefinition) else None
        if kind is None:
            kind = await self._by_supertype(data_type)
        self._by_type[data_type] = kind
        return kind

    async def _structure(self, data_type: ua.NodeId, told: ua.StructureDefinition) -> Definition | None:
        made = Definition(str(data_type), ua.StructureType(told.StructureType))
        self._by_type[data_type] = made
        subtyped = made.kind.value >= ua.StructureType.StructureWithSubtypedValues.value
        members: list[Member] = []
        for field in told.Fields or []:
            kind = await self._kind(field.DataType)
            if kind is None or not -1 <= field.ValueRank <= 8 or field.ValueRank == 0:
                self._by_type[data_type] = None
                return None
            if subtyped and field.IsOptional:  # here it means: a subtype may stand in this place
                kind = _STRUCTURE if isinstance(kind, Definition) else _VARIANT
            members.append(
                Member(
                    str(field.Name),
                    kind,
                    max(0, int(field.ValueRank)),
                    optional=bool(field.IsOptional) and not subtyped,
                )
            )
        made.members = tuple(members)
        return made

    async def _by_supertype(self, data_type: ua.NodeId) -> int | Definition | None:
        """A type without a definition is encoded as the one it derives from: UtcTime as DateTime."""
        current = data_type
        for _ in range(_SUPERTYPES_MOST):
            parent = await self._parent(current, _HAS_SUBTYPE)
            if parent is None:
                return None
            if parent.NamespaceIndex == 0 and parent.Identifier == _STRUCTURE:
                return None  # a structure of its own that the server does not define: not an ExtensionObject
            if (built_in := _built_in(parent)) is not None:
                return built_in
            current = parent
        return None

    async def _definition(self, data_type: ua.NodeId) -> object:
        answers = await self._session.client.uaclient.read_attributes([data_type], ua.AttributeIds.DataTypeDefinition)
        [answer] = answers
        if answer.StatusCode is not None and answer.StatusCode.value >> 31:
            return None
        return answer.Value.Value if answer.Value is not None else None

    async def _parent(self, node: ua.NodeId, reference: int) -> ua.NodeId | None:
        parameters = ua.BrowseParameters()
        parameters.View = ua.ViewDescription()
        parameters.RequestedMaxReferencesPerNode = cast("ua.UInt32", 1)
        parameters.NodesToBrowse = [
            ua.BrowseDescription(
                NodeId=node,
                BrowseDirection=ua.BrowseDirection.Inverse,
                ReferenceTypeId=node_id(reference),
                IncludeSubtypes=True,
                NodeClassMask=cast("ua.UInt32", 0),
                ResultMask=cast("ua.UInt32", 0),
            )
        ]
        [result] = await self._session.client.uaclient.browse(parameters)
        references = result.References or []
        if not references:
            return None
        target = references[0].NodeId
        return node_id(target.Identifier, int(target.NamespaceIndex))


def _built_in(data_type: ua.NodeId) -> int | None:
    if data_type.NamespaceIndex != 0 or not isinstance(data_type.Identifier, int):
        return None
    if data_type.Identifier in _ABSTRACT:
        return _VARIANT
    if data_type.Identifier == _ENUMERATION:
        return _INT32
    return int(data_type.Identifier) if 0 < data_type.Identifier <= _BUILT_IN_LAST else None
