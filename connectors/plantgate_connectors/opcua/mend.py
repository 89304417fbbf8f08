"""Fills what is missing, or says that it is missing, before anything that came after it is given."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from asyncua import ua
from asyncua.ua.uaerrors import UaStatusCodeError

from plantgate.sdk import Gap, Value
from plantgate_connectors.opcua.backlog import Arrival, Block, Entry, Hole, Interruption
from plantgate_connectors.opcua.bounds import MalformedNotification, Walk
from plantgate_connectors.opcua.continuity import Continuity
from plantgate_connectors.opcua.decode import Columns, Plain, decode, decode_values
from plantgate_connectors.opcua.envelope import DATA_CHANGE, Envelope, Fault, open_republished, response_header
from plantgate_connectors.opcua.failures import translated
from plantgate_connectors.opcua.history import History, read_history
from plantgate_connectors.opcua.inbox import Inbox
from plantgate_connectors.opcua.last_values import UNKNOWN, Last
from plantgate_connectors.opcua.limits import batches
from plantgate_connectors.opcua.session import Session
from plantgate_connectors.opcua.settings import History as Wanted
from plantgate_connectors.opcua.settings import OpcUaSettings

_FIRST_VALUES_SECONDS: Final = 2.0
"""Beyond two publishing intervals: how long a newly monitored item has to report its present value."""
_READ_RESPONSE: Final = 634
_STRETCH_SHARE: Final = 0.25
"""Items whose gaps begin within this share of the gap are read from history together."""


class Mender:
    """One for each session. Run it; it returns never and raises `Unavailable` when the session is gone."""

    def __init__(
        self, session: Session, settings: OpcUaSettings, continuity: Continuity, inbox: Inbox, plain: Plain
    ) -> None:
        self._session = session
        self._settings = settings
        self._continuity = continuity
        self._inbox = inbox
        self._plain = plain
        self._without_history: set[int] = set()

    async def run(self) -> None:
        """Mend holes as they appear, interruptions once they are next to be given."""
        backlog = self._continuity.backlog
        while True:
            self._inbox.mend.clear()
            entry = next((each for each in backlog if isinstance(each, Hole)), None) or backlog.front
            if isinstance(entry, Hole):
                backlog.replace(entry, *await self._ask_again(entry))
            elif isinstance(entry, Interruption) and entry.fetched is None:
                backlog.replace(entry, await self._fill(entry))
            else:
                await self._inbox.mend.wait()
                continue
            self._inbox.wake.set()

    async def _ask_again(self, hole: Hole) -> list[Entry]:
        """Republish; what cannot be had becomes an interruption in its place."""
        found: list[Entry] = []
        lost = hole.beyond
        values = 0
        for sequence in hole.sequences:
            envelope = await self._republish(hole.subscription.id, sequence)
            if envelope is None:
                lost = True
                continue
            self._continuity.context.standing.count("republished_messages")
            values += _values(envelope)
            found.append(Arrival(envelope, hole.subscription, self._continuity.context.clock.now()))
        if lost:
            found.append(Interruption(hole.handles, hole.cause or "notifications lost", refresh=True))
        elif hole.cause is not None:
            found.insert(0, Interruption(hole.handles, hole.cause, fetched=values))
        return found

    async def _republish(self, subscription: int, sequence: int) -> Envelope | None:
        request = ua.RepublishRequest()
        request.Parameters.SubscriptionId = ua.UInt32(subscription)
        request.Parameters.RetransmitSequenceNumber = ua.UInt32(sequence)
        protocol = self._session.client.uaclient.protocol
        with translated(self._session.context, "fetch a missed message"):
            if protocol is None:
                raise ConnectionError("the connection is closed")
            try:
                answer = await protocol.send_request(request)
            except UaStatusCodeError:
                return None
        try:
            envelope = open_republished(answer.read(len(answer)), subscription)
        except (Fault, MalformedNotification):
            return None
        # asyncua's server answers with an empty message where it should say BadMessageNotAvailable
        return envelope if envelope.sequence == sequence else None

    async def _fill(self, gap: Interruption) -> Block:
        """What can be had of the stretch, and a gap record for it. Everything before it has been given."""
        await self._first_values(gap)
        block = Block(mended=True)
        if gap.refresh:
            await self._read_present(gap, block)
        self._continuity.last.expect_present(gap.handles)
        since = self._continuity.last
        wanted = self._continuity.items.wanted
        torn = [
            handle
            for handle in gap.handles
            if handle in wanted and handle in since and not _same(since[handle], gap.until.get(handle))
        ]
        histories = await self._histories(torn, gap)
        records: dict[tuple[int | None, int | None, int | None], list[tuple[int, int]]] = defaultdict(list)
        for handle in torn:
            recovered = self._take(handle, gap, histories.get(handle), block.columns)
            until = gap.until[handle][0] if handle in gap.until else None
            lost = 0 if _spans(histories.get(handle), since[handle][0], until) else None
            records[since[handle][0], until, lost].append((handle, recovered))
        tags = self._continuity.items.tags
        for (start, until, lost), members in records.items():
            names = tuple(tags[handle] for handle, _ in members)
            block.gaps.append(Gap(names, start, until, gap.cause, lost, sum(count for _, count in members)))
        block.received = self._continuity.context.clock.now()
        return block

    async def _first_values(self, gap: Interruption) -> None:
        """Wait until the items have reported once; a new item does so with the first message after it is made."""
        continuity = self._continuity
        loop = asyncio.get_running_loop()
        patience = 2 * self._settings.publishing_interval_ms / 1000 + _FIRST_VALUES_SECONDS
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
                deadline = loop.time() + patience  # items are still being asked for
            try:
                async with asyncio.timeout(max(0.05, min(patience / 4, deadline - loop.time()))):
                    await self._inbox.mend.wait()
            except TimeoutError:
                pass

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

    async def _read_present(self, gap: Interruption, block: Block) -> None:
        """Present values of items that have not reported since: a change in a lost message is not reported twice."""
        items = self._continuity.items
        silent = [
            handle
            for handle in gap.handles
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
                _append(block.columns, handle, time, value, quality)

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

    async def _histories(self, handles: list[int], gap: Interruption) -> dict[int, History]:
        """History of the stretches, those that begin at about the same time together."""
        if self._settings.history is Wanted.OFF or not self._settings.limits.history_values_max:
            return {}
        now = self._continuity.context.clock.now()
        items, last = self._continuity.items, self._continuity.last
        stretches = []
        for handle in handles:
            start, end = last[handle][0], gap.until.get(handle, (None, None))[0] or now
            if start is not None and start < end and items.nodes[handle] and handle not in self._without_history:
                stretches.append((start, end, handle))
        stretches.sort()
        found: dict[int, History] = {}
        while stretches:
            first = stretches[0][0]
            reach = first + int((stretches[0][1] - first) * _STRETCH_SHARE)
            together = [stretch for stretch in stretches if stretch[0] <= reach]
            stretches = stretches[len(together) :]
            nodes = {handle: node for _, _, handle in together if (node := items.nodes[handle]) is not None}
            latest = max(end for _, end, _ in together) + _TICK
            self._continuity.context.standing.count("history_reads")
            some = await read_history(
                self._session, nodes, first, latest, most=self._settings.limits.history_values_max, plain=self._plain
            )
            self._without_history |= nodes.keys() - some.keys()
            found |= some
        return found

    def _take(self, handle: int, gap: Interruption, history: History | None, into: Columns) -> int:
        """Append what lies inside the gap; returns how many."""
        if history is None:
            return 0
        start = self._continuity.last[handle][0]
        end = gap.until[handle][0] if handle in gap.until else None
        columns = history.columns
        taken = 0
        for time, value, quality in zip(columns.times, columns.values, columns.qualities, strict=True):
            if time is None or (start is not None and time <= start) or (end is not None and time >= end):
                continue
            _append(into, handle, time, value, quality & ~_HISTORIAN_BITS)
            taken += 1
        self._continuity.context.standing.count("recovered_from_history", taken)
        return taken


_TICK: Final = 1_000
"""Ns: history is asked for by the microsecond."""
_HISTORIAN_BITS: Final = 0x041F
"""InfoType and historian bits of a good code: they say how the archive has the value, not how good it is."""


def _spans(history: History | None, since: int | None, until: int | None) -> bool:
    """Whether the archive has the values on both sides of the gap, and so can be taken to have all between them.

    An archive that began later, or lags, answers just as readily with less.
    """
    if history is None or not history.complete or since is None or until is None:
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
    columns.handles.append(handle)
    columns.values.append(value)
    columns.qualities.append(quality)
    columns.times.append(time)


def _values(envelope: Envelope) -> int:
    """How many values a message declares."""
    return sum(
        int.from_bytes(envelope.body[part.start : part.start + 4], "little", signed=True)
        for part in envelope.parts
        if part.kind == DATA_CHANGE and part.end - part.start >= 4
    )


def _columns(envelope: Envelope, plain: Plain) -> Iterable[Columns]:
    columns = Columns()
    try:
        for part in envelope.parts:
            if part.kind == DATA_CHANGE:
                decode(envelope.body, part, plain, columns)
    except MalformedNotification:
        return ()
    return (columns,)
