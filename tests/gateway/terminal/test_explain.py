"""One decision in sentences, out of a log that somebody copied: writes, and questions that people were asked."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from plantgate.audit.entry import Approval, Entry, Kind, Phase, Result, Who, encode
from plantgate.audit.log import AuditLog
from plantgate.cli import main
from tests.gateway.audit.given import LOG, ORIGIN, intent, outcome


def observed(number: int, kind: Kind, **more: object) -> Entry:
    plain = {"kind": kind, "phase": Phase.OBSERVED, "why": None, "before": None, "after": None}
    return msgspec.structs.replace(intent(number), **{**plain, **more})


ASKED = {"value": "42.0", "unit": "degC", "rule": "R-12", "until": "2025-10-09T08:58:00Z"}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    emergency = intent(11)
    assert emergency.why is not None
    rule = msgspec.structs.replace(emergency.why, rule="gateway.emergency")
    entries = [
        observed(1, Kind.APPROVAL, note="asked", details=ASKED),
        observed(2, Kind.APPROVAL, note="agreed", result=Result.OK, details={"question": intent(1).id}),
        msgspec.structs.replace(intent(3), approvals=(Approval(entry=intent(2).id, by="p-1"),)),
        outcome(3),
        observed(5, Kind.APPROVAL, note="asked", details=ASKED),
        observed(6, Kind.APPROVAL, note="line is down", result=Result.DENIED, details={"question": intent(5).id}),
        observed(7, Kind.APPROVAL, note="asked", details=ASKED),
        observed(8, Kind.EMERGENCY, note="an old one", details={"emergency": "declared"}),
        observed(9, Kind.EMERGENCY, note="fire", details={"emergency": "declared"}),
        observed(10, Kind.EMERGENCY, note="fire out", details={"emergency": "over"}),
        msgspec.structs.replace(emergency, why=rule),
        outcome(11),
        msgspec.structs.replace(intent(13), who=Who(kind="gateway", id="gateway")),
        outcome(13),
    ]

    async def fill() -> None:
        async with await AuditLog.open(tmp_path, ORIGIN, [LOG]) as audit:
            for content in (b"no entry at all", *map(encode, entries)):
                await audit.append_bytes(content)
            await audit.publish()

    asyncio.run(fill())
    return tmp_path / "public"


@pytest.mark.parametrize("entry", ["1", "2", "3", "4"])
def test_question_answer_intent_and_outcome_tell_the_same_write(
    entry: str, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", str(log), entry]) == 0
    first, *_, last = capsys.readouterr().out.splitlines()
    assert "the model solder-check wanted 0.1875 mm written to line3/robot/offset_x (robot)" in first
    assert "it happened; the machine had 0.1875 mm" in last


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ("5", "2025-10-09T08:53:26Z: solder-check refused: line is down."),
        ("6", "2025-10-09T08:53:26Z: solder-check refused: line is down."),
        ("7", "Nobody agreed by 2025-10-09T08:58:00Z, or another question took its place."),
    ],
)
def test_a_question_that_came_to_nothing_is_told_with_what_people_said(
    entry: str, what: str, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", str(log), entry]) == 0
    first, rule, *said, last = capsys.readouterr().out.splitlines()
    assert first.endswith("wanted 42.0 degC written to line3/robot/offset_x (robot), which people have to agree to.")
    assert rule == "The rule was R-12."
    assert said == [what]
    assert last == "Nothing was written because of it."


def test_a_write_in_an_emergency_says_which_was_declared(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(log), "11"]) == 0
    said = capsys.readouterr().out
    assert "2025-10-09T08:53:29Z: solder-check had declared an emergency: fire. It goes past people" in said
    assert "an old one" not in said


def test_the_gateway_is_called_so_once(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(log), "13"]) == 0
    assert ": the gateway wanted 0.8125 mm written" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("0", "entry 0 is none: "),
        ("8", "is of kind emergency, not a decision to write"),
        ("solder-check", "no entry has the id solder-check"),
    ],
)
def test_what_is_no_decision_is_said_in_a_sentence(
    entry: str, message: str, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", str(log), entry]) == 5
    assert message in capsys.readouterr().err
