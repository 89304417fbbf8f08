"""A vendor's actuator as a vendor would write it, and the mistakes vendors make: what the contract is tried on.

The wire: JSON lines over TCP. ``[id, tag]`` reads and ``[id, tag, value]`` writes; the answer to both is the id, the
tag and what the device has now, or a text that says why not.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, NoReturn

from plantgate.sdk import (
    Actuator,
    Command,
    Connector,
    Deadline,
    OutcomeUnknown,
    Rejected,
    Sample,
    Setpoint,
    Settings,
    Unavailable,
)
from plantgate.sdk.quality import GOOD

TAGS = ("line1/a", "line1/b")


class ValveSettings(Settings):
    """Where the device is."""

    host: str = "plc"
    """Name or address."""


@dataclass
class Device:
    """Holds a value for each tag, and counts writes."""

    held: dict[str, Any] = field(default_factory=lambda: dict.fromkeys(TAGS, 0.0))
    written: list[tuple[str, Any]] = field(default_factory=list)
    refuses: bool = False
    silent: bool = False
    lie: Any = None
    clients: set[asyncio.Task[None]] = field(default_factory=set)

    @classmethod
    @asynccontextmanager
    async def running(cls) -> AsyncIterator["Device"]:
        device = cls()
        server = await asyncio.start_server(device.serve, "plc", 700)
        try:
            yield device
        finally:
            server.close()
            for task in list(device.clients):
                task.cancel()
            await asyncio.sleep(0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.clients.add(task)
        try:
            while (line := await reader.readline()).endswith(b"\n"):
                number, tag, *value = json.loads(line)
                if value and self.refuses:
                    writer.write(b'"not now"\n')
                    continue
                if value:
                    self.held[tag] = value[0]
                    self.written.append((tag, value[0]))
                if not (value and self.silent):
                    answer = [number, tag, self.held[tag]]
                    writer.write(json.dumps(self.lie(answer) if self.lie and value else answer).encode() + b"\n")
        except OSError:
            pass
        finally:
            self.clients.discard(task)
            writer.close()


class ValveActuator:
    """A session; one question at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.turn = asyncio.Lock()
        self.number = 0
        self.spoilt = False

    async def write(self, command: Command) -> None:
        if command.tag not in TAGS:
            raise Rejected(f"{command.tag} is no tag of this valve")
        try:
            async with command.deadline.timeout():
                await self.turn.acquire()
        except TimeoutError:
            raise Unavailable("busy until it was too late; nothing was sent") from None
        try:
            self.still_wanted(command)
            await self.send(command)
        finally:
            self.turn.release()

    def still_wanted(self, command: Command) -> None:
        if objection := command.objection():
            raise Unavailable(f"{objection}; nothing was sent")
        if self.spoilt or self.reader.at_eof() or self.writer.is_closing():
            raise Unavailable("this session is of no more use; nothing was sent")

    async def send(self, command: Command) -> None:
        self.number += 1
        wanted = [self.number, command.tag, command.value]
        self.writer.write(json.dumps(wanted).encode() + b"\n")
        self.spoilt = True
        answer = await self.answer()
        if not self.confirms(answer, wanted):
            raise OutcomeUnknown(f"asked for {wanted}, and it says {answer!r}")
        self.spoilt = False

    def confirms(self, answer: Any, wanted: list[Any]) -> bool:
        if answer == "not now":
            self.spoilt = False
            raise Rejected("the valve says: not now")
        return bool(answer == wanted)

    async def answer(self) -> Any:
        try:
            async with asyncio.timeout(2.0):
                return json.loads(await self.reader.readline())
        except (OSError, TimeoutError, ValueError) as error:
            raise OutcomeUnknown(f"sent, and then {error!r}") from error

    async def read(self, tag: str, deadline: Deadline) -> Sample:
        if tag not in TAGS:
            raise Rejected(f"{tag} is no tag of this valve")
        if self.spoilt:
            raise Unavailable("this session is of no more use")
        self.number += 1
        try:
            async with deadline.timeout(), self.turn:
                self.writer.write(json.dumps([self.number, tag]).encode() + b"\n")
                match json.loads(await self.reader.readline()):
                    case [self.number, str(said), int() | float() as value] if said == tag:
                        return Sample(tag, value, GOOD, None)
        except (OSError, ValueError, TimeoutError) as error:
            self.spoilt = True
            raise Unavailable(f"no answer: {error!r}") from error
        self.spoilt = True
        raise Unavailable("an answer to something else")


class AlertActuator(ValveActuator):
    """Notices when it is lost."""

    async def lost(self) -> NoReturn:
        while not (self.reader.at_eof() or self.reader.exception() or self.writer.is_closing()):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        raise Unavailable("plc: the connection is gone")


class Valve(Connector[ValveSettings]):
    """Writes to a valve."""

    Settings = ValveSettings
    an_actuator: ClassVar[type[ValveActuator]] = ValveActuator

    @asynccontextmanager
    async def actuator(self) -> AsyncIterator[Actuator]:
        try:
            async with asyncio.timeout(10):
                reader, writer = await asyncio.open_connection(self.settings.host, 700)
        except (OSError, TimeoutError) as error:
            raise Unavailable(f"plc: {error!r}") from error
        try:
            yield self.an_actuator(reader, writer)
        finally:
            writer.transport.abort()


# The mistakes.


class RepeatingActuator(ValveActuator):
    """Asks again when there is no answer, as libraries do."""

    async def send(self, command: Command) -> None:
        try:
            await super().send(command)
        except OutcomeUnknown:
            await super().send(command)


class LateRepeatingActuator(ValveActuator):
    """Asks again when it was cancelled."""

    async def send(self, command: Command) -> None:
        try:
            await super().send(command)
        except asyncio.CancelledError:
            self.writer.write(json.dumps([0, command.tag, command.value]).encode() + b"\n")
            raise


class InvitingActuator(ValveActuator):
    """Says `Unavailable` for a lost answer."""

    async def send(self, command: Command) -> None:
        try:
            await super().send(command)
        except OutcomeUnknown as error:
            raise Unavailable(str(error)) from error


class TimelessActuator(ValveActuator):
    """Never looks at the deadline."""

    def still_wanted(self, command: Command) -> None:
        pass


class DeafActuator(ValveActuator):
    """Looks at the deadline, and not at whether the command was recalled."""

    def still_wanted(self, command: Command) -> None:
        if command.deadline.passed():
            raise Unavailable("too late; nothing was sent")


class EarlyActuator(ValveActuator):
    """Looks at the deadline before it waits for its turn, and not after."""

    async def write(self, command: Command) -> None:
        if command.deadline.passed():
            raise Unavailable("too late; nothing was sent")
        async with self.turn:
            await self.send(command)


class TrustingActuator(ValveActuator):
    """Takes any answer for the right one."""

    def confirms(self, answer: Any, wanted: list[Any]) -> bool:
        return True


class HastyActuator(ValveActuator):
    """Does not wait for the answer."""

    async def send(self, command: Command) -> None:
        self.number += 1
        self.writer.write(json.dumps([self.number, command.tag, command.value]).encode() + b"\n")


class RememberingActuator(ValveActuator):
    """Reads what it wrote itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer)
        self.kept: dict[str, Setpoint] = {}

    async def write(self, command: Command) -> None:
        await super().write(command)
        self.kept[command.tag] = command.value

    async def read(self, tag: str, deadline: Deadline) -> Sample:
        return Sample(tag, self.kept[tag], GOOD, None) if tag in self.kept else await super().read(tag, deadline)


class ParkingActuator(ValveActuator):
    """Connects again by itself and sends what had to wait."""

    def still_wanted(self, command: Command) -> None:
        if not self.writer.is_closing() and not self.reader.at_eof():
            super().still_wanted(command)

    async def send(self, command: Command) -> None:
        while self.reader.at_eof() or self.writer.is_closing() or self.reader.exception():
            await asyncio.sleep(0.5)
            try:
                self.reader, self.writer = await asyncio.open_connection("plc", 700)
            except OSError:
                continue
        await super().send(command)


class GullibleActuator(ValveActuator):
    """Believes that what comes is JSON."""

    async def answer(self) -> Any:
        try:
            async with asyncio.timeout(2.0):
                line = await self.reader.readline()
        except (OSError, TimeoutError) as error:
            raise OutcomeUnknown(f"sent, and then {error!r}") from error
        return json.loads(line)


class PatientActuator(ValveActuator):
    """Waits for an answer until there is one."""

    async def answer(self) -> Any:
        return json.loads(await self.reader.readline())


class PatientReader(ValveActuator):
    """Reads without a deadline."""

    async def read(self, tag: str, deadline: Deadline) -> Sample:
        return await super().read(tag, Deadline.after(3600.0))


class KeyedActuator(ValveActuator):
    """Looks a tag up and does not say that it is not there."""

    async def write(self, command: Command) -> None:
        number = {tag: number for number, tag in enumerate(TAGS)}[command.tag]
        assert number in (0, 1)
        await super().write(command)


class LeavingActuator(ValveActuator):
    """Leaves a task that watches over something."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer)
        self.watching = asyncio.create_task(asyncio.sleep(3600.0))


class BluntActuator(ValveActuator):
    """Says `OutcomeUnknown` for a clear no."""

    def confirms(self, answer: Any, wanted: list[Any]) -> bool:
        return bool(answer == wanted)


class RefusingActuator(ValveActuator):
    """Says `Rejected` for an answer it does not understand."""

    async def send(self, command: Command) -> None:
        try:
            await super().send(command)
        except OutcomeUnknown as error:
            raise Rejected(str(error)) from error


class SleepingActuator(ValveActuator):
    """Notices that it is lost when it is asked something."""

    async def lost(self) -> NoReturn:
        while not self.spoilt:  # noqa: ASYNC110  the mistake
            await asyncio.sleep(0.1)
        raise Unavailable("plc: the connection is gone")


class AnxiousActuator(ValveActuator):
    """Takes silence for a loss."""

    async def lost(self) -> NoReturn:
        await asyncio.sleep(30.0)
        raise Unavailable("plc: nothing was heard of it")


class BrittleActuator(ValveActuator):
    """Its wait is spoilt by a cancel."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer)
        self.gone = asyncio.get_running_loop().create_future()

    async def lost(self) -> NoReturn:
        await self.gone
        raise Unavailable("plc: the connection is gone")


class RawActuator(AlertActuator):
    """Lets the network's own error out."""

    async def lost(self) -> NoReturn:
        try:
            await super().lost()
        except Unavailable as error:
            raise OSError(str(error)) from error
