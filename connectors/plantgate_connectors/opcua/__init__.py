"""OPC UA client: reads tags, events and alarms of a server, and repairs what an outage left out."""

from contextlib import AbstractAsyncContextManager
from typing import ClassVar

from plantgate.sdk import Connector, Settings, Source, Stability, Survey
from plantgate_connectors.opcua.settings import OpcUaSettings

__all__ = ["OpcUa", "OpcUaSettings"]


class OpcUa(Connector[OpcUaSettings]):
    """One use of one OPC UA server by one flow: its own session, so that one flow's stall is its own."""

    Settings: ClassVar[type[Settings]] = OpcUaSettings
    stability: ClassVar[Stability] = Stability.BETA

    def source(self) -> AbstractAsyncContextManager[Source]:
        """A session that watches the wanted tags; what must outlive it is kept in `continuity` and the folder."""
        from plantgate_connectors.opcua.source import open_source  # asyncua is loaded only where it is used

        return open_source(self.settings, self.context)

    async def survey(self) -> Survey:
        """What the server would grant, tag by tag, changing nothing that outlasts the question."""
        from plantgate_connectors.opcua.survey import survey

        return await survey(self.settings, self.context)
