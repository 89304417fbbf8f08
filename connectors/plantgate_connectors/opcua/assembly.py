"""Makes batches of what is in the backlog.

Entries are looked at in place and dropped only when the batch they went into is complete: whatever fails on the way,
the backlog still has them. A message that cannot be understood becomes a gap; it never stops the ones behind it.
"""

from dataclasses import replace
from typing import Final, TypeAlias

from plantgate.sdk import Batch, Context, Gap
from plantgate.sdk.plausible import AHEAD_MOST_NS, doubt_clock
from plantgate_connectors.opcua.alarms import Alarms
from plantgate_connectors.opcua.backlog import Arrival, Block, Entry, Hole, Interruption
from plantgate_connectors.opcua.bounds import MalformedNotification
from plantgate_connectors.opcua.continuity import Continuity
from plantgate_connectors.opcua.decode import Columns, decode
from plantgate_connectors.opcua.envelope import DATA_CHANGE, EVENTS
from plantgate_connectors.opcua.inbox import Inbox
from plantgate_connectors.opcua.limits import batches
from plantgate_connectors.opcua.settings import History, OpcUaSettings, Structure
from plantgate_connectors.opcua.values import Values, flatten

ROWS_MAX: Final = 4_096
"""A batch stops growing here; one message alone may be larger."""
TAGS_MAX: Final = 500
"""In one gap record."""
_NODE_GONE: Final = frozenset({0x8034_0000, 0x8033_0000})
"""BadNodeIdUnknown, BadNodeIdInvalid: the node of a monitored item was deleted; the item will not report again."""

_Resolved: TypeAlias = Block | list[Entry] | None
"""Ready; or these stand in its place; or it must wait (to be mended, or for a type to be learned)."""


class Assembly:
    """One for each session; takes nothing that it does not give."""

    def __init__(
        self, settings: OpcUaSettings, continuity: Continuity, inbox: Inbox, values: Values, alarms: Alarms
    ) -> None:
        self._settings = settings
        self._continuity = continuity
        self._context: Context = continuity.context
        self._inbox = inbox
        self._values = values
        self._alarms = alarms
        self._live: set[int] = set()

    def next(self) -> Batch | None:
        """Everything that is ready, in order; None if nothing is. Never waits."""
        backlog = self._continuity.backlog
        batch = Batch.empty()
        whole = Block()
        taken = latest = named = 0
        while len(batch) + named < ROWS_MAX and taken < len(backlog):
            entry = backlog[taken]
            resolved = self._resolve(entry)
            if resolved is None:
                break
            if isinstance(resolved, list):
                backlog.replace(entry, *resolved)
                continue
            whole.gaps += resolved.gaps
            named += sum(len(gap.tags) for gap in resolved.gaps)
            whole.marks += resolved.marks
            whole.received = whole.received or resolved.received
            latest = max(latest, resolved.columns.latest)
            self._append(resolved, batch)
            taken += 1
        if not taken:
            return None
        batch.gaps = tuple(whole.gaps)
        batch.received = whole.received or self._context.clock.now()
        if latest > batch.received + AHEAD_MOST_NS:
            self._count("clock_doubted", doubt_clock(batch.times, batch.qualities, batch.received))
        backlog.drop(taken)
        return self._continuity.give(batch, whole.marks)

    def _resolve(self, entry: Entry) -> _Resolved:
        match entry:
            case Block():
                return entry
            case Arrival():
                try:
                    return self._decoded(entry)
                except Exception as error:
                    self._context.log.error("a message could not be taken in", exc_info=error)
                    return self._set_aside(entry, Block(), MalformedNotification(f"{type(error).__name__}: {error}", 0))
            case Interruption(fetched=int() as fetched):
                return self._bridged(entry, fetched)
            case Hole() | Interruption():
                self._inbox.mend.set()
                return None

    def _decoded(self, arrival: Arrival) -> _Resolved:
        envelope = arrival.envelope
        block = Block(received=arrival.received)
        wants_refresh = False
        failure: MalformedNotification | None = None
        try:
            for part in envelope.parts:
                if part.kind == DATA_CHANGE:
                    decode(envelope.body, part, self._values.plain, block.columns)
                elif part.kind == EVENTS:
                    wants_refresh |= self._alarms.decode(envelope.body, part, block.columns)
        except MalformedNotification as error:
            failure = error
        if self._values.definitions.unlearned:
            return None
        if wants_refresh:
            self._inbox.reconcile.set()
        columns = block.columns
        known = len(self._continuity.items)
        if columns.handles and max(columns.handles) >= known:
            kept = [row for row, handle in enumerate(columns.handles) if handle < known]
            self._count("unknown_handles", len(columns) - len(kept))
            block.columns = columns = _only(columns, kept)
        self._count("times_out_of_range", columns.doubted)
        self._count("values_undecodable", columns.undecodable)
        if failure is not None:
            return self._set_aside(arrival, block, failure)
        block.marks.append((arrival.subscription, envelope.sequence))
        return self._torn(block) if columns.overflows else block

    def _set_aside(self, arrival: Arrival, block: Block, error: MalformedNotification) -> list[Entry]:
        """What stands before the fault in the message is whole and stays; the rest is a gap."""
        self._inbox.malformed(arrival.envelope.body, error)
        block.marks.append((arrival.subscription, arrival.envelope.sequence))
        block.columns.overflows = []
        handles = self._continuity.items.at_home(arrival.subscription.id)
        return [block, Interruption(handles, "malformed notification", refresh=True)]

    def _torn(self, block: Block) -> _Resolved:
        """Where the server dropped values, a gap stands before the value it flagged.

        An item's queue loses its oldest values, so that it is the item's first value here that is flagged; only those
        are looked for in history, before the message is given.
        """
        columns = block.columns
        self._count("queue_overflows", len(columns.overflows))
        first: dict[int, int] = {}
        for row, handle in enumerate(columns.handles):
            first.setdefault(handle, row)
        leading = Interruption([], "queue overflow")
        last, tags = self._continuity.last, self._continuity.items.tags
        for row in columns.overflows:
            handle = columns.handles[row]
            if first[handle] == row and self._settings.history is not History.OFF:
                leading.handles.append(handle)
                leading.until[handle] = (columns.times[row], columns.values[row])
                continue
            before = next((each for each in range(row - 1, -1, -1) if columns.handles[each] == handle), None)
            known = last[handle][0] if handle in last else None
            since = known if before is None else columns.times[before]
            block.gaps.append(Gap((tags[handle],), since, columns.times[row], "queue overflow", None))
        columns.overflows = []
        if not leading.handles:
            return block
        self._inbox.mend.set()
        return [leading, block]

    def _bridged(self, entry: Interruption, fetched: int) -> list[Entry]:
        """Records that nothing is missing, of so many tags each that an outbox takes them; the first has the count."""
        tags, last = self._continuity.items.tags, self._continuity.last
        blocks: list[Entry] = []
        for some in batches(entry.handles, TAGS_MAX):
            names, count = tuple(tags[handle] for handle in some), 0 if blocks else fetched
            blocks.append(Block(gaps=[Gap(names, last.latest(some), None, entry.cause, 0, count)]))
        return blocks

    def _append(self, block: Block, batch: Batch) -> None:
        columns, last = block.columns, self._continuity.last
        if not columns.handles:
            return
        if block.mended:
            last.expect(columns)
        elif repeated := last.repeated(columns):
            self._count("repeats_dropped", len(repeated))
            gone = set(repeated)
            columns = _only(columns, [row for row in range(len(columns)) if row not in gone])
        last.note(columns)
        self._notice(columns)
        tags = list(map(self._continuity.items.tags.__getitem__, columns.handles))
        if columns.structures:
            tags, columns = self._flattened(tags, columns)
        batch.tags += tags
        batch.values += columns.values
        batch.qualities += columns.qualities
        batch.times += columns.times

    def _notice(self, columns: Columns) -> None:
        standing, items = self._context.standing, self._continuity.items
        if standing.live < len(items.wanted):
            before = len(self._live)
            self._live.update(columns.handles)
            if len(self._live) != before:
                standing.live = len(self._live & items.wanted)
        if columns.worst >= 0x8000_0000:
            rows = zip(columns.handles, columns.qualities, strict=True)
            vanished = {handle for handle, quality in rows if quality & 0xFFFF_0000 in _NODE_GONE and items.ids[handle]}
            if vanished:
                self._inbox.vanished |= vanished
                self._inbox.reconcile.set()

    def _flattened(self, tags: list[str], columns: Columns) -> tuple[list[str], Columns]:
        options = self._continuity.items.options
        structured = {
            row
            for row in columns.structures
            if (chosen := options[columns.handles[row]]) is not None and chosen.structure is Structure.FLATTEN
        }
        names, flat = [], Columns()
        for row, (tag, value) in enumerate(zip(tags, columns.values, strict=True)):
            for name, member in flatten(tag, value) if row in structured else ((tag, value),):
                names.append(name)
                flat.values.append(member)
                flat.qualities.append(columns.qualities[row])
                flat.times.append(columns.times[row])
        return names, flat

    def _count(self, name: str, by: int) -> None:
        if by:
            self._context.standing.count(name, by)


def _only(columns: Columns, kept: list[int]) -> Columns:
    """These rows."""
    places = {row: place for place, row in enumerate(kept)}
    return replace(
        columns,
        handles=[columns.handles[row] for row in kept],
        values=[columns.values[row] for row in kept],
        qualities=[columns.qualities[row] for row in kept],
        times=[columns.times[row] for row in kept],
        overflows=[places[row] for row in columns.overflows if row in places],
        structures=[places[row] for row in columns.structures if row in places],
    )
