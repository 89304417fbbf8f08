"""Entries: canonical, without floats, and the same bytes as another implementation of RFC 8785 would write."""

import json
import random
import uuid
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from plantgate.audit.entry import BYTES_MAX, Check, Entry, Payload, Phase, Result, Why, decode, encode, new_id
from plantgate.sdk import Rejected
from tests.gateway.audit.given import BEGAN, intent, outcome


def test_an_entry_is_written_as_the_standard_library_would_write_it_canonically() -> None:
    """For ASCII keys, whole numbers and texts, RFC 8785 is: sorted, no spaces, nothing escaped that need not be."""
    for entry in (intent(3), outcome(3), msgspec.structs.replace(intent(1), note='µ "quoted" \\ \n\t\x01 \u2028 €')):
        content = encode(entry)
        assert content == json.dumps(
            json.loads(content), sort_keys=True, separators=(",", ":"), ensure_ascii=False
        ).encode().replace(b"\\u007f", b"\x7f")
        assert decode(content) == entry


def test_texts_of_any_kind_come_back_as_they_were() -> None:
    luck = random.Random(1)
    for _ in range(2000):
        text = "".join(chr(luck.choice((luck.randrange(0x80), luck.randrange(0xD800), 0x1F600))) for _ in range(20))
        entry = msgspec.structs.replace(intent(0), note=text, details={"said": text})
        content = encode(entry)
        assert decode(content) == entry
        assert (
            content
            == json.dumps(json.loads(content), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        )


@pytest.mark.parametrize(
    ("details", "message"),
    [
        ({"x": 0.5}, "entry.details.x: a float"),
        ({"x": float("nan")}, "entry.details.x: a float"),
        ({"x": 2**53}, "beyond what every reader can hold"),
        ({"größe": "1"}, "is no name for a field"),
        ({"x": "\ud800"}, "not Unicode"),
    ],
)
def test_what_the_profile_does_not_allow_is_refused(details: dict[str, Any], message: str) -> None:
    with pytest.raises(Rejected, match=message):
        encode(msgspec.structs.replace(intent(0), details=details))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"trace": 7}, "of another type than its field has"),
        ({"trace": 0.5}, "entry.trace: a float"),
        ({"note": None}, "of another type"),
        ({"payloads": (Payload(name="x", commitment="c", size=2**53),)}, "beyond what every reader can hold"),
        ({"payloads": (Payload(name="x", commitment="c", size=float("nan")),)}, "a float"),  # type: ignore[arg-type]
        ({"why": Why(rule="r", digest="d", checks=(Check(guard="g", passed=1),))}, "of another type"),  # type: ignore[arg-type]
        ({"approvals": [1]}, "of another type"),
        ({"details": {"x": b"bytes"}}, "of another type"),
        ({"details": {1: "x"}}, "of another type"),
        ({"after": object}, "of another type"),
    ],
    ids=str,
)
def test_what_would_not_read_back_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(Rejected, match=message):
        encode(msgspec.structs.replace(intent(0), **changed))


def test_what_is_too_large_belongs_into_the_vault() -> None:
    with pytest.raises(Rejected, match="belongs into the vault"):
        encode(msgspec.structs.replace(intent(0), note="x" * BYTES_MAX))


def test_an_outcome_names_its_intent_and_an_intent_has_no_result() -> None:
    with pytest.raises(ValueError, match="an outcome names its intent"):
        msgspec.structs.replace(intent(0), refers_to="x")
    with pytest.raises(ValueError, match="an intent has none yet"):
        msgspec.structs.replace(intent(0), result=Result.OK)
    with pytest.raises(ValueError, match="an outcome names its intent"):
        msgspec.structs.replace(outcome(0), refers_to="")
    assert Entry.__struct_fields__
    assert Phase.INTENT is intent(0).phase


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'{"v":1}', b"\xff", encode(intent(0))[:-1], b" " + encode(intent(0))]
)
def test_bytes_that_are_no_entry_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  msgspec's messages are its own
        decode(content)


def test_an_id_sorts_by_time_and_is_a_uuid_of_version_seven() -> None:
    ids = [new_id(BEGAN + number * 10**6) for number in range(1000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 1000
    made = uuid.UUID(ids[0])
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert datetime.fromtimestamp((made.int >> 80) / 1000, UTC).year == 2025
