"""Batches to bytes: the bodies we post. The same vocabulary as the mqtt connector's, with the gaps beside the samples.

NaN and the infinities, which JSON cannot say, are the strings "NaN", "Infinity", "-Infinity"; bytes are base64;
whole numbers keep every digit.
"""

import base64
import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Final, TypeAlias

import msgspec

from plantgate.sdk import Batch, Gap, Value, iso, quality_name
from plantgate_connectors.http.settings import Format, TimeFormat

Encode: TypeAlias = Callable[[Batch, int, int], bytes]
"""The body for samples `start` to `stop` of a batch; with the first of them go the gaps."""

CONTENT_TYPES: Final = {
    Format.JSON: "application/json",
    Format.COLUMNS: "application/json",
    Format.CLOUDEVENTS: "application/cloudevents+json",
}
_PLAIN: Final = frozenset((int, str, bool, type(None)))
_ENCODER: Final = msgspec.json.Encoder()


def encoder(format_: Format, time: TimeFormat, source: str) -> Encode:
    """How a batch is written; `source` is who we are in a CloudEvent."""

    def rows(batch: Batch, start: int, stop: int) -> dict[str, object]:
        times = _times(batch.times[start:stop], time)
        return _whole(
            batch,
            start,
            time,
            samples=[
                {"tag": tag, "value": value, "quality": quality_name(code), "code": code, "time": moment}
                for tag, value, code, moment in zip(
                    batch.tags[start:stop],
                    _sayable_column(batch.values[start:stop]),
                    batch.qualities[start:stop],
                    times,
                    strict=True,
                )
            ],
        )

    def columns(batch: Batch, start: int, stop: int) -> dict[str, object]:
        return _whole(
            batch,
            start,
            time,
            tags=batch.tags[start:stop],
            values=_sayable_column(batch.values[start:stop]),
            qualities=batch.qualities[start:stop],
            times=_times(batch.times[start:stop], time),
        )

    def event(batch: Batch, start: int, stop: int) -> dict[str, object]:
        envelope: dict[str, object] = {
            "specversion": "1.0",
            "id": f"{batch.origin}/{batch.position + start}",
            "source": source,
            "type": "plantgate.samples",
            "datacontenttype": "application/json",
            "data": rows(batch, start, stop),
        }
        if batch.received:
            envelope["time"] = iso(batch.received)
        return envelope

    write = {Format.JSON: rows, Format.COLUMNS: columns, Format.CLOUDEVENTS: event}[format_]
    return lambda batch, start, stop: _bytes(write(batch, start, stop))


def _whole(batch: Batch, start: int, time: TimeFormat, **samples: object) -> dict[str, object]:
    whole: dict[str, object] = {"origin": batch.origin, "position": batch.position + start, **samples}
    if batch.gaps and not start:
        whole["gaps"] = [_gap(gap, time) for gap in batch.gaps]
    return whole


def _times(times: Sequence[int | None], time: TimeFormat) -> Sequence[object]:
    return list(map(_stamp, times)) if time is TimeFormat.RFC3339 else times


def _stamp(time: int | None) -> str | None:
    """UTC, always nine digits of a second; None for None, and for a year that cannot be written."""
    if time is None:
        return None
    second, fraction = divmod(time, 1_000_000_000)
    written = _second(second)
    return None if written is None else f"{written}.{fraction:09d}Z"


@lru_cache(maxsize=1024)
def _second(second: int) -> str | None:
    """Many samples share a second, and to write one costs ten times what remembering it does."""
    written = iso(second * 1_000_000_000)
    return None if written is None else written[:-1]


def _gap(gap: Gap, time: TimeFormat) -> dict[str, object]:
    since, until = _times((gap.since, gap.until), time)
    return {
        "tags": gap.tags,
        "since": since,
        "until": until,
        "cause": gap.cause,
        "lost": gap.lost,
        "recovered": gap.recovered,
    }


def _sayable_column(values: Sequence[Value]) -> Sequence[object]:
    """As they are where JSON can say them all, which it mostly can."""
    for value in values:
        if type(value) not in _PLAIN and not (type(value) is float and math.isfinite(value)):
            return list(map(_sayable, values))
    return values


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


def _bytes(document: object) -> bytes:
    try:
        return _ENCODER.encode(document)
    except UnicodeEncodeError:  # half a surrogate pair, which is no character: msgspec refuses, json escapes it
        return json.dumps(document, separators=(",", ":")).encode()
