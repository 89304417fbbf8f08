"""Apache Kafka: batches to a topic, each sample there once; and topics as tags."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

from plantgate.sdk import Connector, Context, Sink, Source, Stability, Survey
from plantgate.sdk.plugin import Settings
from plantgate_connectors.kafka.ledger import Ledger
from plantgate_connectors.kafka.link import link
from plantgate_connectors.kafka.producer import Producer, missing_library
from plantgate_connectors.kafka.settings import KafkaSettings, Repeats
from plantgate_connectors.kafka.sink import KafkaSink
from plantgate_connectors.kafka.source import KafkaSource
from plantgate_connectors.kafka.survey import survey

__all__ = ["Kafka", "KafkaSettings"]


class Kafka(Connector[KafkaSettings]):
    """Writes to and reads from topics of a Kafka cluster."""

    Settings: ClassVar[type[Settings]] = KafkaSettings
    stability: ClassVar[Stability] = Stability.BETA

    def __init__(self, settings: KafkaSettings, context: Context) -> None:
        super().__init__(settings, context)
        self._complained: set[str] = set()
        self._producer: Producer | None = None

    @asynccontextmanager
    async def source(self) -> AsyncIterator[Source]:
        """A session that reads, from where the cluster says that we were."""
        async with link(self.settings, self.context.connection, self.client_id) as way:
            source = KafkaSource(self.settings, self.context, way, self._complained)
            await source.begin()
            yield source

    @asynccontextmanager
    async def sink(self) -> AsyncIterator[Sink]:
        """A session that writes. What the one before left in doubt is looked for before anything is sent again."""
        ledger = Ledger(self.context.folder, self.settings.publish.topic)
        async with link(self.settings, self.context.connection, self.client_id) as way:
            before = self._producer if self.settings.publish.repeats is Repeats.AVOID else None
            sink = KafkaSink(self.settings, self.context, way, ledger, before)
            try:
                await sink.begin()
                yield sink
            finally:
                self._producer = sink.producer if sink.producer.unsettled else None
                sink.end()

    async def survey(self) -> Survey:
        """Brokers, topics, replicas and limits, as the cluster tells them."""
        return await survey(self.settings, self.context.connection, self.client_id)

    @classmethod
    def objection(cls, settings: KafkaSettings, *, source: bool) -> str:
        """A source needs something to read, a compression its library."""
        if source and not settings.subscribe:
            return "has no `subscribe`, so no flow can read from it; name the topics to read"
        return "" if source else missing_library(settings.publish.compression)

    @classmethod
    def remarks(cls, settings: KafkaSettings) -> tuple[str, ...]:
        """A password in the clear, a name that is not checked."""
        return settings.doubts()

    @property
    def client_id(self) -> str:
        """Our name at the brokers."""
        return self.settings.client_id or f"plantgate-{self.context.connection}"
