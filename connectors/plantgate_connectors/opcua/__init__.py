"""OPC UA client: reads tags, events and alarms, repairs what an outage left out, and writes one when told to."""

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, ClassVar

from plantgate.sdk import Actuator, Connector, Settings, Source, Stability, Survey
from plantgate_connectors.opcua.settings import OpcUaSettings

if TYPE_CHECKING:
    from plantgate_connectors.opcua.declared import Seen
    from plantgate_connectors.opcua.memory import Memory

__all__ = ["OpcUa", "OpcUaSettings"]


class OpcUa(Connector[OpcUaSettings]):
    """One use of one OPC UA server by one flow: its own session, so that one flow's stall is its own.

    asyncua costs 40 MB and half a second, so it is loaded when a connection is opened and not when a file is checked.
    """

    Settings: ClassVar[type[Settings]] = OpcUaSettings
    stability: ClassVar[Stability] = Stability.BETA

    _memory: "Memory | None" = None
    _seen: "Seen | None" = None

    def source(self) -> AbstractAsyncContextManager[Source]:
        """A session that watches the wanted tags; what must outlive it is in the memory and its file."""
        from plantgate_connectors.opcua.memory import Memory
        from plantgate_connectors.opcua.source import opcua_source

        if self._memory is None:
            self._memory = Memory(self.context)
        return opcua_source(self.settings, self.context, self._memory)

    def actuator(self) -> AbstractAsyncContextManager[Actuator]:
        """A session of its own that writes and reads single tags; entering connects, or raises `Unavailable`."""
        from plantgate_connectors.opcua.actuator import opcua_actuator
        from plantgate_connectors.opcua.declared import Seen

        if self._seen is None:
            self._seen = Seen()
        return opcua_actuator(self.settings, self.context, self._seen)

    @classmethod
    def unwritable(cls, settings: OpcUaSettings, tag: str, data_type: str) -> str:
        """A tag that is not named with its node, or whose node can become another with the next restart."""
        row = next((row for row in settings.rows if row.tag == tag), None)
        if row is None:
            return f"`{tag}` is not under `tags` with its node; what patterns find can change and is not written to"
        if not row.address.stable:
            return (
                f"`{tag}`: {row.address} names its namespace by a number, which can mean another after the server"
                " restarts; write nsu=<namespace uri>;… (`plantgate plan` tells the uri)"
            )
        return ""

    @classmethod
    def remarks(cls, settings: OpcUaSettings) -> tuple[str, ...]:
        """No security, and node ids that a restart of the server can turn into others."""
        return settings.doubts()

    async def survey(self) -> Survey:
        """What the server would grant, tag by tag, changing nothing that outlasts the question."""
        from plantgate_connectors.opcua.survey import survey

        return await survey(self.settings, self.context)
