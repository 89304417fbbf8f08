from pathlib import Path

import pytest
from pydantic import ValidationError

from plantgate.sdk import Backoff, Batch, Bytes, Gap, Sample, Secret, Settings, Unavailable, iso, quality_name, severity
from plantgate.sdk.plausible import AHEAD_MOST_NS, doubt_clock
from plantgate.sdk.quality import BAD, GOOD, UNCERTAIN, Severity


def test_a_batch_is_columns_and_rows_are_a_view() -> None:
    rows = [Sample("a", 1, GOOD, 10), Sample("b", None, BAD, None)]
    batch = Batch.of(rows, cursor="7")
    assert (batch.tags, batch.values, batch.qualities, batch.times) == (["a", "b"], [1, None], [GOOD, BAD], [10, None])
    assert list(batch) == rows


def test_joined_batches_keep_order_and_the_later_cursor() -> None:
    first = Batch.of([Sample("a", 1, GOOD, 1)], cursor="1", gaps=(Gap(("a",), None, 1, "x", 1),))
    first.extend(Batch.of([Sample("a", 2, GOOD, 2)], cursor="2"))
    assert first.values == [1, 2]
    assert first.cursor == "2"
    assert len(first.gaps) == 1


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_467_331_200_123_456_700, "2016-07-01T00:00:00.1234567Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (None, None),
        (10**30, None),
    ],
)
def test_a_time_is_exact_to_the_nanosecond(nanoseconds: int | None, text: str | None) -> None:
    assert iso(nanoseconds) == text


def test_the_severity_is_the_two_top_bits() -> None:
    assert [severity(code) for code in (GOOD, 0x0000_0480, UNCERTAIN, BAD, 0xC000_0000)] == [
        Severity.GOOD,
        Severity.GOOD,
        Severity.UNCERTAIN,
        Severity.BAD,
        Severity.BAD,
    ]
    assert quality_name(0x8034_0000) == "Bad 0x80340000"
    assert quality_name(0x0000_0480) == "Good"


def test_a_clock_far_ahead_makes_good_uncertain_and_leaves_the_time() -> None:
    now = 1_000_000_000_000
    late, ahead = now - 10**18, now + AHEAD_MOST_NS + 1
    times, qualities = [late, ahead, ahead, None], [GOOD, GOOD, BAD, GOOD]
    assert doubt_clock(times, qualities, now) == 1
    assert qualities == [GOOD, UNCERTAIN, BAD, GOOD]
    assert times == [late, ahead, ahead, None]


def test_a_secret_is_read_when_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "password"
    secret = Secret(f"${{file:{file}}}")
    with pytest.raises(Unavailable, match="cannot read"):
        secret.reveal()
    file.write_text("first\n")
    assert secret.reveal() == "first"
    file.write_text("rotated\n")
    assert secret.reveal() == "rotated"
    monkeypatch.setenv("PRESS3", "from the environment")
    assert Secret("${env:PRESS3}").reveal() == "from the environment"
    assert "rotated" not in repr(secret)


@pytest.mark.parametrize("written", ["hunter2", "${file:}", "${vault:x}", "${env:X", ""])
def test_a_password_typed_in_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="written as a reference"):
        Secret(written)


class Sized(Settings):
    size: Bytes
    """How much."""
    rate: float = 1.0
    """How fast."""


@pytest.mark.parametrize(("written", "count"), [("512MiB", 2**29), ("2 GB", 2 * 10**9), ("10", 10), ("1kB", 1000)])
def test_a_size_has_a_unit(written: str, count: int) -> None:
    assert Sized.model_validate_json(f'{{"size": "{written}"}}').size == count


@pytest.mark.parametrize(
    "document",
    [
        '{"size": "2 gigs"}',
        '{"size": "1.5GiB"}',
        '{"size": 1, "rate": "2"}',
        '{"size": 1, "rate": NaN}',
        '{"size": true}',
    ],
)
def test_settings_take_nothing_for_something_else(document: str) -> None:
    with pytest.raises(ValidationError):
        Sized.model_validate_json(document)


def test_a_pause_doubles_up_to_its_most() -> None:
    backoff = Backoff(first_seconds=1.0, most_seconds=10.0, jitter=0.0)
    assert [backoff.delay(attempt) for attempt in (0, 1, 2, 3, 4, 1000)] == [1, 2, 4, 8, 10, 10]
