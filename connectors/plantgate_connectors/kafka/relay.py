"""Records that another plantgate wrote, back to batches: values, qualities, times and gaps as they were."""

from typing import Final

import msgspec

from plantgate.sdk import Batch
from plantgate_connectors.payloads.documents import Unreadable
from plantgate_connectors.payloads.readings import bad
from plantgate_connectors.payloads.relayed import RelayedGap, relayed_batch


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
    gap: RelayedGap | None = None


_DECODER: Final = msgspec.json.Decoder(_Record)


def read_record(batch: Batch, tag: str, payload: bytes, quality: int, time: int | None) -> bool:
    """A `readings.Read`: appends the samples or the gap of one record; `tag` only names a record that is unreadable."""
    try:
        read = _columns(_DECODER.decode(payload))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, Unreadable):
        bad(batch, tag)
        return False
    batch.extend(read)
    return True


def _columns(record: _Record) -> Batch:
    if record.gap is not None:
        return Batch.empty(gaps=(record.gap.gap(),))
    values, qualities, times = record.values, record.qualities, record.times
    if values is None or qualities is None or times is None:
        if record.tag is None:
            raise Unreadable
        return relayed_batch([record.tag], [record.value], [record.code], [record.time])
    tags = record.tags if record.tags is not None else None if record.tag is None else [record.tag] * len(values)
    if tags is None:
        raise Unreadable
    return relayed_batch(tags, values, qualities, times)
