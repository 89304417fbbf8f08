"""Universal Robots: state by RTDE and the dashboard, and guarded writes to registers that the robot program reads."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ClassVar

from plantgate.sdk import Actuator, Connector, Settings, Source, Stability, Survey
from plantgate_connectors.ur.settings import UrSettings

if TYPE_CHECKING:
    from plantgate_connectors.ur.source import Reading

__all__ = ["Ur", "UrSettings"]


class Ur(Connector[UrSettings]):
    """One use of a robot by one flow, with connections of its own."""

    Settings: ClassVar[type[Settings]] = UrSettings
    stability: ClassVar[Stability] = Stability.ALPHA

    _reading: "Reading | None" = None

    @asynccontextmanager
    async def source(self) -> AsyncIterator[Source]:
        """A session that hears data packages, until the connection is gone. Raises `Unavailable`."""
        from plantgate_connectors.ur.source import Reading, ur_source

        if self._reading is None:
            self._reading = Reading(self.settings, self.context)
        async with ur_source(self._reading) as source:
            yield source

    @asynccontextmanager
    async def actuator(self) -> AsyncIterator[Actuator]:
        """A session that writes, with the robot's state beside it. Raises `Unavailable`."""
        from plantgate_connectors.ur.actuator import ur_actuator

        async with ur_actuator(self.settings, self.context) as actuator:
            yield actuator

    @classmethod
    def remarks(cls, settings: UrSettings) -> tuple[str, ...]:
        """A protocol anyone can speak, and writes that nothing fences."""
        return settings.doubts()

    async def survey(self) -> Survey:
        """Which fields and registers the controller grants, and how the robot stands."""
        from plantgate_connectors.ur.survey import survey

        return await survey(self.settings, self.context)
