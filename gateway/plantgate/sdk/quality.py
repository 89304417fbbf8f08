"""How far a value can be trusted: an OPC UA StatusCode (OPC 10000-4, 7.39), since no other protocol says it better.

A quality is a plain 32-bit integer, so that a column of them costs nothing. The two top bits are the severity;
the codes below are the ones the gateway itself gives. A good code from a device passes through untouched, with one
exception: a source time that cannot be right (see `plantgate.sdk.plausible`) turns good into `UNCERTAIN`.
"""

from enum import IntEnum
from typing import Final


class Severity(IntEnum):
    """The two top bits of a StatusCode."""

    GOOD = 0
    UNCERTAIN = 1
    BAD = 2


GOOD: Final = 0x0000_0000
UNCERTAIN: Final = 0x4000_0000
UNCERTAIN_LAST_USABLE: Final = 0x4090_0000
BAD: Final = 0x8000_0000
BAD_DECODING: Final = 0x8007_0000
BAD_TYPE: Final = 0x8074_0000
BAD_NO_DATA: Final = 0x809B_0000

OVERFLOW: Final = 0x0000_0480
"""InfoType DataValue + Overflow: the device dropped older values of this tag (OPC 10000-4, Table 179)."""

_NAMES: Final = {
    GOOD: "Good",
    UNCERTAIN: "Uncertain",
    UNCERTAIN_LAST_USABLE: "UncertainLastUsableValue",
    BAD: "Bad",
    BAD_DECODING: "BadDecodingError",
    BAD_TYPE: "BadTypeMismatch",
    BAD_NO_DATA: "BadNoData",
}


def severity(quality: int) -> Severity:
    """The severity of a StatusCode; the reserved fourth pattern counts as bad."""
    return Severity(min(quality >> 30, 2))


def quality_name(quality: int) -> str:
    """A StatusCode for people: its name where we have one, else severity and number (``Bad 0x80340000``)."""
    name = _NAMES.get(quality & 0xFFFF_0000)
    return name if name is not None else f"{severity(quality).name.capitalize()} 0x{quality:08X}"
