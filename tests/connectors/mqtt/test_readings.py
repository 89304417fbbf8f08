"""Whatever bytes a device sends, they become samples that say what they are."""

import json
import math
from typing import Any

import pytest

from plantgate.sdk import Batch, Sample, Value
from plantgate.sdk.quality import BAD, BAD_DECODING, GOOD, UNCERTAIN, UNCERTAIN_LAST_USABLE
from plantgate_connectors.mqtt.relay import read_batch
from plantgate_connectors.mqtt.settings import Subscribe
from plantgate_connectors.payloads.readings import reader
from plantgate_connectors.payloads.times import read_time
from plantgate_connectors.payloads.words import TimeUnit

T = 1_767_225_600_123_000_000


def read(message: bytes, /, *, retained: bool = False, **written: Any) -> list[Sample]:
    batch = Batch.empty()
    subscribe = Subscribe.model_validate_json(json.dumps({"topic": "a", **written}))
    fine = reader(subscribe)(batch, "t", message, UNCERTAIN_LAST_USABLE if retained else GOOD, None)
    assert fine == (BAD_DECODING not in batch.qualities)
    return list(batch)


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (b"12", 12),
        (b" -7\n", -7),
        (b"1.50", 1.5),
        (b"1e3", 1000.0),
        (b".5", 0.5),
        (b"-inf", -math.inf),
        (b"9223372036854775807", 2**63 - 1),
        (b"18446744073709551615", 2**64 - 1),
    ],
)
def test_a_bare_number_is_read(payload: bytes, value: Value) -> None:
    (sample,) = read(payload)
    assert sample == Sample("t", value, GOOD, None)
    assert type(sample.value) is type(value)


def test_nan_is_a_number() -> None:
    (sample,) = read(b"NaN")
    assert isinstance(sample.value, float)
    assert math.isnan(sample.value)


@pytest.mark.parametrize(
    "payload",
    [b"", b"1_000", b"12,5", b"12 C", b"0x10", b"1e999", b"18446744073709551616", b"9" * 401, b"\xff", b"true", b"{}"],
)
def test_what_is_no_number_is_a_bad_sample_and_never_another_number(payload: bytes) -> None:
    assert read(payload) == [Sample("t", None, BAD_DECODING, None)]


def test_text_is_utf_8_or_bad() -> None:
    assert read("µ".encode(), payload="text") == [Sample("t", "µ", GOOD, None)]
    assert read(b"\xff\xfe", payload="text") == [Sample("t", None, BAD_DECODING, None)]


def test_a_kept_message_is_the_last_usable_value() -> None:
    assert read(b"1", retained=True) == [Sample("t", 1, UNCERTAIN_LAST_USABLE, None)]
    with_time = {"payload": "json", "value": "/v", "time": "/t", "time_unit": "ms"}
    assert read(b'{"v":1,"t":1767225600123}', retained=True, **with_time) == [Sample("t", 1, GOOD, T)]
    assert read(b'{"v":1}', retained=True, payload="json", value="/v")[0].quality == UNCERTAIN_LAST_USABLE


def test_json_pointers_reach_into_objects_lists_and_odd_names() -> None:
    document = b'{"readings":[{"a/b":{"~":5}}],"t":"2026-01-01T00:00:00.123Z","q":"uncertain"}'
    assert read(document, payload="json", value="/readings/0/a~1b/~0", time="/t", quality="/q") == [
        Sample("t", 5, UNCERTAIN, T)
    ]
    assert read(b"[1,[2]]", payload="json") == [Sample("t", [1, [2]], GOOD, None)]
    for missing in ("/readings/1", "/readings/00000000000", "/readings/-1", "/readings/x", "/nothing", "/t/deeper"):
        assert read(document, payload="json", value=missing)[0].quality == BAD_DECODING


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"NaN",
        b"1e400",
        b'"\xff"',
        b"[" * 100_000,
        b'{"a":' * 200 + b"1" + b"}" * 200,
        b"[" * 60 + b"]" * 60,
        b"1" * 1000,
        b"18446744073709551616",
        b'"\\ud800"',
        b"\xef\xbb\xbf1",
    ],
)
def test_json_that_cannot_be_held_is_a_bad_sample(payload: bytes) -> None:
    assert read(payload, payload="json") == [Sample("t", None, BAD_DECODING, None)]
    assert read(payload, payload="fields") == [Sample("t", None, BAD_DECODING, None)]


def test_fields_become_tags_without_time_and_quality() -> None:
    document = b'{"ts":1767225600123,"ok":false,"temp":20.5,"motor":{"speed":3,"on":true},"list":[1,2]}'
    assert read(document, payload="fields", time="/ts", quality="/ok") == [
        Sample("t/temp", 20.5, BAD, T),
        Sample("t/motor/speed", 3, BAD, T),
        Sample("t/motor/on", True, BAD, T),
        Sample("t/list", [1, 2], BAD, T),
    ]
    assert read(b'{"d":{"x":1},"y":2}', payload="fields", value="/d") == [Sample("t/x", 1, GOOD, None)]
    assert read(b"[1]", payload="fields")[0].quality == BAD_DECODING


@pytest.mark.parametrize("document", [b'{"v":1}', b'{"v":1,"t":"yesterday","q":"ok?"}', b'{"v":1,"t":1e308,"q":-1}'])
def test_a_time_or_quality_that_is_missing_or_nonsense_makes_a_value_uncertain(document: bytes) -> None:
    assert read(document, payload="json", value="/v", time="/t") == [Sample("t", 1, UNCERTAIN, None)]
    assert read(document, payload="json", value="/v", quality="/q") == [Sample("t", 1, UNCERTAIN, None)]


@pytest.mark.parametrize(
    ("written", "quality"),
    [(b"0", 0), (b"2147483648", BAD), (b"true", GOOD), (b"false", BAD), (b'"Good"', GOOD), (b'"BAD"', BAD)],
)
def test_a_quality_is_a_code_a_truth_or_a_word(written: bytes, quality: int) -> None:
    assert read(b'{"v":1,"q":' + written + b"}", payload="json", value="/v", quality="/q")[0].quality == quality


@pytest.mark.parametrize(
    ("written", "time"),
    [
        ("2026-01-01T00:00:00Z", 1_767_225_600_000_000_000),
        ("2026-01-01T00:00:00.123456789Z", 1_767_225_600_123_456_789),
        ("2026-01-01t00:00:00.1234567899z", 1_767_225_600_123_456_789),
        ("2026-01-01 02:00:00+02:00", 1_767_225_600_000_000_000),
        ("2025-12-31T18:30:00-0530", 1_767_225_600_000_000_000),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000_000_000),
        ("1969-12-31T23:59:59.5Z", -500_000_000),
        ("2026-01-01T00:00:00", None),
        ("2026-02-30T00:00:00Z", None),
        ("2026-01-01T24:00:00Z", None),
        ("٢٠٢٦-01-01T00:00:00Z", None),
        ("", None),
        (True, None),
        (None, None),
        ([], None),
        (math.nan, None),
        (math.inf, None),
        (10**30, None),
        (1_767_225_600_123, T),
        (1_767_225_600_123.0, T),
        (1_767_225_600_123.25, T + 250_000),
    ],
)
def test_times_are_read_exactly_or_not_at_all(written: object, time: int | None) -> None:
    assert read_time(written, TimeUnit.MILLISECONDS) == time


def test_a_float_of_seconds_is_the_decimal_it_was_written_as() -> None:
    assert read_time(1_767_225_600.123, TimeUnit.SECONDS) == T


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"{}",
        b'{"samples":[{"value":1}]}',
        b'{"samples":3}',
        b'{"tags":["a"],"values":[],"qualities":[],"times":[]}',
        b'{"tags":["a"],"values":[1]}',
        b'{"data":{"data":{}}}',
        b'{"samples":[{"tag":"a","value":' + b"[" * 100 + b"]" * 100 + b"}]}",
        b"\xff",
    ],
)
def test_a_batch_that_is_none_is_a_bad_sample(payload: bytes) -> None:
    batch = Batch.empty()
    assert not read_batch(batch, "topic", payload, GOOD, None)
    assert list(batch) == [Sample("topic", None, BAD_DECODING, None)]
