"""OPC UA server: shows the tags of a flow to SCADA systems, which can read them and nothing else."""

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, ClassVar

from plantgate.sdk import Connector, Settings, Sink, Stability, Survey
from plantgate_connectors.opcua_server.settings import OpcUaServerSettings

if TYPE_CHECKING:
    from plantgate_connectors.opcua_server.space import Space

__all__ = ["OpcUaServer", "OpcUaServerSettings"]


class OpcUaServer(Connector[OpcUaServerSettings]):
    """One server with the tags of one flow. asyncua is loaded when it is opened, not when a file is checked."""

    Settings: ClassVar[type[Settings]] = OpcUaServerSettings
    stability: ClassVar[Stability] = Stability.BETA

    _space: "Space | None" = None

    def sink(self) -> AbstractAsyncContextManager[Sink]:
        """Listen; the address space is the connector's, so a session that ends takes no tag with it."""
        from plantgate_connectors.opcua_server.sink import opcua_server

        return opcua_server(self.settings, self.context, self.space)

    @property
    def space(self) -> "Space":
        """The tags with their latest values."""
        from plantgate_connectors.opcua_server.space import Space

        if self._space is None:
            self._space = Space(self.context.log, tags_max=self.settings.limits.tags_max)
        return self._space

    async def survey(self) -> Survey:
        """Whether the port is free, our certificate is there, and any client is trusted."""
        from plantgate_connectors.opcua_server.survey import survey

        return await survey(self.settings, self.context)

    @classmethod
    def objection(cls, settings: OpcUaServerSettings, *, source: bool) -> str:
        """It takes; it gives nothing."""
        return "is a server for others to read from; no flow can read from it" if source else ""

    @classmethod
    def remarks(cls, settings: OpcUaServerSettings) -> tuple[str, ...]:
        """Reading without encryption, or without a name."""
        return settings.doubts()
