"""A broker of our own: enough of Kafka's protocol for the connector, on the simulated network, with ways to misbehave.

What it knows of bytes it has from aiokafka's descriptions of requests and answers; producers' numbers and sequences are
held against each other as KIP-98 says.
"""

import asyncio
import contextlib
import struct
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from aiokafka.protocol.admin import ApiVersionRequest
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetFetchRequest
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

VERSIONS = {0: (3, 7), 1: (4, 11), 2: (1, 3), 3: (1, 5), 8: (2, 3), 9: (1, 3), 10: (0, 1), 18: (0, 0), 22: (0, 0)}
OUT_OF_RANGE, UNKNOWN_TOPIC, TOO_LARGE, NOT_REPLICATED, OUT_OF_ORDER = 1, 3, 10, 20, 45
_HEAD = struct.Struct(">qiibIhiqqqhii")


def _by_version(request: Any) -> dict[int, Any]:
    return {kind.API_VERSION: kind for kind in request._CLASSES}


REQUESTS = {
    0: _by_version(ProduceRequest),
    1: _by_version(FetchRequest),
    2: _by_version(OffsetRequest),
    3: _by_version(MetadataRequest),
    8: _by_version(OffsetCommitRequest),
    9: _by_version(OffsetFetchRequest),
    10: _by_version(FindCoordinatorRequest),
    18: _by_version(ApiVersionRequest),
    22: _by_version(InitProducerIdRequest),
}


@dataclass
class Partition:
    """A log: batches as they came, each with the offset of its first record."""

    batches: list[tuple[int, bytes]] = field(default_factory=list)
    start: int = 0
    end: int = 0
    replicated: int | None = None
    """Where a slow replica is; None: everywhere. What lies behind it cannot be read."""

    @property
    def seen(self) -> int:
        """The end for those who read."""
        return self.end if self.replicated is None else self.replicated

    sequences: dict[int, list[tuple[int, int, int]]] = field(default_factory=lambda: defaultdict(list))
    """By producer: first sequence, count and offset of its last five batches."""

    def append(self, raw: bytes) -> tuple[int, int]:
        """Error code and offset."""
        head = _HEAD.unpack_from(raw)
        producer, first, count = head[9], head[11], head[12]
        if not DefaultRecordBatch(raw).validate_crc():
            return 2, -1
        if producer < 0:
            return 0, self.keep(raw, count)
        known = self.sequences[producer]
        for earlier, size, offset in known:
            if (earlier, size) == (first, count):
                return 0, offset  # the same batch again: it is there
        if first != (known[-1][0] + known[-1][1] if known else 0):
            return OUT_OF_ORDER, -1
        offset = self.keep(raw, count)
        self.sequences[producer] = [*known, (first, count, offset)][-5:]
        return 0, offset

    def keep(self, raw: bytes, count: int) -> int:
        """Whatever it is, it takes `count` offsets."""
        offset = self.end
        self.batches.append((offset, struct.pack(">q", offset) + raw[8:]))
        self.end += count
        return offset

    def forget(self, until: int) -> None:
        """Delete the batches before this offset, as retention does."""
        self.batches = [(first, raw) for first, raw in self.batches if first >= until]
        self.start = until


class Twin:
    """One broker that is a cluster."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.topics: dict[str, list[Partition]] = {}
        self.batch_bytes_max = 1_048_588
        self.produced = 0
        """Produce requests that came."""
        self.deaf: set[int] = set()
        """Requests by number that are done and never answered."""
        self.answers: dict[int, Callable[[str, int], int | None]] = {}
        """Request by number to an error code given for a topic and partition in place of doing it."""
        self.committed: dict[tuple[str, int], int] = {}
        """Positions, of whichever group."""
        self.would_make_topics = False
        """Whether anybody asked for a topic in a way that makes it."""
        self.raw_answer: bytes | None = None
        """Given in place of every answer."""
        self._next_producer = 1000
        self._tasks: set[asyncio.Task[Any]] = set()

    def make(self, topic: str, partitions: int = 1) -> None:
        """Make a topic."""
        self.topics[topic] = [Partition() for _ in range(partitions)]

    def put(self, topic: str, *values: bytes | None, key: bytes | None = None, partition: int = 0) -> None:
        """Another's records, in one batch."""
        builder: Any = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 2**30)
        for place, value in enumerate(values):
            builder.append(place, 1_700_000_000_000, key, value, [])
        self.topics[topic][partition].append(bytes(builder.build()))

    def unread(self, topic: str) -> int:
        """Records that no group has said to have read."""
        ends = {(topic, number): partition.end for number, partition in enumerate(self.topics[topic])}
        return sum(end - self.committed.get(place, 0) for place, end in ends.items())

    def records(self, topic: str) -> list[Any]:
        """Everything in a topic, partition by partition."""
        return [
            record
            for partition in self.topics[topic]
            for _, raw in partition.batches
            for record in DefaultRecordBatch(raw)
        ]

    async def end(self) -> None:
        """Hang up on everybody."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        me = asyncio.current_task()
        assert me is not None
        self._tasks.add(me)
        me.add_done_callback(self._tasks.discard)
        try:
            while True:
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                if not 8 <= size <= 2**24:
                    return
                frame = await reader.readexactly(size)
                answer = await self._answer(frame)
                if self.raw_answer is not None:
                    writer.write(self.raw_answer)
                elif answer is not None:
                    writer.write(struct.pack(">i", len(answer)) + answer)
                    await writer.drain()
        except (OSError, EOFError, ValueError, struct.error, KeyError, TypeError, IndexError):
            pass  # gone, or noise
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, frame: bytes) -> bytes | None:
        api, version, correlation = struct.unpack_from(">hhi", frame)
        (length,) = struct.unpack_from(">h", frame, 8)
        kind = REQUESTS[api][version]
        request = kind.decode(BytesIO(frame[10 + max(length, 0) :]))
        fields = await getattr(self, f"_do_{api}")(request)
        if api in self.deaf:
            return None
        answer: bytes = kind.RESPONSE_TYPE(**fields).encode()
        return struct.pack(">i", correlation) + answer

    async def _do_18(self, request: Any) -> dict[str, Any]:
        return {"error_code": 0, "api_versions": [(api, *versions) for api, versions in VERSIONS.items()]}

    async def _do_3(self, request: Any) -> dict[str, Any]:
        topics = []
        self.would_make_topics |= getattr(request, "allow_auto_topic_creation", True)
        for name in request.topics or ():
            there = self.topics.get(name)
            extra: tuple[Any, ...] = ([],) if request.API_VERSION >= 5 else ()
            partitions = [(0, number, 0, [0], [0], *extra) for number in range(len(there or ()))]
            code = UNKNOWN_TOPIC if there is None else 0
            topics.append((self._said(3, name, 0, code), name, False, partitions))
        answer = {"brokers": [(0, self.host, self.port, None)], "controller_id": 0, "topics": topics}
        if request.API_VERSION >= 2:
            answer["cluster_id"] = "twin"
        if request.API_VERSION >= 3:
            answer["throttle_time_ms"] = 0
        return answer

    async def _do_22(self, request: Any) -> dict[str, Any]:
        self._next_producer += 1
        return {
            "throttle_time_ms": 0,
            "error_code": self._said(22, "", 0, 0),
            "producer_id": self._next_producer,
            "producer_epoch": 0,
        }

    async def _do_0(self, request: Any) -> dict[str, Any]:
        self.produced += 1
        topics = []
        for name, partitions in request.topics:
            answers = []
            for number, raw in partitions:
                code = self._said(0, name, number, 0)
                offset = -1
                if name not in self.topics:
                    code = UNKNOWN_TOPIC
                elif len(raw) > self.batch_bytes_max:
                    code = TOO_LARGE
                elif not code:
                    code, offset = self.topics[name][number].append(raw)
                    if not code and self.topics[name][number].replicated is not None:
                        code = NOT_REPLICATED
                extra = (0,) if request.API_VERSION >= 5 else ()
                answers.append((number, code, offset, -1, *extra))
            topics.append((name, answers))
        return {"topics": topics, "throttle_time_ms": 0}

    async def _do_2(self, request: Any) -> dict[str, Any]:
        topics = []
        for name, partitions in request.topics:
            answers = []
            for number, which in partitions:
                partition = self.topics[name][number]
                answers.append(
                    (number, self._said(2, name, number, 0), -1, partition.start if which == -2 else partition.seen)
                )
            topics.append((name, answers))
        return {"topics": topics, "throttle_time_ms": 0} if request.API_VERSION >= 2 else {"topics": topics}

    async def _do_10(self, request: Any) -> dict[str, Any]:
        more = {"throttle_time_ms": 0, "error_message": None} if request.API_VERSION else {}
        code = self._said(10, "", 0, 0)
        return {"error_code": code, "coordinator_id": 0, "host": self.host, "port": self.port, **more}

    async def _do_9(self, request: Any) -> dict[str, Any]:
        topics = [
            (topic, [(number, self.committed.get((topic, number), -1), "", 0) for number in partitions])
            for topic, partitions in request.topics
        ]
        answer: dict[str, Any] = {"topics": topics}
        if request.API_VERSION >= 2:
            answer["error_code"] = self._said(9, "", 0, 0)
        if request.API_VERSION >= 3:
            answer["throttle_time_ms"] = 0
        return answer

    async def _do_8(self, request: Any) -> dict[str, Any]:
        topics = []
        for topic, partitions in request.topics:
            answers = []
            for number, offset, *_ in partitions:
                code = self._said(8, topic, number, 0)
                if not code:
                    self.committed[topic, number] = offset
                answers.append((number, code))
            topics.append((topic, answers))
        return {"topics": topics, "throttle_time_ms": 0} if request.API_VERSION >= 3 else {"topics": topics}

    async def _do_1(self, request: Any) -> dict[str, Any]:
        topics = self._found(request)
        if not any(partition[-1] or partition[1] for _, partitions in topics for partition in partitions):
            await asyncio.sleep(request.max_wait_time / 1000)
            topics = self._found(request)
        answer: dict[str, Any] = {"throttle_time_ms": 0, "topics": topics}
        if request.API_VERSION >= 7:
            answer |= {"error_code": 0, "session_id": 0}
        return answer

    def _found(self, request: Any) -> list[tuple[str, list[tuple[Any, ...]]]]:
        topics = []
        for name, partitions in request.topics:
            answers: list[tuple[Any, ...]] = []
            for asked in partitions:
                number, start = asked[0], asked[2] if request.API_VERSION >= 9 else asked[1]
                code = self._said(1, name, number, 0)
                middle: tuple[Any, ...] = ([],) if request.API_VERSION == 4 else (0, [])
                if request.API_VERSION >= 11:
                    middle = (*middle, -1)
                if name not in self.topics:
                    answers.append((number, UNKNOWN_TOPIC, -1, -1, *middle, b""))
                    continue
                partition = self.topics[name][number]
                if not code and not partition.start <= start <= partition.end:
                    code = OUT_OF_RANGE
                there = [(first, raw) for first, raw in partition.batches if first < partition.seen]
                raw = b"".join(raw for first, raw in there if first + _count(raw) > start)[: 2**20]
                answers.append((number, code, partition.seen, partition.seen, *middle, b"" if code else raw))
            topics.append((name, answers))
        return topics

    def _said(self, api: int, topic: str, partition: int, otherwise: int) -> int:
        script = self.answers.get(api)
        code = None if script is None else script(topic, partition)
        return otherwise if code is None else code


def _count(raw: bytes) -> int:
    """How many offsets a batch takes."""
    delta: int = _HEAD.unpack_from(raw)[6]
    return delta + 1


@asynccontextmanager
async def twin(host: str = "broker", port: int = 9092) -> AsyncIterator[Twin]:
    """A broker that listens on the simulated network while the block lasts."""
    broker = Twin(host, port)
    server = await asyncio.start_server(broker.serve, host, port)
    try:
        yield broker
    finally:
        server.close()
        await server.wait_closed()
        await broker.end()
