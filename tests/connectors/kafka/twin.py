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
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.record.default_records import DefaultRecordBatch

VERSIONS = {0: (3, 7), 1: (4, 11), 2: (1, 3), 3: (1, 5), 18: (0, 0), 22: (0, 0)}
OUT_OF_ORDER, DUPLICATE, UNKNOWN_TOPIC, TOO_LARGE = 45, 46, 3, 10
_HEAD = struct.Struct(">qiibIhiqqqhii")


def _by_version(request: Any) -> dict[int, Any]:
    return {kind.API_VERSION: kind for kind in request._CLASSES}


REQUESTS = {
    0: _by_version(ProduceRequest),
    1: _by_version(FetchRequest),
    2: _by_version(OffsetRequest),
    3: _by_version(MetadataRequest),
    18: _by_version(ApiVersionRequest),
    22: _by_version(InitProducerIdRequest),
}


@dataclass
class Partition:
    """A log: batches as they came, each with the offset of its first record."""

    batches: list[tuple[int, bytes]] = field(default_factory=list)
    end: int = 0
    sequences: dict[int, list[tuple[int, int, int]]] = field(default_factory=lambda: defaultdict(list))
    """By producer: first sequence, count and offset of its last five batches."""

    def append(self, raw: bytes) -> tuple[int, int]:
        """Error code and offset."""
        head = _HEAD.unpack_from(raw)
        producer, first, count = head[9], head[11], head[12]
        if not DefaultRecordBatch(raw).validate_crc():
            return 2, -1
        known = self.sequences[producer]
        for earlier, size, offset in known:
            if (earlier, size) == (first, count):
                return 0, offset  # the same batch again: it is there
        if first != (known[-1][0] + known[-1][1] if known else 0):
            return OUT_OF_ORDER, -1
        offset = self.end
        self.batches.append((offset, struct.pack(">q", offset) + raw[8:]))
        self.end += count
        self.sequences[producer] = [*known, (first, count, offset)][-5:]
        return 0, offset


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
        self._next_producer = 1000
        self._tasks: set[asyncio.Task[Any]] = set()

    def make(self, topic: str, partitions: int = 1) -> None:
        """Make a topic."""
        self.topics[topic] = [Partition() for _ in range(partitions)]

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
                if answer is not None:
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
        for name in request.topics or ():
            there = self.topics.get(name)
            extra = ([],) if request.API_VERSION >= 5 else ()
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
                answers.append((number, self._said(2, name, number, 0), -1, 0 if which == -2 else partition.end))
            topics.append((name, answers))
        return {"topics": topics, "throttle_time_ms": 0} if request.API_VERSION >= 2 else {"topics": topics}

    async def _do_1(self, request: Any) -> dict[str, Any]:
        topics = []
        for name, partitions in request.topics:
            answers = []
            for asked in partitions:
                number, start = asked[0], asked[2] if request.API_VERSION >= 9 else asked[1]
                partition = self.topics[name][number]
                raw = b"".join(raw for first, raw in partition.batches if first + _count(raw) > start)[: 2**20]
                middle: tuple[Any, ...] = ([],) if request.API_VERSION == 4 else (0, [])
                if request.API_VERSION >= 11:
                    middle = (*middle, -1)
                answers.append((number, self._said(1, name, number, 0), partition.end, partition.end, *middle, raw))
            topics.append((name, answers))
        answer: dict[str, Any] = {"throttle_time_ms": 0, "topics": topics}
        if request.API_VERSION >= 7:
            answer |= {"error_code": 0, "session_id": 0}
        return answer

    def _said(self, api: int, topic: str, partition: int, otherwise: int) -> int:
        script = self.answers.get(api)
        code = None if script is None else script(topic, partition)
        return otherwise if code is None else code


def _count(raw: bytes) -> int:
    count: int = _HEAD.unpack_from(raw)[12]
    return count


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
