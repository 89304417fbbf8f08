"""Modbus TCP, TLS and RTU: reads registers and bits of devices at intervals."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ClassVar

from plantgate.sdk import Connector, Settings, Source, Stability, Survey
from plantgate_connectors.modbus.settings import ModbusSettings

if TYPE_CHECKING:
    from plantgate_connectors.modbus.source import Polled

__all__ = ["Modbus", "ModbusSettings"]


class Modbus(Connector[ModbusSettings]):
    """One use of some devices by one flow, with connections of its own."""

    Settings: ClassVar[type[Settings]] = ModbusSettings
    stability: ClassVar[Stability] = Stability.BETA

    _polled: "Polled | None" = None

    @asynccontextmanager
    async def source(self) -> AsyncIterator[Source]:
        """A session that polls. Devices that do not answer are in its qualities and gaps, and end no session."""
        from plantgate_connectors.modbus.source import Polled, modbus_source

        if self._polled is None:
            self._polled = Polled(self.settings, self.context)
        async with modbus_source(self._polled) as source:
            yield source

    @classmethod
    def remarks(cls, settings: ModbusSettings) -> tuple[str, ...]:
        """Devices anyone could speak for, and timing that costs polls."""
        return settings.doubts()

    async def survey(self) -> Survey:
        """The requests of a poll, what they cost, and what each device answers."""
        from plantgate_connectors.modbus.survey import survey

        return await survey(self.settings, self.context)
