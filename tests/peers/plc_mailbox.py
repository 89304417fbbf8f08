"""A twin of ours of the PLC: what `mailbox.st` beside the Modbus connector says, in Python, behind the Modbus twin.

`Program.scan` is the body of the function block, line by line; `Plc` gives it registers, a clock and scans.
"""

import asyncio
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from tests.connectors.modbus.twin import Question, Twin

ADDRESS, ECHO_ADDRESS = 1000, 1012
LOW, HIGH, FALLBACK = (0.0, 20.0), (120.0, 80.0), (0.0, 25.0)
SILENCE_MS = 3000
OPENED, APPLIED, OUTSIDE, LATE, NO_SUCH_TAG, NO_HEARTBEAT = range(6)

BLOCK: Final = struct.Struct(">IHH8sIHH")
SCAN_SECONDS: Final = 0.01
_WRAPS: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class Applied:
    """A command that took effect."""

    tag: int
    value: float
    epoch: int
    sequence: int
    at: float = 0.0


@dataclass
class Program:
    """The function block, and what it keeps from scan to scan."""

    low: tuple[float, ...] = LOW
    high: tuple[float, ...] = HIGH
    fallback: tuple[float, ...] = FALLBACK
    checks_sequence: bool = True
    checks_epoch: bool = True
    checks_clock: bool = True
    checks_crc: bool = True
    """False: a program without that part of the protocol, to show what it is for."""
    epoch: int = 0
    """RETAIN."""
    setpoint: list[float] = field(default_factory=list)
    alive: bool = False
    started: bool = False
    sequence: int = 0
    verdict: int = OPENED
    value: bytes = bytes(8)
    heartbeat: int = 0
    beat_ms: int = 0

    def scan(self, box: bytes, clock_ms: int) -> tuple[bytes, Applied | None]:
        """Once: the echo, and what it applied."""
        epoch, sequence, tag, value, not_after, heartbeat, checksum = BLOCK.unpack(box)
        whole = checksum == crc(box[:-2]) or not self.checks_crc
        applied = None
        if not self.started:
            self.started = True
            if whole:
                self.epoch = max(self.epoch, epoch)
            self.epoch = min(self.epoch + 1, _WRAPS - 1)
            self.setpoint = list(self.fallback)
            self.heartbeat = heartbeat
            whole = False
        if whole and epoch > self.epoch and sequence == 0:
            self.epoch, self.sequence, self.verdict, self.value = epoch, 0, OPENED, value
            self.heartbeat, self.beat_ms, self.alive = heartbeat, clock_ms, True
        elif whole and (epoch == self.epoch or not self.checks_epoch) and heartbeat != self.heartbeat:
            self.heartbeat, self.beat_ms, self.alive = heartbeat, clock_ms, True
        if self.alive and (clock_ms - self.beat_ms) % _WRAPS > SILENCE_MS:
            self.alive = False
            self.setpoint = list(self.fallback)
        if whole and self._next(epoch, sequence):
            self.sequence = sequence
            left_ms = (not_after - clock_ms) % _WRAPS
            if not 1 <= tag <= len(self.low):
                self.verdict = NO_SUCH_TAG
            elif not self.alive:
                self.verdict = NO_HEARTBEAT
            elif self.checks_clock and (left_ms == 0 or left_ms >= _WRAPS // 2):
                self.verdict = LATE
            else:
                number = float64(value)
                if self.low[tag - 1] <= number <= self.high[tag - 1]:
                    self.setpoint[tag - 1] = number
                    self.verdict, self.value = APPLIED, value
                    applied = Applied(tag, number, epoch, sequence)
                else:
                    self.verdict = OUTSIDE
        echo = struct.pack(">IHH8sIH", self.epoch, self.sequence, self.verdict, self.value, clock_ms, self.heartbeat)
        return echo + struct.pack(">H", crc(echo)), applied

    def _next(self, epoch: int, sequence: int) -> bool:
        listened = epoch == self.epoch or (not self.checks_epoch and sequence > 0)
        in_order = sequence == self.sequence + 1 and self.sequence < 0xFFFF
        return listened and (in_order or (not self.checks_sequence and sequence > 0))


def float64(value: bytes) -> float:
    """As PLANTGATE_FLOAT64: what is no number or beyond 2^64 is 1e30, what is below 2^-512 is 0."""
    (number,) = struct.unpack(">d", value)
    assert isinstance(number, float)
    sign = -1.0 if value[0] & 0x80 else 1.0
    if not abs(number) < 2.0**64:
        return sign * 1e30
    return number if abs(number) >= 2.0**-512 else sign * 0.0


@lru_cache  # most scans look at the block of the scan before
def crc(block: bytes) -> int:
    """CRC-16/MODBUS, bit by bit as in the program."""
    value = 0xFFFF
    for byte in block:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
    return value


@dataclass
class Plc:
    """The program in a PLC whose registers are those of the Modbus twin; tags show their setpoints from register 0 on.

    A scan comes within `SCAN_SECONDS` of a write, before each look at the echo, and whenever a test asks for one.
    """

    twin: Twin
    unit: int = 1
    program: Program = field(default_factory=Program)
    luck: random.Random = field(default_factory=lambda: random.Random(1))
    applied: list[Applied] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)
    """Every block that came."""
    on_applied: Callable[[Applied], None] | None = None
    tells: bool = True
    """False: it opens sessions and does what it is told, and shows nothing of a command."""
    takes: bool = True
    """False: what is written is confirmed and lost."""
    lie: Callable[[bytes], bytes] | None = None
    """Spoils what it shows."""
    started_at: float = 0.0
    """On the loop's clock: when its own began."""
    _frozen: bool = False
    _seen: bytes = bytes(24)

    def __post_init__(self) -> None:
        right = self.twin.pdu

        def pdu(question: Question) -> bytes:
            if not question.data:
                self.scan(fresh=False)
            before = self._box
            answer = right(question)
            if question.data and question.address == ADDRESS:
                self._came(question.data, before)
            return answer

        self.twin.pdu = pdu  # type: ignore[method-assign]  # of this one
        self.start()

    @property
    def clock(self) -> int:
        """Milliseconds; goes on while the scan stands."""
        return int((asyncio.get_running_loop().time() - self.started_at) * 1000) % _WRAPS

    @property
    def _box(self) -> bytes:
        held = self.twin.words[self.unit, 3]
        return struct.pack(">12H", *(held.get(ADDRESS + index, 0) for index in range(12)))

    def start(self) -> None:
        """Power on, also again: all but RETAIN is as in the beginning, the clock too, the registers are kept."""
        self.started_at = asyncio.get_running_loop().time()
        kept, fresh = self.program, Program()
        for name in ("setpoint", "alive", "started", "sequence", "verdict", "value", "heartbeat", "beat_ms"):
            setattr(kept, name, getattr(fresh, name))
        self._frozen = False
        self.scan()

    def freeze(self) -> None:
        """Its scan stops. Its registers are read and written all the same."""
        self._frozen = True

    def thaw(self) -> None:
        """The scan goes on, with what lies in the registers by then."""
        if self._frozen:
            self._frozen = False
            self.scan()

    def deliver(self, block: bytes) -> None:
        """A block comes, from wherever: late, or a second time."""
        self.twin.set(self.unit, ADDRESS, *struct.unpack(">12H", block))
        self._soon()

    def scan(self, *, fresh: bool = True) -> None:
        """Once, now. Not `fresh`: with what the last one found in the mailbox."""
        if self._frozen:
            return
        if fresh:
            self._seen = self._box
        echo, applied = self.program.scan(self._seen, self.clock)
        if applied is not None:
            now = asyncio.get_running_loop().time()
            done = Applied(applied.tag, applied.value, applied.epoch, applied.sequence, now)
            self.applied.append(done)
            if self.on_applied is not None:
                self.on_applied(done)
        if self.tells or self.program.sequence == 0:
            self.twin.set(self.unit, ECHO_ADDRESS, *struct.unpack(">12H", echo if self.lie is None else self.lie(echo)))
        for index, number in enumerate(self.program.setpoint):
            self.twin.set(self.unit, 4 * index, *struct.unpack(">4H", struct.pack(">d", number)))

    def _came(self, block: bytes, before: bytes) -> None:
        self.frames.append(block)
        if self.takes:
            self._soon()
        else:
            self.twin.set(self.unit, ADDRESS, *struct.unpack(">12H", before))

    def _soon(self) -> None:
        asyncio.get_running_loop().call_later(self.luck.uniform(0.0, SCAN_SECONDS), self.scan)
