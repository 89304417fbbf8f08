"""What a device is asked, and what its answer must look like (Modbus Application Protocol 1.1b3, 6 and 7)."""

import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias

_READ: Final = struct.Struct(">BHH")
WRITE_COIL: Final = 5
WRITE_REGISTER: Final = 6
WRITE_REGISTERS: Final = 16
_ECHO_BYTES: Final = 5
"""Of the PDU that confirms a write: function, address, and the value or how many registers there were (6.5, 6.12)."""
_ON: Final = b"\xff\x00"
_OFF: Final = b"\0\0"
"""The only two values of a coil (6.5)."""
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

    def judge(self, pdu: bytes) -> "bytes | Broken":
        """The payload of an answer that has the function asked for."""
        if pdu[1] != self.payload_bytes or len(pdu) != 2 + self.payload_bytes:
            return Broken(f"{self}: byte count {pdu[1]} in an answer of {len(pdu) - 2}, asked for {self.payload_bytes}")
        return pdu[2:]

    def __str__(self) -> str:
        return _place(_TABLES[self.function], self.address, self.count)


@dataclass(frozen=True)
class Write:
    """Bytes for the registers from an address on, or a coil; asked once and never again."""

    function: int
    """`WRITE_COIL`, `WRITE_REGISTER` or `WRITE_REGISTERS`."""
    address: int
    data: bytes
    """As they go over the wire, two a register or for the coil."""

    @classmethod
    def coil(cls, address: int, on: bool) -> "Write":
        """One bit."""
        return cls(WRITE_COIL, address, _ON if on else _OFF)

    @classmethod
    def registers(cls, address: int, data: bytes) -> "Write":
        """One register by the function that every device has, several in one request: all of them or none."""
        return cls(WRITE_REGISTER if len(data) == 2 else WRITE_REGISTERS, address, data)

    @property
    def count(self) -> int:
        """Registers, or bits."""
        return len(self.data) // 2

    @cached_property
    def pdu(self) -> bytes:
        """The request without unit and framing."""
        if self.function != WRITE_REGISTERS:
            return struct.pack(">BH", self.function, self.address) + self.data
        return struct.pack(">BHHB", self.function, self.address, self.count, len(self.data)) + self.data

    @property
    def payload_bytes(self) -> int:
        """What follows function and first byte in a right answer."""
        return _ECHO_BYTES - 2

    @property
    def read(self) -> Read:
        """The question for what is written here."""
        return Read(1 if self.function == WRITE_COIL else 3, self.address, self.count)

    def judge(self, pdu: bytes) -> "bytes | Broken":
        """An answer that has the function asked for: it repeats the request, up to how many registers there were."""
        if pdu != self.pdu[:_ECHO_BYTES]:
            return Broken(f"{self}: confirmed something else, {pdu.hex(' ')} for {self.pdu[:_ECHO_BYTES].hex(' ')}")
        return pdu

    def __str__(self) -> str:
        return "write " + _place("coil" if self.function == WRITE_COIL else "holding", self.address, self.count)


def _place(table: str, address: int, count: int) -> str:
    return f"{table} {address}" if count == 1 else f"{table} {address} to {address + count - 1}"


Question: TypeAlias = Read | Write
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
"""The payload, its length as asked for, or the echo of a write; or why there is none."""


def answer(asked: Question, pdu: bytes) -> Answer:
    """Judge an answer from the function code on; `pdu` has at least two bytes."""
    function = pdu[0]
    if function == asked.function:
        return asked.judge(pdu)
    if function == asked.function | EXCEPTION:
        if len(pdu) != EXCEPTION_BYTES:
            return Broken(f"{asked}: an exception of {len(pdu)} bytes")
        return Refused(pdu[1])
    return Broken(f"{asked}: answered for function {function}, asked for {asked.function}")
