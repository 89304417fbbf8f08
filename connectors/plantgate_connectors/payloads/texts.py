"""Columns to JSON texts: each column becomes a list of texts in one call.

NaN and the infinities, which JSON cannot say, are the strings "NaN", "Infinity", "-Infinity"; bytes are base64;
whole numbers keep every digit.
"""

import base64
import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Final, Generic, TypeVar

import msgspec

from plantgate.sdk import Gap, Value, iso
from plantgate_connectors.payloads.words import TimeFormat

_ENCODER: Final = msgspec.json.Encoder()
_PLAIN: Final = frozenset((int, float, bool, type(None)))
_SECOND: Final = 1_000_000_000
_TEN_DIGIT_SECONDS: Final = (10**18, 10**19 - 1)
"""Nanoseconds whose seconds have ten digits (2001 to 2286), so that cutting text after ten digits is exact."""
_SECONDS_AT_ONCE: Final = 16
_CACHED_MOST: Final = 100_000

Key = TypeVar("Key")


class Remembered(dict[Key, str], Generic[Key]):
    """Texts that are written once and found again, as long as there are not too many."""

    def __init__(self, write: Callable[[Key], str]) -> None:
        super().__init__()
        self._write = write

    def __missing__(self, key: Key) -> str:
        if len(self) > _CACHED_MOST:
            self.clear()
        text = self[key] = self._write(key)
        return text


def json_text(value: object) -> str:
    """What msgspec can write, as JSON."""
    return json_bytes(value).decode()


def json_bytes(value: object) -> bytes:
    """What msgspec can write, as JSON in UTF-8."""
    try:
        return _ENCODER.encode(value)
    except UnicodeEncodeError:  # half a surrogate pair, which is no character: msgspec refuses, json escapes it
        return json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode()


def value_texts(values: Sequence[Value]) -> list[str]:
    """Each value as JSON."""
    if values and _PLAIN.issuperset(map(type, values)):
        together = _ENCODER.encode(values)
        if b"null" not in together:  # None, or a float that JSON cannot say
            return together[1:-1].decode().split(",")
    return [json_text(sayable(value)) for value in values]


def sayable(value: Value) -> object:
    """The value in terms JSON has."""
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        return {name: sayable(inner) for name, inner in value.items()}
    return [sayable(inner) for inner in value]


def time_texts(time: TimeFormat) -> Callable[[Sequence[int | None]], list[str]]:
    """How a column of times is written: each as JSON, null for None."""
    return _stamp_texts if time is TimeFormat.RFC3339 else _number_texts


def stamp(time: int | None) -> str | None:
    """RFC 3339 in UTC, always nine digits of a second; None for None, and for a year that cannot be written."""
    if time is None:
        return None
    second, fraction = divmod(time, _SECOND)
    written = _whole_second(second)
    return None if written is None else f"{written}.{fraction:09d}Z"


def gap_object(gap: Gap, time: TimeFormat) -> dict[str, object]:
    """A gap in terms JSON has."""
    since: object = gap.since
    until: object = gap.until
    if time is TimeFormat.RFC3339:
        since, until = iso(gap.since), iso(gap.until)
    return {
        "tags": gap.tags,
        "since": since,
        "until": until,
        "cause": gap.cause,
        "lost": gap.lost,
        "recovered": gap.recovered,
    }


def _stamp_texts(times: Sequence[int | None]) -> list[str]:
    if not times or None in times:
        return list(map(_stamp_text, times))
    known: Sequence[int] = times  # type: ignore[assignment]  # there is no None among them: see the line before
    least, most = _TEN_DIGIT_SECONDS
    first, last = min(known), max(known)
    if first < least or last > most or last // _SECOND - first // _SECOND > _SECONDS_AT_ONCE:
        return list(map(_stamp_text, known))
    # ,1767225600123456789,1767225600123456790  becomes  Z",,"2026-01-01T00:00:00.123456789Z",,"2026-01-01T00:0…
    together = b"," + _ENCODER.encode(known)[1:-1]
    for second in range(first // _SECOND, last // _SECOND + 1):
        whole = _whole_second(second)
        assert whole is not None, "ten-digit seconds lie between the years 2001 and 2286"
        together = together.replace(b",%d" % second, f'Z",,"{whole}.'.encode())
    return (together.decode() + 'Z"')[4:].split(",,")


def _stamp_text(time: int | None) -> str:
    written = stamp(time)
    return "null" if written is None else f'"{written}"'


@lru_cache(maxsize=1024)
def _whole_second(second: int) -> str | None:
    """Many samples share a second, and to write one costs ten times what remembering it does."""
    written = iso(second * _SECOND)
    return None if written is None else written[:-1]


def _number_texts(times: Sequence[int | None]) -> list[str]:
    """Each time as a whole number of nanoseconds since 1970 UTC."""
    return _ENCODER.encode(times)[1:-1].decode().split(",") if times else []
