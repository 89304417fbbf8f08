"""What must hold for any bytes at all that an edge node may send; the other opinion is Google's protobuf library."""

import math
import random
import struct
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from google.protobuf.message import DecodeError

from plantgate.sdk import Batch, Gap
from plantgate_connectors.sparkplug.announced import Names
from plantgate_connectors.sparkplug.layouts import Block, Layouts
from plantgate_connectors.sparkplug.nested import BAD_TEXT, BadText, DataSet
from plantgate_connectors.sparkplug.quality import NO_TIME, read_quality, submilliseconds
from plantgate_connectors.sparkplug.reading import Reading, Template, read_payload
from plantgate_connectors.sparkplug.remote import Letter, Remote
from plantgate_connectors.sparkplug.runs import read_again, read_data
from plantgate_connectors.sparkplug.samples import Samples
from plantgate_connectors.sparkplug.topics import Kind
from plantgate_connectors.sparkplug.usual import number_of
from plantgate_connectors.sparkplug.wire import Malformed
from tests.peers.sparkplug_proto import Payload

SECONDS_MAX: Final = 1.0
"""Of CPU. Nothing may take longer: everyone else waits meanwhile."""
OURS_ALONE: Final = (
    "two sets of properties",
    "two data sets",
    "two templates",
    " deep",
    "a kind of field that Sparkplug does not have",
    " properties",
    "more than",
)
"""What we refuse and protobuf does not: merging what comes twice, groups, names without values, too much of it."""
_FIELDS: Final = {
    10: "int_value",
    11: "long_value",
    12: "float_value",
    13: "double_value",
    14: "boolean_value",
    15: "string_value",
    16: "bytes_value",
    17: "dataset_value",
    18: "template_value",
}


def judge(body: bytes) -> str:
    """A word for how it ended; raises `AssertionError` where something must not be."""
    started = time.process_time()
    try:
        _hear(body)
        return _compare(body)
    finally:
        took = time.process_time() - started
        assert took < SECONDS_MAX, f"{len(body)} bytes took {took:.1f} s"


def _compare(body: bytes) -> str:
    try:
        theirs = Payload.FromString(body)
    except DecodeError:
        theirs = None
    try:
        ours = read_payload(body)
    except Malformed as error:
        reason = str(error)
    else:
        reason = ""
    if reason:
        assert theirs is None or any(words in reason for words in OURS_ALONE), f"refused: {reason}"
        _refused_as_data(body)
        return "malformed"
    assert theirs is not None, "we read what protobuf refuses"
    assert ours.time == (theirs.timestamp if theirs.HasField("timestamp") else None)
    assert ours.seq == (theirs.seq if theirs.HasField("seq") else None)
    assert len(ours.metrics) == len(theirs.metrics)
    for one, other in zip(ours.metrics, theirs.metrics, strict=True):
        _same(one, other)
    _same_as_data(body, ours.metrics)
    return "metrics" if ours.metrics else "nothing"


def _refused_as_data(body: bytes) -> None:
    try:
        read_data(body)
    except Malformed:
        return
    raise AssertionError("refused as a payload, and read as data")


def _same_as_data(body: bytes, readings: list[Reading]) -> None:
    """The quick readers find what the thorough one does: the first time, and once it is known how it is laid out."""
    layouts = Layouts()
    for _ in range(3):
        same_as_data(body, readings, layouts)


def same_as_data(body: bytes, readings: list[Reading], layouts: Layouts) -> int:
    """What is known of earlier messages makes no difference. Returns how many metrics were laid out as before."""
    found: list[Reading] = []
    known = 0
    for part in read_data(body, layouts).parts:
        if isinstance(part, Reading):
            found.append(part)
            continue
        again = read_again(body, part)
        if isinstance(part, Block):
            known += len(again)
            names, qualities, plain = part.layout.names, part.layout.qualities, True
            nanoseconds = None if part.nanoseconds is None else list(map(number_of, part.nanoseconds))
        else:
            names = [alias + key for alias, key in zip(part.aliases, part.keys, strict=True)]
            qualities, plain, nanoseconds = part.qualities, part.plain, part.nanoseconds
        _same_columns(again, names, part.stamps, nanoseconds or [0] * len(again), qualities)
        try:
            values = part.values()
        except UnicodeDecodeError:
            assert any(isinstance(reading.value, BadText) for reading in again)
        else:
            assert all(_equal(as_int64(reading.value), value) for reading, value in zip(again, values, strict=True))
        assert plain == (not any(NO_TIME in reading.properties for reading in again))
        found += again
    assert len(found) == len(readings)
    assert all(_equal_readings(one, other) for one, other in zip(found, readings, strict=True))
    return known


def as_int64(value: object) -> object:
    """Whole numbers of the quick readers are signed already."""
    return value - 2**64 if type(value) is int and value >> 63 else value


def _same_columns(
    again: list[Reading],
    names: Sequence[bytes],
    stamps: Sequence[bytes],
    nanoseconds: Sequence[int],
    qualities: Sequence[int],
) -> None:
    for reading, name, stamp, ns, quality in zip(again, names, stamps, nanoseconds, qualities, strict=True):
        assert (reading.alias, reading.time) == (number_of(name[:-1]), number_of(stamp))
        assert (reading.name, reading.datatype, reading.null) == (None, None, False)
        assert reading.kind == name[-1] >> 3
        assert quality == read_quality(reading.properties)
        assert submilliseconds(reading.properties) == (ns if ns < 1_000_000 else 0)


def _equal_readings(one: Reading, other: Reading) -> bool:
    return (
        all(
            _equal(getattr(one, name), getattr(other, name))
            for name in ("name", "alias", "time", "datatype", "historical", "null", "json", "kind")
        )
        and one.properties == other.properties
        and (isinstance(one.value, DataSet | Template) or _equal(one.value, other.value))
    )


def _same(ours: Reading, theirs: Any) -> None:
    assert _equal(ours.name, _text(theirs, "name"))
    for mine, name in ((ours.alias, "alias"), (ours.time, "timestamp"), (ours.datatype, "datatype")):
        assert mine == (getattr(theirs, name) if theirs.HasField(name) else None), name
    assert (ours.historical, ours.null) == (theirs.is_historical, theirs.is_null)
    kind = theirs.WhichOneof("value")
    assert _FIELDS.get(ours.kind) == kind
    if isinstance(ours.value, DataSet):
        table = theirs.dataset_value
        assert ours.value.width == table.num_of_columns
        assert ours.value.types == list(table.types)
        assert [len(row) for row in ours.value.rows] == [len(row.elements) for row in table.rows]
    elif isinstance(ours.value, Template):
        assert ours.value.is_definition == theirs.template_value.is_definition
        assert len(ours.value.members) == len(theirs.template_value.metrics)
        for one, other in zip(ours.value.members, theirs.template_value.metrics, strict=True):
            _same(one, other)
    elif kind is not None:
        assert _equal(ours.value, _text(theirs, kind))
    assert len(ours.properties) <= len(theirs.properties.keys) == len(theirs.properties.values)


def _text(message: Any, name: str) -> Any:
    if not message.HasField(name):
        return None
    found = getattr(message, name)
    if isinstance(found, bytes) and name != "bytes_value":  # protobuf's own way to hand out text that is none
        return BAD_TEXT
    return found


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return struct.pack("<d", one) == struct.pack("<d", other) or (math.isnan(one) and math.isnan(other))
    return type(one) is type(other) and bool(one == other)


# The whole host application.


class Outlet:
    """Takes an edge node's story, and checks that it can be told."""

    def __init__(self) -> None:
        self.names = Names("{group}/{edge_node}/{device}/{metric}", "{group}/{edge_node}/{metric}")
        self.samples = Samples(lambda tag, reason: None)
        self.batch = Batch.empty()

    def take(self, mid: int, size: int) -> Batch:
        """One batch for all."""
        return self.batch

    def gap(self, gap: Gap) -> None:
        """Named."""
        assert gap.cause
        assert gap.tags

    def count(self, name: str, by: int = 1) -> None:
        """Counted."""
        assert name

    def now(self) -> float:
        """No time passes."""
        return 0.0


def _hear(body: bytes) -> None:
    """Whatever it is taken for, the host application lives on, and every sample is whole."""
    outlet = Outlet()
    remote = Remote("g", "n", outlet, lambda: None, lambda: None, 1.0)
    for kind in (Kind.NBIRTH, Kind.NDATA, Kind.DBIRTH, Kind.DDATA, Kind.DDEATH, Kind.NDATA, Kind.NDEATH, Kind.NBIRTH):
        remote.hear(Letter(kind, None if kind.value[0] == "N" else "d", body, 0))
    remote.give_up_waiting()
    batch = outlet.batch
    assert len(batch.tags) == len(batch.values) == len(batch.qualities) == len(batch.times)
    assert all(time is None or 0 <= time < 2**63 for time in batch.times)
    assert all(0 <= quality <= 0xFFFF_FFFF for quality in batch.qualities)


# Where to begin.


def seeds() -> Iterator[bytes]:
    """Messages of every kind."""
    whole = Payload(timestamp=1_767_225_600_000, seq=0, uuid="u", body=b"b")
    values = {
        1: ("int_value", 0xFFFF_FFF8),
        3: ("int_value", 7),
        4: ("long_value", 2**64 - 5),
        8: ("long_value", 2**63),
        9: ("float_value", 1.5),
        10: ("double_value", -0.0),
        11: ("boolean_value", True),
        12: ("string_value", "läuft"),
        13: ("long_value", 1_767_225_600_123),
        14: ("string_value", '{"a": [1, 2]}'),
        17: ("bytes_value", b"\x00\xff"),
        25: ("bytes_value", b"\x01" + b"\x00" * 7),
        32: ("bytes_value", b"\x0c\x00\x00\x00\x34\xd0"),
        33: ("bytes_value", b"ABC\0hello\0"),
    }
    for number, (datatype, (name, value)) in enumerate(values.items()):
        metric = whole.metrics.add(name=f"m{datatype}", alias=number + 1, timestamp=1_767_225_600_000)
        metric.datatype = datatype
        setattr(metric, name, value)
        metric.properties.keys.extend(("Quality", "ns", "StatusCode"))
        metric.properties.values.add(type=3, int_value=500)
        metric.properties.values.add(type=3, int_value=123_456)
        metric.properties.values.add(type=4, long_value=0x40900000)
    table = whole.metrics.add(name="table", datatype=16, timestamp=5)
    table.dataset_value.num_of_columns = 2
    table.dataset_value.columns.extend(("a", "b"))
    table.dataset_value.types.extend((3, 12))
    row = table.dataset_value.rows.add()
    row.elements.add(int_value=1)
    row.elements.add(string_value="x")
    structure = whole.metrics.add(name="udt", datatype=19, is_null=False, is_transient=True)
    structure.template_value.template_ref = "t"
    structure.template_value.metrics.add(name="speed", datatype=10, double_value=1.0)
    structure.metadata.content_type = "application/json"
    yield whole.SerializeToString()
    for ns in (False, True):
        data = Payload(timestamp=1_767_225_600_000, seq=1)
        for number in range(40):
            metric = data.metrics.add(alias=number % 3 + 128 * (number > 19) + 5, timestamp=1_767_225_600_000 + number)
            metric.is_historical = ns
            metric.double_value = number / 4
            if ns:
                metric.properties.keys.append("ns")
                metric.properties.values.add(type=3, int_value=20_000 + number)
        yield data.SerializeToString()
    death = Payload(timestamp=1)
    death.metrics.add(name="bdSeq", datatype=4, long_value=0)
    yield death.SerializeToString()
    ours = Payload(timestamp=1_767_225_600_000, seq=1)
    ours.metrics.add(name="plantgate/position", timestamp=1, long_value=7)
    ours.metrics.add(name="plantgate/offsets", timestamp=1, bytes_value=b"\0\0\0\0\x03\0\0\0")
    ours.metrics.add(name="plantgate/gaps", timestamp=1, string_value='{"gaps": []}')
    for alias in (1, 2):
        ours.metrics.add(alias=alias, timestamp=1_767_225_600_000, double_value=1.0)
    yield ours.SerializeToString()
    yield b""


HOSTILE: Final = (
    b"\xff\xff\xff\xff\x0f",
    b"\xff" * 9 + b"\x01",
    b"\xff" * 10,
    b"\x80\x80\x80\x80\x80\x00",
    b"\x7f",
    b"\x80\x01",
    b"\x00",
    b"\x0b",
    b"\x0c",
)


def mutations(body: bytes, luck: random.Random, count: int) -> Iterator[bytes]:
    """Cut, flip, and declare lengths that are not there."""
    for _ in range(count):
        mutated = bytearray(body)
        for _ in range(luck.choice((1, 1, 1, 2, 5))):
            at = luck.randrange(max(1, len(mutated)))
            match luck.randrange(6):
                case 0:
                    rubbish = luck.choice(HOSTILE)
                    mutated[at : at + len(rubbish)] = rubbish
                case 1:
                    mutated[at : at + 1] = bytes((luck.randrange(256),))
                case 2:
                    del mutated[at:]
                case 3:
                    del mutated[at : at + luck.choice((1, 4, 8))]
                case 4:
                    mutated[at:at] = mutated[at // 2 : at]
                case _:
                    mutated[at:at] = luck.randbytes(luck.choice((1, 4, 8)))
        yield bytes(mutated)
