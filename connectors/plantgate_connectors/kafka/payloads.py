"""Batches to the values of records, in columns: each column becomes a list of JSON texts in one call.

NaN and the infinities, which JSON cannot say, are the strings "NaN", "Infinity", "-Infinity"; bytes are base64;
whole numbers keep every digit.
"""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from plantgate.sdk import Batch, Gap, Value, iso, quality_name
from plantgate_connectors.kafka.settings import TimeFormat

_ENCODER: Final = msgspec.json.Encoder()
_PLAIN: Final = frozenset((int, float, bool, type(None)))
_SECOND: Final = 1_000_000_000
_TEN_DIGIT_SECONDS: Final = (10**18, 10**19 - 1)
"""Nanoseconds whose seconds have ten digits (2001 to 2286), so that cutting text after ten digits is exact."""
_SECONDS_AT_ONCE: Final = 16
_CACHED_MOST: Final = 100_000


class Writer:
    """Writes values of records, with times in one format."""

    def __init__(self, time: TimeFormat) -> None:
        self._times = _time_texts if time is TimeFormat.RFC3339 else _number_texts
        self._time = time
        self._heads = _Heads()
        self._qualities = _Qualities()

    def each(self, batch: Batch) -> list[bytes]:
        """``{"origin","position","tag","value","quality","code","time"}`` for each sample."""
        origin = f'{{"origin":{_json(batch.origin)},"position":'
        columns = zip(
            map(self._heads.__getitem__, batch.tags),
            value_texts(batch.values),
            map(self._qualities.__getitem__, batch.qualities),
            self._times(batch.times),
            strict=True,
        )
        return [
            f"{origin}{place}{head}{value}{quality}{time}}}".encode()
            for place, (head, value, quality, time) in enumerate(columns, batch.position)
        ]

    def tag(self, batch: Batch, tag: str, places: Sequence[int]) -> bytes:
        """``{"origin","positions":[],"tag","values":[],"qualities":[codes],"times":[]}``: one tag's samples."""
        positions = [batch.position + place for place in places]
        return (
            f'{{"origin":{_json(batch.origin)},"positions":{_json(positions)},"tag":{_json(tag)},'
            f"{self._columns(batch, places)}}}"
        ).encode()

    def batch(self, batch: Batch, places: Sequence[int]) -> bytes:
        """``{"origin","positions":[],"tags":[],"values":[],"qualities":[codes],"times":[]}``."""
        positions = [batch.position + place for place in places]
        tags = [batch.tags[place] for place in places]
        return (
            f'{{"origin":{_json(batch.origin)},"positions":{_json(positions)},"tags":{_json(tags)},'
            f"{self._columns(batch, places)}}}"
        ).encode()

    def gap(self, batch: Batch, number: int) -> bytes:
        """``{"origin","position","number","gap":{"tags","since","until","cause","lost","recovered"}}``."""
        return _ENCODER.encode(
            {
                "origin": batch.origin,
                "position": batch.position,
                "number": number,
                "gap": _gap(batch.gaps[number], self._time),
            }
        )

    def _columns(self, batch: Batch, places: Sequence[int]) -> str:
        values = value_texts([batch.values[place] for place in places])
        qualities = [batch.qualities[place] for place in places]
        times = self._times([batch.times[place] for place in places])
        return f'"values":[{",".join(values)}],"qualities":{_json(qualities)},"times":[{",".join(times)}]'


class _Heads(dict[str, str]):
    """What stands between a position and a value."""

    def __missing__(self, tag: str) -> str:
        if len(self) > _CACHED_MOST:
            self.clear()
        head = self[tag] = f',"tag":{_json(tag)},"value":'
        return head


class _Qualities(dict[int, str]):
    """What stands between a value and its time."""

    def __missing__(self, quality: int) -> str:
        if len(self) > _CACHED_MOST:
            self.clear()
        written = self[quality] = f',"quality":{_json(quality_name(quality))},"code":{quality},"time":'
        return written


def value_texts(values: Sequence[Value]) -> list[str]:
    """Each value as JSON."""
    if values and _PLAIN.issuperset(map(type, values)):
        together = _ENCODER.encode(values)
        if b"null" not in together:  # None, or a float that JSON cannot say
            return together[1:-1].decode().split(",")
    return [_json(_sayable(value)) for value in values]


def _sayable(value: Value) -> object:
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
        return {name: _sayable(inner) for name, inner in value.items()}
    return [_sayable(inner) for inner in value]


def _time_texts(times: Sequence[int | None]) -> list[str]:
    """Each time as a JSON string, UTC, always nine digits of a second; null for None."""
    if not times or None in times:
        return list(map(_stamp, times))
    known: Sequence[int] = times  # type: ignore[assignment]  # there is no None among them: see the line before
    least, most = _TEN_DIGIT_SECONDS
    first, last = min(known), max(known)
    if first < least or last > most or last // _SECOND - first // _SECOND > _SECONDS_AT_ONCE:
        return list(map(_stamp, known))
    # ,1767225600123456789,1767225600123456790  becomes  Z",,"2026-01-01T00:00:00.123456789Z",,"2026-01-01T00:0…
    together = b"," + _ENCODER.encode(known)[1:-1]
    for second in range(first // _SECOND, last // _SECOND + 1):
        stamp = iso(second * _SECOND)
        assert stamp is not None, "ten-digit seconds lie between the years 2001 and 2286"
        together = together.replace(b",%d" % second, f'Z",,"{stamp[:-1]}.'.encode())
    return (together.decode() + 'Z"')[4:].split(",,")


def _stamp(time: int | None) -> str:
    if time is None:
        return "null"
    second, fraction = divmod(time, _SECOND)
    stamp = iso(second * _SECOND)
    return "null" if stamp is None else f'"{stamp[:-1]}.{fraction:09d}Z"'


def _number_texts(times: Sequence[int | None]) -> list[str]:
    """Each time as a whole number of nanoseconds since 1970 UTC; null for None."""
    return _ENCODER.encode(times)[1:-1].decode().split(",") if times else []


def _gap(gap: Gap, time: TimeFormat) -> dict[str, object]:
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


def _json(value: object) -> str:
    try:
        return _ENCODER.encode(value).decode()
    except UnicodeEncodeError:  # half a surrogate pair, which is no character: msgspec refuses, json escapes it
        return json.dumps(value, ensure_ascii=True, separators=(",", ":"))
