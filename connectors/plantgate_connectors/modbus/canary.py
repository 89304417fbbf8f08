"""Tells a late answer from the one that is due, where answers carry no number.

On RTU an answer names its unit and its length, not its question. After a missed answer the next one that comes may be
the old one, and if it is taken every later value belongs to the tag before (pymodbus #1509, #361, #367). So the first
question after a miss is a canary: one whose answer has a length that no missed answer can have. Devices answer in
order, so once the canary is heard nothing old can follow.
"""

from dataclasses import dataclass, field
from typing import Final

from plantgate_connectors.modbus.pdu import Question, Read
from plantgate_connectors.modbus.registers import ADDRESSES, BITS_PER_READ, REGISTERS_PER_READ

_MISSED_MOST: Final = 60
"""Fewer than there are lengths to choose from."""


@dataclass(slots=True)
class Missed:
    """Questions to one unit that were not answered in time, oldest first."""

    lengths: list[int] = field(default_factory=list)

    def add(self, question: Question) -> None:
        """Its answer may still come."""
        self.lengths.append(question.payload_bytes)
        del self.lengths[:-_MISSED_MOST]

    def came(self, payload_bytes: int) -> bool:
        """An answer of this length has come: if it was missed, it and all before it will not come again."""
        if payload_bytes not in self.lengths:
            return False
        del self.lengths[: self.lengths.index(payload_bytes) + 1]
        return True

    def canary(self, like: Read) -> Read:
        """A question like this one, whose answer is of a length that none of the missed has; shorter if possible."""
        bits = like.function in (1, 2)
        step = 8 if bits else 1
        most = BITS_PER_READ if bits else REGISTERS_PER_READ
        shorter = range(like.count - like.count % step if bits else like.count - 1, 0, -step)
        for count in (*shorter, *range(like.count + step, most + 1, step)):
            read = Read(like.function, min(like.address, ADDRESSES - count), count)
            if read.payload_bytes not in self.lengths:
                return read
        raise AssertionError("there are more lengths than missed answers")
