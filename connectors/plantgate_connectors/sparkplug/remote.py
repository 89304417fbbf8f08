"""An edge node as a host application follows it: born or not, in order or not, and what it has announced."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

from plantgate.sdk import Batch, Gap
from plantgate_connectors.sparkplug.announced import Group, Names
from plantgate_connectors.sparkplug.bdseq import bdseq_of
from plantgate_connectors.sparkplug.layouts import Block, Layouts
from plantgate_connectors.sparkplug.order import Order, Turn
from plantgate_connectors.sparkplug.placing import GAPS
from plantgate_connectors.sparkplug.reading import Payload, Reading, Template, read_payload
from plantgate_connectors.sparkplug.relayed import OURS, Relayed, gaps_in
from plantgate_connectors.sparkplug.runs import Data, read_again, read_data
from plantgate_connectors.sparkplug.samples import MILLISECONDS_MOST, Samples
from plantgate_connectors.sparkplug.stamps import NS
from plantgate_connectors.sparkplug.topics import Kind
from plantgate_connectors.sparkplug.usual import Run
from plantgate_connectors.sparkplug.wire import Malformed

_TAGS_MOST: Final = 10_000
"""A gap names at most this many tags; beyond, it names the edge node."""


class Outlet(Protocol):
    """Where an edge node's story goes."""

    names: Names
    samples: Samples

    def take(self, mid: int, size: int) -> Batch:
        """The batch for the samples of a message of this size."""

    def gap(self, gap: Gap) -> None:
        """Something is missing."""

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter."""

    def now(self) -> float:
        """The loop's clock."""


@dataclass(slots=True)
class Letter:
    """A message of an edge node."""

    kind: Kind
    device: str | None
    body: bytes
    mid: int


Content: TypeAlias = tuple[Letter, Payload | Data]


@dataclass(slots=True)
class Remote:
    """One edge node."""

    group: str
    edge_node: str
    outlet: Outlet
    want_birth: Callable[[], None]
    born_again: Callable[[], None]
    reorder_seconds: float
    alive: bool = False
    waits_until: float | None = None
    """When a missing message is given up, on the loop's clock."""
    _bdseq: int | None = None
    _order: Order[Content] = field(default_factory=Order)
    _groups: dict[str | None, Group] = field(default_factory=dict)
    """By device; the edge node's own under None. A device that is dead, or whose birth is awaited, is not there."""
    _doubt: bool = False
    """Something was missed since the last birth: the gap is told, a birth is wanted."""
    _last_tags: tuple[str, ...] = ()
    _relayed: Relayed = field(default_factory=Relayed)
    _layouts: Layouts = field(default_factory=Layouts)

    # What comes.

    def hear(self, letter: Letter) -> None:
        """A message; whatever is in it, it becomes samples, or a gap, or is counted."""
        match letter.kind:
            case Kind.NDEATH:
                self._node_death(letter)
            case Kind.NBIRTH:
                self._node_birth(letter)
            case _:
                self._in_order(letter)

    def give_up_waiting(self) -> None:
        """The missing message has not come in time."""
        self.outlet.count("reorder_timeouts")
        self._give_up()

    def gone(self) -> tuple[str, ...]:
        """We stop listening: everything has to be said anew. Returns its tags, for the gap."""
        tags = self._tags()
        self._groups.clear()
        self._order.forget()
        self._relayed.forget()
        self.waits_until = None
        return tags

    # Order.

    def _in_order(self, letter: Letter) -> None:
        try:
            content = read_payload(letter.body) if letter.kind is Kind.DBIRTH else read_data(letter.body, self._layouts)
        except Malformed as error:
            self._unreadable(letter, error)
            return
        if not self.alive or self._order.next is None:
            self.outlet.take(letter.mid, len(letter.body))
            self.outlet.count("before_birth")
            self._miss("data before its birth certificate")
            return
        seq = content.seq
        if seq is None or seq > 255:
            self.outlet.take(letter.mid, len(letter.body))
            self.outlet.count("without_number")
            self._miss("a message without its number")
            return
        turn, ready = self._order.give(seq, len(letter.body), (letter, content))
        if turn is Turn.LOST:
            self._miss("messages missing")
        if turn is not Turn.NEXT:
            self.outlet.count(f"{turn.value}_messages")
        if turn is Turn.REPEATED:
            self.outlet.take(letter.mid, len(letter.body))
        for each in ready:
            self._apply(*each)
        if not self._order:
            self.waits_until = None
        elif self.waits_until is None:
            self.waits_until = self.outlet.now() + self.reorder_seconds

    def _give_up(self) -> None:
        """Wait no longer for what is missing, if anything is."""
        self.waits_until = None
        if self._order:
            self._miss("messages missing")
            for each in self._order.give_up():
                self._apply(*each)

    def _apply(self, letter: Letter, content: Payload | Data) -> None:
        batch = self.outlet.take(letter.mid, len(letter.body))
        if isinstance(content, Data):
            if letter.kind is Kind.DDEATH:
                self._device_death(batch, letter.device, content.time)
            else:
                self._data(batch, letter, content)
        else:
            self._announce(batch, letter.device, content)

    def _unreadable(self, letter: Letter, error: Malformed) -> None:
        self.outlet.take(letter.mid, len(letter.body))
        self.outlet.count("undecodable")
        self._miss(f"a message that is no Sparkplug payload ({error})")
        self._order.pass_over()

    def _miss(self, cause: str) -> None:
        """Something is missing or cannot be understood: told once, until a birth makes an end of it."""
        self.want_birth()
        if not self._doubt:
            self._doubt = True
            last = self.outlet.samples.last
            tags = self._tags()
            times = [said[2] for tag in tags if (said := last.get(tag)) is not None]
            since = max((time for time in times if time is not None), default=None)
            self.outlet.gap(Gap(tags, since, None, cause, lost=None))

    def _tags(self) -> tuple[str, ...]:
        """Those announced, or, of one that is not alive, those of its last life; for gaps."""
        tags = [tag for group in self._groups.values() for tag in group.tags]
        if tags:
            whole = (f"{self.group}/{self.edge_node}/#",)
            self._last_tags = tuple(tags) if len(tags) <= _TAGS_MOST else whole
        return self._last_tags or (f"{self.group}/{self.edge_node}/#",)

    # Births and deaths.

    def _node_birth(self, letter: Letter) -> None:
        try:
            content = read_payload(letter.body)
        except Malformed as error:
            self._unreadable(letter, error)
            return
        self._give_up()  # what is held is of the life before
        batch = self.outlet.take(letter.mid, len(letter.body))
        if content.seq is None or content.seq > 255:
            self.outlet.count("without_number")
            self._miss("a message without its number")
            return
        self._bdseq = bdseq_of(content)
        if self._bdseq is None:
            self.outlet.count("births_without_bdseq")
        self._order.begin(content.seq)
        self._groups.clear()
        self.alive, self._doubt = True, False
        self.born_again()
        self._announce(batch, None, content)

    def _announce(self, batch: Batch, device: str | None, content: Payload) -> None:
        outlet, group = self.outlet, Group()
        self._groups[device] = group
        taken = {alias for other in self._groups.values() for alias in other.aliases} if device is not None else set()
        for reading in content.metrics:
            if reading.name in OURS:
                self._relayed.learn(reading)
                continue
            if not isinstance(reading.name, str):
                outlet.count("metrics_without_name")
                continue
            if reading.alias in taken:
                outlet.count("ambiguous_aliases")
                reading.alias = None
            tag = outlet.names.tag(self.group, self.edge_node, device, reading.name)
            announced = group.announce(reading, tag)
            if announced is not None and not (isinstance(reading.value, Template) and reading.value.is_definition):
                outlet.samples.birth(batch, reading, announced)

    def _node_death(self, letter: Letter) -> None:
        batch = self.outlet.take(letter.mid, len(letter.body))
        try:
            bdseq = bdseq_of(read_payload(letter.body))
        except Malformed:
            self.outlet.count("undecodable")
            return
        if not self.alive or (bdseq is not None and self._bdseq is not None and bdseq != self._bdseq):
            self.outlet.count("deaths_of_other_lives")
            return
        self._give_up()
        batch = self.outlet.take(0, 0)
        self._tags()
        self.alive = False
        self._order.forget()
        for group in self._groups.values():
            for tag in group.tags:
                self.outlet.samples.stale(batch, tag, None)
        self._groups.clear()
        self.outlet.count("edge_nodes_died")

    def _device_death(self, batch: Batch, device: str | None, milliseconds: int | None) -> None:
        group = self._groups.pop(device, None)
        if group is None:
            return
        self.outlet.count("devices_died")
        time = None if milliseconds is None or milliseconds >= MILLISECONDS_MOST else milliseconds * NS
        for tag in group.tags:
            self.outlet.samples.stale(batch, tag, time)

    # Data.

    def _data(self, batch: Batch, letter: Letter, content: Data) -> None:
        group = self._groups.get(letter.device)
        if group is None:
            self.outlet.count("before_birth")
            self._miss("data before its birth certificate")
            return
        repeats = self._relayed.repeats(letter.device, content)
        self.outlet.count("repeats", repeats)
        samples, doubtful = self.outlet.samples, self._doubt
        for part in content.parts:
            if isinstance(part, Block):
                stretch = None if repeats else group.stretch(part.layout)
                if stretch is not None and samples.block(batch, part, stretch, doubtful=doubtful):
                    continue
                readings = read_again(letter.body, part)
            elif isinstance(part, Run):
                if not repeats and samples.run(batch, part, group.usual, doubtful=doubtful):
                    continue
                readings = read_again(letter.body, part)
            else:
                readings = [part]
            for reading in readings:
                if reading.name in OURS:
                    if reading.name == GAPS:
                        self._pass_on(reading)
                        batch = self.outlet.take(0, 0)
                    continue
                if repeats:
                    repeats -= 1
                    continue
                announced = group.find(reading)
                if announced is None:
                    self.outlet.count("unknown_metrics")
                    self._miss("a metric that was not announced")
                    batch, doubtful = self.outlet.take(0, 0), True
                    continue
                samples.metric(batch, reading, announced, doubtful=doubtful)

    def _pass_on(self, reading: Reading) -> None:
        gaps = gaps_in(reading, self._groups)
        if gaps is None:
            self.outlet.count("undecodable")
        for gap in gaps or ():
            self.outlet.gap(gap)
