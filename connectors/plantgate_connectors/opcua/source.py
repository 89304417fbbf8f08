"""The OPC UA source: a session, what it watches, and the batches that come of it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

from asyncua import ua

from plantgate.sdk import Batch, Context, Gap, Unavailable
from plantgate.sdk.plausible import doubt_clock
from plantgate_connectors.opcua.addressing import resolve
from plantgate_connectors.opcua.alarms import Alarms
from plantgate_connectors.opcua.backlog import Arrival, Block, Entry, Hole, Interruption
from plantgate_connectors.opcua.bounds import MalformedNotification
from plantgate_connectors.opcua.continuity import Continuity
from plantgate_connectors.opcua.decode import Columns, decode
from plantgate_connectors.opcua.envelope import DATA_CHANGE, EVENTS
from plantgate_connectors.opcua.failures import explain
from plantgate_connectors.opcua.inbox import Inbox
from plantgate_connectors.opcua.ladder import go_on
from plantgate_connectors.opcua.memory import Memory
from plantgate_connectors.opcua.mend import Mender
from plantgate_connectors.opcua.publish import Publisher
from plantgate_connectors.opcua.reconcile import Reconciler
from plantgate_connectors.opcua.session import connect
from plantgate_connectors.opcua.settings import History, OpcUaSettings, Structure
from plantgate_connectors.opcua.values import Values, flatten
from plantgate_connectors.opcua.watch import watch

_ROWS_MAX: Final = 4_096
"""A batch stops growing here; one message alone may be larger."""
_NODE_GONE: Final = frozenset({0x8034_0000, 0x8033_0000})
"""BadNodeIdUnknown, BadNodeIdInvalid: the node of a monitored item was deleted; the item will not report again."""


class OpcUaSource:
    """Gives what has arrived, merged, in order; what is not acknowledged the server keeps, or we do."""

    def __init__(
        self,
        settings: OpcUaSettings,
        context: Context,
        continuity: Continuity,
        inbox: Inbox,
        publisher: Publisher,
        values: Values,
        alarms: Alarms,
    ) -> None:
        self._settings = settings
        self._context = context
        self._continuity = continuity
        self._inbox = inbox
        self._publisher = publisher
        self._values = values
        self._alarms = alarms
        self._live: set[int] = set()

    async def read(self) -> Batch:
        """Everything that is ready, up to a few thousand samples. Raises `Unavailable` when the session has ended."""
        again = self._continuity.give_again()
        if again is not None:
            return again
        while True:
            self._inbox.wake.clear()
            batch = self._gather()
            if batch is not None:
                self._publisher.top_up()
                return batch
            if self._values.definitions.unlearned:
                await self._values.definitions.learn()
                continue
            failure = self._inbox.failure
            if isinstance(failure, OSError | ua.UaError):
                raise unavailable(self._context, failure) from failure
            if failure is not None:
                raise failure
            await self._inbox.wake.wait()

    async def ack(self, cursor: str) -> None:
        """The server may forget the messages of this batch."""
        for mark in self._continuity.accepted(cursor):
            self._publisher.acknowledge(*mark)

    def _gather(self) -> Batch | None:
        """Takes from the backlog without waiting, so that a cancelled read has taken nothing."""
        backlog = self._continuity.backlog
        whole = Block()
        batch = Batch.empty()
        while len(batch) < _ROWS_MAX and (entry := backlog.front) is not None:
            block = self._ready(entry)
            if block is None:
                break
            whole.gaps += block.gaps
            whole.marks += block.marks
            whole.received = whole.received or block.received
            self._append(block, batch)
        if not (len(batch) or whole.gaps or whole.marks):
            return None
        batch.gaps = tuple(whole.gaps)
        batch.received = whole.received
        doubted = doubt_clock(batch.times, batch.qualities, batch.received or self._context.clock.now())
        if doubted:
            self._context.standing.count("clock_doubted", doubted)
        return self._continuity.give(batch, whole.marks)

    def _ready(self, entry: Entry) -> Block | None:
        """The front as a block, taken from the backlog; None while it must be mended first, or a type learned."""
        backlog = self._continuity.backlog
        if isinstance(entry, Arrival):
            block = self._decoded(entry)
            if self._values.definitions.unlearned:
                return None
            backlog.pop()
            return self._torn(block)
        if isinstance(entry, Block):
            backlog.pop()
            return entry
        if isinstance(entry, Interruption) and entry.whole is not None:
            backlog.pop()
            return Block(gaps=[self._bridged(entry, entry.whole)])
        assert isinstance(entry, Hole | Interruption)
        self._inbox.mend.set()
        return None

    def _decoded(self, arrival: Arrival) -> Block:
        envelope = arrival.envelope
        block = Block(marks=[(envelope.subscription, envelope.sequence)], received=arrival.received)
        try:
            for part in envelope.parts:
                if part.kind == DATA_CHANGE:
                    decode(envelope.body, part, self._values.plain, block.columns)
                elif part.kind == EVENTS and self._alarms.decode(envelope.body, part, block.columns):
                    self._inbox.reconcile.set()
        except MalformedNotification as error:
            self._inbox.malformed(envelope.body, error)
            handles = self._continuity.items.at_home(envelope.subscription)
            # what stands before the fault in the message stays: it was whole
            self._continuity.backlog.put_second(Interruption(handles, "malformed notification", refresh=True))
        columns = block.columns
        standing = self._context.standing
        if columns.doubted:
            standing.count("times_out_of_range", columns.doubted)
        if columns.undecodable:
            standing.count("values_undecodable", columns.undecodable)
        return block

    def _torn(self, block: Block) -> Block | None:
        """Where the server dropped values, a gap stands before the value it flagged."""
        columns = block.columns
        if not columns.overflows:
            return block
        self._context.standing.count("queue_overflows", len(columns.overflows))
        first: dict[int, int] = {}
        for row, handle in enumerate(columns.handles):
            first.setdefault(handle, row)
        leading = Interruption([], "queue overflow")
        for row in columns.overflows:
            handle = columns.handles[row]
            now = (columns.times[row], columns.values[row], columns.qualities[row])
            if first[handle] == row and self._settings.history is not History.OFF:
                leading.handles.append(handle)
                leading.until[handle] = now
            else:
                before = (
                    max(each for each in range(row) if columns.handles[each] == handle) if first[handle] < row else -1
                )
                last = self._continuity.last.get(handle)
                since = columns.times[before] if before >= 0 else (last[0] if last else None)
                tags = (self._continuity.items.tags[handle],)
                block.gaps.append(Gap(tags, since, now[0], "queue overflow", None))
        columns.overflows = []
        if not leading.handles:
            return block
        self._continuity.backlog.put_back(leading, block)
        self._inbox.mend.set()
        return None

    def _bridged(self, entry: Interruption, values: int) -> Gap:
        tags, last = self._continuity.items.tags, self._continuity.last
        since = max(
            (time for handle in entry.handles if (time := last.get(handle, (None,))[0]) is not None), default=None
        )
        return Gap(tuple(tags[handle] for handle in entry.handles), since, None, entry.cause, 0, values)

    def _append(self, block: Block, batch: Batch) -> None:
        columns = block.columns
        handles = columns.handles
        if not handles:
            return
        continuity, items = self._continuity, self._continuity.items
        if max(handles) >= len(items.tags):
            columns = _without(columns, [row for row, handle in enumerate(handles) if handle >= len(items.tags)])
            self._context.standing.count("unknown_handles")
        if block.mended:
            for handle, time, value in zip(handles, columns.times, columns.values, strict=True):
                continuity.repeats.setdefault(handle, {})[time] = value
        elif continuity.repeats:
            columns = self._without_repeats(columns)
        handles = columns.handles
        continuity.last.update(
            zip(handles, zip(columns.times, columns.values, columns.qualities, strict=True), strict=True)
        )
        standing = self._context.standing
        if standing.live < standing.monitored:
            self._live.update(handles)
            standing.live = len(self._live & items.wanted)
        if columns.qualities and max(columns.qualities) >= 0x8000_0000:
            self._notice_vanished(columns)
        tags = list(map(items.tags.__getitem__, handles))
        if columns.structures:
            tags, columns = self._flattened(tags, columns)
        batch.tags += tags
        batch.values += columns.values
        batch.qualities += columns.qualities
        batch.times += columns.times

    def _without_repeats(self, columns: Columns) -> Columns:
        repeats = self._continuity.repeats
        dropped = []
        for row, handle in enumerate(columns.handles):
            known = repeats.get(handle)
            if known is None:
                continue
            time, value = columns.times[row], columns.values[row]
            if time in known and known[time] == value:
                dropped.append(row)
            elif time is None or all(each is None or time > each for each in known):
                del repeats[handle]
        if dropped:
            self._context.standing.count("repeats_dropped", len(dropped))
            return _without(columns, dropped)
        return columns

    def _notice_vanished(self, columns: Columns) -> None:
        vanished = {
            handle
            for handle, quality in zip(columns.handles, columns.qualities, strict=True)
            if quality & 0xFFFF_0000 in _NODE_GONE and self._continuity.items.ids[handle]
        }
        if vanished:
            self._inbox.vanished |= vanished
            self._inbox.reconcile.set()

    def _flattened(self, tags: list[str], columns: Columns) -> tuple[list[str], Columns]:
        options = self._continuity.items.options
        flat, names, at = Columns(), [], 0
        rows = {
            row
            for row in columns.structures
            if (chosen := options[columns.handles[row]]) is not None and chosen.structure is Structure.FLATTEN
        }
        for row in (*sorted(rows), len(tags)):
            names += tags[at:row]
            flat.values += columns.values[at:row]
            flat.qualities += columns.qualities[at:row]
            flat.times += columns.times[at:row]
            at = row + 1
            if row in rows:
                for name, value in flatten(tags[row], columns.values[row]):
                    names.append(name)
                    flat.values.append(value)
                    flat.qualities.append(columns.qualities[row])
                    flat.times.append(columns.times[row])
        return names, flat


def _without(columns: Columns, dropped: list[int]) -> Columns:
    gone = set(dropped)
    kept = [row for row in range(len(columns)) if row not in gone]
    places = {row: place for place, row in enumerate(kept)}
    return Columns(
        [columns.handles[row] for row in kept],
        [columns.values[row] for row in kept],
        [columns.qualities[row] for row in kept],
        [columns.times[row] for row in kept],
        structures=[places[row] for row in columns.structures if row in places],
    )


@asynccontextmanager
async def opcua_source(settings: OpcUaSettings, context: Context, memory: Memory) -> AsyncIterator[OpcUaSource]:
    """Connect and watch; entering raises `Unavailable` if the server cannot be had."""
    continuity = memory.continuity()
    session = await connect(settings, context, continuity.resume)
    ended_by_us = False
    failure: Exception | None = None
    try:
        await continuity.keep_session(session.resume())
        inbox = Inbox(continuity, context)
        values = Values(session)
        alarms = Alarms(session, values)
        resolution = await resolve(session, settings)
        continuity.items.want(resolution)
        for problem in resolution.problems:
            context.log.warning("cannot be had as things are", problem=str(problem))
        publisher = Publisher(session.client, inbox, outstanding=settings.publish_requests, clock=context.clock)
        await go_on(session, continuity, inbox)
        if continuity.subscriptions:
            publisher.start()
        await alarms.adopt(continuity.items)
        reconciler = Reconciler(session, settings, continuity, inbox, publisher, alarms, resolution)
        mender = Mender(session, settings, continuity, inbox, values.plain)
        context.standing.desired, context.standing.live = resolution.desired, 0
        await reconciler.begin()
        context.standing.up(server=session.limits.server, security=session.security)
        async with asyncio.TaskGroup() as group:
            services = (
                session.keep,
                reconciler.run,
                mender.run,
                partial(watch, session, continuity, inbox, publisher),
            )
            tasks = [group.create_task(_serve(service, inbox)) for service in services]
            try:
                yield OpcUaSource(settings, context, continuity, inbox, publisher, values, alarms)
            except Exception as error:  # noqa: BLE001  raised again below: here the group would wrap it
                failure = error
            finally:
                publisher.pause()
                for task in tasks:
                    task.cancel()
        ended_by_us = inbox.failure is None
        if failure is not None:
            raise failure
    finally:
        continuity.session_over()
        if ended_by_us and _transferable(settings):
            continuity.remember()
            await session.close(delete_subscriptions=False)
            continuity.forget_session()
        else:
            session.abandon()


def _transferable(settings: OpcUaSettings) -> bool:
    """Whether another session may take the subscriptions over: an anonymous user on an open channel may not (OPC
    10000-4, 5.14.7), so that its session is left standing to be picked up instead."""
    return settings.user is not None


async def _serve(service: Callable[[], Coroutine[Any, Any, None]], inbox: Inbox) -> None:
    """A service's end is told to the reader, which is who can do something about it."""
    try:
        await service()
    except Unavailable as error:
        inbox.ended(error)
    except Exception as error:  # noqa: BLE001  raised again by the reader, in the flow's own session
        inbox.ended(error)


def unavailable(context: Context, error: Exception) -> Unavailable:
    """What ended a session, as an instruction."""
    sentence, pause = explain(error)
    return Unavailable(f"{context.connection}: {sentence}", retry_after_seconds=pause)
