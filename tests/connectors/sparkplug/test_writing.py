"""What we write is what protobuf reads, whichever way it was written, and our own reader gives it back."""

import math
import random
import struct
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk import Batch, Value
from plantgate_connectors.sparkplug import arrays
from plantgate_connectors.sparkplug.catalog import Catalog
from plantgate_connectors.sparkplug.columns import Columns
from plantgate_connectors.sparkplug.datatypes import JSON, DataType, as_json, fit, holds, wider, write
from plantgate_connectors.sparkplug.reading import read_metric
from plantgate_connectors.sparkplug.stamps import stamp, stamps
from plantgate_connectors.sparkplug.values import interpret
from plantgate_connectors.sparkplug.wire import Malformed, varint
from tests.peers.sparkplug_proto import Payload

T0 = 1_767_225_600_000_000_000


def messages(tmp_path: Path, batch: Batch, *, exact_time: bool = True, historical: bool = False) -> Any:
    """The batch's metrics as protobuf reads them, by the column-wise way where it is taken, and value by value."""
    catalog = Catalog(tmp_path, 1)
    catalog.learn(batch)
    lineup = catalog.lineup(batch.tags)
    found = []
    for columns in (Columns(exact_time=exact_time), Columns(exact_time=exact_time, datatypes=True)):
        written = columns.metrics(
            lineup, batch.values, batch.qualities, batch.times, otherwise=T0, historical=historical
        )
        payload = Payload.FromString(written)
        for metric in payload.metrics:
            metric.ClearField("datatype")
        found.append(payload)
    assert found[0] == found[1]
    return found[0]


@pytest.mark.parametrize("seed", range(40))
def test_floats_by_columns_are_what_they_are_value_by_value(tmp_path: Path, seed: int) -> None:
    luck = random.Random(f"columns/{seed}")
    count = luck.choice((1, 5, 200, 300))
    step = luck.choice((0, 1, 100, 1_000_000, 987_654_321))
    tags = [f"d/{number}" for number in range(count)] if luck.random() < 0.5 else ["d/x"] * count
    values: list[Value] = [luck.choice((luck.uniform(-1e9, 1e9), math.inf, 0.0, 5e-324)) for _ in tags]
    times: list[int | None] = [T0 + number * step for number in range(count)]
    batch = Batch(tags, values, [0] * count, times)
    exact, historical = luck.random() < 0.7, luck.random() < 0.5
    payload = messages(tmp_path, batch, exact_time=exact, historical=historical)
    assert [metric.double_value for metric in payload.metrics] == values
    assert [metric.is_historical for metric in payload.metrics] == [historical] * count
    read = [
        metric.timestamp * 1_000_000 + sum(value.int_value for value in metric.properties.values)
        for metric in payload.metrics
    ]
    assert read == [time if exact else (time or 0) // 1_000_000 * 1_000_000 for time in times]


KINDS: list[Any] = [
    lambda luck: luck.uniform(-1e12, 1e12),
    lambda luck: luck.choice((0, 1, -1, 127, 128, -(2**63), 2**63 - 1, luck.randrange(2**40))),
    lambda luck: luck.random() < 0.5,
    lambda luck: luck.choice(("", "running", "x" * luck.randrange(140), "läuft")),
]
ODD: list[Any] = [None, 2**63, b"\xff", [1, 2], {"a": None}, "half \ud800", 1.5, True, 7]


@pytest.mark.parametrize("seed", range(60))
def test_mixed_types_by_columns_are_what_they_are_value_by_value(tmp_path: Path, seed: int) -> None:
    """To the byte: the column-wise way, taken or not, writes what the plain one does."""
    luck = random.Random(f"mixed columns/{seed}")
    count = luck.choice((1, 7, 200))
    tags = [luck.choice((f"d/{number}", f"d/{number // 2}")) for number in range(count)]
    kinds = {tag: luck.choice(KINDS) for tag in tags}
    catalog = Catalog(tmp_path, 1)
    if seed % 3 == 0:  # aliases of other lengths
        catalog.learn(Batch([f"e/{n}" for n in range(16_300)], [True] * 16_300, [0] * 16_300, [T0] * 16_300))
    columns = Columns(exact_time=seed % 2 == 0)
    for number in range(4):
        step = luck.choice((0, 1, 100, 1_000_000, 987_654_321))
        start = luck.choice((T0, T0 + 17, 40_000_000_000, luck.randrange(2**62)))
        batch = Batch(
            tags,
            [kinds[tag](luck) if luck.random() < 0.98 or seed % 4 else luck.choice(ODD) for tag in tags],
            [luck.choice((0, 0, 0, 0x8031_0000)) if number % 2 else 0 for _ in tags],
            [start + place * step if seed % 5 or luck.random() < 0.9 else None for place in range(count)],
        )
        catalog.learn(batch)
        lineup = catalog.lineup(batch.tags)
        given = lineup, batch.values, batch.qualities, batch.times
        written = columns.metrics(*given, otherwise=T0, historical=number == 3)
        assert written == b"".join(columns._each(*given, T0, number == 3))
        assert len(Payload.FromString(written).metrics) == count


class Quick(Columns):
    """Cannot do it any other way."""

    def _each(self, *arguments: Any) -> list[bytes]:
        raise AssertionError("value by value")


def test_the_usual_batch_is_written_by_columns_and_the_plain_way_is_not_needed(tmp_path: Path) -> None:
    luck = random.Random("usual")
    tags = [f"d/{number}" for number in range(200)]
    catalog = Catalog(tmp_path, 1)
    columns = Quick(exact_time=True)
    for number in range(4):
        values = [KINDS[place % 3](luck) for place in range(199)]
        batch = Batch(tags, [*values, None], [0x8031_0000] * 200, [T0 + number * place for place in range(200)])
        catalog.learn(batch)
        written = columns.metrics(
            catalog.lineup(tags), batch.values, batch.qualities, batch.times, otherwise=T0, historical=False
        )
        assert len(Payload.FromString(written).metrics) == 200


def test_a_tag_that_is_there_twice_has_a_type_that_holds_both(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path, 1)
    catalog.learn(Batch(["d/x"], [1], [0], [T0]))
    assert catalog.learn(Batch(["d/x", "d/x"], [2**60 + 1, 1.5], [0, 0], [T0, T0]))
    (metric,) = catalog.lineup(["d/x"]).metrics
    assert metric.datatype is JSON


def test_what_was_last_said_of_a_tag_is_known_whichever_batches_it_came_in(tmp_path: Path) -> None:
    luck = random.Random("last")
    catalog, expected = Catalog(tmp_path, 1), {}
    groups = [[f"d/{n}" for n in range(5)], [f"d/{n}" for n in range(3, 9)], ["d/1", "d/1", "d/7"]]
    for number in range(500):
        tags = luck.choice(groups)
        batch = Batch(tags[:], [float(number * 10 + n) for n in range(len(tags))], [0] * len(tags), [T0] * len(tags))
        catalog.learn(batch)
        catalog.taken(batch)
        expected.update(zip(tags, batch.values, strict=True))
        batch.values.clear()  # what was given is the giver's again
        batch.tags.append("other")
        if luck.random() < 0.3:
            tag = luck.choice(list(expected))
            assert catalog.last(tag) == (expected[tag], 0, T0)
    assert {tag: catalog.last(tag)[0] for tag in expected} == expected


def test_aliases_of_one_two_and_three_bytes_in_one_message(tmp_path: Path) -> None:
    count = 17_000
    batch = Batch([f"d/{n}" for n in range(count)], [float(n) for n in range(count)], [0] * count, [T0] * count)
    payload = messages(tmp_path, batch)
    assert [metric.alias for metric in payload.metrics] == [128 + number for number in range(count)]


@pytest.mark.parametrize(
    ("value", "datatype"),
    [
        (True, DataType.BOOLEAN),
        (0, DataType.INT64),
        (-(2**63), DataType.INT64),
        (2**63, DataType.UINT64),
        (2**64, JSON),
        (-(2**70), JSON),
        (1.5, DataType.DOUBLE),
        (math.nan, DataType.DOUBLE),
        (-0.0, DataType.DOUBLE),
        ("läuft\0", DataType.STRING),
        ("half \ud800", JSON),
        (b"\x00\xff", DataType.BYTES),
        ([True, False] * 9, DataType.BOOLEAN_ARRAY),
        ([1, -(2**63)], DataType.INT64_ARRAY),
        ([2**63], JSON),
        ([1.5, math.inf], DataType.DOUBLE_ARRAY),
        (["a", "", "ü"], DataType.STRING_ARRAY),
        (["a\0b"], JSON),
        ([], DataType.STRING_ARRAY),
        ([1, "a", None], JSON),
        ([[1.0], [2.0]], JSON),
        ({"a": 1, "b": [None, True]}, JSON),
    ],
)
def test_every_kind_of_value_has_a_type_and_comes_back(value: Value, datatype: DataType) -> None:
    assert fit(value) is datatype
    assert holds(datatype, value)
    written = write(datatype, value)
    reading = read_metric(written, 0, len(written))
    back = interpret(reading, datatype, json=datatype is JSON)
    if datatype is JSON and value in (2**64, -(2**70), "half \ud800"):
        assert isinstance(back, str | int | float)  # JSON's own limits
    elif isinstance(value, float):
        assert struct.pack("<d", value) == struct.pack("<d", back)  # type: ignore[arg-type]  # a float again
    else:
        assert back == value
    assert interpret(read_metric(write(datatype, None), 0, 2), datatype, json=False) is None


def test_a_type_only_ever_grows_and_ends_as_json() -> None:
    luck = random.Random("types")
    pool: list[Value] = [True, 1, 2**63, 1.5, "a", b"b", [1], [1.5], [True], ["a"], [], [1, "a"], {"a": 1}, 2**53 + 1]
    for _ in range(2_000):
        datatype: DataType | None = None
        changes = 0
        for value in luck.choices(pool, k=12):
            if datatype is None or not holds(datatype, value):
                datatype, changes = wider(datatype, value), changes + 1
                assert holds(datatype, value)
        assert changes <= 3


def test_whole_numbers_beyond_a_double_are_not_rounded() -> None:
    assert holds(DataType.DOUBLE, 2**53)
    assert not holds(DataType.DOUBLE, 2**53 + 1)
    assert wider(DataType.DOUBLE, 2**53 + 1) is JSON
    assert wider(DataType.INT64, 1.5) is DataType.DOUBLE


def test_what_json_cannot_say_is_text() -> None:
    assert as_json([math.nan, math.inf, -math.inf, b"\x00\xff", {"a": math.nan}]) == (
        b'["NaN","Infinity","-Infinity","AP8=",{"a":"NaN"}]'
    )


@pytest.mark.parametrize(
    ("datatype", "values", "packed"),
    [
        (22, [-23, 123], "e97b"),  # the specification has ef, which is -17
        (23, [-30000, 30000], "d08a3075"),
        (24, [-1, 315338746], "fffffffffaafcb12"),
        (25, [-4270929666821191986, -3601064768563266876], "ce0672ac189cbac4c4ba9c18ac7206ce"),
        (26, [23, 250], "17fa"),
        (27, [30, 52360], "1e0088cc"),
        (28, [52, 3293969225], "3400000049fb55c4"),
        (29, [52, 16444743074749521625], "3400000000000000d99e02d1b27637e4"),
        (32, [False, False, True, True, False, True, False, False, True, True, False, True], "0c00000034d0"),
        (33, ["ABC", "hello"], "4142430068656c6c6f00"),
    ],
)
def test_arrays_are_packed_as_in_the_specifications_examples(datatype: int, values: list[Value], packed: str) -> None:
    assert arrays.write(datatype, values).hex() == packed
    assert arrays.read(datatype, bytes.fromhex(packed)) == values


def test_an_array_of_times_is_read_as_text() -> None:
    packed = struct.pack("<2q", 1_256_102_875_335, 1_656_107_875_000)
    assert arrays.read(34, packed) == ["2009-10-21T05:27:55.335Z", "2022-06-24T21:57:55Z"]


@pytest.mark.parametrize(
    ("datatype", "packed"),
    [
        (25, b"1234567"),
        (30, b"123"),
        (32, b"\x01"),
        (32, b"\xff\xff\xff\xff\x00"),
        (32, b"\x09\0\0\0\0"),
        (33, b"ab"),
        (33, b"\xff\0"),
    ],
)
def test_arrays_whose_length_does_not_fit_are_refused(datatype: int, packed: bytes) -> None:
    with pytest.raises(Malformed):
        arrays.read(datatype, packed)


def test_stamps_are_the_numbers_they_stand_for() -> None:
    luck = random.Random("stamps")
    times = [luck.choice((luck.randrange(2**62), T0, 0, 1_000_000 << 14)) for _ in range(2_000)]
    assert stamps(times) == [varint(time // 1_000_000) for time in times]
    assert [stamp(time // 1_000_000) for time in times] == stamps(times)
    assert stamp(-5) == b"\0"
