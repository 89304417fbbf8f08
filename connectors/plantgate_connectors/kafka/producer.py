"""Record batches to the leaders of their partitions, each written once: the idempotent half of Kafka's protocol.

A batch has our producer's number and the number of its first record (KIP-98), so a leader that has it already says so.
One batch of a partition is under way at a time, which keeps the order; the bytes of a batch are made once, so that what
is sent again after an answer that never came is the very same batch.
"""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final, TypeAlias

from aiokafka import codec
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from plantgate.sdk import Deadline, Unavailable
from plantgate_connectors.kafka import refusals
from plantgate_connectors.kafka.link import Link, Topic, Unreached
from plantgate_connectors.kafka.requests import Produce
from plantgate_connectors.kafka.settings import Compression

CODECS: Final = {
    Compression.NONE: 0,
    Compression.GZIP: 1,
    Compression.SNAPPY: 2,
    Compression.LZ4: 3,
    Compression.ZSTD: 4,
}
RECORD_OVERHEAD_BYTES: Final = 40
"""What a record takes beside key, value and headers, at most."""
HEAD_BYTES: Final = 61
"""Of a record batch."""
_KEY, _VALUE = itemgetter(0), itemgetter(1)
_PAUSE_SECONDS: Final = (0.05, 1.0)
_SEQUENCE_MOST: Final = 2**31
_NO_TRANSACTION_MS: Final = 2**31 - 1


Record: TypeAlias = tuple[bytes, bytes, int, str]
"""Key, value, milliseconds since 1970 UTC, and the tag, for messages. Not a class: one is made for each value."""


@dataclass(slots=True)
class Lot:
    """Records of one partition that travel as one batch."""

    topic: str
    partition: int
    records: Sequence[Record]
    packed: bytes | bytearray = field(default=b"", repr=False)
    stamped: bool = False
    """Whether the timestamps are ours, since the topic would not take the source's."""


@dataclass(slots=True)
class Refused:
    """A lot that a leader will never take as it is."""

    code: int
    lot: Lot
    behind: list[Lot]
    """What was to follow in that partition and has not been sent, so as to keep the order."""


class Producer:
    """One producer's number, and the partitions it writes to.

    The next session can take it over while the process lives, so that what was not settled in this one is sent as the
    very same batches: records that wait for a slow replica cannot be read back, and yet they are there.
    """

    def __init__(self, link: Link, *, compression: Compression, headers: Sequence[tuple[str, bytes]]) -> None:
        self._link = link
        self._codec = CODECS[compression]
        self._headers = list(headers)
        self._number = -1
        self._epoch = -1
        self._next: defaultdict[tuple[str, int], int] = defaultdict(int)
        self._topics: dict[str, Topic] = {}
        self._disowned = False
        """The brokers no longer take our number."""
        self.unsettled: list[Lot] = []
        """Sent, or about to be, when the last `send` was given up; in order."""

    def take_over(self, link: Link) -> None:
        """Go on in another session."""
        self._link = link
        self._topics.clear()

    async def begin(self, topic: str) -> Topic:
        """Find the topic, and get a number from the cluster."""
        found = await self._look(topic)
        if self._number < 0:
            await self._get_number()
        return found

    async def _get_number(self) -> None:
        """A cluster that has just started has none to give for a moment."""
        deadline = Deadline.after(self._link.settings.connect_seconds)
        while True:
            broker = next(iter(self._link.brokers))
            answer = await self._link.ask(broker, InitProducerIdRequest(None, _NO_TRANSACTION_MS))
            with self._link.understood():
                code = int(answer.error_code)
                if not code:
                    self._number, self._epoch = int(answer.producer_id), int(answer.producer_epoch)
                    return
            if code not in refusals.STARTING or deadline.passed():
                raise refusals.unwanted(code, self._link.who, "producing")
            await asyncio.sleep(_PAUSE_SECONDS[0])

    async def send(self, lots: Sequence[Lot], deadline: Deadline) -> list[Refused]:
        """Returns when every lot is written, or refused for good: those are returned.

        Raises `Unavailable` when that is not known by the deadline; then any of the lots may be there.
        """
        waiting: defaultdict[tuple[str, int], list[Lot]] = defaultdict(list)
        for lot in reversed(lots):
            waiting[lot.topic, lot.partition].append(lot)  # the next one is the last in the list
        try:
            return await self._send(waiting, deadline)
        finally:
            left = [lot for theirs in waiting.values() for lot in reversed(theirs)]
            self.unsettled = [] if self._disowned else left

    async def _send(self, waiting: defaultdict[tuple[str, int], list[Lot]], deadline: Deadline) -> list[Refused]:
        refused: list[Refused] = []
        pauses = itertools.chain((0.0,), itertools.repeat(_PAUSE_SECONDS[0], 4), itertools.repeat(_PAUSE_SECONDS[1]))
        trouble: Unavailable | None = None
        while waiting:
            before = sum(map(len, waiting.values()))
            trouble = await self._round(waiting, refused, deadline, trouble)
            if trouble is None or sum(map(len, waiting.values())) < before:
                continue
            pause = next(pauses)
            if deadline.left() <= pause:
                raise trouble
            await asyncio.sleep(pause)
            await self._look_again({topic for topic, _ in waiting})
        return refused

    async def _round(
        self,
        waiting: defaultdict[tuple[str, int], list[Lot]],
        refused: list[Refused],
        deadline: Deadline,
        trouble: Unavailable | None,
    ) -> Unavailable | None:
        """One request to each leader, with one lot of each partition."""
        by_leader: defaultdict[int, list[Lot]] = defaultdict(list)
        missing = None
        for (topic, partition), lots in waiting.items():
            leader = self._topics[topic].leaders.get(partition, -1)
            if leader < 0:
                missing = Unavailable(f"{self._link.who}: partition {partition} of {topic} has no leader")
            else:
                by_leader[leader].append(lots[-1])
        if deadline.left() <= 0:
            raise trouble or missing or Unavailable(f"{self._link.who}: nothing was confirmed in time")
        for codes in await self._exchange_all(by_leader, deadline):
            if isinstance(codes, Unavailable):
                missing = codes
                continue
            for lot, code in codes:
                place = lot.topic, lot.partition
                if code in refusals.PASSING:
                    missing = refusals.unwanted(code, self._link.who, f"topic {lot.topic}")
                    continue
                if code in refusals.NEVER or code == refusals.INVALID_TIMESTAMP:
                    refused.append(Refused(code, lot, waiting.pop(place)[-2::-1]))
                    continue
                if code not in (0, refusals.DUPLICATE):
                    self._disowned = code in refusals.DISOWNED
                    raise refusals.unwanted(code, self._link.who, f"topic {lot.topic}")
                self._next[place] = (self._next[place] + len(lot.records)) % _SEQUENCE_MOST
                waiting[place].pop()
                if not waiting[place]:
                    del waiting[place]
        return missing

    async def _exchange_all(
        self, by_leader: dict[int, list[Lot]], deadline: Deadline
    ) -> list[list[tuple[Lot, int]] | Unavailable]:
        if len(by_leader) < 2:
            return [await self._exchange(leader, lots, deadline) for leader, lots in by_leader.items()]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._exchange(leader, lots, deadline)) for leader, lots in by_leader.items()]
        return [task.result() for task in tasks]

    async def _exchange(
        self, leader: int, lots: Sequence[Lot], deadline: Deadline
    ) -> list[tuple[Lot, int]] | Unavailable:
        by_topic: defaultdict[str, list[tuple[int, bytes | bytearray]]] = defaultdict(list)
        for lot in lots:
            by_topic[lot.topic].append((lot.partition, self._pack(lot)))
        seconds = max(0.01, min(deadline.left(), self._link.settings.request_seconds))
        request = Produce(round(seconds * 1000), list(by_topic.items()))
        try:
            answer = await self._link.ask(leader, request, patience=seconds)
            with self._link.understood():
                codes: dict[tuple[str, int], int] = {
                    (topic, partition): code
                    for topic, partitions in answer.topics
                    for partition, code, *_ in partitions
                }
                return [(lot, codes[lot.topic, lot.partition]) for lot in lots]
        except Unavailable as error:
            return error

    def _pack(self, lot: Lot) -> bytes | bytearray:
        """The batch as on the wire, made once."""
        if not lot.packed:
            builder: Any = DefaultRecordBatchBuilder(
                2, self._codec, 0, self._number, self._epoch, self._next[lot.topic, lot.partition], _SEQUENCE_MOST - 1
            )
            append, headers = builder.append, self._headers
            for place, (key, value, timestamp, _) in enumerate(lot.records):
                append(place, timestamp, key, value, headers)
            lot.packed = builder.build()
        return lot.packed

    async def _look(self, name: str) -> Topic:
        topic = self._topics[name] = await self._link.topic(name)
        return topic

    async def _look_again(self, names: set[str]) -> None:
        """Who leads now. A cluster that does not say keeps what we know; a topic that is gone is told."""
        for name in names:
            try:
                await self._look(name)
            except Unreached:
                return


def lots_of(
    topic: str,
    partition: int,
    records: Sequence[Record],
    bytes_max: int,
    extra: int,
    too_large: Callable[[Record], None] | None,
) -> list[Lot]:
    """Records of a partition in lots of at most `bytes_max`; `extra` is the size of headers.

    A record that is larger by itself is given to `too_large`; without that, it is a lot of its own.
    """
    overhead = extra + RECORD_OVERHEAD_BYTES
    total = sum(map(len, map(_KEY, records))) + sum(map(len, map(_VALUE, records))) + overhead * len(records)
    if HEAD_BYTES + total <= bytes_max:
        return [Lot(topic, partition, records)] if records else []
    lots: list[Lot] = []
    some: list[Record] = []
    size = HEAD_BYTES
    for record in records:
        more = len(record[0]) + len(record[1]) + overhead
        if HEAD_BYTES + more > bytes_max and too_large is not None:
            too_large(record)
            continue
        if size + more > bytes_max and some:
            lots.append(Lot(topic, partition, some))
            some, size = [], HEAD_BYTES
        some.append(record)
        size += more
    if some:
        lots.append(Lot(topic, partition, some))
    return lots


def missing_library(compression: Compression) -> str:
    """Why a compression cannot be used on this machine, in a sentence; empty when it can."""
    there = {
        Compression.SNAPPY: codec.has_snappy,
        Compression.LZ4: codec.has_lz4,
        Compression.ZSTD: codec.has_zstd,
    }.get(compression)
    if there is None or there():
        return ""
    return f"has publish.compression: {compression.value}, which needs the package cramjam; install it, or write gzip"
