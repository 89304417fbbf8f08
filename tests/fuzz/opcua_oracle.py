"""What must hold for any bytes at all that a server may send as a publish response."""

import contextlib
import math
import random
import time
from collections.abc import Iterator
from typing import Any, Final

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary

from plantgate.sdk.quality import BAD_DECODING
from plantgate_connectors.opcua.bounds import DEPTH_MAX, MalformedNotification
from plantgate_connectors.opcua.decode import Columns, decode
from plantgate_connectors.opcua.envelope import DATA_CHANGE, Envelope, Fault, open_response
from tests.connectors.opcua.messages import WHEN, message, value

SECONDS_MAX: Final = 1.0
"""Nothing may take longer: everyone else waits meanwhile."""


def plain(variant: ua.Variant) -> Any:
    """As the library has it."""
    return variant.Value


def judge(body: bytes) -> str:
    """A word for how it ended; raises `AssertionError` where something must not be."""
    started = time.monotonic()
    try:
        return _judge(body)
    finally:
        took = time.monotonic() - started
        assert took < SECONDS_MAX, f"{len(body)} bytes took {took:.1f} s"


def _judge(body: bytes) -> str:
    try:
        envelope = open_response(body)
    except Fault:
        return "fault"
    except MalformedNotification as error:
        return _named("malformed envelope", error, body)
    columns = Columns()
    for part in envelope.parts:
        if part.kind != DATA_CHANGE:
            continue
        before = len(columns)
        try:
            decode(body, part, plain, columns)
        except MalformedNotification as error:
            if len(columns) != before:
                raise AssertionError("a malformed part left something behind") from error
            return _named("malformed values", error, body)
    lengths = {len(columns.handles), len(columns.values), len(columns.qualities), len(columns.times)}
    assert len(lengths) == 1, "columns of unequal length"
    _compare(body, envelope, columns)
    return "values" if len(columns) else "nothing"


def _named(ending: str, error: MalformedNotification, body: bytes) -> str:
    assert error.reason
    assert 0 <= error.offset <= len(body)
    return ending


def _compare(body: bytes, envelope: Envelope, columns: Columns) -> None:
    """What was taken is what the library finds, wherever the library finds anything."""
    row = 0
    for part in envelope.parts:
        if part.kind != DATA_CHANGE:
            continue
        for item in _theirs(body, part.start, part.end):
            assert columns.handles[row] == item.ClientHandle
            status = item.Value.StatusCode
            if columns.qualities[row] != BAD_DECODING and not columns.doubted:
                assert columns.qualities[row] == (0 if status is None else status.value)
                assert _equal(columns.values[row], None if item.Value.Value is None else item.Value.Value.Value)
            row += 1


def _theirs(body: bytes, start: int, end: int) -> list[Any]:
    with contextlib.suppress(Exception):
        found = struct_from_binary(ua.DataChangeNotification, Buffer(body[start:end]))
        return list(found.MonitoredItems)
    return []


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(other, ua.StatusCode) and not isinstance(one, ua.StatusCode):
        return bool(one == other.value)
    return bool(one == other) or str(one) == str(other)


def seeds() -> Iterator[bytes]:
    """Messages of every kind, to start from."""
    kinds = ua.VariantType
    nested = ua.Variant(1.0, kinds.Double)
    for _ in range(DEPTH_MAX - 2):
        nested = ua.Variant([nested], kinds.Variant)
    values = [
        value(),
        value(7, kinds.Int32, status=0x80340000),
        value("läuft", kinds.String, server=WHEN),
        value(b"\x00\xff", kinds.ByteString, source_picoseconds=70),
        value(None, kinds.Null),
        value(kind=None, status=0x80000000),
        value(ua.Variant([1, 2, 3], kinds.UInt16)),
        value(ua.Variant(["a", None, ""], kinds.String)),
        value(ua.Variant([[1.0, 2.0], [3.0, 4.0]], kinds.Double, [2, 2])),
        value(ua.LocalizedText("warm", "en"), kinds.LocalizedText),
        value(ua.QualifiedName("speed", 3), kinds.QualifiedName),
        value(ua.NodeId("a", 2), kinds.NodeId),
        value(ua.ExpandedNodeId(5, 1, NamespaceUri="urn:x", ServerIndex=2), kinds.ExpandedNodeId),
        value(ua.Variant(ua.Range(0.0, 100.0), kinds.ExtensionObject)),
        value(ua.Variant([ua.Argument(Name="n", ArrayDimensions=[3])], kinds.ExtensionObject)),
        value(ua.Variant(value(1.0), kinds.DataValue)),
        value(nested),
    ]
    for each in values:
        yield message([each])
        yield message([each] * 9, results=(0, 0x807A0000))
    yield message(values)
    yield message([], parts=[])
    yield message([], parts=[ua.StatusChangeNotification(Status=ua.StatusCode(0x800A0000))])


HOSTILE: Final = [
    length.to_bytes(4, "little", signed=True)
    for length in (-1, -2, -(2**31), 0, 1, 2, 127, 2**16, 2**20, 2**24, 2**31 - 1)
]


def mutations(body: bytes, luck: random.Random, count: int) -> Iterator[bytes]:
    """Cut, flip, and declare lengths that are not there."""
    for _ in range(count):
        mutated = bytearray(body)
        for _ in range(luck.choice((1, 1, 1, 2, 5))):
            at = luck.randrange(max(1, len(mutated)))
            match luck.randrange(5):
                case 0:
                    mutated[at : at + 4] = luck.choice(HOSTILE)
                case 1:
                    mutated[at : at + 1] = bytes((luck.randrange(256),))
                case 2:
                    del mutated[at:]
                case 3:
                    del mutated[at : at + luck.choice((1, 4, 8))]
                case _:
                    mutated[at:at] = luck.randbytes(luck.choice((1, 4, 8)))
        yield bytes(mutated)
