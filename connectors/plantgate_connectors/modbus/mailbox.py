"""A command as the twelve registers of a PLC's mailbox, and what the program's twelve registers in answer say of it.

Both blocks are big-endian, highest register first, and end with the CRC-16/MODBUS of the eleven registers before it:

    we write   epoch u32, sequence u16, tag id u16, value f64, not after u32, heartbeat u16, crc u16
    it shows   epoch u32, sequence u16, verdict u16, value f64, clock u32, heartbeat u16, crc u16

Sequence 0 opens a session: the program listens to a higher epoch that comes with it, and to none before. Commands 1, 2
and so on of the epoch are taken in order, each once. A block whose sequence was taken already is a heartbeat only.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from plantgate_connectors.modbus.registers import ADDRESSES, Field, Table, Type
from plantgate_connectors.modbus.rtu import crc

REGISTERS: Final = 12
SEQUENCE_MOST: Final = 0xFFFF
EPOCH_MOST: Final = 0xFFFF_FFFF
VALUE_BYTES: Final = 8
_CLOCK_WRAPS: Final = 1 << 32
_BLOCK: Final = struct.Struct(">IHH8sIH")
_NOTHING: Final = bytes(VALUE_BYTES)


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a mailbox lies, addresses as on the wire, and what goes through it."""

    address: int
    echo_address: int
    tag_ids: Mapping[str, int]
    heartbeat_seconds: float

    def problem(self, fields: Sequence[Field]) -> str:
        """What is impossible about it among the tags of its device, in a sentence; empty if nothing is."""
        for first in (self.address, self.echo_address):
            if not 0 <= first <= ADDRESSES - REGISTERS:
                return f"{REGISTERS} registers from {first} on are not within 0 to {ADDRESSES - 1}"
        if abs(self.address - self.echo_address) < REGISTERS:
            return "`echo` overlaps the registers that are written"
        if len(set(self.tag_ids.values())) < len(self.tag_ids):
            return "two tags have the same number"
        by_tag = {field.tag: field for field in fields}
        for tag in self.tag_ids:
            if tag not in by_tag:
                return f"no tag {tag!r} of this device, whose registers would show what is in force"
            if by_tag[tag].type in (Type.BOOL, Type.STRING) or by_tag[tag].bits is not None:
                return f"{tag!r} is no number; have the program show it in a register of its own, 0 and 1"
        for field in fields:
            if field.table is Table.HOLDING and any(
                field.address < first + REGISTERS and first < field.end for first in (self.address, self.echo_address)
            ):
                return f"{field.tag!r} lies in its registers"
        return ""


class Verdict(Enum):
    """What the program says of the last command it took."""

    OPENED = 0
    """None yet in this epoch."""
    APPLIED = 1
    OUTSIDE = 2
    LATE = 3
    NO_SUCH_TAG = 4
    NO_HEARTBEAT = 5


REFUSED: Final = {
    Verdict.OUTSIDE: "outside the limits in the PLC program",
    Verdict.LATE: "it came too late by the PLC's clock",
    Verdict.NO_SUCH_TAG: "the PLC program has no tag with this id",
    Verdict.NO_HEARTBEAT: "the PLC program hears no heartbeat",
}


@dataclass(frozen=True, slots=True)
class Order:
    """What is put into the mailbox."""

    epoch: int
    sequence: int
    heartbeat: int
    tag_id: int = 0
    value: bytes = _NOTHING
    """A float64; in the block that opens a session, eight bytes by which it is known as ours."""
    not_after: int = 0
    """The program's clock from which on it is too late, milliseconds."""

    def pack(self) -> bytes:
        """All twelve registers, for one request: the program's CRC finds out half of one."""
        block = _BLOCK.pack(self.epoch, self.sequence, self.tag_id, self.value, self.not_after, self.heartbeat)
        return _checked(block)


@dataclass(frozen=True, slots=True)
class Echo:
    """What the program shows of itself, as of one scan."""

    epoch: int
    """The session that it listens to."""
    sequence: int
    """The last command it took; 0 before the first."""
    verdict: int
    value: bytes
    """Of the last command that was applied, or of the block that opened the session."""
    clock: int
    """Milliseconds, going round at 2^32."""
    heartbeat: int

    def opened_by(self, order: Order) -> bool:
        """Whether it listens to the session that this block was to open, and not to another with the same epoch."""
        return (self.epoch, self.sequence, self.value) == (order.epoch, 0, order.value)

    def judge(self, order: Order) -> Verdict | None:
        """The program's word on this command; None as long as there is none. Raises `ValueError` for one not known."""
        if (self.epoch, self.sequence) != (order.epoch, order.sequence):
            return None
        verdict = Verdict(self.verdict)
        if verdict is Verdict.OPENED or (verdict is Verdict.APPLIED and self.value != order.value):
            raise ValueError("it confirms the command and shows another value")
        return verdict

    def not_after(self, seconds: float) -> int:
        """Its clock when so many seconds have gone by since this echo came, or a little before: never after."""
        return (self.clock + int(1000 * seconds)) % _CLOCK_WRAPS


def echo(block: bytes) -> Echo | None:
    """From twelve registers; None if the checksum is wrong: read in the middle of a change, or not by our program."""
    body = block[: _BLOCK.size]
    if len(block) != 2 * REGISTERS or _checked(body) != block:
        return None
    return Echo(*_BLOCK.unpack(body))


def exact(value: float) -> bytes | None:
    """A number as a float64; None where that would be another number: beyond 2^53, or not finite."""
    if float("-inf") < value < float("inf"):
        try:
            held = float(value)
        except OverflowError:
            return None
        return struct.pack(">d", held) if held == value else None
    return None


def _checked(block: bytes) -> bytes:
    return block + crc(block)[::-1]
