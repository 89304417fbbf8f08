"""The time a file gives, as nanoseconds UTC: exact, or refused."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from plantgate_connectors.files.settings import UNIX_UNITS

_ISO: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?\s?(Z|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)
_NUMBER: Final = re.compile(r"[+-]?\d{1,19}(?:\.\d{1,9}0*)?", re.ASCII)
_SECOND: Final = 1_000_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_DAY: Final = datetime(1970, 1, 1, tzinfo=UTC).toordinal()


class Moment(NamedTuple):
    """A source time; not sure where a clock change makes two moments of one text."""

    time: int
    """Nanoseconds since 1970 UTC."""
    sure: bool = True


ReadTime = Callable[[object], Moment]
"""From a cell's text (JSON: also a number). Raises `ValueError`, which says why, when there is no such time."""


def time_reader(time_format: str, time_zone: str) -> ReadTime:
    """A reader for `iso`, `unix_…` or a strptime pattern; the zone is for times that do not name one."""
    zone = _zone(time_zone)
    if time_format == "iso":
        return lambda cell: _iso(_text(cell), zone)
    if time_format in UNIX_UNITS:
        unit = UNIX_UNITS[time_format]
        return lambda cell: _unix(cell, unit)
    return lambda cell: _pattern(_text(cell), time_format, zone)


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    if name.startswith(("+", "-")):
        return _offset(name)
    return ZoneInfo(name)


def _text(cell: object) -> str:
    if not isinstance(cell, str):
        raise ValueError(f"time {cell!r} is not text")
    return cell.strip()


def _iso(text: str, zone: tzinfo) -> Moment:
    match = _ISO.fullmatch(text)
    if match is None:
        raise ValueError(f"time {text[:40]!r} is not like 2016-07-01T00:00:00Z")
    year, month, day, hour, minute, second, fraction, suffix = match.groups()
    whole = datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0))  # noqa: DTZ001  its zone is put on below
    nanoseconds = int(fraction.ljust(9, "0")) if fraction else 0
    if suffix is not None:
        zone = UTC if suffix == "Z" else _offset(suffix)
    return _placed(whole, nanoseconds, zone)


def _pattern(text: str, pattern: str, zone: tzinfo) -> Moment:
    try:
        whole = datetime.strptime(text, pattern)  # noqa: DTZ007  its zone is put on below
    except ValueError as error:
        raise ValueError(f"time {text[:40]!r} is not like {pattern!r}") from error
    nanoseconds = whole.microsecond * 1000
    return _placed(whole.replace(microsecond=0, tzinfo=None), nanoseconds, whole.tzinfo or zone)


def _unix(cell: object, unit: int) -> Moment:
    text = repr(cell) if isinstance(cell, int | float) and not isinstance(cell, bool) else _text(cell)
    if _NUMBER.fullmatch(text) is None:
        raise ValueError(f"time {text[:40]!r} is not a number")
    try:
        time = int(Decimal(text) * unit)
        _EPOCH + timedelta(seconds=time // _SECOND)
    except (InvalidOperation, OverflowError) as error:
        raise ValueError(f"time {text[:40]!r} lies outside the years 1 to 9999") from error
    return Moment(time)


def _placed(whole: datetime, nanoseconds: int, zone: tzinfo) -> Moment:
    """A wall-clock reading in its zone."""
    if zone is UTC:
        days = whole.toordinal() - _FIRST_DAY
        seconds = days * 86400 + whole.hour * 3600 + whole.minute * 60 + whole.second
        return Moment(seconds * _SECOND + nanoseconds)
    first, second = whole.replace(tzinfo=zone, fold=0), whole.replace(tzinfo=zone, fold=1)
    early, late = first.utcoffset(), second.utcoffset()
    if early is None or late is None:
        raise ValueError(f"time {whole} has no place in {zone}")
    if early < late:
        raise ValueError(f"time {whole} does not exist in {zone}: the clock change leaves it out")
    since = first - _EPOCH
    return Moment((since.days * 86400 + since.seconds) * _SECOND + nanoseconds, sure=early == late)


def _offset(written: str) -> timezone:
    digits = written[1:].replace(":", "").ljust(4, "0")
    minutes = int(digits[:2]) * 60 + int(digits[2:])
    return timezone(timedelta(minutes=-minutes if written[0] == "-" else minutes))
