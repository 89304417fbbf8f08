"""Batches that another plantgate published, back to batches: values, qualities, times and gaps as they were."""

from typing import Final

import msgspec

from plantgate.sdk import Batch
from plantgate_connectors.payloads.documents import Unreadable
from plantgate_connectors.payloads.readings import bad
from plantgate_connectors.payloads.relayed import RelayedGap, relayed_batch


class _Sample(msgspec.Struct):
    tag: str
    value: object = None
    code: int | None = None
    quality: str | None = None
    time: str | int | None = None


class _Message(msgspec.Struct):
    """Every shape we publish: rows, columns, one sample, gaps, and a CloudEvent around any of them."""

    data: "_Message | None" = None
    samples: list[_Sample] | None = None
    gaps: list[RelayedGap] | None = None
    tags: list[str] | None = None
    values: list[object] | None = None
    qualities: list[int] | None = None
    times: list[str | int | None] | None = None
    tag: str | None = None
    value: object = None
    code: int | None = None
    time: str | int | None = None


_DECODER: Final = msgspec.json.Decoder(_Message)


def read_batch(batch: Batch, tag: str, payload: bytes, quality: int, time: int | None) -> bool:
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
        return relayed_batch(
            [sample.tag for sample in message.samples],
            [sample.value for sample in message.samples],
            [sample.code if sample.code is not None else sample.quality for sample in message.samples],
            [sample.time for sample in message.samples],
        )
    if message.gaps is not None:
        return Batch.empty(gaps=tuple(gap.gap() for gap in message.gaps))
    if message.tag is not None:
        return relayed_batch([message.tag], [message.value], [message.code], [message.time])
    tags, values, qualities, times = message.tags, message.values, message.qualities, message.times
    if tags is None or values is None or qualities is None or times is None:
        raise Unreadable
    return relayed_batch(tags, values, qualities, times)
