"""Payloads to samples: all of a payload, or `Unreadable` with the reason and nothing."""

import math
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from plantgate.sdk import Batch, Value
from plantgate.sdk.quality import GOOD
from plantgate_connectors.http.batches import read_batch
from plantgate_connectors.http.meaning import Meaning
from plantgate_connectors.http.paths import Template
from plantgate_connectors.http.strict_json import as_value, parse
from plantgate_connectors.http.tag_names import tag_problem
from plantgate_connectors.payloads.documents import MISSING, Beside, Unreadable, at, leaves, pointer
from plantgate_connectors.payloads.readings import append
from plantgate_connectors.payloads.words import Payload

Read: TypeAlias = Callable[[bytes, Mapping[str, str]], Batch]
"""The samples of a payload; the names are those that its path gave. Raises `Unreadable`."""

_NUMBER_BYTES_MOST: Final = 400
"""More digits than any measurement has, and fewer than make Python slow."""


def reader(meaning: Meaning) -> Read:
    """How payloads of this meaning are read."""
    match meaning.payload:
        case Payload.NUMBER:
            read = _plain(meaning, _number)
        case Payload.TEXT:
            read = _plain(meaning, _text)
        case Payload.JSON:
            read = _json(meaning)
        case Payload.FIELDS:
            read = _fields(meaning)
        case Payload.PLANTGATE:
            read = lambda payload, names: read_batch(payload)  # noqa: E731  a case like the others

    def read_checked(payload: bytes, names: Mapping[str, str]) -> Batch:
        batch = read(payload, names)
        for tag in set(batch.tags):
            if problem := tag_problem(tag):
                raise Unreadable(problem)
        for gap in batch.gaps:
            for tag in gap.tags:
                if problem := tag_problem(tag):
                    raise Unreadable(problem)
        return batch

    return read_checked


def _plain(meaning: Meaning, parse_plain: Callable[[bytes], Value]) -> Read:
    tag = Template(meaning.tag or "")

    def read(payload: bytes, names: Mapping[str, str]) -> Batch:
        return Batch([tag.fill(names)], [parse_plain(payload)], [GOOD], [None])

    return read


def _number(payload: bytes) -> int | float:
    if len(payload) > _NUMBER_BYTES_MOST or b"_" in payload:  # Python would read 1_000 as a number
        raise Unreadable("it is not a number")
    try:
        whole = int(payload)
    except ValueError:
        try:
            number = float(payload)
        except ValueError:
            raise Unreadable("it is not a number") from None
        if not math.isfinite(number):
            raise Unreadable("it is no number that can be measured") from None
        return number
    if not -(2**63) <= whole < 2**64:
        raise Unreadable("it is a whole number of more than 64 bits")
    return whole


def _text(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise Unreadable("it is not UTF-8") from None


def _json(meaning: Meaning) -> Read:
    wanted = meaning.values or {meaning.tag or "": meaning.value or ""}
    places = [(Template(tag), where, pointer(where)) for tag, where in wanted.items()]
    beside = Beside.of(meaning)

    def read(payload: bytes, names: Mapping[str, str]) -> Batch:
        document = parse(payload)
        quality, time = beside.look(document)
        batch = Batch.empty()
        for tag, where, path in places:
            found = at(document, path)
            if found is MISSING:
                raise Unreadable(f"there is nothing at {where}")
            append(batch, tag.fill(names), as_value(found), quality, time)
        return batch

    return read


def _fields(meaning: Meaning) -> Read:
    tag, where, beside = Template(meaning.tag or ""), pointer(meaning.value or ""), Beside.of(meaning)
    apart = beside.places

    def read(payload: bytes, names: Mapping[str, str]) -> Batch:
        document = parse(payload)
        found = at(document, where)
        if not isinstance(found, dict):
            raise Unreadable(f"there is no object at {meaning.value or 'the top'}")
        quality, time = beside.look(document)
        batch = Batch.empty()
        for name, value in leaves(found, where, tag.fill(names), apart, as_value):
            append(batch, name, value, quality, time)
        return batch

    return read
