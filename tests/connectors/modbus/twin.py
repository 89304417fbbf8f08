"""A Modbus device of our own for the simulated network: honest unless told how to misbehave."""

import asyncio
import struct
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from plantgate_connectors.modbus.rtu import crc

_HEADER = struct.Struct(">HHHB")


@dataclass(frozen=True, slots=True)
class Question:
    """A request as it came."""

    transaction: int
    unit: int
    function: int
    address: int
    count: int
    data: bytes = b""
    """What a write brings, two bytes a register."""


Reply: TypeAlias = Callable[[Question, bytes], list[bytes | float]]
"""From a question and the right answer's PDU to what is sent: bytes, and pauses in seconds between them."""


@dataclass
class Twin:
    """Registers by unit and function, and how it answers. It speaks TCP framing, or RTU with `rtu`."""

    rtu: bool = False
    words: dict[tuple[int, int], dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    """By (unit, function): values by address; 0 where nothing was set."""
    refused: dict[tuple[int, int, int], int] = field(default_factory=dict)
    """Exception code by (unit, function, address)."""
    dead: set[int] = field(default_factory=set)
    """Units that do not answer."""
    delay_seconds: float = 0.0
    asked: list[tuple[float, Question]] = field(default_factory=list)
    """Every question, and when."""
    times_asked: Counter[int] = field(default_factory=Counter)
    """How often, by unit."""
    asking: asyncio.Event = field(default_factory=asyncio.Event)
    """Set at the next question; then there is another."""
    written: list[Question] = field(default_factory=list)
    """Every write that was done."""
    reply: Reply | None = None
    """What is sent for an answer; the right one, whole, unless given."""
    connections: int = 0
    """How often someone connected."""
    greeting: Callable[[asyncio.StreamWriter], None] | None = None
    """Done with each new connection."""
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def set(self, unit: int, address: int, *values: int, function: int = 3) -> None:
        """Registers from an address on."""
        self.words[unit, function].update(enumerate(values, address))

    def of(self, unit: int) -> list[Question]:
        """What a unit was asked."""
        return [question for _, question in self.asked if question.unit == unit]

    def pdu(self, question: Question) -> bytes:
        """The right answer."""
        for address in range(question.address, question.address + question.count):
            if (code := self.refused.get((question.unit, question.function, address))) is not None:
                return bytes((question.function | 0x80, code))
        if question.data:
            return self._write(question)
        held = self.words[question.unit, question.function]
        values = [held.get(question.address + index, 0) for index in range(question.count)]
        if question.function in (1, 2):
            packed = sum(bool(value) << index for index, value in enumerate(values))
            payload = packed.to_bytes((len(values) + 7) // 8, "little")
        else:
            payload = struct.pack(f">{len(values)}H", *values)
        return bytes((question.function, len(payload))) + payload

    def _write(self, question: Question) -> bytes:
        self.written.append(question)
        head = struct.pack(">BH", question.function, question.address)
        if question.function == 5:
            self.set(question.unit, question.address, int(question.data == b"\xff\0"), function=1)
            return head + question.data
        self.set(question.unit, question.address, *struct.unpack(f">{question.count}H", question.data))
        return head + (question.data if question.function == 6 else struct.pack(">H", question.count))

    def frame(self, question: Question, pdu: bytes) -> bytes:
        """An answer as it goes out."""
        if self.rtu:
            whole = bytes((question.unit,)) + pdu
            return whole + crc(whole)
        return _HEADER.pack(question.transaction, 0, len(pdu) + 1, question.unit) + pdu

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        self._writers.add(writer)
        try:
            if self.greeting is not None:
                self.greeting(writer)
            while True:
                question = await self._question(reader)
                self._note(question)
                if question.unit not in self.dead:
                    await self._answer(question, writer)
        except OSError:
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    def _note(self, question: Question) -> None:
        self.asked.append((asyncio.get_running_loop().time(), question))
        self.times_asked[question.unit] += 1
        self.asking.set()
        self.asking = asyncio.Event()

    async def _question(self, reader: asyncio.StreamReader) -> Question:
        if self.rtu:
            frame = await _exactly(reader, 8)
            if frame[1] == 16:
                frame += await _exactly(reader, frame[6] + 1)
            assert crc(frame[:-2]) == frame[-2:], "what we send is right"
            return _question(0, frame[0], frame[1:-2])
        transaction, _, length, unit = _HEADER.unpack(await _exactly(reader, 7))
        return _question(transaction, unit, await _exactly(reader, length - 1))

    async def _answer(self, question: Question, writer: asyncio.StreamWriter) -> None:
        if self.delay_seconds:
            await asyncio.sleep(self.delay_seconds)
        pdu = self.pdu(question)
        for part in [self.frame(question, pdu)] if self.reply is None else self.reply(question, pdu):
            if isinstance(part, bytes):
                writer.write(part)
                await writer.drain()
            else:
                await asyncio.sleep(part)

    def close(self) -> None:
        """Of every connection."""
        for writer in [*self._writers]:
            writer.transport.abort()


def _question(transaction: int, unit: int, pdu: bytes) -> Question:
    function, address, count = struct.unpack(">BHH", pdu[:5])
    if function in (5, 6):
        return Question(transaction, unit, function, address, 1, pdu[3:])
    if function == 16:
        assert pdu[5] == 2 * count == len(pdu) - 6, "what we send is right"
    return Question(transaction, unit, function, address, count, pdu[6:])


async def _exactly(reader: asyncio.StreamReader, count: int) -> bytes:
    """As `readexactly`, which waits for ever when the connection breaks just after a part of it came (Python 3.11)."""
    found = b""
    while len(found) < count:
        more = await reader.read(count - len(found))
        if not more:
            raise ConnectionResetError
        found += more
    return found


@asynccontextmanager
async def twin(host: str, port: int = 502, *, rtu: bool = False) -> AsyncIterator[Twin]:
    """Listening while the block lasts."""
    device = Twin(rtu)
    server = await asyncio.start_server(device.serve, host, port)
    try:
        yield device
    finally:
        server.close()
        device.close()
        await server.wait_closed()
