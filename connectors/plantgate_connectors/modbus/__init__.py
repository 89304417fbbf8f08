"""Modbus TCP, TLS and RTU: reads registers and bits of devices at intervals, and writes one when told to."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ClassVar

from plantgate.sdk import Actuator, Connector, Settings, Source, Stability, Survey
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

    @asynccontextmanager
    async def actuator(self) -> AsyncIterator[Actuator]:
        """A session that writes, on a connection of its own or between the polls of a line. Raises `Unavailable`."""
        from plantgate_connectors.modbus.actuator import modbus_actuator

        async with modbus_actuator(self.settings, self.context) as actuator:
            yield actuator

    @classmethod
    def unwritable(cls, settings: ModbusSettings, tag: str, data_type: str) -> str:
        """A tag that is not there, read-only by nature, part of a register, or of another type."""
        from plantgate_connectors.modbus.writable import unwritable

        return unwritable(settings, tag, data_type)

    @classmethod
    def remarks(cls, settings: ModbusSettings) -> tuple[str, ...]:
        """Devices anyone could speak for, and timing that costs polls."""
        return settings.doubts()

    async def survey(self) -> Survey:
        """The requests of a poll, what they cost, and what each device answers."""
        from plantgate_connectors.modbus.survey import survey

        return await survey(self.settings, self.context)
