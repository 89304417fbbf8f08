"""OPC UA client: reads tags, events and alarms of a server, and repairs what an outage left out."""

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, ClassVar

from plantgate.sdk import Connector, Settings, Source, Stability, Survey
from plantgate_connectors.opcua.settings import OpcUaSettings

if TYPE_CHECKING:
    from plantgate_connectors.opcua.memory import Memory

__all__ = ["OpcUa", "OpcUaSettings"]


class OpcUa(Connector[OpcUaSettings]):
    """One use of one OPC UA server by one flow: its own session, so that one flow's stall is its own.

    asyncua costs 40 MB and half a second, so it is loaded when a connection is opened and not when a file is checked.
    """

    Settings: ClassVar[type[Settings]] = OpcUaSettings
    stability: ClassVar[Stability] = Stability.BETA

    _memory: "Memory | None" = None

    def source(self) -> AbstractAsyncContextManager[Source]:
        """A session that watches the wanted tags; what must outlive it is in the memory and its file."""
        from plantgate_connectors.opcua.memory import Memory
        from plantgate_connectors.opcua.source import opcua_source

        if self._memory is None:
            self._memory = Memory(self.context)
        return opcua_source(self.settings, self.context, self._memory)

    @classmethod
    def remarks(cls, settings: OpcUaSettings) -> tuple[str, ...]:
        """No security, and node ids that a restart of the server can turn into others."""
        return settings.doubts()

    async def survey(self) -> Survey:
        """What the server would grant, tag by tag, changing nothing that outlasts the question."""
        from plantgate_connectors.opcua.survey import survey

        return await survey(self.settings, self.context)
