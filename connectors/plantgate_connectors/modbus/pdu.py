"""A read request, and what its answer must look like (Modbus Application Protocol 1.1b3, 6.1 to 6.4 and 7)."""

import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias

_READ: Final = struct.Struct(">BHH")
EXCEPTION: Final = 0x80
"""Set in the function code of a refusal."""
EXCEPTION_BYTES: Final = 2


@dataclass(frozen=True)
class Read:
    """So many registers or bits from an address on."""

    function: int
    address: int
    count: int

    @cached_property
    def pdu(self) -> bytes:
        """The request without unit and framing."""
        return _READ.pack(self.function, self.address, self.count)

    @cached_property
    def payload_bytes(self) -> int:
        """What a right answer carries: two bytes a register, eight bits a byte."""
        return (self.count + 7) // 8 if self.function in (1, 2) else 2 * self.count

    def __str__(self) -> str:
        last = self.address + self.count - 1
        where = str(self.address) if self.count == 1 else f"{self.address} to {last}"
        return f"{_TABLES[self.function]} {where}"


_TABLES: Final = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}


@dataclass(frozen=True, slots=True)
class Refused:
    """The device answered with an exception code."""

    code: int


@dataclass(frozen=True, slots=True)
class Broken:
    """An answer that breaks the rules; nothing in it is used."""

    reason: str


@dataclass(frozen=True, slots=True)
class Silent:
    """No answer in time, or no connection to ask on."""

    reason: str
    line: bool = False
    """It is the connection that is not there; the device was not asked."""
    asked: bool = True
    """False if it was not tried, since the question before it had no answer."""


Failure: TypeAlias = Refused | Broken | Silent
Answer: TypeAlias = bytes | Failure
"""The payload, its length as asked for; or why there is none."""


def answer(read: Read, pdu: bytes) -> Answer:
    """Judge an answer from the function code on; `pdu` has at least two bytes."""
    function = pdu[0]
    if function == read.function:
        if pdu[1] != read.payload_bytes or len(pdu) != 2 + read.payload_bytes:
            return Broken(f"{read}: byte count {pdu[1]} in an answer of {len(pdu) - 2}, asked for {read.payload_bytes}")
        return pdu[2:]
    if function == read.function | EXCEPTION:
        if len(pdu) != EXCEPTION_BYTES:
            return Broken(f"{read}: an exception of {len(pdu)} bytes")
        return Refused(pdu[1])
    return Broken(f"{read}: answered for function {function}, asked for {read.function}")
