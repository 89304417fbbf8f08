"""Values of records to samples. Whatever the bytes are, nothing is raised: what cannot be read is a bad sample."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import msgspec

from plantgate.sdk import Batch, Value
from plantgate.sdk.quality import BAD, BAD_DECODING, GOOD, UNCERTAIN
from plantgate_connectors.kafka.settings import Payload, Subscribe
from plantgate_connectors.kafka.times import read_time

Read: TypeAlias = Callable[[Batch, str, bytes, int | None], bool]
"""Append what a record says to the batch, under this tag; the last argument: the source time, unless the value has one.

False if the value, or a part of it, could not be read; then a `BAD_DECODING` sample without value stands for it.
"""

_NUMBER_BYTES_MOST: Final = 400
"""More digits than any measurement has, and fewer than make Python slow."""
_DEPTH_MOST: Final = 32
_WORDS: Final = {"good": GOOD, "uncertain": UNCERTAIN, "bad": BAD}
_MISSING: Final = object()


class Unreadable(Exception):
    """This record is not what the operator said it would be."""


def reader(subscribe: Subscribe) -> Read:
    """How this topic's records are read; `plantgate` batches have a reader of their own: see `relay`."""
    match subscribe.payload:
        case Payload.NUMBER:
            return _plain(_number)
        case Payload.TEXT:
            return _plain(_text)
        case Payload.JSON:
            return _json(subscribe)
        case _:
            return _fields(subscribe)


def bad(batch: Batch, tag: str) -> None:
    """The sample that stands for something unreadable."""
    append(batch, tag, None, BAD_DECODING, None)


def append(batch: Batch, tag: str, value: Value, quality: int, time: int | None) -> None:
    """One sample more."""
    batch.tags.append(tag)
    batch.values.append(value)
    batch.qualities.append(quality)
    batch.times.append(time)


# Bare values.


def _plain(parse: Callable[[bytes], Value]) -> Read:
    def read(batch: Batch, tag: str, payload: bytes, stamp: int | None) -> bool:
        try:
            value = parse(payload)
        except (ValueError, Unreadable):
            bad(batch, tag)
            return False
        append(batch, tag, value, GOOD, stamp)
        return True

    return read


def _number(payload: bytes) -> int | float:
    if len(payload) > _NUMBER_BYTES_MOST or b"_" in payload:  # Python would read 1_000 as a number
        raise Unreadable
    try:
        whole = int(payload)
    except ValueError:
        number = float(payload)
        if math.isinf(number) and b"n" not in payload.lower():  # 1e999 is not infinity, it is too large to be held
            raise Unreadable from None
        return number
    if not -(2**63) <= whole < 2**64:
        raise Unreadable
    return whole


def _text(payload: bytes) -> str:
    return payload.decode()


# JSON.


@dataclass(frozen=True, slots=True)
class _Beside:
    """Where a JSON record keeps time and quality."""

    subscribe: Subscribe
    time: tuple[str, ...] | None
    quality: tuple[str, ...] | None

    def look(self, document: object, stamp: int | None) -> tuple[int, int | None]:
        """Quality and time. What was promised and is not there, or makes no sense, turns good into `UNCERTAIN`."""
        quality, time = GOOD, stamp
        doubt = False
        if self.quality is not None:
            found = read_quality(_at(document, self.quality))
            doubt = found is None
            quality = GOOD if found is None else found
        if self.time is not None:
            time = read_time(_at(document, self.time), self.subscribe.time_unit)
            doubt = doubt or time is None
        if quality == GOOD and doubt:
            quality = UNCERTAIN
        return quality, time


def _json(subscribe: Subscribe) -> Read:
    where, beside = pointer(subscribe.value), _beside(subscribe)

    def read(batch: Batch, tag: str, payload: bytes, stamp: int | None) -> bool:
        try:
            document = parse_json(payload)
            found = _at(document, where)
            if found is _MISSING:
                raise Unreadable
            value = as_value(found)
            quality, time = beside.look(document, stamp)
        except Unreadable:
            bad(batch, tag)
            return False
        append(batch, tag, value, quality, time)
        return True

    return read


def _fields(subscribe: Subscribe) -> Read:
    where, beside = pointer(subscribe.value), _beside(subscribe)
    apart = {path for path in (beside.time, beside.quality) if path is not None}

    def read(batch: Batch, tag: str, payload: bytes, stamp: int | None) -> bool:
        try:
            document = parse_json(payload)
            found = _at(document, where)
            if not isinstance(found, dict):
                raise Unreadable
            leaves: list[tuple[str, Value]] = []
            _gather(found, where, tag, apart, leaves)
            quality, time = beside.look(document, stamp)
        except Unreadable:
            bad(batch, tag)
            return False
        for name, value in leaves:
            append(batch, name, value, quality, time)
        return True

    return read


def _gather(
    found: Mapping[str, object],
    path: tuple[str, ...],
    tag: str,
    apart: set[tuple[str, ...]],
    leaves: list[tuple[str, Value]],
) -> None:
    if len(path) > _DEPTH_MOST:
        raise Unreadable
    for name, value in found.items():
        place = (*path, name)
        if place in apart:
            continue
        if isinstance(value, dict):
            _gather(value, place, f"{tag}/{name}", apart, leaves)
        else:
            leaves.append((f"{tag}/{name}", as_value(value)))


def _beside(subscribe: Subscribe) -> _Beside:
    return _Beside(
        subscribe,
        None if subscribe.time is None else pointer(subscribe.time),
        None if subscribe.quality is None else pointer(subscribe.quality),
    )


def parse_json(payload: bytes) -> object:
    """Raises `Unreadable`."""
    try:
        return msgspec.json.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        raise Unreadable from None


def pointer(written: str) -> tuple[str, ...]:
    """A JSON Pointer (RFC 6901) as steps."""
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in written.split("/")[1:])


def _at(document: object, path: tuple[str, ...]) -> object:
    for step in path:
        if isinstance(document, dict):
            document = document.get(step, _MISSING)
        elif isinstance(document, list) and step.isdecimal() and len(step) < 10 and int(step) < len(document):
            document = document[int(step)]
        else:
            return _MISSING
    return document


def as_value(found: object, depth: int = 0) -> Value:
    """What JSON gave, as a value. Raises `Unreadable` for what nobody downstream could hold."""
    if isinstance(found, int) and not -(2**63) <= found < 2**64:
        raise Unreadable
    if found is None or isinstance(found, bool | int | float | str):
        return found
    if depth > _DEPTH_MOST:
        raise Unreadable
    if isinstance(found, dict):
        return {str(name): as_value(inner, depth + 1) for name, inner in found.items()}
    assert isinstance(found, list), f"JSON gave a {type(found).__name__}"
    return [as_value(inner, depth + 1) for inner in found]


def read_quality(written: object) -> int | None:
    """A StatusCode, a truth, or a word; None for anything else."""
    if isinstance(written, bool):
        return GOOD if written else BAD
    if isinstance(written, int):
        return written if 0 <= written < 2**32 else None
    if isinstance(written, str):
        return _WORDS.get(written.lower())
    return None
