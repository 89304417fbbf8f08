"""MQTT 3.1.1 and 5: publish batches to a broker, read topics as tags, publish commands to devices."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

from plantgate.sdk import Actuator, Connector, Context, Sink, Source, Stability, Survey
from plantgate.sdk.plugin import Settings
from plantgate_connectors.mqtt.client import Role
from plantgate_connectors.mqtt.learned import Learned
from plantgate_connectors.mqtt.memory import Memory
from plantgate_connectors.mqtt.routes import Routes
from plantgate_connectors.mqtt.session import Flaps
from plantgate_connectors.mqtt.settings import MqttSettings
from plantgate_connectors.mqtt.sink import MqttSink
from plantgate_connectors.mqtt.source import MqttSource
from plantgate_connectors.mqtt.subscriber import Subscriber
from plantgate_connectors.mqtt.survey import survey
from plantgate_connectors.mqtt.watched import session

__all__ = ["Mqtt", "MqttSettings"]


class Mqtt(Connector[MqttSettings]):
    """Publishes to and subscribes at an MQTT broker, and commands devices there."""

    Settings: ClassVar[type[Settings]] = MqttSettings
    stability: ClassVar[Stability] = Stability.BETA

    def __init__(self, settings: MqttSettings, context: Context) -> None:
        super().__init__(settings, context)
        self._flaps = Flaps()
        self._learned = Learned()
        self._memory = Memory(context.folder)
        self._refused: set[str] = set()
        self._troubled: set[bytes] = set()

    @asynccontextmanager
    async def source(self) -> AsyncIterator[Source]:
        """A session that reads. The broker keeps it while we are away, and repeats what was not acknowledged."""
        self._memory.load(self.context.log)
        routes = Routes(self.settings.subscribe)
        source = MqttSource(self.settings, self.context, routes, self._memory, self._troubled)
        subscriber = Subscriber(self.settings, self.context, routes, self._memory, self._refused)
        role = Role(self.client_id("source"), clean=False, packet_bytes_max=self.settings.message_bytes_max)
        async with session(self.settings, self.context, role, source, self._flaps, subscriber.reconcile) as talk:
            source.attach(talk)
            await subscriber.begin(talk)
            source.begin()
            yield source

    @asynccontextmanager
    async def sink(self) -> AsyncIterator[Sink]:
        """A session that publishes; the broker remembers nothing of it, since what is unconfirmed is ours to repeat."""
        client_id = self.client_id("sink")
        sink = MqttSink(self.settings, self.context, client_id, self._learned)
        role = Role(client_id, clean=True, will=sink.will)
        async with session(self.settings, self.context, role, sink, self._flaps) as talk:
            await sink.begin(talk)
            yield sink

    @asynccontextmanager
    async def actuator(self) -> AsyncIterator[Actuator]:
        """A session that publishes commands and hears devices report; the broker remembers nothing of it."""
        from plantgate_connectors.mqtt.actuator import mqtt_actuator

        async with mqtt_actuator(self.settings, self.context, self.client_id("actuator"), self._flaps) as actuator:
            yield actuator

    async def survey(self) -> Survey:
        """What the broker grants: its limits, and an answer to each subscription, under a client id of its own."""
        client_id = f"{self.settings.client_id or f'plantgate-{self.context.connection}'}-plan-{secrets.token_hex(4)}"
        return await survey(self.settings, self.context, client_id)

    @classmethod
    def objection(cls, settings: MqttSettings, *, source: bool) -> str:
        """A source needs something to read."""
        if source and not settings.subscribe:
            return "has no `subscribe`, so no flow can read from it; name the topics to read"
        return ""

    @classmethod
    def unwritable(cls, settings: MqttSettings, tag: str, data_type: str) -> str:
        """A tag without a command, without a state, or of a type that its messages cannot say."""
        from plantgate_connectors.mqtt.writable import unwritable

        return unwritable(settings, tag, data_type)

    @classmethod
    def remarks(cls, settings: MqttSettings) -> tuple[str, ...]:
        """A password in the clear, deliveries nobody confirms, refusals nobody hears."""
        return settings.doubts()

    def client_id(self, role: str) -> str:
        """Our name at the broker: as written, or made once for this use and kept in its folder.

        A flow may read from and write to one broker, so each role has a name of its own.
        """
        if self.settings.client_id is not None:
            return self.settings.client_id
        kept = self.context.folder / f"client_id.{role}"
        if kept.exists() and (known := kept.read_text(encoding="utf-8").strip()):
            return known
        made = f"plantgate-{self.context.connection}-{secrets.token_hex(4)}"
        kept.write_text(made + "\n", encoding="utf-8")
        return made
