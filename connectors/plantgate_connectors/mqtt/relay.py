"""Batches that another plantgate published, back to batches: values, qualities, times and gaps as they were."""

import math
from typing import Final

import msgspec

from plantgate.sdk import Batch, Gap, Value
from plantgate.sdk.quality import GOOD, UNCERTAIN
from plantgate_connectors.mqtt.readings import Unreadable, as_value, bad, read_quality
from plantgate_connectors.mqtt.settings import TimeUnit
from plantgate_connectors.mqtt.times import read_time

_UNSAYABLE: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class _Sample(msgspec.Struct):
    tag: str
    value: object = None
    code: int | None = None
    quality: str | None = None
    time: str | int | None = None


class _Gap(msgspec.Struct):
    tags: tuple[str, ...]
    cause: str
    since: str | int | None = None
    until: str | int | None = None
    lost: int | None = None
    recovered: int = 0


class _Message(msgspec.Struct):
    """Every shape we publish: rows, columns, one sample, gaps, and a CloudEvent around any of them."""

    data: "_Message | None" = None
    samples: list[_Sample] | None = None
    gaps: list[_Gap] | None = None
    tags: list[str] | None = None
    values: list[object] | None = None
    qualities: list[int] | None = None
    times: list[str | int | None] | None = None
    tag: str | None = None
    value: object = None
    code: int | None = None
    time: str | int | None = None


_DECODER: Final = msgspec.json.Decoder(_Message)


def read_batch(batch: Batch, tag: str, payload: bytes, retained: bool) -> bool:
    """A `readings.Read`: appends the samples and gaps of one message; `tag` only names a message that is unreadable."""
    try:
        message = _DECODER.decode(payload)
        read = _columns(message.data if message.data is not None else message)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, Unreadable):
        bad(batch, tag)
        return False
    batch.extend(read)
    return True


def _columns(message: _Message) -> Batch:
    if message.samples is not None:
        return Batch(
            [sample.tag for sample in message.samples],
            [_value(sample.value) for sample in message.samples],
            [_quality(sample.code if sample.code is not None else sample.quality) for sample in message.samples],
            [_time(sample.time) for sample in message.samples],
        )
    if message.gaps is not None:
        return Batch.empty(gaps=tuple(map(_gap, message.gaps)))
    if message.tag is not None:
        return Batch([message.tag], [_value(message.value)], [_quality(message.code)], [_time(message.time)])
    tags, values, qualities, times = message.tags, message.values, message.qualities, message.times
    if tags is None or values is None or qualities is None or times is None:
        raise Unreadable
    if not len(tags) == len(values) == len(qualities) == len(times):
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
