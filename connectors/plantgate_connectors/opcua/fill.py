"""Fills an interruption from what the server can still say, and names what stays missing."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from asyncua import ua
from asyncua.ua.uaerrors import UaStatusCodeError

from plantgate.sdk import Gap, Value
from plantgate_connectors.opcua.backlog import Arrival, Block, Entry, Interruption
from plantgate_connectors.opcua.bounds import MalformedNotification, Walk
from plantgate_connectors.opcua.continuity import Continuity
from plantgate_connectors.opcua.decode import Columns, Plain, decode, decode_values
from plantgate_connectors.opcua.envelope import DATA_CHANGE, Envelope, Fault, response_header
from plantgate_connectors.opcua.failures import translated
from plantgate_connectors.opcua.history import Found, History, read_history
from plantgate_connectors.opcua.inbox import Inbox
from plantgate_connectors.opcua.last_values import UNKNOWN, Last
from plantgate_connectors.opcua.limits import batches
from plantgate_connectors.opcua.session import Session
from plantgate_connectors.opcua.settings import History as Wanted
from plantgate_connectors.opcua.settings import OpcUaSettings

_FIRST_VALUES_SECONDS: Final = 2.0
"""Beyond two publishing intervals: how long a newly monitored item has to report its present value."""
_ITEMS_MAX: Final = 500
"""Items filled at a time: bounds a batch's gap records."""
HISTORY_SECONDS_MAX: Final = 600.0
"""How long live values wait for history after one interruption. Then the rest of the gap is named and left."""
_STRETCH_SHARE: Final = 0.25
"""Items whose gaps begin within this share of the gap are read from history together."""
_READ_RESPONSE: Final = 634
_TICK: Final = 1_000
"""Ns: history is asked for by the microsecond."""
_HISTORIAN_BITS: Final = 0x041F
"""InfoType and historian bits of a good code: they say how the archive has the value, not how good it is."""


class Filler:
    """One for each session."""

    def __init__(
        self,
        session: Session,
        settings: OpcUaSettings,
        continuity: Continuity,
        inbox: Inbox,
        plain: Plain,
        *,
        values_max: int = 100_000,
    ) -> None:
        """`values_max`: from history in one block; what is beyond it comes in the next."""
        self._session = session
        self._values_max = values_max
        self._settings = settings
        self._continuity = continuity
        self._inbox = inbox
        self._plain = plain
        self._without_history: set[int] = set()

    async def fill(self, gap: Interruption) -> list[Entry]:
        """What stands in its place: a block, and what is left of the interruption where it was too much for one.

        Everything before it has been given. Raises `Unavailable`; the interruption is then as it was, or less.
        """
        if gap.until_seconds is None:
            await self._first_values(gap)
            self._continuity.last.expect_present(gap.handles)
            gap.until_seconds = asyncio.get_running_loop().time() + HISTORY_SECONDS_MAX
        some, rest = gap.handles[:_ITEMS_MAX], gap.handles[_ITEMS_MAX:]
        block = Block(mended=True, received=self._continuity.context.clock.now())
        if gap.refresh:
            await self._read_present(some, gap)
        last, wanted = self._continuity.last, self._continuity.items.wanted
        torn = [
            handle
            for handle in some
            if handle in wanted and handle in last and not _same(last[handle], gap.until.get(handle))
        ]
        left = await self._from_history(torn, gap, block)
        for handle in some:
            if handle in gap.present and handle not in left:
                _append(block.columns, handle, *gap.present[handle])
        if not left and not rest:
            return [block]
        return [block, replace(gap, handles=left + rest)]

    async def _from_history(self, torn: list[int], gap: Interruption, block: Block) -> list[int]:
        """Append what history has, and the gap records; returns the items of which there is more to come."""
        found = await self._histories(torn, gap)
        tags, last = self._continuity.items.tags, self._continuity.last
        records: dict[tuple[int | None, int | None, int | None], list[tuple[int, int]]] = defaultdict(list)
        left = [handle for handle in torn if handle in found.unasked]
        for handle in torn:
            if handle in found.unasked:
                continue
            history = found.histories.get(handle)
            start = last[handle][0]
            until = gap.until.get(handle, (None, None))[0]
            before = len(block.columns)
            if history is not None:
                _take(handle, start, until, history.columns, block.columns)
            recovered = len(block.columns) - before
            gap.recovered[handle] = gap.recovered.get(handle, 0) + recovered
            if history is not None and history.more and recovered:
                left.append(handle)
                until = block.columns.times[-1]
            lost = 0 if _spans(history, start, until) else None
            records[start, until, lost].append((handle, recovered))
        for (start, until, lost), members in records.items():
            names = tuple(tags[handle] for handle, _ in members)
            block.gaps.append(Gap(names, start, until, gap.cause, lost, sum(count for _, count in members)))
        if block.columns:
            self._continuity.context.standing.count("recovered_from_history", len(block.columns))
        return left

    async def _first_values(self, gap: Interruption) -> None:
        """Wait until the items have reported once; a new item does so with the first message after it is made."""
        continuity = self._continuity
        loop = asyncio.get_running_loop()
        patience = self._patience()
        deadline = loop.time() + patience
        seen: set[int] = set()
        while True:
            self._inbox.mend.clear()
            self._peek(gap, seen)
            items = continuity.items
            owed = any(
                handle in items.wanted and handle not in gap.until and handle not in items.events
                for handle in gap.handles
            )
            if not owed or loop.time() >= deadline or continuity.backlog.full:
                return
            if self._inbox.creating or not continuity.subscriptions:
                patience = self._patience()
                deadline = loop.time() + patience  # items are still being asked for
            try:
                async with asyncio.timeout(max(0.05, min(patience / 4, deadline - loop.time()))):
                    await self._inbox.mend.wait()
            except TimeoutError:
                pass

    def _patience(self) -> float:
        """By the interval the server granted, which may be a hundred times what was asked."""
        granted = (each.interval_seconds for each in self._continuity.subscriptions.values())
        return 2 * max(self._settings.publishing_interval_ms / 1000, *granted, 0.0) + _FIRST_VALUES_SECONDS

    def _peek(self, gap: Interruption, seen: set[int]) -> None:
        wanted = set(gap.handles)
        for entry in self._continuity.backlog:
            if not isinstance(entry, Arrival) or id(entry) in seen:
                continue
            seen.add(id(entry))
            for columns in _columns(entry.envelope, self._plain):
                for handle, time, value in zip(columns.handles, columns.times, columns.values, strict=True):
                    if handle in wanted and handle not in gap.until:
                        gap.until[handle] = (time, value)

    async def _read_present(self, handles: Sequence[int], gap: Interruption) -> None:
        """Present values of items that have not reported since: a change in a lost message is not reported twice."""
        items = self._continuity.items
        silent = [
            handle
            for handle in handles
            if handle not in gap.until and items.ids[handle] and items.nodes[handle] and handle not in items.events
        ]
        present: list[tuple[int, tuple[int | None, Value, int]]] = []
        for some in batches(silent, self._session.limits.nodes_per_read):
            present += await self._read(some)
        self._peek(gap, set())
        for handle, (time, value, quality) in present:
            if handle in gap.until:
                continue
            gap.until[handle] = (time, value)
            last = self._continuity.last
            if handle not in last or not _same(last[handle], (time, value)):
                gap.present[handle] = (time, value, quality)

    async def _read(self, handles: Sequence[int]) -> list[tuple[int, tuple[int | None, Value, int]]]:
        parameters = ua.ReadParameters()
        parameters.TimestampsToReturn = ua.TimestampsToReturn.Source
        for handle in handles:
            wanted = ua.ReadValueId()
            wanted.NodeId, wanted.AttributeId = self._continuity.items.nodes[handle], ua.AttributeIds.Value
            parameters.NodesToRead.append(wanted)
        request = ua.ReadRequest()
        request.Parameters = parameters
        protocol = self._session.client.uaclient.protocol
        with translated(self._session.context, "read present values"):
            if protocol is None:
                raise ConnectionError("the connection is closed")
            try:
                answer = await protocol.send_request(request)
            except UaStatusCodeError:
                return []
        columns = Columns()
        try:
            body = answer.read(len(answer))
            walk = Walk(body, len(body))
            decode_values(walk, response_header(walk, _READ_RESPONSE), handles, self._plain, columns)
        except (Fault, MalformedNotification):
            return []
        rows = zip(columns.handles, columns.times, columns.values, columns.qualities, strict=True)
        return [(handle, (time, value, quality)) for handle, time, value, quality in rows]

    async def _histories(self, handles: list[int], gap: Interruption) -> Found:
        """History of the stretches, those that begin at about the same time together, as much as one block takes."""
        found = Found()
        most = self._settings.limits.history_values_max
        assert gap.until_seconds is not None
        late = asyncio.get_running_loop().time() > gap.until_seconds
        if self._settings.history is Wanted.OFF or late:
            return found
        now = self._continuity.context.clock.now()
        items, last = self._continuity.items, self._continuity.last
        stretches = []
        for handle in handles:
            start, end = last[handle][0], gap.until.get(handle, (None, None))[0] or now
            known = start is not None and start < end and items.nodes[handle] is not None
            if known and handle not in self._without_history and gap.recovered.get(handle, 0) < most:
                stretches.append((start or 0, end, handle))
        stretches.sort()
        while stretches and found.values < self._values_max:
            first = stretches[0][0]
            reach = first + int((stretches[0][1] - first) * _STRETCH_SHARE)
            together = [stretch for stretch in stretches if stretch[0] <= reach]
            stretches = stretches[len(together) :]
            nodes = {handle: node for _, _, handle in together if (node := items.nodes[handle]) is not None}
            latest = max(end for _, end, _ in together) + _TICK
            self._continuity.context.standing.count("history_reads")
            more = await read_history(self._session, nodes, first, latest, most=self._values_max, plain=self._plain)
            self._without_history |= nodes.keys() - more.histories.keys() - more.unasked
            found.add(more)
        found.unasked.update(handle for _, _, handle in stretches)
        return found


def _take(handle: int, start: int | None, end: int | None, columns: Columns, into: Columns) -> None:
    """Append what lies inside the gap."""
    for time, value, quality in zip(columns.times, columns.values, columns.qualities, strict=True):
        if time is not None and (start is None or time > start) and (end is None or time < end):
            _append(into, handle, time, value, quality & ~_HISTORIAN_BITS)


def _spans(history: History | None, since: int | None, until: int | None) -> bool:
    """Whether the archive has the values on both sides of the gap, and so can be taken to have all between them.

    An archive that began later, or lags, answers just as readily with less.
    """
    if history is None or since is None or until is None:
        return False
    times = {None if time is None else time // _TICK for time in history.columns.times}
    return since // _TICK in times and until // _TICK in times


def _same(last: Last | None, first: Last | None) -> bool:
    """Nothing can have happened between the two: the device's own time has not moved, nor the value."""
    if last is None or first is None or last[0] is None or last[0] != first[0]:
        return False
    return last[1] is UNKNOWN or last[1] == first[1]


def _append(columns: Columns, handle: int, time: int | None, value: Value, quality: int) -> None:
    columns.latest = max(columns.latest, time or 0)
    columns.worst = max(columns.worst, quality)
    columns.handles.append(handle)
    columns.values.append(value)
    columns.qualities.append(quality)
    columns.times.append(time)


def _columns(envelope: Envelope, plain: Plain) -> Iterable[Columns]:
    columns = Columns()
    try:
        for part in envelope.parts:
            if part.kind == DATA_CHANGE:
                decode(envelope.body, part, plain, columns)
    except MalformedNotification:
        return ()
    return (columns,)
