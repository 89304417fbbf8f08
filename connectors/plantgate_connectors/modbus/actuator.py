"""The Modbus actuator: one request a command, confirmed by its echo, and the machine's own value when asked for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn

from plantgate.sdk import Command, Context, Deadline, OutcomeUnknown, Rejected, Sample, Unavailable
from plantgate.sdk.quality import GOOD
from plantgate_connectors.modbus.blocks import Block
from plantgate_connectors.modbus.described import Device
from plantgate_connectors.modbus.dial import Address
from plantgate_connectors.modbus.encode import encoded
from plantgate_connectors.modbus.line import Line
from plantgate_connectors.modbus.lines import latest, line_at
from plantgate_connectors.modbus.mailbox_session import MailboxSession
from plantgate_connectors.modbus.pdu import Answer, Refused, Silent, Write
from plantgate_connectors.modbus.plan import address_of, plan_of
from plantgate_connectors.modbus.refusals import BUSY, exception_name, for_good, trouble
from plantgate_connectors.modbus.registers import Field
from plantgate_connectors.modbus.settings import ModbusSettings
from plantgate_connectors.modbus.writable import place_of, read_only


class ModbusActuator:
    """Writes and reads single tags. A device at an address of its own is connected to when it is first needed."""

    def __init__(self, settings: ModbusSettings, context: Context, group: asyncio.TaskGroup) -> None:
        self._settings, self._context, self._group = settings, context, group
        self._lines: dict[Address, Line] = {}
        self._mailboxes: dict[str, MailboxSession] = {}
        self._keeping: list[asyncio.Task[None]] = []

    async def connect(self) -> None:
        """Where there is one address. Raises `Unavailable`; connecting again later is the line's."""
        if (line := self._only_line()) is not None:
            await line.tried.wait()
            if not line.up.is_set():
                raise Unavailable(line.reason)

    async def lost(self) -> NoReturn:
        """Where there is one address: until it cannot be connected to again. Raises `Unavailable`.

        Of several, the others are still of use when one is lost; each line connects again by itself.
        """
        while (line := self._only_line()) is None:
            await asyncio.Event().wait()  # for ever
        await line.down.wait()
        raise Unavailable(line.reason)

    def close(self) -> None:
        """Lines that nobody else keeps are closed."""
        for task in self._keeping:
            task.cancel()

    async def write(self, command: Command) -> None:
        """Send it once. Returns when the device has repeated it, which by the standard says that it was done.

        Raises as `plantgate.sdk.Actuator.write`; waits for the answer as long as the device's `timeout_ms`, also beyond
        the deadline, and raises `CancelledError` when cancelled, with the connection dropped if it was sent.
        """
        device, field = self._known(command.tag)
        if problem := read_only(self._settings, device, field):
            raise Rejected(problem)
        if (mailbox := self._mailbox(device, field)) is not None:
            await mailbox.write(command, field)
            return
        write, patience = encoded(field, command.value), plan_of(self._settings, device).patience
        if objection := command.objection():
            raise Unavailable(f"{command.tag}: {objection}; nothing was sent")
        line = self._line(address_of(self._settings, device))
        not_after = latest(line, write, command.deadline)
        _confirmed(command.tag, write, await line.write(device.unit, write, patience, not_after, command.objection))

    async def read(self, tag: str, deadline: Deadline) -> Sample:
        """What the registers hold now; its source time is unknown. Raises `Unavailable`, `Rejected`.

        Of a tag with a mailbox it is asked once the program takes nothing of an earlier session any more.
        """
        device, field = self._known(tag)
        if (mailbox := self._mailbox(device, field)) is not None:
            await mailbox.settle(deadline)
        block, patience = Block(field.table, (field,)), plan_of(self._settings, device).patience
        line = self._line(address_of(self._settings, device))
        try:
            async with deadline.timeout():
                [came] = await line.ask(device.unit, [block.read], patience)
        except TimeoutError:
            raise Unavailable(f"{tag}: no answer from {line.address} unit {device.unit} in time") from None
        if isinstance(came, bytes):
            values, qualities = block.decode(came)
            return Sample(tag, values[0], GOOD if qualities is None else qualities[0], None)
        why = f"{tag}: {trouble(came).reason}"
        raise Rejected(why) if for_good(came) else Unavailable(why)

    def _known(self, tag: str) -> tuple[Device, Field]:
        found = place_of(self._settings, tag)
        if found is None:
            raise Rejected(f"{tag} is not among the tags of connection {self._context.connection}")
        return found

    def _mailbox(self, device: Device, field: Field) -> MailboxSession | None:
        slot = self._settings.mailbox_of(device)
        if slot is None or field.tag not in slot.tag_ids:
            return None
        session = self._mailboxes.get(device.name)
        if session is None:
            line, patience = self._line(address_of(self._settings, device)), plan_of(self._settings, device).patience
            session = self._mailboxes[device.name] = MailboxSession(device.name, slot, line, device.unit, patience)
            name = f"{self._context.connection}: heartbeat for {device.name}"
            self._keeping.append(self._group.create_task(session.keep_beating(), name=name))
        return session

    def _only_line(self) -> Line | None:
        addresses = {address_of(self._settings, device) for device in self._settings.devices}
        return self._line(addresses.pop()) if len(addresses) == 1 else None

    def _line(self, address: Address) -> Line:
        line = self._lines.get(address)
        if line is None:
            line = self._lines[address] = line_at(self._settings, address, self._context.standing)
            name = f"{self._context.connection}: writing to {address}"
            self._keeping.append(self._group.create_task(line.keep(), name=name))
        return line


def _confirmed(tag: str, write: Write, came: Answer) -> None:
    """Raises what became of a write that was not confirmed; which exceptions mean what is in the README."""
    match came:
        case bytes():
            return
        case Silent(reason, asked=False):
            raise Unavailable(f"{tag}: {reason}; nothing was sent")
        case Refused(code) if for_good(came) or code == BUSY:
            raise Rejected(f"{tag}: {write}: refused with {exception_name(code)}; nothing was changed")
        case _:
            raise OutcomeUnknown(f"{tag}: {write}: sent, and then {trouble(came).reason}; look at the machine")


@asynccontextmanager
async def modbus_actuator(settings: ModbusSettings, context: Context) -> AsyncIterator[ModbusActuator]:
    """A session. Where all devices share an address, entering connects to it, or raises `Unavailable`."""
    failure: Exception | None = None
    async with asyncio.TaskGroup() as group:
        actuator = ModbusActuator(settings, context, group)
        try:
            await actuator.connect()
            yield actuator
        except Exception as error:  # noqa: BLE001  raised below, where the group does not wrap it
            failure = error
        finally:
            actuator.close()
    if failure is not None:
        raise failure
