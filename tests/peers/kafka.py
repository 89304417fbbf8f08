"""Apache Kafka, one node in KRaft mode: started, stopped, killed and brought back with what it had written."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.partitioner import DefaultPartitioner

from tests.peers.child import Child, PeerError
from tests.peers.kafka_setup import Tls, format_log, guarded, java, plain
from tests.peers.mosquitto import free_port


@dataclass(frozen=True, slots=True)
class Record:
    """One record as the broker keeps it."""

    partition: int
    offset: int
    timestamp: int
    """Milliseconds since 1970 UTC."""
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Written:
    """One sample that plantgate wrote, read back."""

    tag: str
    value: object
    code: int
    """The quality, an OPC UA StatusCode."""
    time: str | None
    """RFC 3339, as it was written."""
    origin: str
    position: int
    partition: int
    offset: int


class Kafka:
    """A broker on ports of its own. What it has acknowledged outlives `kill`: the operating system keeps its files."""

    def __init__(self, folder: Path, port: int, client: dict[str, Any]) -> None:
        self.folder = folder
        self.host = "127.0.0.1"
        self.port = port
        self.client = client
        """What a client of aiokafka must be given besides the address: TLS and login."""
        self.log = folder / "kafka.log"
        self._child: Child | None = None

    @property
    def bootstrap(self) -> str:
        """Address for clients."""
        return f"{self.host}:{self.port}"

    @property
    def child(self) -> Child:
        """The running process."""
        assert self._child is not None, "the broker is not running"
        return self._child

    async def start(self, seconds: float = 60.0) -> None:
        """Start, and return when it answers as a cluster. After `kill` or `stop`, the same broker comes back."""
        properties = self.folder / "kafka.properties"
        child = await Child.start([*java(), "-Xmx512m", "kafka.Kafka", properties], log=self.log)
        self._child = child
        try:
            async with asyncio.timeout(seconds):
                while not await self._answers():
                    if not child.running:
                        raise PeerError(f"Kafka did not start: {child.last_words()}")
                    await asyncio.sleep(0.1)
        except TimeoutError:
            await child.kill()
            raise PeerError(f"Kafka did not answer on port {self.port} in {seconds} s: {child.last_words()}") from None

    async def stop(self) -> None:
        """End as an operator would."""
        if self._child is not None:
            await self._child.stop(20.0)

    async def kill(self) -> None:
        """End at once (SIGKILL)."""
        await self.child.kill()

    async def create_topic(
        self, name: str, partitions: int = 1, settings: Mapping[str, str] | None = None, *, seconds: float = 20.0
    ) -> None:
        """Make a topic, and wait until it can be written to."""
        topic = NewTopic(name, partitions, 1, topic_configs=dict(settings or {}))
        async with asyncio.timeout(seconds), self._admin() as admin:
            answer = await admin.create_topics([topic])
            for _, code, *more in answer.topic_errors:
                if code:
                    raise PeerError(f"Kafka would not make topic {name}: error {code} {more}")
            while (await admin.describe_topics([name]))[0]["error_code"]:  # noqa: ASYNC110  a foreign process has no event
                await asyncio.sleep(0.05)

    async def delete_topic(self, name: str, *, seconds: float = 20.0) -> None:
        """Remove a topic, and wait until it is gone."""
        async with asyncio.timeout(seconds), self._admin() as admin:
            await admin.delete_topics([name])
            while not (await admin.describe_topics([name]))[0]["error_code"]:  # noqa: ASYNC110  as above
                await asyncio.sleep(0.05)

    async def delete_records(self, topic: str, partition: int, *, before: int) -> None:
        """Delete what lies before an offset, as retention does."""
        async with self._admin() as admin:
            await admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(before_offset=before)})

    async def records(self, topic: str, *, seconds: float = 60.0) -> list[Record]:
        """Everything in a topic now, partition by partition, oldest first."""
        found: list[Record] = []
        consumer = AIOKafkaConsumer(
            topic,
            bootstrap_servers=self.bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            **self.client,
        )
        async with asyncio.timeout(seconds):
            await consumer.start()
            try:
                ends = await consumer.end_offsets(list(consumer.assignment()))
                while any([await consumer.position(place) < end for place, end in ends.items()]):
                    for records in (await consumer.getmany(timeout_ms=500)).values():
                        found += map(_record, records)
            finally:
                await consumer.stop()
        return sorted(found, key=lambda record: (record.partition, record.offset))

    async def written(self, topic: str) -> list[Written]:
        """The samples in a topic that plantgate filled with a record a value; gap records are left out."""
        found = []
        for record in await self.records(topic):
            assert record.value is not None
            document = json.loads(record.value)
            if "tag" in document:
                found.append(
                    Written(
                        document["tag"],
                        document["value"],
                        document["code"],
                        document["time"],
                        document["origin"],
                        document["position"],
                        record.partition,
                        record.offset,
                    )
                )
        return found

    async def columns(self, topic: str) -> list[tuple[str, list[int]]]:
        """Tag and numbers of each record in a topic that plantgate filled with a record a tag (`each: tag`)."""
        documents = [json.loads(record.value or b"{}") for record in await self.records(topic)]
        return [(document["tag"], document["positions"]) for document in documents if "positions" in document]

    async def partitions_by_key(self, topic: str, keys: Sequence[bytes]) -> dict[bytes | None, int]:
        """Where aiokafka's own producer would put records with these keys."""
        async with self._admin() as admin:
            every = list(range(len((await admin.describe_topics([topic]))[0]["partitions"])))
        return {key: DefaultPartitioner()(key, every, every) for key in keys}

    @contextlib.asynccontextmanager
    async def _admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap, **self.client)
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection(self.host, self.port)
        except OSError:
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True


@contextlib.asynccontextmanager
async def kafka(
    *,
    folder: Path | None = None,
    port: int = 0,
    users: Mapping[str, str] | None = None,
    mechanism: str = "SCRAM-SHA-256",
    tls: Tls | None = None,
    client: Mapping[str, Any] | None = None,
    settings: Sequence[str] = (),
) -> AsyncIterator[Kafka]:
    """Run a broker; it is there when the block begins and gone when it ends.

    `users` are passwords by name (nobody else is let in), known by `mechanism`; `client` is what our own helpers give
    to aiokafka to be let in. `settings` are further lines for the broker's properties.
    """
    with contextlib.ExitStack() as stack:
        home = folder or Path(stack.enter_context(TemporaryDirectory(prefix="kafka-")))
        home.mkdir(parents=True, exist_ok=True)
        chosen, controller = port or free_port(), free_port()
        lines = [*plain(home, chosen, controller), *guarded(users, mechanism, tls), *settings]
        properties = home / "kafka.properties"
        properties.write_text("\n".join(lines) + "\n")
        broker = Kafka(home, chosen, dict(client or {}))
        if not (home / "data" / "meta.properties").exists():
            await format_log(properties, users if mechanism.startswith("SCRAM") else None, mechanism, broker.log)
        try:
            await broker.start()
            yield broker
        finally:
            if broker._child is not None:
                await broker._child.kill()


def _record(record: Any) -> Record:
    return Record(record.partition, record.offset, record.timestamp, record.key, record.value, tuple(record.headers))
