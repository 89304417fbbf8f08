"""Events and alarms as records: what to ask for, and what a notification says.

One event is one sample: its value maps field names to values, its time is the event's own `Time`.
Formats: OPC 10000-4, 7.22.3 (EventFilter); alarms: OPC 10000-9, 5.5 (conditions and their refresh).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Final, cast

from asyncua import ua

from plantgate.sdk import Value
from plantgate.sdk.quality import GOOD, UNCERTAIN
from plantgate_connectors.opcua.addressing import WantedEvent
from plantgate_connectors.opcua.failures import translated
from plantgate_connectors.opcua.nodeids import node_id
from plantgate_connectors.opcua.session import Session
from plantgate_connectors.opcua.values import Undecodable, Unlearned, Values

_IDS: Final = ua.ObjectIds
_BASE: Final = _IDS.BaseEventType
_CONDITION: Final = _IDS.ConditionType
_NEEDED: Final = ("EventId", "EventType", "Time")
"""Always asked for: without them a record cannot be placed or told from another."""
_CONDITION_ID: Final = "ConditionId"
_FIELDS_MOST: Final = 200
_SUPERTYPES_MOST: Final = 20
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Kind(Enum):
    """What a notification means."""

    RECORD = "record"
    MARK = "mark"
    """Start or end of a refresh: nothing to record."""
    REFRESH_REQUIRED = "refresh required"
    """The server lost events and asks to be asked for its conditions again."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked of the server for one wanted event stream, and how to read what comes."""

    wanted: WantedEvent
    names: tuple[str, ...]
    """Field names in the order of the filter's select clauses."""
    filter: "ua.EventFilter"
    conditions: bool
    """True if conditions or alarms are among them: call `refresh` after every connect."""

    def without_where(self) -> "ua.EventFilter":
        """For servers that refuse operators: `read_event` then sorts out the severity, and types stay mixed."""
        return ua.EventFilter(SelectClauses=self.filter.SelectClauses, WhereClause=ua.ContentFilter())


@dataclass(frozen=True, slots=True)
class Event:
    """A notification, read."""

    kind: Kind
    value: dict[str, Value]
    quality: int
    time: int | None


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    owner: ua.NodeId
    path: tuple[ua.QualifiedName, ...]
    attribute: int = ua.AttributeIds.Value


async def plan(session: Session, wanted: WantedEvent) -> Plan:
    """Learn the type's fields from the server and make the filter. Raises `Unavailable` when the session is gone."""
    with translated(session.context, f"read the event type of {wanted.tag}"):
        lineage = await _lineage(session, wanted.type_node)
        conditions = any(_is(each, _CONDITION) for each in lineage)
        fields = [_named(session, wanted, path) for path in wanted.fields]
        if not fields:
            for owner in lineage:
                fields += await _declared(session, owner)
    known = {field.name for field in fields}
    base = node_id(_BASE)
    needed = [_Field(name, base, (_qualified(name),)) for name in (*_NEEDED, "Severity") if name not in known]
    if conditions:
        needed.append(_Field(_CONDITION_ID, node_id(_CONDITION), (), ua.AttributeIds.NodeId))
    chosen = _unique([*needed, *fields])[:_FIELDS_MOST]
    made = ua.EventFilter(SelectClauses=[_operand(field) for field in chosen], WhereClause=_where(wanted))
    return Plan(wanted, tuple(field.name for field in chosen), made, conditions)


def read_event(made: Plan, fields: Sequence["ua.Variant"], values: Values) -> Event | None:
    """What a notification says; None if it lies below the wanted severity (a server that could not filter).

    A field that cannot be decoded is None and makes the record uncertain; one whose type is not known yet raises
    `Unlearned`, as for values.
    """
    found: dict[str, Value] = {}
    quality = GOOD
    for name, field in zip(made.names, fields, strict=False):
        try:
            found[name] = values.plain(field)
        except Unlearned:
            raise
        except Undecodable:
            found[name], quality = None, UNCERTAIN
    if len(fields) != len(made.names):
        quality = UNCERTAIN
    kind = _kind(made, fields)
    severity = found.get("Severity")
    if kind is Kind.RECORD and isinstance(severity, int) and severity < made.wanted.severity_min:
        return None
    wanted = {name: value for name, value in found.items() if value is not None or name in made.wanted.fields}
    return Event(kind, wanted, quality, _time(made, fields))


async def refresh(session: Session, subscription_id: int) -> None:
    """Ask the server to report all conditions that stand, on this subscription (ConditionRefresh).

    A server without conditions refuses the method; that is not an error. Raises `Unavailable` when the session is gone.
    """
    with translated(session.context, "refresh the conditions"):
        call = ua.CallMethodRequest(
            ObjectId=node_id(_CONDITION),
            MethodId=node_id(_IDS.ConditionType_ConditionRefresh),
            InputArguments=[ua.Variant(subscription_id, ua.VariantType.UInt32)],
        )
        await session.client.uaclient.session.call([call])


def _kind(made: Plan, fields: Sequence["ua.Variant"]) -> Kind:
    kind = _field(made, fields, "EventType")
    if isinstance(kind, ua.NodeId):
        if _is(kind, _IDS.RefreshStartEventType) or _is(kind, _IDS.RefreshEndEventType):
            return Kind.MARK
        if _is(kind, _IDS.RefreshRequiredEventType):
            return Kind.REFRESH_REQUIRED
    return Kind.RECORD


def _time(made: Plan, fields: Sequence["ua.Variant"]) -> int | None:
    moment = _field(made, fields, "Time")
    if not isinstance(moment, datetime):
        return None
    return (moment.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1) * 1000


def _field(made: Plan, fields: Sequence["ua.Variant"], name: str) -> object:
    try:
        return fields[made.names.index(name)].Value
    except (ValueError, IndexError):
        return None


def _where(wanted: WantedEvent) -> "ua.ContentFilter":
    """``OfType(type) and Severity >= least``, as far as either says anything."""
    elements: list[Any] = []
    if not _is(wanted.type_node, _BASE):
        elements.append(_element(ua.FilterOperator.OfType, ua.LiteralOperand(Value=ua.Variant(wanted.type_node))))
    if wanted.severity_min > 0:
        severity = _operand(_Field("Severity", node_id(_BASE), (_qualified("Severity"),)))
        least = ua.LiteralOperand(Value=ua.Variant(wanted.severity_min, ua.VariantType.UInt16))
        elements.append(_element(ua.FilterOperator.GreaterThanOrEqual, severity, least))
    if len(elements) == 2:
        both = [ua.ElementOperand(Index=cast("ua.UInt32", 1)), ua.ElementOperand(Index=cast("ua.UInt32", 2))]
        elements.insert(0, _element(ua.FilterOperator.And, *both))
    return ua.ContentFilter(Elements=elements)


def _element(operator: "ua.FilterOperator", *operands: Any) -> "ua.ContentFilterElement":
    return ua.ContentFilterElement(FilterOperator=operator, FilterOperands=list(operands))


def _operand(field: _Field) -> "ua.SimpleAttributeOperand":
    return ua.SimpleAttributeOperand(
        TypeDefinitionId=field.owner,
        BrowsePath=list(field.path),
        AttributeId=cast("ua.UInt32", field.attribute),
        IndexRange=cast("ua.String", None),
    )


def _named(session: Session, wanted: WantedEvent, written: str) -> _Field:
    """A field as the operator wrote it: ``ActiveState/Id``, ``{urn:press}Cause``."""
    path: list[ua.QualifiedName] = []
    rest = written
    while rest:
        index = 0
        if rest.startswith("{"):
            uri, _, rest = rest[1:].partition("}")
            index = session.namespaces.index(uri) if uri in session.namespaces else 0
        name, _, rest = rest.partition("/")
        path.append(_qualified(name, index))
    name = "/".join(str(each.Name) for each in path)
    if name == _CONDITION_ID:
        return _Field(name, node_id(_CONDITION), (), ua.AttributeIds.NodeId)
    return _Field(name, wanted.type_node, tuple(path))


async def _lineage(session: Session, kind: ua.NodeId) -> list[ua.NodeId]:
    """The type and its supertypes, up to BaseEventType."""
    line = [kind]
    while not _is(line[-1], _BASE) and len(line) < _SUPERTYPES_MOST:
        parents = await _references(session, line[-1], ua.BrowseDirection.Inverse, _IDS.HasSubtype)
        if not parents or parents[0][1] in line:
            break
        line.append(parents[0][1])
    return line


async def _declared(session: Session, owner: ua.NodeId) -> list[_Field]:
    """The variables a type declares, and one level below them (``ActiveState/Id``)."""
    fields: list[_Field] = []
    for name, node in await _references(session, owner, ua.BrowseDirection.Forward, _IDS.Aggregates):
        path = (name,)
        fields.append(_Field(_spoken(path), owner, path))
        if len(fields) < _FIELDS_MOST:
            for below, _ in await _references(session, node, ua.BrowseDirection.Forward, _IDS.Aggregates):
                fields.append(_Field(_spoken((name, below)), owner, (name, below)))
    return fields


async def _references(
    session: Session, node: ua.NodeId, direction: "ua.BrowseDirection", kind: int
) -> list[tuple[ua.QualifiedName, ua.NodeId]]:
    parameters = ua.BrowseParameters()
    parameters.View = ua.ViewDescription()
    parameters.RequestedMaxReferencesPerNode = cast("ua.UInt32", _FIELDS_MOST)
    forward = direction is ua.BrowseDirection.Forward
    parameters.NodesToBrowse = [
        ua.BrowseDescription(
            NodeId=node,
            BrowseDirection=direction,
            ReferenceTypeId=node_id(kind),
            IncludeSubtypes=True,
            NodeClassMask=cast("ua.UInt32", int(ua.NodeClass.Variable if forward else ua.NodeClass.ObjectType)),
            ResultMask=cast("ua.UInt32", int(ua.BrowseResultMask.BrowseName)),
        )
    ]
    [result] = await session.client.uaclient.browse(parameters)
    if result.ContinuationPoint:
        await session.client.uaclient.browse_next(
            ua.BrowseNextParameters(ReleaseContinuationPoints=True, ContinuationPoints=[result.ContinuationPoint])
        )
    return [
        (reference.BrowseName, node_id(reference.NodeId.Identifier, int(reference.NodeId.NamespaceIndex)))
        for reference in result.References or []
    ]


def _unique(fields: Sequence[_Field]) -> list[_Field]:
    """The first of each name: a subtype's field stands for the one it overrides."""
    seen: dict[str, _Field] = {}
    for field in fields:
        seen.setdefault(field.name, field)
    return list(seen.values())


def _spoken(path: Sequence[ua.QualifiedName]) -> str:
    return "/".join(str(name.Name) for name in path)


def _qualified(name: str, index: int = 0) -> ua.QualifiedName:
    return ua.QualifiedName(cast("ua.String", name), cast("ua.UInt16", index))


def _is(node: ua.NodeId, number: int) -> bool:
    return node.NamespaceIndex == 0 and node.Identifier == number
