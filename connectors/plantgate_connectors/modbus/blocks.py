"""Which requests read a device's tags: neighbours together, across a gap where that is cheaper than another request."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from plantgate_connectors.modbus.pdu import Read
from plantgate_connectors.modbus.registers import Field, Table
from plantgate_connectors.modbus.values import Decode, decoder

_BITS_PER_REGISTER: Final = 16

Barriers = frozenset[tuple[Table, int]]
"""Addresses at which a block must begin anew, since a request across them was refused."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a request may be."""

    registers_max: int
    """Most registers in one request; 16 times as many bits."""
    gap_registers_max: int
    """Most registers nobody wants that are read so that one request does instead of two."""

    def most(self, table: Table) -> int:
        """Registers or bits in one request."""
        return min(table.per_read, self.registers_max * (_BITS_PER_REGISTER if table.of_bits else 1))

    def gap(self, table: Table) -> int:
        """Registers or bits that may be read in vain."""
        return self.gap_registers_max * (_BITS_PER_REGISTER if table.of_bits else 1)


@dataclass(frozen=True, eq=False)
class Block:
    """One request and the tags it answers for; two blocks are never equal, since each has its own history."""

    table: Table
    fields: tuple[Field, ...]
    """Sorted by address."""

    @cached_property
    def tags(self) -> list[str]:
        """Their names, in the order of the values; the device's clock has none."""
        return [field.tag for field in self.fields if field.tag]

    @cached_property
    def clock_at(self) -> int | None:
        """Which of the values is the device's clock."""
        return next((index for index, field in enumerate(self.fields) if not field.tag), None)

    @cached_property
    def read(self) -> Read:
        """The request."""
        start = self.fields[0].address
        return Read(self.table.function, start, max(field.end for field in self.fields) - start)

    @cached_property
    def decode(self) -> Decode:
        """From the answer's payload to values."""
        return decoder(self.table, self.fields, self.fields[0].address)

    def split(self) -> tuple["Block", "Block"] | None:
        """Two halves, parted where the widest gap is, else in the middle; None when all tags lie in one place.

        A gap comes first since registers nobody wants are the likeliest not to exist.
        """
        widest, place = 0, None
        end = self.fields[0].end
        steps = []
        for index, following in enumerate(self.fields[1:], 1):
            if following.address >= end:
                steps.append(index)
                if following.address - end > widest:
                    widest, place = following.address - end, index
            end = max(end, following.end)
        if not steps:
            return None
        if place is None:
            place = min(steps, key=lambda index: abs(2 * index - len(self.fields)))
        return Block(self.table, self.fields[:place]), Block(self.table, self.fields[place:])


@dataclass(slots=True)
class _Open:
    fields: list[Field] = field(default_factory=list)
    end: int = 0


def blocks(fields: Iterable[Field], budget: Budget, barriers: Barriers = frozenset()) -> tuple[Block, ...]:
    """The fewest requests that stay within the budget, ordered by table and address."""
    found: list[Block] = []
    by_table: dict[Table, list[Field]] = {}
    for each in fields:
        by_table.setdefault(each.table, []).append(each)
    for table in Table:
        found += _of_table(table, sorted(by_table.get(table, ()), key=lambda field: field.address), budget, barriers)
    return tuple(found)


def _of_table(table: Table, ordered: Sequence[Field], budget: Budget, barriers: Barriers) -> list[Block]:
    most, gap = budget.most(table), budget.gap(table)
    walls = sorted(address for wall, address in barriers if wall is table)
    found: list[Block] = []
    open_block = _Open()
    for each in ordered:
        if open_block.fields:
            start = open_block.fields[0].address
            fits = each.end - start <= most and each.address - open_block.end <= gap
            if not fits or (walls and any(start < wall <= each.address for wall in walls)):
                found.append(Block(table, tuple(open_block.fields)))
                open_block = _Open()
        open_block.fields.append(each)
        open_block.end = max(open_block.end, each.end)
    if open_block.fields:
        found.append(Block(table, tuple(open_block.fields)))
    return found
