"""What is not written, and why: one test for each guard, the answer and the record."""

import asyncio
from typing import Any

import pytest

from plantgate.audit.entry import Kind, Phase, Result, Who
from plantgate.control.proposal import Standing
from plantgate.control.switches import Thrown
from plantgate.sdk import Batch, Deadline
from plantgate.sdk.quality import BAD, UNCERTAIN
from plantgate.testing.clock import WallClock
from plantgate.testing.disk import SimulatedDisk
from tests.gateway.control.given import (
    ADVICE,
    DOOR,
    OVEN,
    SAFETY,
    SPEED,
    Oven,
    plant,
    run,
    settings,
)

PERSON = Who(kind="person", id="p-anna")
NAN = float("nan")


def refused(
    by: str, saw: str, value: object = 50.0, *, tag: str = OVEN, oven: Oven | None = None, **changed: Any
) -> None:
    """This proposal is denied by this guard alone, nothing reaches the machine, and the denial is on record."""

    async def main() -> None:
        async with plant(oven=oven) as here:
            answer = await here.propose(value, tag=tag, **changed)
            assert answer.standing is Standing.DENIED, answer
            assert [check.guard for check in answer.checks if not check.passed] == [by]
            assert saw in answer.reason
            assert not here.oven.written
            (entry,) = [entry for entry in here.entries() if entry.id == answer.entry]
            assert (entry.kind, entry.phase, entry.result) == (Kind.DENIAL, Phase.OBSERVED, Result.DENIED)
            assert entry.why is not None
            assert [check.guard for check in entry.why.checks if not check.passed] == [by]

    run(main)


@pytest.mark.parametrize(
    ("value", "saw"),
    [
        (NAN, "not a number that can be written"),
        (float("inf"), "not a number that can be written"),
        (True, "True is not a number"),
        ("50", "'50' is not a number"),
        (None, "None is not a number"),
        ([50.0], "list is not a number"),
        (10**400, "is not exactly a Double"),
        (2**53 + 1, "is not exactly a Double"),
    ],
)
def test_a_value_of_another_type_is_refused_and_not_converted(value: object, saw: str) -> None:
    refused("type", saw, value)


@pytest.mark.parametrize(
    ("value", "saw"),
    [(True, "True is not a whole number"), (50.0, "50.0 is not a whole"), (40000, "does not fit Int16")],
)
def test_an_integer_is_a_whole_number_that_fits(value: object, saw: str) -> None:
    refused("type", saw, value, tag=SPEED, rule="R-2", who=PERSON)


@pytest.mark.parametrize("value", ["a\nb", "\x1b[31m", "x" * 2000, "\ud800"])
def test_a_text_with_control_characters_or_without_end_is_refused(value: str) -> None:
    refused("type", "", value, tag=ADVICE)


def test_another_unit_is_refused() -> None:
    refused("unit", "proposed in degF, not degC", unit="degF")


@pytest.mark.parametrize("value", [19.9, 80.1, 1.7e308, -1e308])
def test_a_value_out_of_range_is_refused(value: float) -> None:
    async def main() -> None:
        async with plant() as here:
            answer = await here.propose(value)
            assert answer.standing is Standing.DENIED
            assert "range: " in answer.reason
            assert not here.oven.written

    run(main)


def test_a_value_between_two_steps_of_the_machine_is_refused() -> None:
    refused("resolution", "50.05 is between two steps of 0.1", 50.05)


def test_a_tag_that_is_not_in_the_plant_file_is_refused() -> None:
    refused("known", "no such tag may be written", tag="press/anything")


def test_a_safety_function_is_never_written() -> None:
    refused("class", "never written", True, tag=SAFETY, rule="R-2", who=PERSON)


@pytest.mark.parametrize(
    ("changed", "saw"),
    [
        ({"rule": "R-9"}, "there is no rule 'R-9'"),
        ({"rule": "gateway.revert"}, "undoes a write, and this undoes none"),
        ({"rule": "R-2"}, "R-2 is not for a model"),
        ({"facts": {}}, "asks for defect"),
        ({"facts": {"defect": {"score": 0.4}}}, "is not so"),
        ({"facts": {"defect": {"score": NAN}}}, "`defect` is not a value that can be judged"),
        ({"facts": {"defect": {"score": "high"}}}, "cannot be judged"),
        ({"facts": {"defect": {}}}, "cannot be judged"),
        ({"facts": {"defect": None}}, "`defect` is not a value that can be judged"),
    ],
)
def test_without_a_rule_that_holds_nothing_is_written(changed: dict[str, Any], saw: str) -> None:
    refused("rule", saw, **changed)


def test_a_rule_allows_the_tags_it_names() -> None:
    refused("rule", "R-1 does not allow belt/speed", 50, tag=SPEED)


@pytest.mark.parametrize("confidence", [0.79, NAN, None, 1.5, True])
def test_a_confidence_that_is_not_enough_or_no_number_is_refused(confidence: object) -> None:
    refused("confidence", "", confidence=confidence)


@pytest.mark.parametrize(
    ("door", "saw"),
    [
        ({"closed": False}, "`closed` is not so"),
        ({"closed": 1}, "is neither true nor false"),
        ({"closed": True, "quality": BAD}, "oven/door_closed is Bad"),
        ({"closed": True, "quality": UNCERTAIN}, "oven/door_closed is Uncertain"),
    ],
)
def test_an_interlock_that_does_not_hold_refuses(door: dict[str, Any], saw: str) -> None:
    async def main() -> None:
        async with plant() as here:
            here.door(**door)
            answer = await here.propose()
            assert [check.guard for check in answer.checks if not check.passed] == ["interlock door"]
            assert saw in answer.reason
            assert not here.oven.written

    run(main)


def test_a_value_that_is_old_by_either_clock_holds_no_interlock() -> None:
    async def main() -> None:
        async with plant() as here:
            await asyncio.sleep(6)
            assert "6.0 s old" in (await here.propose()).reason
            here.door(seconds_ago=60)  # what a back-fill brings is not news
            assert "s old" in (await here.propose()).reason
            here.door()
            assert (await here.propose()).standing is Standing.DONE

    run(main)


def test_late_is_no() -> None:
    async def main() -> None:
        async with plant() as here:
            answer = await here.propose(deadline=Deadline.after(-0.001))
            assert (answer.standing, here.oven.written) == (Standing.LATE, [])

    run(main)


def test_a_machine_that_has_something_else_than_expected_is_not_written() -> None:
    refused("unchanged", "the machine has 40.0, not 41.0", expected=41.0)


def test_a_step_goes_so_far_and_no_further() -> None:
    refused("step", "35 from 40.0; a step goes 30 at most", 75.0)


def test_a_machine_whose_own_value_is_bad_is_not_written() -> None:
    refused("reading", "the machine's own value is Bad", oven=Oven(quality=BAD))


def test_a_machine_that_gives_the_tag_another_type_is_not_written() -> None:
    oven = Oven()
    oven.values[OVEN] = "forty"
    refused("reading", "the machine has another type", oven=oven)


def test_the_pace_is_kept() -> None:
    async def main() -> None:
        async with plant() as here:
            assert (await here.propose(60.0)).standing is Standing.DONE
            assert "interval: " in (await here.propose(61.0)).reason
            for value in (40.0, 60.0):
                await asyncio.sleep(1.1)
                here.door()
                answer = await here.propose(value)
            assert answer.reason == ""
            await asyncio.sleep(1.1)
            here.door()
            assert "rate: 80 within a minute" in (await here.propose(40.0)).reason
            for value in (60.0, 60.0):
                await asyncio.sleep(1.1)
                here.door()
                await here.propose(value)
            await asyncio.sleep(1.1)
            here.door()
            assert "frequency: 5 writes within a minute" in (await here.propose(60.0)).reason
            await asyncio.sleep(60)
            here.door()
            assert (await here.propose(40.0)).standing is Standing.DONE

    run(main)


def test_what_is_stopped_is_not_written() -> None:
    async def main() -> None:
        async with plant() as here:
            for name in ("everything", "plc", "hall2"):
                here.acting.gate.switches.throw(name, Thrown("p-anna", "smoke", ""))
                assert f"{name} is stopped by p-anna: smoke" in (await here.propose()).reason
                here.acting.gate.switches.release(name)
            assert (await here.propose()).standing is Standing.DONE

    run(main)


def test_a_clock_that_was_set_is_not_trusted_for_setpoints_until_people_have_looked() -> None:
    async def main() -> None:
        async with plant(written=settings(oven={"class": "W2"})) as here:
            WallClock().step(315_360_000)
            here.door()
            answer = await here.propose()
            assert "the clock was set by +315360000.0 s" in answer.reason
            WallClock().step(-315_360_000)
            assert "the clock was set" in (await here.propose()).reason
            await asyncio.sleep(0.1)
            here.acting.gate.latest.see(Batch([DOOR], [None], [BAD], [None]))
            here.door()
            here.acting.gate.steady.trust()
            assert (await here.propose()).standing is Standing.WAITING

    run(main)


def test_hostile_text_in_a_proposal_becomes_a_record_and_no_trouble() -> None:
    async def main() -> None:
        async with plant() as here:
            for tag in ("\ud800", "x" * 100_000, "a\nb", "\x1b[2J"):
                answer = await here.propose("\ud800" * 50_000, tag=tag, rule="\udfff" * 5000, unit="\ud800")
                assert answer.standing is Standing.DENIED
                assert answer.entry

    run(main)


def test_a_restart_is_no_way_to_write_more_often_or_further() -> None:
    async def main() -> None:
        disk, oven = SimulatedDisk(), Oven()
        async with plant(disk, oven=oven) as here:
            for value in (60.0, 40.0, 60.0):
                await asyncio.sleep(1.1)
                here.door()
                assert (await here.propose(value)).standing is Standing.DONE
        async with plant(disk.restart(), oven=oven) as here:
            await asyncio.sleep(0.1)
            assert "interval: " in (await here.propose(60.0)).reason
            await asyncio.sleep(1.1)
            here.door()
            assert "rate: 80 within a minute" in (await here.propose(40.0)).reason
            await asyncio.sleep(60)
            here.door()
            assert (await here.propose(40.0)).standing is Standing.DONE

    run(main)


def test_a_step_is_a_step_also_where_binary_fractions_make_it_look_longer() -> None:
    """20.5 - 20.3 is more than 0.2."""

    async def main() -> None:
        small = {"step_max": 0.2, "change_max_per_minute": 0.2, "resolution": None, "range": [0, 1e13]}
        async with plant(written=settings(oven=small)) as here:
            here.oven.values[OVEN] = 20.3
            assert "step: " in (await here.propose(20.500001)).reason
            assert (await here.propose(20.5)).standing is Standing.DONE
        async with plant(written=settings(oven=small)) as here:
            here.oven.values[OVEN] = 1e12
            assert "step: " in (await here.propose(1e12 + 0.3)).reason, "it is no excuse for large numbers"

    run(main)


def test_a_door_known_to_be_open_is_open_whatever_its_clock_said_before() -> None:
    async def main() -> None:
        async with plant() as here:
            here.door(closed=True, seconds_ago=-1.5)
            await asyncio.sleep(0.1)
            here.door(closed=False)
            assert "`closed` is not so" in (await here.propose()).reason
            here.door(closed=True, seconds_ago=-1.5)
            here.acting.gate.latest.see(Batch([DOOR], [True], [BAD], [WallClock().now() - 10**9]))
            assert "oven/door_closed is Bad" in (await here.propose()).reason

    run(main)
