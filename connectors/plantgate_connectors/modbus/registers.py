"""What a device's registers and bits can hold, and where a tag lies among them."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

ADDRESSES: Final = 65_536
"""In each table, 0 to 65535 (Modbus Application Protocol 1.1b3, 4.3)."""
REGISTERS_PER_READ: Final = 125
BITS_PER_READ: Final = 2000
"""What one request may ask for (6.1 to 6.4)."""
STRING_BYTES_MAX: Final = 2 * REGISTERS_PER_READ


class Table(Enum):
    """One of the four address spaces of a device."""

    HOLDING = "holding"
    INPUT = "input"
    COIL = "coil"
    DISCRETE = "discrete"

    @property
    def of_bits(self) -> bool:
        """Bits, not registers."""
        return self in (Table.COIL, Table.DISCRETE)

    @property
    def function(self) -> int:
        """Code of the function that reads it."""
        return _FUNCTIONS[self]

    @property
    def per_read(self) -> int:
        """How many one request may ask for."""
        return BITS_PER_READ if self.of_bits else REGISTERS_PER_READ


_FUNCTIONS: Final = {Table.COIL: 1, Table.DISCRETE: 2, Table.HOLDING: 3, Table.INPUT: 4}


class Type(Enum):
    """How the bytes of one or several registers are a value."""

    BOOL = "bool"
    INT16 = "int16"
    UINT16 = "uint16"
    INT32 = "int32"
    UINT32 = "uint32"
    INT64 = "int64"
    UINT64 = "uint64"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    BCD16 = "bcd16"
    BCD32 = "bcd32"
    STRING = "string"


WORDS: Final = {
    Type.BOOL: 1,
    Type.INT16: 1,
    Type.UINT16: 1,
    Type.INT32: 2,
    Type.UINT32: 2,
    Type.INT64: 4,
    Type.UINT64: 4,
    Type.FLOAT32: 2,
    Type.FLOAT64: 4,
    Type.BCD16: 1,
    Type.BCD32: 2,
}
"""Registers each type takes; a string takes as many as its length asks for."""

_SCALABLE: Final = frozenset(Type) - {Type.BOOL, Type.STRING}
_OF_BITS: Final = frozenset({Type.UINT16, Type.UINT32, Type.UINT64, Type.BOOL})


class Order(Enum):
    """In which order a device sends the bytes ABCD of a value of two registers; four registers alike."""

    ABCD = "ABCD"
    CDAB = "CDAB"
    BADC = "BADC"
    DCBA = "DCBA"

    @property
    def words_reversed(self) -> bool:
        """The lowest register comes last."""
        return self in (Order.CDAB, Order.DCBA)

    @property
    def bytes_swapped(self) -> bool:
        """The low byte of each register comes first."""
        return self in (Order.BADC, Order.DCBA)


@dataclass(frozen=True, slots=True)
class Field:
    """One tag's place in a device, and how to read it."""

    where: str
    """``tags[3]`` or ``press.csv:12``, for messages."""
    tag: str
    table: Table
    address: int
    type: Type
    order: Order = Order.ABCD
    bits: tuple[int, int] | None = None
    """First and last bit, counted from the least significant; one bit is a truth value."""
    scale: float | None = None
    offset: float | None = None
    length: int = 0
    """Bytes of a string."""

    @property
    def span(self) -> int:
        """Registers, or bits, that it takes."""
        return (self.length + 1) // 2 if self.type is Type.STRING else WORDS[self.type]

    @property
    def end(self) -> int:
        """The first address after it."""
        return self.address + self.span

    def problem(self) -> str:
        """What is impossible about it, in a sentence; empty if nothing is."""
        if not 0 <= self.address < ADDRESSES:
            return f"address {self.address} is outside 0 to {ADDRESSES - 1}"
        if self.table.of_bits:
            return self._problem_of_a_bit()
        if self.type is Type.BOOL and (self.bits is None or self.bits[0] != self.bits[1]):
            return f"type bool in table {self.table.value} needs `bit`: which bit of the register, 0 to 15"
        if self.type is Type.STRING and not 1 <= self.length <= STRING_BYTES_MAX:
            return f"type string needs `length`, from 1 to {STRING_BYTES_MAX} bytes"
        if self.type is not Type.STRING and self.length:
            return f"`length` is for type string, not {self.type.value}"
        if self.end > ADDRESSES:
            return (
                f"{self.type.value} at address {self.address} takes {self.span} registers,"
                f" and the last there is has address {ADDRESSES - 1}"
            )
        if (self.scale is not None or self.offset is not None) and self.type not in _SCALABLE:
            return f"a {self.type.value} cannot be scaled"
        if self.scale == 0:
            return "scale 0 would turn every value into the offset"
        return self._problem_of_bits()

    def _problem_of_a_bit(self) -> str:
        if self.type is not Type.BOOL:
            return f"table {self.table.value} holds single bits: type is bool, not {self.type.value}"
        if self.bits is not None:
            return f"table {self.table.value} holds single bits: `bit` and `bits` are for registers"
        if self.scale is not None or self.offset is not None:
            return "a bool cannot be scaled"
        return "`length` is for type string" if self.length else ""

    def _problem_of_bits(self) -> str:
        if self.bits is None:
            return ""
        first, last = self.bits
        if self.type not in _OF_BITS:
            return f"bits are taken from uint16, uint32 or uint64, not from {self.type.value}"
        if self.scale is not None or self.offset is not None:
            return "bits cannot be scaled"
        if not 0 <= first <= last < 16 * self.span:
            return f"bits {first} to {last} are not within 0 to {16 * self.span - 1}, lowest first"
        return ""


def overlap(fields: list[Field]) -> str:
    """Two fields that share registers and are not read from the same ones, in a sentence; empty if there are none.

    The same registers under two names are fine: bits of one word, a number and its sign. Half of a value is a mistake
    in the list, off by one more often than not.
    """
    furthest: dict[Table, Field] = {}
    for field in sorted(fields, key=lambda field: (field.table.value, field.address, field.span)):
        before = furthest.get(field.table)
        same = before is not None and (field.address, field.span) == (before.address, before.span)
        if before is not None and field.address < before.end and not same:
            return (
                f"{field.where}: {_place(field)} overlaps {_place(before)} ({before.where});"
                " one of the addresses or types is wrong"
            )
        if before is None or field.end > before.end:
            furthest[field.table] = field
    return ""


def _place(field: Field) -> str:
    if field.span == 1:
        return f"{field.tag!r} at {field.table.value} {field.address}"
    return f"{field.tag!r} at {field.table.value} {field.address} to {field.end - 1}"
