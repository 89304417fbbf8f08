"""Payloads to samples: whatever the bytes are, all of a payload is read, or none of it and the reason is said."""

import json
import math
import random

import pytest

from plantgate.sdk import Batch
from plantgate_connectors.http.meaning import Meaning
from plantgate_connectors.http.readings import Read, reader
from plantgate_connectors.http.strict_json import Unreadable, as_value, parse
from plantgate_connectors.http.tag_names import shown, tag_problem
from plantgate_connectors.payloads.times import read_time
from plantgate_connectors.payloads.words import TimeUnit

T0 = 1_767_225_600_000_000_000
SOUND = {
    "plantgate": json.dumps(
        {
            "samples": [
                {"tag": "a", "value": 1.5, "code": 0, "time": "2026-01-01T00:00:00.000000001Z"},
                {"tag": "b", "value": ["NaN", {"x": None}], "quality": "Bad", "time": T0},
            ],
            "gaps": [{"tags": ["a"], "since": None, "until": T0, "cause": "x", "lost": 3}],
        }
    ),
    "json": '{"v": [1, "two", true, null], "t": 1767225600000, "q": 0}',
    "fields": '{"v": {"x": 1, "y": {"z": "\\u00fc"}}, "t": "2026-01-01T00:00:00Z"}',
    "number": "-61.25e0",
    "text": "gr\u00fc\u00dfe",
}
READERS: dict[str, Read] = {
    "plantgate": reader(Meaning.model_validate_json('{"payload":"plantgate"}')),
    "json": reader(Meaning.model_validate_json('{"payload":"json","tag":"a","value":"/v","time":"/t","quality":"/q"}')),
    "fields": reader(Meaning.model_validate_json('{"payload":"fields","tag":"a","value":"/v","time":"/t"}')),
    "number": reader(Meaning.model_validate_json('{"payload":"number","tag":"a"}')),
    "text": reader(Meaning.model_validate_json('{"payload":"text","tag":"a"}')),
}


def check(batch: Batch) -> None:
    """What every batch must be."""
    assert len(batch.tags) == len(batch.values) == len(batch.qualities) == len(batch.times)
    assert all(tag_problem(tag) is None for tag in batch.tags)
    assert all(0 <= quality < 2**32 for quality in batch.qualities)
    assert all(time is None or -(2**63) <= time < 2**63 for time in batch.times)
    for value in batch.values:
        assert not (isinstance(value, int) and not -(2**63) <= value < 2**64)


@pytest.mark.parametrize("payload", SOUND)
def test_any_bytes_at_all_are_read_or_refused_with_a_reason(payload: str) -> None:
    luck = random.Random(f"http/{payload}")
    sound, read = SOUND[payload].encode(), READERS[payload]
    check(read(sound, {}))
    refused, reasons = 0, set()
    for _ in range(4000):
        raw = bytearray(sound)
        for _ in range(luck.randrange(1, 5)):
            place = luck.randrange(len(raw) + 1)
            match luck.randrange(4):
                case 0:
                    raw[place : place + 1] = luck.randbytes(1)
                case 1:
                    del raw[place : place + luck.randrange(1, 9)]
                case 2:
                    raw[place:place] = luck.choice((b'"', b"[", b"]", b"{", b"}", b"9" * 30, b"e999", b"\\ud800", b","))
                case _:
                    raw[place:place] = raw[: luck.randrange(1, len(raw) + 1)] if raw else b"x"
        try:
            check(read(bytes(raw), {}))
        except Unreadable as error:
            refused += 1
            reasons.add(str(error))
    assert payload == "text" or refused > 1000
    assert "" not in reasons


def test_what_is_read_is_what_python_reads() -> None:
    """Our rules only ever refuse: what passes means what it means to another reader."""
    luck = random.Random("json")
    for _ in range(2000):
        written = _document(luck, 0)
        raw = json.dumps(written, ensure_ascii=luck.random() < 0.5, separators=luck.choice(((",", ":"), (", ", ": "))))
        assert as_value(parse(raw.encode())) == written


def _document(luck: random.Random, depth: int) -> object:
    match luck.randrange(9 if depth < 5 else 6):
        case 0:
            return luck.choice((None, True, False))
        case 1:
            return luck.randrange(-(2**63), 2**64)
        case 2:
            return luck.choice((0.0, 1e308, 5e-324, luck.uniform(-1e9, 1e9)))
        case 3 | 4 | 5:
            return "".join(
                chr(luck.choice((luck.randrange(1, 0xD800), 34, 92, 0x1F3ED))) for _ in range(luck.randrange(6))
            )
        case 6:
            return [_document(luck, depth + 1) for _ in range(luck.randrange(5))]
        case _:
            return {str(n): _document(luck, depth + 1) for n in range(luck.randrange(5))}


@pytest.mark.parametrize(
    ("written", "time"),
    [
        ("2026-01-01T00:00:00.000000001Z", T0 + 1),
        ("2026-01-01T00:00:00.999999999Z", T0 + 999_999_999),
        ("2025-12-31T23:59:60.000000005Z", T0 + 5),
        ("2026-01-01T01:00:00.000000001+01:00", T0 + 1),
        ("2026-13-01T00:00:00.000000001Z", None),
        ("2026-01-01T00:00:00.00000000xZ", None),
        ("2026-01-01T00:00:00.00000000٣Z", None),
        ("2026-01-01 00:00:00.000000001Z", T0 + 1),
        ("٢٠٢٦-01-01T00:00:00.000000001Z", None),
        ("1969-12-31T23:59:59.000000001Z", -999_999_999),
        (T0 + 7, T0 + 7),
        (True, None),
        (math.nan, None),
        (2**70, None),
    ],
)
def test_times_are_exact_whichever_way_they_are_read(written: object, time: int | None) -> None:
    assert read_time(written, TimeUnit.NANOSECONDS) == time


def test_what_is_shown_is_one_printable_line() -> None:
    luck = random.Random("shown")
    for _ in range(500):
        text = "".join(chr(luck.choice((luck.randrange(0x110000), 10, 27, 0xD800))) for _ in range(luck.randrange(100)))
        assert shown(text).isprintable()
        assert "\n" not in shown(text)
        assert len(shown(text, 20)) <= 20 * 10 + 1
