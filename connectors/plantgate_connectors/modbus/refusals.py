"""What a failure means for the tags: a quality, a word for the gap, a sentence for the log."""

from dataclasses import dataclass
from typing import Final

from plantgate_connectors.modbus.pdu import Broken, Failure, Refused, Silent

BAD_COMMUNICATION: Final = 0x8005_0000
BAD_RESOURCE: Final = 0x8004_0000
BAD_NO_COMMUNICATION: Final = 0x8031_0000
BAD_CONFIGURATION: Final = 0x8089_0000
BAD_DEVICE_FAILURE: Final = 0x808B_0000
"""OPC UA StatusCodes (OPC 10000-4, Table 178; OPC 10000-8, Table 68)."""

ILLEGAL_FUNCTION: Final = 1
ILLEGAL_ADDRESS: Final = 2
ILLEGAL_VALUE: Final = 3
BUSY: Final = 6

_NAMES: Final = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "server device failure",
    5: "acknowledge",
    6: "server device busy",
    7: "negative acknowledge",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target device failed to respond",
}
"""Modbus Application Protocol 1.1b3, 7."""
_QUALITIES: Final = {
    1: BAD_CONFIGURATION,
    2: BAD_CONFIGURATION,
    3: BAD_CONFIGURATION,
    4: BAD_DEVICE_FAILURE,
    5: BAD_RESOURCE,
    6: BAD_RESOURCE,
    8: BAD_DEVICE_FAILURE,
    10: BAD_NO_COMMUNICATION,
    11: BAD_NO_COMMUNICATION,
}


@dataclass(frozen=True, slots=True)
class Trouble:
    """A failure in the plant's terms."""

    quality: int
    cause: str
    reason: str


def trouble(failure: Failure) -> Trouble:
    """What became of a question."""
    match failure:
        case Refused(code):
            quality = _QUALITIES.get(code, BAD_COMMUNICATION)
            return Trouble(quality, "refused by device", exception_name(code))
        case Broken(reason):
            return Trouble(BAD_COMMUNICATION, "wrong answers", reason)
        case Silent(reason, line):
            return Trouble(BAD_NO_COMMUNICATION, "no connection" if line else "no answer", reason)


def exception_name(code: int) -> str:
    """An exception code for people."""
    return f"exception {code} ({_NAMES.get(code, 'not in the specification')})"


def for_good(failure: Failure) -> bool:
    """The registers are not there, as the device is set up now: no value was missed."""
    return isinstance(failure, Refused) and failure.code in (ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE)


def divisible(failure: Failure) -> bool:
    """Perhaps only some of the registers are refused, or too many were asked for at once."""
    return isinstance(failure, Refused) and failure.code in (ILLEGAL_ADDRESS, ILLEGAL_VALUE)


def absent(failure: Failure) -> bool:
    """The device itself was not heard: the failure of a gateway in front of it to reach it counts as that."""
    return not isinstance(failure, Refused) or failure.code in (10, 11)
