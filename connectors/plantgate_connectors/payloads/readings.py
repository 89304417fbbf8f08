"""Payloads to samples. Whatever the bytes are, nothing is raised: what cannot be read is a bad sample."""

import math
from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

from plantgate.sdk import Batch, Value
from plantgate.sdk.quality import BAD_DECODING
from plantgate_connectors.payloads.documents import DEPTH_MOST, MISSING, Beside, Unreadable, at, leaves, pointer
from plantgate_connectors.payloads.words import Meaning, Payload

Read: TypeAlias = Callable[[Batch, str, bytes, int, int | None], bool]
"""Append what a payload says to the batch, under this tag; quality and source time, where it says nothing of its own.

A quality other than good stands for what the transport knows of a value that has no time. False if the payload, or a
part of it, could not be read; then a `BAD_DECODING` sample without value stands for it.
"""

_NUMBER_BYTES_MOST: Final = 400
"""More digits than any measurement has, and fewer than make Python slow."""


def reader(meaning: Meaning) -> Read:
    """How payloads of this meaning are read; `plantgate` batches have readers of their own."""
    match meaning.payload:
        case Payload.NUMBER:
            return _plain(_number)
        case Payload.TEXT:
            return _plain(_text)
        case Payload.JSON:
            return _json(meaning)
        case _:
            return _fields(meaning)


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
    def read(batch: Batch, tag: str, payload: bytes, quality: int, time: int | None) -> bool:
        try:
            value = parse(payload)
        except (ValueError, Unreadable):
            bad(batch, tag)
            return False
        append(batch, tag, value, quality, time)
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


def _json(meaning: Meaning) -> Read:
    where, beside = pointer(meaning.value or ""), Beside.of(meaning)

    def read(batch: Batch, tag: str, payload: bytes, quality: int, time: int | None) -> bool:
        try:
            document = parse_json(payload)
            found = at(document, where)
            if found is MISSING:
                raise Unreadable
            value = as_value(found)
            found_quality, found_time = beside.look(document, quality, time)
        except Unreadable:
            bad(batch, tag)
            return False
        append(batch, tag, value, found_quality, found_time)
        return True

    return read


def _fields(meaning: Meaning) -> Read:
    where, beside = pointer(meaning.value or ""), Beside.of(meaning)
    apart = beside.places

    def read(batch: Batch, tag: str, payload: bytes, quality: int, time: int | None) -> bool:
        try:
            document = parse_json(payload)
            found = at(document, where)
            if not isinstance(found, dict):
                raise Unreadable
            values = list(leaves(found, where, tag, apart, as_value))
            found_quality, found_time = beside.look(document, quality, time)
        except Unreadable:
            bad(batch, tag)
            return False
        for name, value in values:
            append(batch, name, value, found_quality, found_time)
        return True

    return read


def parse_json(payload: bytes) -> object:
    """Raises `Unreadable`."""
    try:
        return msgspec.json.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        raise Unreadable from None


def as_value(found: object, depth: int = 0) -> Value:
    """What JSON gave, as a value. Raises `Unreadable` for what nobody downstream could hold."""
    if isinstance(found, int) and not -(2**63) <= found < 2**64:
        raise Unreadable
    if found is None or isinstance(found, bool | int | float | str):
        return found
    if depth > DEPTH_MOST:
        raise Unreadable
    if isinstance(found, dict):
        return {str(name): as_value(inner, depth + 1) for name, inner in found.items()}
    assert isinstance(found, list), f"JSON gave a {type(found).__name__}"
    return [as_value(inner, depth + 1) for inner in found]
