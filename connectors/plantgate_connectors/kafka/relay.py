"""Records that another plantgate wrote, back to batches: values, qualities, times and gaps as they were."""

import math
from typing import Final

import msgspec

from plantgate.sdk import Batch, Gap, Value
from plantgate.sdk.quality import GOOD, UNCERTAIN
from plantgate_connectors.kafka.readings import Unreadable, as_value, bad, read_quality
from plantgate_connectors.kafka.settings import TimeUnit
from plantgate_connectors.kafka.times import read_time

_UNSAYABLE: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class _Gap(msgspec.Struct):
    tags: tuple[str, ...]
    cause: str
    since: str | int | None = None
    until: str | int | None = None
    lost: int | None = None
    recovered: int = 0


class _Record(msgspec.Struct):
    """Every shape we write: one sample, one tag's samples, a batch, a gap."""

    tag: str | None = None
    value: object = None
    code: int | None = None
    time: str | int | None = None
    tags: list[str] | None = None
    values: list[object] | None = None
    qualities: list[int] | None = None
    times: list[str | int | None] | None = None
    gap: _Gap | None = None


_DECODER: Final = msgspec.json.Decoder(_Record)


def read_record(batch: Batch, tag: str, payload: bytes, stamp: int | None) -> bool:
    """A `readings.Read`: appends the samples or the gap of one record; `tag` only names a record that is unreadable."""
    try:
        read = _columns(_DECODER.decode(payload))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, Unreadable):
        bad(batch, tag)
        return False
    batch.gaps += read.gaps
    batch.tags += read.tags
    batch.values += read.values
    batch.qualities += read.qualities
    batch.times += read.times
    return True


def _columns(record: _Record) -> Batch:
    if record.gap is not None:
        return Batch.empty(gaps=(_gap(record.gap),))
    values, qualities, times = record.values, record.qualities, record.times
    if values is None or qualities is None or times is None:
        if record.tag is None:
            raise Unreadable
        return Batch([record.tag], [_value(record.value)], [_quality(record.code)], [_time(record.time)])
    tags = record.tags if record.tags is not None else None if record.tag is None else [record.tag] * len(values)
    if tags is None or not len(tags) == len(values) == len(qualities) == len(times):
        raise Unreadable
    return Batch(tags, list(map(_value, values)), list(map(_quality, qualities)), list(map(_time, times)))


def _value(found: object) -> Value:
    """Text that can only be a float JSON cannot say is that float again."""
    if isinstance(found, str):
        return _UNSAYABLE.get(found, found)
    return as_value(found)


def _quality(written: object) -> int:
    quality = GOOD if written is None else read_quality(written)
    return UNCERTAIN if quality is None else quality


def _time(written: str | int | None) -> int | None:
    return None if written is None else read_time(written, TimeUnit.NANOSECONDS)


def _gap(gap: _Gap) -> Gap:
    return Gap(gap.tags, _time(gap.since), _time(gap.until), gap.cause, gap.lost, gap.recovered)
