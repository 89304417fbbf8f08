"""Golden messages: what a consumer may rely on, byte for byte."""

import json
import math
from datetime import UTC, datetime
from random import Random

import msgspec
import pytest

from plantgate.sdk import Batch, Gap, Value
from plantgate.sdk.quality import BAD, GOOD, UNCERTAIN_LAST_USABLE
from plantgate_connectors.mqtt.payloads import encoder, gaps_encoder, text, value_encoder, value_texts
from plantgate_connectors.mqtt.relay import read_batch
from plantgate_connectors.mqtt.settings import Format
from plantgate_connectors.payloads.words import TimeFormat

T = 1_767_225_600_123_456_700
MIXED = Batch(
    ["a/b", 'quo"te', "c"],
    [1.5, "text", None],
    [GOOD, BAD, 0x8034_0000],
    [T, None, T + 1],
    origin="outbox",
    position=40,
    received=T,
)


def test_a_batch_is_one_object_of_rows() -> None:
    written = encoder(Format.JSON, TimeFormat.RFC3339, "/x")(MIXED, 0, 3)
    assert written == (
        b'{"origin":"outbox","position":40,"samples":['
        b'{"tag":"a/b","value":1.5,"quality":"Good","code":0,"time":"2026-01-01T00:00:00.123456700Z"},'
        b'{"tag":"quo\\"te","value":"text","quality":"Bad","code":2147483648,"time":null},'
        b'{"tag":"c","value":null,"quality":"Bad 0x80340000","code":2150891520,"time":"2026-01-01T00:00:00.123456701Z"}'
        b"]}"
    )


def test_a_part_of_a_batch_has_its_own_position() -> None:
    written = json.loads(encoder(Format.JSON, TimeFormat.NANOSECONDS, "/x")(MIXED, 1, 3))
    assert written["position"] == 41
    assert [sample["tag"] for sample in written["samples"]] == ['quo"te', "c"]
    assert [sample["time"] for sample in written["samples"]] == [None, T + 1]


def test_columns_are_four_lists() -> None:
    written = encoder(Format.COLUMNS, TimeFormat.RFC3339, "/x")(MIXED, 0, 3)
    assert written == (
        b'{"origin":"outbox","position":40,"tags":["a/b","quo\\"te","c"],"values":[1.5,"text",null],'
        b'"qualities":[0,2147483648,2150891520],'
        b'"times":["2026-01-01T00:00:00.123456700Z",null,"2026-01-01T00:00:00.123456701Z"]}'
    )


def test_a_cloud_event_wraps_the_same_object_and_has_the_same_id_every_time() -> None:
    encode = encoder(Format.CLOUDEVENTS, TimeFormat.RFC3339, "/plantgate/broker")
    event = json.loads(encode(MIXED, 0, 3))
    assert event.pop("data") == json.loads(encoder(Format.JSON, TimeFormat.RFC3339, "/x")(MIXED, 0, 3))
    assert event == {
        "specversion": "1.0",
        "id": "outbox/40",
        "source": "/plantgate/broker",
        "type": "plantgate.samples",
        "time": "2026-01-01T00:00:00.123456700Z",
        "datacontenttype": "application/json",
    }
    assert encode(MIXED, 0, 3) == encode(MIXED, 0, 3)
    never_received = Batch(["a"], [1], [GOOD], [None])
    assert "time" not in json.loads(encode(never_received, 0, 1))


def test_a_value_is_an_object_of_its_own() -> None:
    written = value_encoder(Format.JSON, TimeFormat.RFC3339, "/x")(MIXED)
    assert written[0] == (
        b'{"origin":"outbox","position":40,"tag":"a/b","value":1.5,"quality":"Good","code":0,'
        b'"time":"2026-01-01T00:00:00.123456700Z"}'
    )
    event = json.loads(value_encoder(Format.CLOUDEVENTS, TimeFormat.RFC3339, "/x")(MIXED)[2])
    assert (event["id"], event["type"], event["data"]["tag"]) == ("outbox/42", "plantgate.sample", "c")


def test_gaps_are_a_message_of_their_own() -> None:
    batch = Batch.empty(gaps=(Gap(("a", "b"), T, None, "session lost", None, 3),))
    batch.origin, batch.position = "outbox", 7
    assert gaps_encoder(Format.JSON, TimeFormat.RFC3339, "/x")(batch) == (
        b'{"origin":"outbox","position":7,"gaps":[{"tags":["a","b"],"since":"2026-01-01T00:00:00.1234567Z",'
        b'"until":null,"cause":"session lost","lost":null,"recovered":3}]}'
    )
    assert json.loads(gaps_encoder(Format.JSON, TimeFormat.NANOSECONDS, "/x")(batch))["gaps"][0]["since"] == T


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (math.nan, '"NaN"'),
        (math.inf, '"Infinity"'),
        (-math.inf, '"-Infinity"'),
        (b"\x00\xff", '"AP8="'),
        (2**53 + 1, "9007199254740993"),
        (-(2**63), "-9223372036854775808"),
        (2**64 - 1, "18446744073709551615"),
        (True, "true"),
        (0.1, "0.1"),
        (-0.0, "-0.0"),
        (5e-324, "5e-324"),
        (None, "null"),
        ('a"\n\0', '"a\\"\\n\\u0000"'),
        ("half\ud800", '"half\\ud800"'),
        ("Größe µ", '"Größe µ"'),
        ([1, math.nan, b"a"], '[1,"NaN","YQ=="]'),
        ({"x": math.inf, "y": {"z": [None]}}, '{"x":"Infinity","y":{"z":[null]}}'),
    ],
)
def test_a_value_json_cannot_say_is_said_all_the_same(value: Value, written: str) -> None:
    assert value_texts([value]) == [written]
    assert value_texts([1.0, value, 2]) == ["1.0", written, "2"]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (1.5, b"1.5"),
        (True, b"true"),
        ("a b", b"a b"),
        (b"\xff", b"\xff"),
        (None, b""),
        (math.nan, b"NaN"),
        ([1], b"[1]"),
    ],
)
def test_text_is_the_bare_value(value: Value, written: bytes) -> None:
    assert text(value) == written


def test_times_are_exact_wherever_they_lie() -> None:
    random = Random(7)
    spreads = [1, 10**9, 10**12, 10**18]
    for spread in spreads:
        for around in (0, T, -(10**18), 10**18, 9_999_999_999 * 10**9):
            times: list[int | None] = [around + random.randrange(spread) for _ in range(50)]
            samples = Batch(["a"] * 50, [1] * 50, [GOOD] * 50, times)
            written = json.loads(encoder(Format.JSON, TimeFormat.RFC3339, "/x")(samples, 0, 50))
            for time, sample in zip(times, written["samples"], strict=True):
                assert sample["time"] == _exactly(time)


def _exactly(time: int | None) -> str | None:
    assert time is not None
    seconds, fraction = divmod(time, 10**9)
    try:
        return f"{datetime.fromtimestamp(seconds, UTC).strftime('%Y-%m-%dT%H:%M:%S')}.{fraction:09d}Z"
    except (ValueError, OverflowError):
        return None


def test_every_format_comes_back_as_it_was() -> None:
    random = Random(3)
    values: list[Value] = [1.25, -7, True, None, "word", math.nan, math.inf, [1, 2], {"a": 1}, 2**63]
    for format_ in (Format.JSON, Format.COLUMNS, Format.CLOUDEVENTS):
        for time in TimeFormat:
            count = 40
            sent = Batch(
                [random.choice(["a", "b/c", 'x"y']) for _ in range(count)],
                [random.choice(values) for _ in range(count)],
                [random.choice([GOOD, BAD, UNCERTAIN_LAST_USABLE, 0x8034_0000]) for _ in range(count)],
                [random.choice([None, T + random.randrange(10**10)]) for _ in range(count)],
            )
            came = Batch.empty()
            assert read_batch(came, "topic", encoder(format_, time, "/x")(sent, 0, count), GOOD, None)
            assert repr(came.values) == repr(sent.values)  # repr, since NaN is not equal to itself
            assert (came.tags, came.qualities, came.times) == (sent.tags, sent.qualities, sent.times)


def test_gaps_come_back_as_they_were() -> None:
    sent = Batch.empty(gaps=(Gap(("a",), T, T + 5, "queue overflow", 4, 1), Gap(("b",), None, None, "x", None)))
    for time in TimeFormat:
        came = Batch.empty()
        assert read_batch(came, "topic", gaps_encoder(Format.JSON, time, "/x")(sent), GOOD, None)
        assert came.gaps == sent.gaps


def test_many_values_are_valid_json() -> None:
    count = 3000
    sent = Batch(
        [f"t{i}" for i in range(count)], [i / 7 for i in range(count)], [GOOD] * count, [T + i for i in range(count)]
    )
    written = msgspec.json.decode(encoder(Format.JSON, TimeFormat.RFC3339, "/x")(sent, 0, count))
    assert [sample["value"] for sample in written["samples"]] == sent.values
    assert encoder(Format.JSON, TimeFormat.RFC3339, "/x")(sent, 0, 0) == b'{"origin":"","position":0,"samples":[]}'
