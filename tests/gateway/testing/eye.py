"""A vendor's camera as a vendor would write it, and the mistakes vendors make: what the contract is tried on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar

from plantgate.sdk import Camera, Connector, Frame, Settings, Unavailable

ROWS, COLUMNS = 4, 5


class EyeSettings(Settings):
    """Nothing to set."""


@dataclass
class Device:
    """Shows a picture, or nothing that is one, and is there or not."""

    shown: int | None = 0
    there: bool = True
    changed: list[int] = field(default_factory=list)
    """Every picture since the start."""

    def show(self, number: int) -> None:
        self.shown = number
        self.changed.append(number)


class EyeCamera:
    """Looks every tenth of a second."""

    def __init__(self, device: Device) -> None:
        self.device, self.number = device, 0

    async def frame(self) -> Frame:
        while True:
            await asyncio.sleep(0.1)
            self.check()
            if (shown := self.look()) is not None:
                self.number += 1
                return Frame(f"eye {self.number}", self.pixels(shown), self.at())

    def check(self) -> None:
        if not self.device.there:
            raise Unavailable("eye: nobody answers")

    def look(self) -> int | None:
        return self.device.shown

    def pixels(self, shown: int) -> memoryview:
        return memoryview(bytes([shown]) * (ROWS * COLUMNS)).cast("B", (ROWS, COLUMNS))

    def at(self) -> float:
        return asyncio.get_running_loop().time()


class Eye(Connector[EyeSettings]):
    """Sees."""

    Settings = EyeSettings
    seen: ClassVar[type[EyeCamera]] = EyeCamera
    device: ClassVar[Device]

    @asynccontextmanager
    async def camera(self) -> AsyncIterator[Camera]:
        if not self.device.there:
            raise Unavailable("eye: nobody answers")
        yield self.seen(self.device)


# The same over a network: a question mark asks, the answer is twenty bytes.


class FarDevice(Device):
    """Answers at ``eye:700``."""

    @classmethod
    @asynccontextmanager
    async def running(cls) -> AsyncIterator["FarDevice"]:
        device = cls()
        clients: set[asyncio.StreamWriter] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            clients.add(writer)
            try:
                while await reader.read(1) == b"?":
                    if device.shown is not None:
                        writer.write(bytes([device.shown]) * (ROWS * COLUMNS))
            except OSError:
                pass
            finally:
                clients.discard(writer)
                writer.close()

        server = await asyncio.start_server(serve, "eye", 700)
        try:
            yield device
        finally:
            server.close()
            for writer in list(clients):
                writer.transport.abort()
            await asyncio.sleep(0)


class FarCamera:
    """Asks every tenth of a second."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self.number = reader, writer, 0

    async def frame(self) -> Frame:
        await asyncio.sleep(0.1)
        try:
            async with asyncio.timeout(5.0):
                pixels = await self.ask()
        except (OSError, EOFError, TimeoutError) as error:
            raise Unavailable(f"eye: {error!r}") from error
        self.number += 1
        return Frame(f"eye {self.number}", pixels, asyncio.get_running_loop().time())

    async def ask(self) -> memoryview:
        self.writer.write(b"?")
        return memoryview(await self.reader.readexactly(ROWS * COLUMNS)).cast("B", (ROWS, COLUMNS))


class FarEye(Connector[EyeSettings]):
    """Sees from afar."""

    Settings = EyeSettings
    seen: ClassVar[type[FarCamera]] = FarCamera

    @asynccontextmanager
    async def camera(self) -> AsyncIterator[Camera]:
        try:
            async with asyncio.timeout(10):
                reader, writer = await asyncio.open_connection("eye", 700)
        except (OSError, TimeoutError) as error:
            raise Unavailable(f"eye: {error!r}") from error
        try:
            yield self.seen(reader, writer)
        finally:
            writer.transport.abort()


# The mistakes.


class TornCamera(FarCamera):
    """Fills up with black what has not come."""

    async def ask(self) -> memoryview:
        self.writer.write(b"?")
        came = await self.reader.read(ROWS * COLUMNS)
        with suppress(OSError):
            while len(came) < ROWS * COLUMNS and (more := await self.reader.read(ROWS * COLUMNS - len(came))):
                came += more
        return memoryview(came.ljust(ROWS * COLUMNS, b"\0")).cast("B", (ROWS, COLUMNS))


class PatientCamera(FarCamera):
    """Waits for a picture until there is one."""

    async def frame(self) -> Frame:
        return Frame("eye", await self.ask(), asyncio.get_running_loop().time())


class GullibleCamera(FarCamera):
    """Believes that a picture has the numbers that it was tried with."""

    async def ask(self) -> memoryview:
        pixels = await super().ask()
        if max(pixels.cast("B")) > 99:
            raise ValueError("brighter than anything I was tried with")
        return pixels


class QueueingCamera(EyeCamera):
    """Gives every picture, one after the other."""

    def look(self) -> int | None:
        return self.device.changed.pop(0) if self.device.changed else self.device.shown


class ReusingCamera(EyeCamera):
    """Has one buffer."""

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        self.buffer = bytearray(ROWS * COLUMNS)

    def pixels(self, shown: int) -> memoryview:
        self.buffer[:] = bytes([shown]) * len(self.buffer)
        return memoryview(self.buffer).cast("B", (ROWS, COLUMNS))


class PaddedCamera(EyeCamera):
    """Gives rows with room between them, as drivers do."""

    def pixels(self, shown: int) -> memoryview:
        return memoryview(bytes([shown]) * 2 * ROWS * COLUMNS)[::2]


class EarlyCamera(EyeCamera):
    """Counts from its own start."""

    def at(self) -> float:
        return 0.0


class BluntCamera(EyeCamera):
    """Lets its decoder's error through."""

    def look(self) -> int | None:
        if self.device.shown is None:
            raise ValueError("not a picture")
        return self.device.shown


class FaithfulCamera(EyeCamera):
    """Gives the last good picture where there is none."""

    def look(self) -> int | None:
        return self.device.changed[-1] if self.device.shown is None else self.device.shown


class HopefulCamera(EyeCamera):
    """Waits for a device that is gone."""

    def check(self) -> None:
        pass

    def look(self) -> int | None:
        return self.device.shown if self.device.there else None


class LeavingCamera(EyeCamera):
    """Leaves a task that watches over something."""

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        self.watching: asyncio.Task[Any] = asyncio.create_task(asyncio.sleep(3600.0))
