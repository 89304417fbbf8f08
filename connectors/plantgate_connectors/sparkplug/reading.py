"""Sparkplug payloads, read: every field of the specification's protobuf description (6.4.1), nothing interpreted yet.

Lengths and counts are checked against the bytes that are there; nothing is allocated because a number says so. Fields
nobody knows are passed over. A field that comes twice counts as it came last, except where protobuf would merge the
two, which no encoder makes anyone do: that is refused.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from plantgate_connectors.sparkplug.nested import (
    BOOLEAN,
    BYTES,
    DATASET,
    DOUBLE_VALUE,
    FLOAT_VALUE,
    INT,
    LONG,
    STRING,
    TEMPLATE,
    BadText,
    read_dataset,
    read_properties,
    text,
)
from plantgate_connectors.sparkplug.wire import (
    DOUBLE,
    FIXED32,
    FIXED64,
    FLOAT,
    LENGTH,
    VARINT,
    Malformed,
    read_key,
    read_length,
    read_varint,
    skip,
)

METRICS_MAX: Final = 200_000
"""In one message. A metric takes two bytes at least, and a hundred times that once it is read."""
DEPTH_MAX: Final = 8
"""Templates within templates."""
JSON_TYPE: Final = "application/json"


@dataclass(slots=True)
class Reading:
    """A metric as it stands in a payload."""

    name: str | BadText | None = None
    alias: int | None = None
    time: int | None = None
    """Milliseconds since 1970 UTC."""
    datatype: int | None = None
    historical: bool = False
    null: bool = False
    json: bool = False
    """Whether its metadata says that its text is JSON."""
    properties: dict[str, object] = field(default_factory=dict)
    kind: int = 0
    """Which field of the specification the value came in; 0 for none."""
    value: object = None


@dataclass(slots=True)
class Template:
    """A structure, or, if `is_definition`, what structures of a kind look like."""

    ref: str | BadText | None = None
    is_definition: bool = False
    members: list[Reading] = field(default_factory=list)


@dataclass(slots=True)
class Payload:
    """A whole message."""

    time: int | None = None
    seq: int | None = None
    uuid: str | BadText | None = None
    metrics: list[Reading] = field(default_factory=list)


def read_payload(body: bytes) -> Payload:
    """The message in these bytes. Raises `Malformed`."""
    found = Payload()
    at, end = 0, len(body)
    while at < end:
        number, kind, at = read_key(body, at, end)
        if number == 2 and kind == LENGTH:
            start, at = read_length(body, at, end)
            found.metrics.append(read_metric(body, start, at))
            if len(found.metrics) > METRICS_MAX:
                raise Malformed(f"more than {METRICS_MAX} metrics")
        elif number == 1 and kind == VARINT:
            found.time, at = read_varint(body, at, end)
        elif number == 3 and kind == VARINT:
            found.seq, at = read_varint(body, at, end)
        elif number == 4 and kind == LENGTH:
            start, at = read_length(body, at, end)
            found.uuid = text(body[start:at])
        else:
            at = skip(body, at, end, kind)
    return found


def read_metric(body: bytes, at: int, end: int, depth: int = 0) -> Reading:
    """One metric."""
    found = Reading()
    while at < end:
        number, kind, at = read_key(body, at, end)
        if kind == VARINT and number in _NUMBERS:
            value, at = read_varint(body, at, end)
            _NUMBERS[number](found, value)
        elif kind == LENGTH and number in _LENGTHS:
            start, at = read_length(body, at, end)
            _LENGTHS[number](found, body, start, at, depth)
        elif kind == FIXED64 and number == DOUBLE_VALUE:
            if end - at < 8:
                raise Malformed("a number that is cut off")
            found.kind, found.value = number, DOUBLE.unpack_from(body, at)[0]
            at += 8
        elif kind == FIXED32 and number == FLOAT_VALUE:
            if end - at < 4:
                raise Malformed("a number that is cut off")
            found.kind, found.value = number, FLOAT.unpack_from(body, at)[0]
            at += 4
        else:
            at = skip(body, at, end, kind)
    return found


def _alias(found: Reading, value: int) -> None:
    found.alias = value


def _time(found: Reading, value: int) -> None:
    found.time = value


def _datatype(found: Reading, value: int) -> None:
    found.datatype = value & 0xFFFF_FFFF


def _historical(found: Reading, value: int) -> None:
    found.historical = value != 0


def _null(found: Reading, value: int) -> None:
    found.null = value != 0


def _int(found: Reading, value: int) -> None:
    found.kind, found.value = INT, value & 0xFFFF_FFFF


def _long(found: Reading, value: int) -> None:
    found.kind, found.value = LONG, value


def _boolean(found: Reading, value: int) -> None:
    found.kind, found.value = BOOLEAN, value != 0


_NUMBERS: Final[dict[int, Callable[[Reading, int], None]]] = {
    2: _alias,
    3: _time,
    4: _datatype,
    5: _historical,
    7: _null,
    INT: _int,
    LONG: _long,
    BOOLEAN: _boolean,
}


def _name(found: Reading, body: bytes, at: int, end: int, _depth: int) -> None:
    found.name = text(body[at:end])


def _metadata(found: Reading, body: bytes, at: int, end: int, _depth: int) -> None:
    while at < end:
        number, kind, at = read_key(body, at, end)
        if number == 2 and kind == LENGTH:
            start, at = read_length(body, at, end)
            found.json = text(body[start:at]) == JSON_TYPE
        else:
            at = skip(body, at, end, kind)


def _properties(found: Reading, body: bytes, at: int, end: int, _depth: int) -> None:
    if found.properties:
        raise Malformed("a metric with two sets of properties")
    found.properties = read_properties(body, at, end)


def _string(found: Reading, body: bytes, at: int, end: int, _depth: int) -> None:
    found.kind, found.value = STRING, text(body[at:end])


def _bytes(found: Reading, body: bytes, at: int, end: int, _depth: int) -> None:
    found.kind, found.value = BYTES, body[at:end]


def _dataset(found: Reading, body: bytes, at: int, end: int, _depth: int) -> None:
    if found.kind == DATASET:
        raise Malformed("a metric with two data sets")
    found.kind, found.value = DATASET, read_dataset(body, at, end)


def _template(found: Reading, body: bytes, at: int, end: int, depth: int) -> None:
    if found.kind == TEMPLATE:
        raise Malformed("a metric with two templates")
    found.kind, found.value = TEMPLATE, read_template(body, at, end, depth + 1)


_LENGTHS: Final[dict[int, Callable[[Reading, bytes, int, int, int], None]]] = {
    1: _name,
    8: _metadata,
    9: _properties,
    STRING: _string,
    BYTES: _bytes,
    DATASET: _dataset,
    TEMPLATE: _template,
}


def read_template(body: bytes, at: int, end: int, depth: int) -> Template:
    """A structure."""
    if depth > DEPTH_MAX:
        raise Malformed(f"templates more than {DEPTH_MAX} deep")
    found = Template()
    while at < end:
        number, kind, at = read_key(body, at, end)
        if number == 2 and kind == LENGTH:
            start, at = read_length(body, at, end)
            found.members.append(read_metric(body, start, at, depth))
            if len(found.members) > METRICS_MAX:
                raise Malformed(f"more than {METRICS_MAX} metrics")
        elif number == 4 and kind == LENGTH:
            start, at = read_length(body, at, end)
            found.ref = text(body[start:at])
        elif number == 5 and kind == VARINT:
            flag, at = read_varint(body, at, end)
            found.is_definition = flag != 0
        else:
            at = skip(body, at, end, kind)
    return found
