"""Quality and the exact time as properties of a metric, written and read.

Sparkplug knows three qualities (specification 3.0, 6.4.12): GOOD, which goes without saying, BAD and STALE. Beside the
one of them that is nearest goes the OPC UA StatusCode, so that one gateway gives another back exactly what it had.
"""

from collections.abc import Mapping
from typing import Final

from plantgate.sdk import Severity, severity
from plantgate.sdk.quality import BAD, GOOD, UNCERTAIN, UNCERTAIN_LAST_USABLE
from plantgate_connectors.sparkplug.wire import blob, varint

QUALITY: Final = "Quality"
STATUS: Final = "StatusCode"
SUBMILLISECONDS: Final = "ns"
"""Nanoseconds by which a source time is later than the metric's millisecond."""
NO_TIME: Final = "NoTime"
"""The device gave no time; the metric's timestamp, which Sparkplug insists on, is the gateway's."""

SPARKPLUG_BAD: Final = 0
SPARKPLUG_GOOD: Final = 192
SPARKPLUG_STALE: Final = 500

BAD_WAITING: Final = 0x8032_0000
"""BadWaitingForInitialData: a metric that is announced and has no value yet."""
UNCERTAIN_NO_COMMUNICATION: Final = 0x408F_0000
"""UncertainNoCommunicationLastUsableValue: the edge node or the device is gone, this is its last value."""

_STALE: Final = frozenset((UNCERTAIN_LAST_USABLE, UNCERTAIN_NO_COMMUNICATION, BAD_WAITING))
_READ: Final = {SPARKPLUG_GOOD: GOOD, SPARKPLUG_BAD: BAD, SPARKPLUG_STALE: UNCERTAIN_LAST_USABLE}
_INT32: Final = b"\x08\x03\x18"
_INT64: Final = b"\x08\x04\x20"
_TRUE: Final = b"\x08\x0b\x38\x01"
_CACHED_MOST: Final = 20_000


def sparkplug_quality(quality: int) -> int:
    """The nearest of the three: uncertain values are STALE if old, else BAD, since Sparkplug has no doubt."""
    if severity(quality) is Severity.GOOD:
        return SPARKPLUG_GOOD
    return SPARKPLUG_STALE if quality & 0xFFFF_0000 in _STALE else SPARKPLUG_BAD


class Properties(dict[tuple[int, int, bool], bytes]):
    """The property set for (quality, nanoseconds beyond the millisecond, whether the device gave a time)."""

    def __missing__(self, key: tuple[int, int, bool]) -> bytes:
        if len(self) > _CACHED_MOST:
            self.clear()
        quality, submilliseconds, timed = key
        names, values = b"", b""
        if quality != GOOD:
            names += _name(QUALITY) + _name(STATUS)
            values += _value(_INT32, sparkplug_quality(quality)) + _value(_INT64, quality)
        if submilliseconds:
            names += _name(SUBMILLISECONDS)
            values += _value(_INT32, submilliseconds)
        if not timed:
            names += _name(NO_TIME)
            values += blob(b"\x12", _TRUE)
        written = self[key] = blob(b"\x4a", names + values) if names else b""
        return written


def _name(name: str) -> bytes:
    return blob(b"\x0a", name.encode())


def _value(head: bytes, number: int) -> bytes:
    return blob(b"\x12", head + varint(number))


def read_quality(properties: Mapping[str, object]) -> int:
    """The StatusCode of a metric with these properties."""
    status, quality = properties.get(STATUS), properties.get(QUALITY)
    if type(status) is int and 0 <= status <= 0xFFFF_FFFF and quality in (None, sparkplug_quality(status)):
        return status
    if quality is None:
        return GOOD
    return _READ.get(quality, UNCERTAIN) if isinstance(quality, int) else UNCERTAIN


def submilliseconds(properties: Mapping[str, object]) -> int:
    """Nanoseconds to add to the metric's time."""
    found = properties.get(SUBMILLISECONDS)
    return found if isinstance(found, int) and 0 <= found < 1_000_000 else 0
