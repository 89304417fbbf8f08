"""Source times as devices write them, to nanoseconds since 1970 UTC; exact where the writing is."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Final

from plantgate_connectors.payloads.words import TimeUnit

NANOSECONDS: Final = {
    TimeUnit.SECONDS: 1_000_000_000,
    TimeUnit.MILLISECONDS: 1_000_000,
    TimeUnit.MICROSECONDS: 1_000,
    TimeUnit.NANOSECONDS: 1,
}
_RFC3339: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(?:[Zz]|([+-])(\d\d):?(\d\d))", re.ASCII
)
_MOST: Final = 2**63
_SECOND: Final = timedelta(seconds=1)


def read_time(written: object, unit: TimeUnit) -> int | None:
    """A number in `unit`, or RFC 3339 text with its offset from UTC; None for anything else.

    Text without an offset is refused: whose midnight it means is anybody's guess. Digits beyond the ninth are cut.
    """
    if isinstance(written, str):
        return _read_text(written)
    if isinstance(written, bool) or not isinstance(written, int | float):
        return None
    if not -_MOST <= written < _MOST:  # NaN too
        return None
    # A float is taken for the decimal number it was written as: 1767225600.123 s is 123 ms past, not 122.999907.
    exact = written if isinstance(written, int) else Decimal(repr(written))
    time = round(exact * NANOSECONDS[unit])
    return time if -_MOST <= time < _MOST else None


def _read_text(written: str) -> int | None:
    if len(written) == 30 and written[19] == "." and written[29] == "Z":  # as another plantgate writes them
        fraction = written[20:29]
        if fraction.isascii() and fraction.isdecimal():
            second = _second(written[:19])
            return None if second is None else second + int(fraction)
    return _read_any(written)


@lru_cache(maxsize=1024)
def _second(written: str) -> int | None:
    """Many readings share a second, and to read one costs ten times what remembering it does."""
    return _read_any(written + "Z")


def _read_any(written: str) -> int | None:
    found = _RFC3339.fullmatch(written)
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, sign, hours, minutes = found.groups()
    leap = second == "60"  # a leap second is the second after :59
    try:
        whole = datetime(
            int(year), int(month), int(day), int(hour), int(minute), 59 if leap else int(second), tzinfo=UTC
        )
    except ValueError:
        return None
    seconds = (whole - datetime(1970, 1, 1, tzinfo=UTC)) // _SECOND + leap
    if sign:
        offset = int(hours) * 3600 + int(minutes) * 60
        seconds -= offset if sign == "+" else -offset
    return seconds * 1_000_000_000 + int((fraction or "").ljust(9, "0"))
