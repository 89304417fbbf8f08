"""From what the operator wrote to the nodes of this session: which items to watch, and what stands in the way."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from asyncua import ua

from plantgate_connectors.opcua import nodeids
from plantgate_connectors.opcua.browse import Find, find
from plantgate_connectors.opcua.deadband import Deadband
from plantgate_connectors.opcua.glob import Pattern
from plantgate_connectors.opcua.session import Session
from plantgate_connectors.opcua.settings import Browse, OpcUaSettings, Structure, Trigger
from plantgate_connectors.opcua.tagfile import Row

_DOUBLES_TOLD: Final = 20


@dataclass(frozen=True, slots=True)
class ItemOptions:
    """How an item is to be monitored; items with equal options share one object, so that identity groups them."""

    sampling_ms: float
    queue_size: int
    discard_oldest: bool
    deadband: Deadband | None
    trigger: Trigger
    structure: Structure


@dataclass(frozen=True, slots=True)
class WantedEvent:
    """Events of one node, its ids resolved."""

    tag: str
    key: str
    node: ua.NodeId
    type_node: ua.NodeId
    fields: tuple[str, ...]
    severity_min: int


@dataclass(frozen=True, slots=True)
class Problem:
    """Something the operator asked for that is not to be had as things are."""

    subject: str
    reason: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.reason}"


@dataclass(slots=True, repr=False)
class Resolution:
    """Items to watch as parallel columns, for one session."""

    tags: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    """The node's address with its namespace's URI: the same item in any session."""
    nodes: list[ua.NodeId] = field(default_factory=list)
    options: list[ItemOptions] = field(default_factory=list)
    events: list[WantedEvent] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    """Tags whose namespace the server does not have (yet)."""

    @property
    def desired(self) -> int:
        """Everything asked for, including what cannot be had yet."""
        return len(self.tags) + len(self.events) + len(self.waiting)


async def resolve(session: Session, settings: OpcUaSettings) -> Resolution:
    """Bind every wanted tag to a node of this session. Raises `Unavailable` when the session is gone.

    Nodes named one by one are not looked up: the server says when it is asked to monitor them.
    """
    await session.read_namespaces()
    return await _Binder(session, settings).bind()


async def resolve_again(session: Session, settings: OpcUaSettings, before: Resolution) -> Resolution:
    """Look for what was not there before; gives `before` itself back when nothing is new.

    Costs one read while only single tags wait, and a browse where there are patterns.
    """
    known = session.namespaces
    if await session.read_namespaces() == known and not settings.browse:
        return before
    after = await _Binder(session, settings).bind()
    return before if after == before else after


class _Binder:
    def __init__(self, session: Session, settings: OpcUaSettings) -> None:
        self._session = session
        self._settings = settings
        self._made = Resolution()
        self._options: dict[ItemOptions, ItemOptions] = {}
        self._chosen_before: dict[tuple[object, ...], ItemOptions] = {}
        self._where: dict[str, str] = {}
        self._absent: Counter[str] = Counter()
        self._unfiltered = 0
        self._doubles = 0

    async def bind(self) -> Resolution:
        for row in self._settings.rows:
            self._bind_row(row)
        for wanted in self._settings.browse:
            await self._bind_finds(wanted)
        for event in self._settings.events:
            self._bind_event(event.tag, event.node, event.type, event.fields, event.severity_min)
        for namespace, count in self._absent.items():
            self._problem(f"namespace {namespace}", f"the server does not have it; {count} tags wait for it")
        if self._doubles > _DOUBLES_TOLD:
            self._problem("tags", f"{self._doubles - _DOUBLES_TOLD} more would take names that others have")
        if self._unfiltered:
            self._problem(
                "deadband", f"this make of server takes none; {self._unfiltered} tags will report every change"
            )
        return self._made

    def _bind_row(self, row: Row) -> None:
        node = row.address.resolve(self._session.namespaces)
        if node is None:
            self._absent[str(row.address.namespace)] += 1
            self._made.waiting.append(row.tag)
            return
        self._add(row.tag, str(row.address), node, self._chosen(row), row.where)

    async def _bind_finds(self, wanted: Browse) -> None:
        harvest = await find(self._session, wanted)
        for reason in harvest.problems:
            self._problem(f"browse {wanted.path}", reason)
        if not harvest.finds:
            self._problem(f"browse {wanted.path}", f"nothing matches among {harvest.looked_at} nodes looked at")
        options = self._chosen(wanted)
        pattern = Pattern.parse(wanted.path)
        for found in harvest.finds:
            key = str(nodeids.of(found.node, self._session.namespaces))
            self._add(tag_of(wanted, pattern, found), key, found.node, options, f"browse {wanted.path}")

    def _bind_event(self, tag: str, node: str, kind: str, fields: tuple[str, ...], severity_min: int) -> None:
        address, type_address = nodeids.parse(node), nodeids.parse(kind)
        source = address.resolve(self._session.namespaces)
        type_node = type_address.resolve(self._session.namespaces)
        if source is None or type_node is None:
            self._absent[str((address if source is None else type_address).namespace)] += 1
            self._made.waiting.append(tag)
            return
        self._made.events.append(WantedEvent(tag, str(address), source, type_node, fields, severity_min))

    def _add(self, tag: str, key: str, node: ua.NodeId, options: ItemOptions, where: str) -> None:
        if tag in self._where:
            self._doubles += 1
            if self._doubles <= _DOUBLES_TOLD:
                self._problem(tag, f"{key} ({where}) would take the name that {self._where[tag]} has; it is left out")
            return
        self._where[tag] = where
        made = self._made
        made.tags.append(tag)
        made.keys.append(key)
        made.nodes.append(node)
        made.options.append(options)

    def _chosen(self, own: Row | Browse) -> ItemOptions:
        """The item's own choices over the connection's; thousands of equal ones are made once."""
        written = (
            own.sampling_interval_ms,
            own.queue_size,
            own.discard_oldest,
            own.deadband,
            own.trigger,
            own.structure,
        )
        chosen = self._chosen_before.get(written)
        if chosen is None:
            self._chosen_before[written] = chosen = self._choose(own)
        if chosen.deadband is None and (own.deadband or self._settings.deadband):
            self._unfiltered += 1
        return chosen

    def _choose(self, own: Row | Browse) -> ItemOptions:
        whole = self._settings
        sampling = own.sampling_interval_ms if own.sampling_interval_ms is not None else whole.sampling_interval_ms
        options = ItemOptions(
            sampling_ms=whole.publishing_interval_ms if sampling is None else sampling,
            queue_size=whole.queue_size if own.queue_size is None else own.queue_size,
            discard_oldest=whole.discard_oldest if own.discard_oldest is None else own.discard_oldest,
            deadband=whole.deadband if own.deadband is None else own.deadband,
            trigger=whole.trigger if own.trigger is None else Trigger(own.trigger),
            structure=whole.structure if own.structure is None else Structure(own.structure),
        )
        if options.deadband is not None and not self._session.limits.filters:
            options = replace(options, deadband=None)
        return self._options.setdefault(options, options)

    def _problem(self, subject: str, reason: str) -> None:
        self._made.problems.append(Problem(subject, reason))


def tag_of(wanted: Browse, pattern: Pattern, found: Find) -> str:
    """The name a find gets from the pattern's template."""
    path: Sequence[str] = found.path[pattern.fixed :] or found.path[-1:]
    parent = found.path[-2] if len(found.path) > 1 else ""
    filled = wanted.tag.replace("{name}", "\0n").replace("{parent}", "\0p").replace("{path}", "\0w")
    return filled.replace("\0n", found.path[-1]).replace("\0p", parent).replace("\0w", "/".join(path))
