"""A batch as bytes: one call of the encoder for all samples, never one for each.

First byte: version of the encoding, 1. Then MessagePack: an array of tags, values, qualities, times, received, gaps.
A column whose samples are all alike is stored once: qualities as one integer, times as an array of one. Integers beyond
64 bits are extension type 1, two's complement, big-endian. Tuples come back as lists.
"""

from collections.abc import Mapping, Sequence
from typing import Final, cast

import msgspec

from plantgate.sdk.errors import GatewayError, Rejected
from plantgate.sdk.sample import Batch, Gap, Value

VERSION: Final = 1
_BIG_INTEGER: Final = 1


class Unreadable(GatewayError):
    """A stored batch that this version cannot decode: it was written by a newer one, or by something else."""


class _Gap(msgspec.Struct, array_like=True, gc=False, forbid_unknown_fields=True):
    tags: tuple[str, ...]
    since: int | None
    until: int | None
    cause: str
    lost: int | None
    recovered: int


class _Columns(msgspec.Struct, array_like=True, gc=False, forbid_unknown_fields=True):
    tags: list[str]
    values: list[object]
    qualities: list[int] | int
    times: list[int | None]
    received: int
    gaps: tuple[_Gap, ...]


def _encode_other(value: object) -> object:
    """Mappings and sequences that are not dict, list or tuple."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    raise NotImplementedError(f"a value of type {type(value).__name__}")


def _decode_extension(code: int, content: memoryview) -> int:
    if code != _BIG_INTEGER:
        raise ValueError(f"extension type {code}")
    return int.from_bytes(content, "big", signed=True)


_encoder: Final = msgspec.msgpack.Encoder(enc_hook=_encode_other)
_decoder: Final = msgspec.msgpack.Decoder(_Columns, ext_hook=_decode_extension)


def encode(batch: Batch) -> bytes:
    """Everything but cursor, origin and position, which are the outbox's own. Raises `Rejected`, naming the tag."""
    qualities, times = batch.qualities, batch.times
    count = len(times)
    columns = _Columns(
        batch.tags,
        cast(list[object], batch.values),
        qualities[0] if count and qualities.count(qualities[0]) == count else qualities,
        times[:1] if count and times.count(times[0]) == count else times,
        batch.received,
        tuple(_Gap(gap.tags, gap.since, gap.until, gap.cause, gap.lost, gap.recovered) for gap in batch.gaps),
    )
    content = bytearray((VERSION,))
    try:
        try:
            _encoder.encode_into(columns, content, 1)
        except OverflowError:
            columns.values = [_with_big_integers(value) for value in batch.values]
            _encoder.encode_into(columns, content, 1)
    except (NotImplementedError, TypeError, ValueError, RecursionError) as error:
        raise Rejected(_refusal(batch, error)) from error
    return bytes(content)


def decode(content: bytes) -> Batch:
    """The batch, without cursor, origin and position. Raises `Unreadable`."""
    if not content or content[0] != VERSION:
        found = content[0] if content else "none"
        raise Unreadable(f"a stored batch has encoding version {found}, this plantgate reads {VERSION}")
    try:
        columns = _decoder.decode(memoryview(content)[1:])
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Unreadable(f"a stored batch cannot be decoded: {error}") from error
    count = len(columns.tags)
    qualities = [columns.qualities] * count if isinstance(columns.qualities, int) else columns.qualities
    times = columns.times * count if len(columns.times) == 1 else columns.times
    if not len(columns.values) == len(qualities) == len(times) == count:
        raise Unreadable(f"a stored batch has columns of different lengths, {count} tags and {len(times)} times")
    gaps = tuple(Gap(gap.tags, gap.since, gap.until, gap.cause, gap.lost, gap.recovered) for gap in columns.gaps)
    values = cast(list[Value], columns.values)
    return Batch(columns.tags, values, qualities, times, gaps=gaps, received=columns.received)


def halves(batch: Batch) -> tuple[Batch, Batch]:
    """The same samples in two batches; the gaps stay before the first."""
    middle = len(batch) // 2
    first = Batch(
        batch.tags[:middle],
        batch.values[:middle],
        batch.qualities[:middle],
        batch.times[:middle],
        gaps=batch.gaps,
        received=batch.received,
    )
    second = Batch(
        batch.tags[middle:],
        batch.values[middle:],
        batch.qualities[middle:],
        batch.times[middle:],
        received=batch.received,
    )
    return first, second


def _with_big_integers(value: Value) -> object:
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        return msgspec.msgpack.Ext(_BIG_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))
    if isinstance(value, Mapping):
        return {key: _with_big_integers(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_with_big_integers(item) for item in value]
    return value


def _refusal(batch: Batch, error: Exception) -> str:
    """Which tag it is: found by trying, since it happens once."""
    for tag, value in zip(batch.tags, batch.values, strict=True):
        try:
            _encoder.encode(_with_big_integers(value))
        except (NotImplementedError, TypeError, ValueError, RecursionError):
            return f"{tag}: its value cannot be stored ({error})"
    return f"a batch cannot be stored ({error})"
