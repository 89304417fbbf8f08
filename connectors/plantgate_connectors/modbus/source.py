"""The Modbus source: lines, the devices on them, and the batches of their polls."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from plantgate.sdk import Batch, Context, Cursor
from plantgate_connectors.modbus.backlog import Backlog
from plantgate_connectors.modbus.device import Device
from plantgate_connectors.modbus.line import Line
from plantgate_connectors.modbus.lines import line_at
from plantgate_connectors.modbus.memory import Memory
from plantgate_connectors.modbus.plan import address_of, plan_of
from plantgate_connectors.modbus.presence import Presence
from plantgate_connectors.modbus.settings import ModbusSettings


class Polled:
    """What outlives the sessions of one use: batches nobody acknowledged yet, and the accounts of the devices."""

    def __init__(self, settings: ModbusSettings, context: Context) -> None:
        self.settings = settings
        self.context = context
        self.memory = Memory(context.folder, [device.name for device in settings.devices])
        self.memory.load()
        self.backlog = Backlog(settings.buffer_samples_max)
        began = asyncio.get_running_loop().time()
        self.devices = [
            Device(
                plan_of(settings, device),
                context,
                began,
                resumed=device.name in self.memory.times,
                time=self.memory.times.get(device.name),
            )
            for device in settings.devices
        ]

    def save(self) -> None:
        """For a later run of the gateway: what is not safe yet will be missing then."""
        self.memory.keep(self.backlog.safe)


class ModbusSource:
    """Gives what the polls brought, merged, in order per tag."""

    def __init__(self, backlog: Backlog, saved: Callable[[], None]) -> None:
        self._backlog = backlog
        self._saved = saved

    async def read(self) -> Batch:
        """One or several whole polls. Never raises for what a device does: that is in the qualities and gaps."""
        return await self._backlog.take()

    async def ack(self, cursor: Cursor) -> None:
        """Forget them here; Modbus devices remember nothing."""
        self._backlog.acknowledge(cursor)
        self._saved()


@asynccontextmanager
async def modbus_source(polled: Polled) -> AsyncIterator[ModbusSource]:
    """Poll for as long as the block lasts. Enters at once: lines connect, and connect again, by themselves."""
    settings, context = polled.settings, polled.context
    presence = Presence(context, {device.plan.name: len(device.plan.fields) for device in polled.devices})
    tasks: list[asyncio.Task[None]] = []
    failure: Exception | None = None
    async with asyncio.TaskGroup() as group:
        try:
            lines: dict[object, Line] = {}
            for device, written in zip(polled.devices, settings.devices, strict=True):
                address = address_of(settings, written)
                if address not in lines:
                    line = lines[address] = line_at(settings, address, context.standing)
                    tasks.append(group.create_task(line.keep(), name=f"{context.connection}: {address}"))
                polling = device.keep_polling(lines[address], polled.backlog, presence)
                tasks.append(group.create_task(polling, name=f"{context.connection}: {device.plan.name}"))
            yield ModbusSource(polled.backlog, polled.save)
        except Exception as error:  # noqa: BLE001  the caller's own; raised below, where the group does not wrap it
            failure = error
        finally:
            for task in tasks:
                task.cancel()
            polled.backlog.session_over()
            polled.save()
            polled.memory.close()
    if failure is not None:
        raise failure
