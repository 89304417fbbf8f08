"""The line's energy meter: a Modbus TCP slave with a handful of input registers, and no memory.

Speaks just enough of the protocol to be read (function 4); what it answers is told, reading by reading.
"""

import asyncio
import math
import struct
import time
from collections.abc import Callable, Iterable
from typing import Final

from deploy.demo.machine import GOOD, Reading

Told = Callable[[list[tuple[str, int, Reading, int]]], None]
"""Tag, source time in ns, value and StatusCode of everything in an answer."""

TAGS: Final = (
    *(f"meter/voltage_l{phase}" for phase in (1, 2, 3)),
    *(f"meter/current_l{phase}" for phase in (1, 2, 3)),
    "meter/active_power",
    "meter/energy",
    "meter/door_open",
)
_REGISTERS: Final = struct.Struct(">Q3H3IiIH")
"""Time in ms since 1970; tenths of V; thousandths of A; tenths of W; hundredths of kWh; a word of bits."""
_HEAD: Final = struct.Struct(">HHHBB")
_READ_INPUT: Final = 4
_ILLEGAL_FUNCTION, _ILLEGAL_ADDRESS = 1, 2
_DOOR: Final = 3


class Meter:
    """Answers with its registers as they are at that moment."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()
        self._began = time.monotonic()
        self._stamp = 0

    async def listen(self) -> int:
        """The port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Off: what it has answered has left it."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for client in self._clients:
            client.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        try:
            while self._server is not None:
                number, protocol, length, unit, function = _HEAD.unpack(await reader.readexactly(_HEAD.size))
                request = await reader.readexactly(length - 2)
                answer = self._answer(function, request)
                writer.write(_HEAD.pack(number, protocol, len(answer) + 1, unit, answer[0]) + answer[1:])
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, struct.error):
            pass  # whoever asked has gone, or speaks something else
        finally:
            self._clients.discard(writer)
            writer.close()

    def _answer(self, function: int, request: bytes) -> bytes:
        if function != _READ_INPUT or len(request) != 4:
            return bytes((function | 0x80, _ILLEGAL_FUNCTION))
        first, count = struct.unpack(">HH", request)
        if (first, count) != (0, _REGISTERS.size // 2):
            return bytes((function | 0x80, _ILLEGAL_ADDRESS))
        registers, readings = self._read()
        self._told(readings)
        return bytes((function, len(registers))) + registers

    def _read(self) -> tuple[bytes, list[tuple[str, int, Reading, int]]]:
        """The registers, and the same as readings."""
        now = time.monotonic() - self._began
        self._stamp = max(self._stamp + 1, time.time_ns() // 1_000_000)
        volts = [round(10 * (230.4 + 0.8 * math.sin(now / 7 + phase))) for phase in range(3)]
        amperes = [round(1000 * (21.5 + 6.0 * math.sin(now / 5 + 2 * phase))) for phase in range(3)]
        watts = round(sum(volt * ampere for volt, ampere in zip(volts, amperes, strict=True)) / 1000)
        energy = round(100 * (8_412.6 + now * 0.0042))
        bits = int(now) % 40 // 36 << _DOOR
        registers = _REGISTERS.pack(self._stamp, *volts, *amperes, watts, energy, bits)
        values: Iterable[Reading] = (
            *(volt / 10 for volt in volts),
            *(ampere / 1000 for ampere in amperes),
            watts / 10,
            energy / 100,
            bool(bits >> _DOOR & 1),
        )
        at = self._stamp * 1_000_000
        return registers, [(tag, at, value, GOOD) for tag, value in zip(TAGS, values, strict=True)]
