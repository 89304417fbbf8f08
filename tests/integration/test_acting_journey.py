import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from plantgate.audit.entry import FORMAT, Check, Entry, Kind, Phase, Quantity, Result, Target, Who, Why, encode
from tests.integration.journey.act import ROUGH, Roughness, act
from tests.integration.journey.acted import Acted, Asked, Machined, judge
from tests.integration.journey.overheard import MODBUS, OPC_UA, Arrival, Recorder, on_record
from tests.peers.require import require

GUARDS = ("switch", "class", "type", "unit", "range", "resolution", "rule", "deadline", "people", "hold", "reading")


def entry(phase: Phase, **given: Any) -> Entry:
    common: dict[str, Any] = {
        "v": FORMAT,
        "id": "1",
        "kind": Kind.WRITE,
        "phase": phase,
        "time": "2026-01-01T00:00:00.5Z",
        "who": Who(kind="person", id="p-1"),
        "target": Target(connection="press", address="press/speed"),
    }
    return Entry(**(common | given))


def intent(**given: Any) -> Entry:
    checks = tuple(Check(guard=guard, passed=True) for guard in GUARDS)
    why = Why(rule="R-1", digest="sha256:00", checks=checks)
    return entry(Phase.INTENT, **({"after": Quantity(value="7", data_type="UInt32"), "why": why} | given))


def outcome(result: Result = Result.OK) -> Entry:
    return entry(Phase.OUTCOME, id="2", refers_to="1", result=result)


def arrival(at: float = 10.2, on_record: bool = True, time: int = 1_767_225_600_600_000_000) -> Arrival:
    return Arrival(7, at, time, on_record)


def verdict(
    entries: list[Entry],
    arrivals: list[Arrival],
    applied: list[int],
    *,
    standing: str = "",
    allowed: bool = True,
) -> Acted:
    asked = Asked(7, 10.0, 0.3, allowed, standing)
    return judge([Machined("press", [asked], arrivals, applied)], entries)


def test_the_judge_passes_what_was_asked_recorded_sent_and_done_once() -> None:
    seen = verdict([intent(), outcome()], [arrival()], [7], standing="done")
    assert seen.fine
    assert str(seen) == "acted: commands 1, applied 1, twice 0, unruled 0, late 0, open 0"


def test_the_judge_sees_what_was_sent_or_done_twice() -> None:
    assert verdict([intent(), outcome()], [arrival(), arrival()], [7]).twice == 1
    assert verdict([intent(), outcome()], [arrival()], [7, 7]).twice == 1
    assert verdict([intent(), intent(id="3"), outcome()], [arrival()], [7]).twice == 1


def test_the_judge_wants_an_intent_on_record_before_a_write() -> None:
    assert verdict([], [arrival()], [7]).unruled == 1
    assert verdict([intent(), outcome()], [arrival(on_record=False)], [7]).unruled == 1
    assert verdict([intent(), outcome()], [arrival(time=1_767_225_600_400_000_000)], [7]).unruled == 1
    assert verdict([intent(), outcome()], [], [7]).unruled == 1, "done, and nobody heard it being sent"


def test_the_judge_wants_a_rule_every_guard_and_no_objection() -> None:
    nobody = intent(why=None)
    passed = tuple(Check(guard=guard, passed=True) for guard in GUARDS)
    skipped = intent(why=Why(rule="R-1", digest="sha256:00", checks=passed[1:]))
    against = (Check(guard="switch", passed=False), *passed[1:])
    objected = intent(why=Why(rule="R-1", digest="sha256:00", checks=against))
    for each in (nobody, skipped, objected):
        assert verdict([each, outcome()], [arrival()], [7]).unruled == 1
    assert verdict([intent(), outcome()], [arrival()], [7], allowed=False).unruled == 1


def test_the_judge_sees_what_came_after_its_deadline() -> None:
    assert verdict([intent(), outcome()], [arrival(at=10.5)], [7]).late == 1


def test_the_judge_sees_what_nobody_knows_the_end_of() -> None:
    assert verdict([intent()], [arrival()], [7]).open == 1
    assert verdict([intent(), outcome(Result.UNKNOWN)], [arrival()], [7]).open == 1


def test_the_judge_sees_an_outcome_or_an_answer_that_is_not_true() -> None:
    assert verdict([intent(), outcome()], [arrival()], []).untrue == 1
    assert verdict([intent(), outcome(Result.FAILED)], [arrival()], [7]).untrue == 1
    assert verdict([intent(), outcome()], [arrival()], [7], standing="failed").untrue == 1
    assert verdict([intent(), outcome(Result.FAILED)], [arrival()], [], standing="done").untrue == 1


def test_the_recorder_hears_writes_however_they_are_sliced(tmp_path: Path) -> None:
    read = bytes.fromhex("0001 0000 0006 01 03 0014 0002")
    write = bytes.fromhex("0002 0000 000b 01 10 0014 0002 04 00010007")
    heard = Recorder(MODBUS, "press/speed", tmp_path)
    for byte in read + write + read:
        heard.hear("a link", bytes([byte]))
    heard.hear("another", write[:5])
    assert [each.value for each in heard.arrivals] == [65_543]
    body = bytes(16) + b"\x01\x00\xa1\x02" + bytes(20) + b"\x01\x0b" + bytes.fromhex("0000000000001c40")
    other = bytes(16) + b"\x01\x00\x77\x02" + bytes(30)
    heard = Recorder(OPC_UA, "oven/speed", tmp_path)
    for each in (other, body, other):
        heard.hear("a link", b"MSGF" + (len(each) + 8).to_bytes(4, "little") + each)
    assert [each.value for each in heard.arrivals] == [7]


def test_the_recorder_finds_an_intent_and_nothing_else_on_record(tmp_path: Path) -> None:
    full, begun = tmp_path / "0.segment", tmp_path / "1.segment"
    assert not on_record(tmp_path, "press/speed", 7)
    full.write_bytes(b"head" + encode(intent()) + bytes(100))
    assert on_record(tmp_path, "press/speed", 7)
    assert not on_record(tmp_path, "oven/speed", 7)
    assert not on_record(tmp_path, "press/speed", 8)
    begun.write_bytes(bytes(100))
    assert on_record(tmp_path, "press/speed", 7), "the last of a segment that is full"
    refused = entry(Phase.OBSERVED, kind=Kind.DENIAL, after=Quantity(value="8", data_type="UInt32"))
    begun.write_bytes(encode(refused) + encode(intent(after=Quantity(value="9", data_type="UInt32"))))
    assert not on_record(tmp_path, "press/speed", 8), "a denial says what was wanted, too"


@pytest.mark.integration
def test_nothing_is_done_twice_unruled_or_late_while_plugs_are_pulled(tmp_path: Path) -> None:
    require("modbus-slave")
    seen = asyncio.run(act(ROUGH, 7, tmp_path))
    assert seen.fine, f"{seen}\n{seen.surprises}"
    assert seen.applied > 20, "or hardly anything happened"
    assert seen.ends["outcome unknown"] > 0, "or no trouble met a write"


@pytest.mark.integration
def test_a_gateway_that_writes_again_what_nobody_answered_for_is_found(tmp_path: Path) -> None:
    require("modbus-slave")
    program = (sys.executable, "-m", "tests.integration.journey.retrying")
    windy = Roughness(kills=1, lives_seconds=(25.0, 25.0), fair_seconds=1.5)
    for seed in (7, 8, 9):  # until a trouble has swallowed the answer to a write
        (folder := tmp_path / str(seed)).mkdir()
        seen = asyncio.run(act(windy, seed, folder, at=("modbus",), program=program))
        if seen.twice and seen.late:
            break
    assert seen.twice > 0, str(seen)
    assert seen.late > 0, "and what comes again comes late"
