"""A vendor's connector as a vendor would write it, and the mistakes vendors make: what the contracts are tried on.

The wire: JSON lines over TCP. The device sends its readings from the first unacknowledged one, and ``null`` every five
seconds; the reader sends the number up to which it acknowledges. To write, the writer sends ``[number, [row, ...]]``
and the device answers with the number once it has it.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from plantgate.sdk import Batch, Connector, Cursor, Rejected, Sample, Settings, Sink, Source, Unavailable, Value


class AcmeSettings(Settings):
    """Where the device is."""

    host: str = "plc"
    """Name or address."""


@dataclass
class Device:
    """Keeps every reading until it is acknowledged, and everything that is written to it."""

    readings: list[Sample] = field(default_factory=list)
    acknowledged: int = 0
    written: list[Sample] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    clients: set[asyncio.Task[None]] = field(default_factory=set)

    @classmethod
    @asynccontextmanager
    async def running(cls, host: str = "plc") -> AsyncIterator["Device"]:
        device = cls()
        server = await asyncio.start_server(device.serve, host, 700, limit=2**24)
        try:
            yield device
        finally:
            server.close()
            for task in list(device.clients):
                task.cancel()
            await asyncio.sleep(0)

    def set(self, sample: Sample) -> None:
        self.readings.append(sample)
        news, self.news = self.news, asyncio.Event()
        news.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.clients.add(task)
        sending: asyncio.Task[None] | None = None
        try:
            while line := await reader.readline():
                message = json.loads(line)
                if message == "read":
                    sending = asyncio.create_task(self._send(writer))
                elif isinstance(message, int):
                    self.acknowledged = max(self.acknowledged, min(message, len(self.readings)))
                else:
                    self.written += [Sample(*row) for row in message[1]]
                    writer.write(f"{message[0]}\n".encode())
                    await writer.drain()
        except OSError:
            pass
        finally:
            self.clients.discard(task)
            if sending:
                sending.cancel()
            writer.close()

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        following = self.acknowledged
        with contextlib.suppress(OSError):
            while True:
                news = self.news
                while following < len(self.readings):
                    s = self.readings[following]
                    following += 1
                    writer.write(json.dumps([following, s.tag, s.value, s.quality, s.time]).encode() + b"\n")
                    await writer.drain()
                try:
                    async with asyncio.timeout(5):
                        await news.wait()
                except TimeoutError:
                    writer.write(b"null\n")
                    await writer.drain()


class AcmeSource:
    """A session that reads."""

    silence_seconds: float | None = 15.0

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def read(self) -> Batch:
        while True:
            try:
                async with asyncio.timeout(self.silence_seconds):
                    line = await self.reader.readline()
            except (OSError, TimeoutError, ValueError) as error:
                raise Unavailable(f"plc: no answer: {error!r}") from error
            if not line:
                raise Unavailable("plc: closed the connection")
            if (row := self.parse(line)) is not None:
                return Batch.of([Sample(*row[1:])], cursor=str(row[0]))

    def parse(self, line: bytes) -> list[Any] | None:
        try:
            match json.loads(line):
                case None:
                    return None
                case [int(), str(), _, int(), int() | None] as row:
                    return row
        except ValueError as error:
            raise Unavailable(f"plc: sends what is not JSON: {error}") from error
        raise Unavailable("plc: sends what is not a reading")

    async def ack(self, cursor: Cursor) -> None:
        self.writer.write(f"{cursor}\n".encode())


class AcmeSink:
    """A session that writes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.broken = False

    async def accept(self, batch: Batch) -> None:
        if self.broken:
            raise Unavailable("plc: an answer is outstanding")
        rows = [[s.tag, _plain(s.value), s.quality, s.time] for s in batch]
        self.broken = True
        try:
            async with asyncio.timeout(15):
                await self.send(batch.position, rows)
                answer = await self.reader.readline()
        except (OSError, TimeoutError) as error:
            raise Unavailable(f"plc: no answer: {error!r}") from error
        if answer.strip() != str(batch.position).encode():
            raise Unavailable("plc: closed the connection")
        self.broken = False

    async def send(self, number: int, rows: list[Any]) -> None:
        self.writer.write(json.dumps([number, rows]).encode() + b"\n")
        await self.writer.drain()


class Acme(Connector[AcmeSettings]):
    """Reads from and writes to an Acme device."""

    Settings = AcmeSettings
    a_source: type[AcmeSource] = AcmeSource
    a_sink: type[AcmeSink] = AcmeSink

    @asynccontextmanager
    async def source(self) -> AsyncIterator[Source]:
        async with self._connected() as (reader, writer):
            writer.write(b'"read"\n')
            yield self.a_source(reader, writer)

    @asynccontextmanager
    async def sink(self) -> AsyncIterator[Sink]:
        async with self._connected() as (reader, writer):
            yield self.a_sink(reader, writer)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        try:
            async with asyncio.timeout(10):
                reader, writer = await asyncio.open_connection(self.settings.host, 700)
        except (OSError, TimeoutError) as error:
            raise Unavailable(f"plc: {error!r}") from error
        try:
            yield reader, writer
        finally:
            writer.close()


def _plain(value: Value) -> object:
    if isinstance(value, bytes):
        raise Rejected("bytes are not for this device")
    return value


# The mistakes.


class ForgetfulSource(AcmeSource):
    """Acknowledges what it has only read."""

    async def read(self) -> Batch:
        batch = await super().read()
        await super().ack(batch.cursor)
        return batch


class StubbornSource(AcmeSource):
    """Never acknowledges."""

    async def ack(self, cursor: Cursor) -> None:
        pass


class RosySource(AcmeSource):
    """Drops what is not good."""

    async def read(self) -> Batch:
        while True:
            batch = await super().read()
            if batch.qualities == [0]:
                return batch
            await super().ack(batch.cursor)


class InventiveSource(AcmeSource):
    """Puts its own idea of time on what it reads."""

    async def read(self) -> Batch:
        batch = await super().read()
        batch.times = [123]
        return batch


class PatientSource(AcmeSource):
    """Waits for ever for a device that is gone."""

    silence_seconds = None


class ClumsySource(AcmeSource):
    """Loses what it holds when cancelled."""

    async def read(self) -> Batch:
        batch = await super().read()
        await asyncio.sleep(0.01)
        return batch


class HastySource(AcmeSource):
    """Gives the newer of two readings first."""

    held: Batch | None = None

    async def read(self) -> Batch:
        first = self.held or await super().read()
        self.held = None
        try:
            async with asyncio.timeout(1):
                second = await super().read()
        except TimeoutError:
            return first
        self.held = first
        return second


class HoardingSource(AcmeSource):
    """Reads on while nobody asks, and keeps it all; its task outlives it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer)
        self.hoard: asyncio.Queue[Batch] = asyncio.Queue()
        self.task = asyncio.create_task(self._gather())

    async def _gather(self) -> None:
        while True:
            try:
                self.hoard.put_nowait(await AcmeSource.read(self))
            except Unavailable:
                await asyncio.sleep(1)

    async def read(self) -> Batch:
        return await self.hoard.get()


class GreedySource(HoardingSource):
    """Acknowledges what only it has, and hands it on later."""

    async def _gather(self) -> None:
        while True:
            batch = await AcmeSource.read(self)
            await self.ack(batch.cursor)
            self.hoard.put_nowait(batch)

    async def read(self) -> Batch:
        await asyncio.sleep(0.05)
        return await super().read()


class GullibleSource(AcmeSource):
    """Believes that the device always sends what it should."""

    def parse(self, line: bytes) -> list[Any] | None:
        row: list[Any] | None = json.loads(line)
        return row


class BareSource(AcmeSource):
    """Lets the operating system's errors through."""

    async def read(self) -> Batch:
        try:
            return await super().read()
        except Unavailable as error:
            raise (error.__cause__ if isinstance(error.__cause__, ConnectionError) else error) from None


class GulpingSource(AcmeSource):
    """Takes what arrives together for a message."""

    async def read(self) -> Batch:
        while (row := json.loads(await self.reader.read(65536))) is None:
            pass
        return Batch.of([Sample(*row[1:])], cursor=str(row[0]))


class LiteralSink(AcmeSink):
    """Believes that the answer is a number."""

    async def accept(self, batch: Batch) -> None:
        try:
            async with asyncio.timeout(15):
                await self.send(batch.position, [[s.tag, s.value, s.quality, s.time] for s in batch])
                if int(await self.reader.readline()) != batch.position:
                    raise Unavailable("plc: another answer")
        except (OSError, TimeoutError) as error:
            raise Unavailable("plc: no answer") from error


class TrustingSink(AcmeSink):
    """Returns when it has sent, not when the far end has it."""

    async def accept(self, batch: Batch) -> None:
        try:
            await self.send(batch.position, [[s.tag, s.value, s.quality, s.time] for s in batch])
        except OSError as error:
            raise Unavailable("plc: connection lost") from error


class FinalSink(AcmeSink):
    """Says never where it should say later."""

    async def accept(self, batch: Batch) -> None:
        try:
            await super().accept(batch)
        except Unavailable as error:
            raise Rejected(str(error)) from error


class BrittleSink(AcmeSink):
    """Falls over values it does not expect."""

    async def accept(self, batch: Batch) -> None:
        for value in batch.values:
            if isinstance(value, float) and value != value:
                raise ZeroDivisionError
        await super().accept(batch)


class BareAcme(Acme):
    """Lets the operating system's errors through when connecting."""

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection(self.settings.host, 700)
        try:
            yield reader, writer
        finally:
            writer.close()


def with_source(mistake: type[AcmeSource]) -> type[Acme]:
    return type(mistake.__name__, (Acme,), {"a_source": mistake})


def with_sink(mistake: type[AcmeSink]) -> type[Acme]:
    return type(mistake.__name__, (Acme,), {"a_sink": mistake})


async def shown(device: Device, samples: Sequence[Sample]) -> None:
    for number, sample in enumerate(samples):
        device.set(sample)
        if number % 20 == 0:
            await asyncio.sleep(0)
