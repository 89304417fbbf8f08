"""Sparkplug B 3.0: an edge node that publishes batches, a host application that reads other edge nodes and commands."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ClassVar

from plantgate.sdk import Actuator, Connector, Context, Sink, Source, Stability, Survey
from plantgate.sdk.plugin import Settings
from plantgate_connectors.mqtt.client import Role
from plantgate_connectors.mqtt.memory import Memory
from plantgate_connectors.mqtt.session import Flaps
from plantgate_connectors.mqtt.watched import session
from plantgate_connectors.sparkplug.bdseq import BdSeq
from plantgate_connectors.sparkplug.catalog import Catalog
from plantgate_connectors.sparkplug.edge import EdgeNode
from plantgate_connectors.sparkplug.host import Followed, HostApplication
from plantgate_connectors.sparkplug.messages import Known
from plantgate_connectors.sparkplug.settings import SparkplugSettings
from plantgate_connectors.sparkplug.survey import survey

if TYPE_CHECKING:
    from plantgate_connectors.sparkplug.command_link import Kept

__all__ = ["Sparkplug", "SparkplugSettings"]


class Sparkplug(Connector[SparkplugSettings]):
    """An edge node or a host application at an MQTT broker."""

    Settings: ClassVar[type[Settings]] = SparkplugSettings
    stability: ClassVar[Stability] = Stability.BETA

    def __init__(self, settings: SparkplugSettings, context: Context) -> None:
        super().__init__(settings, context)
        self._mqtt = settings.as_mqtt()
        self._flaps = Flaps()
        self._bdseq = BdSeq(context.folder)
        levels = 1 if settings.publish is None else settings.publish.device_levels
        self._known = Known(Catalog(context.folder, levels))
        self._followed = Followed(Memory(context.folder))
        self._kept: Kept | None = None

    @asynccontextmanager
    async def source(self) -> AsyncIterator[Source]:
        """A host application's session. The broker keeps nothing for us while we are away; a gap says so."""
        self._followed.memory.load(self.context.log)
        host = HostApplication(self.settings, self.context, self._followed)
        role = Role(
            self.client_id("source"), clean=True, will=host.will, packet_bytes_max=self.settings.message_bytes_max
        )
        async with session(self._mqtt, self.context, role, host, self._flaps, host.attend) as talk:
            try:
                await host.begin(talk)
                yield host
            finally:
                host.farewell()

    @asynccontextmanager
    async def sink(self) -> AsyncIterator[Sink]:
        """An edge node's session, from birth to death."""
        self._known.catalog.load(self.context.log)
        client_id = self.client_id("sink")
        edge = EdgeNode(self.settings, self.context, client_id, self._known, self._bdseq.advance())
        role = Role(client_id, clean=True, will=edge.will)
        async with session(self._mqtt, self.context, role, edge, self._flaps, edge.attend) as talk:
            try:
                await edge.begin(talk)
                yield edge
            finally:
                edge.farewell()

    @asynccontextmanager
    async def actuator(self) -> AsyncIterator[Actuator]:
        """A session that commands edge nodes, beside those that read or publish. Raises `Unavailable`."""
        from plantgate_connectors.sparkplug.actuator import sparkplug_actuator
        from plantgate_connectors.sparkplug.command_link import Kept

        self._kept = self._kept or Kept()
        async with sparkplug_actuator(self.settings, self.context, self.client_id("actuator"), self._kept) as actuator:
            yield actuator

    async def survey(self) -> Survey:
        """What the broker grants, and whether the primary host is there, under a client id of its own."""
        client_id = f"{self.settings.client_id or f'plantgate-{self.context.connection}'}-plan-{secrets.token_hex(4)}"
        return await survey(self.settings, self.context, client_id)

    def client_id(self, role: str) -> str:
        """Our name at the broker: as written, or made once for this use and kept in its folder."""
        commands = self.settings.commands
        if role == "actuator" and commands is not None and commands.client_id is not None:
            return commands.client_id
        if self.settings.client_id is not None:
            return self.settings.client_id
        kept = self.context.folder / f"client_id.{role}"
        if kept.exists() and (known := kept.read_text(encoding="utf-8").strip()):
            return known
        made = f"plantgate-{self.context.connection}-{secrets.token_hex(4)}"
        kept.write_text(made + "\n", encoding="utf-8")
        return made

    @classmethod
    def objection(cls, settings: SparkplugSettings, *, source: bool) -> str:
        """Each role needs its name."""
        if source and settings.subscribe is None:
            return "has no `subscribe`, so no flow can read from it; write subscribe: { host_id: … }"
        if not source and settings.publish is None:
            return "has no `publish`, so no flow can end in it; write publish: { group: …, edge_node: … }"
        return ""

    @classmethod
    def unwritable(cls, settings: SparkplugSettings, tag: str, data_type: str) -> str:
        """A tag that no command is written for. Its type is the birth certificate's to say."""
        if settings.commands is None:
            return "has no `commands`, so nothing can be written through it; name the metrics that may be"
        if tag not in {metric.tag for metric in settings.commands.metrics}:
            return f"`{tag}` is not among its commands.metrics; name its group, edge node, device and metric there"
        return ""

    @classmethod
    def remarks(cls, settings: SparkplugSettings) -> tuple[str, ...]:
        """What is allowed and unwise."""
        return settings.doubts()
