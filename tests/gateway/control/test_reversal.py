"""Undoing: once, of what is there, within the limits of today, and what was undone can be redone."""

import asyncio

import pytest

from plantgate.audit.entry import Phase
from plantgate.sdk import Command, OutcomeUnknown, Rejected
from plantgate.terminal.explain import sentences, story
from plantgate.testing.disk import SimulatedDisk
from tests.gateway.control.given import (
    ADVICE,
    ANNA,
    CARL,
    OVEN,
    SPEED,
    Oven,
    Plant,
    plant,
    run,
    settings,
)

QUICK = {"interval_seconds": 0, "interlocks": {}}


def intents(here: Plant) -> list[str]:
    return [entry.id for entry in here.entries() if entry.phase is Phase.INTENT]


def test_of_two_who_undo_the_same_write_at_once_one_does() -> None:
    async def main() -> None:
        async with plant(written=settings(oven=QUICK)) as here:
            done = await here.propose(50.0)
            told = await asyncio.gather(*(here.ask(person, "revert", entry=done.entry) for person in (ANNA, CARL)))
            assert sorted(each["standing"] for each in told) == ["denied", "done"]
            assert [command.value for command in here.oven.written] == [50.0, 40.0]

    run(main)


def test_an_undoing_is_undone_like_any_other_write() -> None:
    async def main() -> None:
        async with plant(written=settings(oven=QUICK)) as here:
            first = await here.propose(50.0)
            second = await here.ask(ANNA, "revert", entry=first.entry)
            third = await here.ask(ANNA, "revert", entry=second["entry"])
            assert (third["standing"], here.oven.values[OVEN]) == ("done", 50.0)
            assert [entry.reverses for entry in here.entries() if entry.phase is Phase.INTENT] == [
                "",
                first.entry,
                second["entry"],
            ]

    run(main)


def test_what_the_limits_of_today_do_not_allow_is_not_undone() -> None:
    async def main() -> None:
        disk, oven = SimulatedDisk(), Oven()
        async with plant(disk, settings(oven=QUICK), oven=oven) as here:
            done = await here.propose(50.0)
        for changed, saw in (
            ({"range": [45, 80]}, "range: 40 is outside 45 to 80"),
            ({"unit": "K"}, "unit: proposed in degC, not K"),
            ({"step_max": 5}, "step: 10 from 50.0"),
            ({"class": "W4"}, "class W4"),
        ):
            async with plant(disk := disk.restart(), settings(oven={**QUICK, **changed}), oven=oven) as here:
                here.acting.gate.switches.release(OVEN)
                assert saw in (await here.ask(ANNA, "revert", entry=done.entry))["reason"]
        whole = settings(oven={**QUICK, "data_type": "Int16", "resolution": 1})
        async with plant(disk := disk.restart(), whole, oven=oven) as here:
            with pytest.raises(Rejected, match="another type now"):
                await here.ask(ANNA, "revert", entry=done.entry)
        assert oven.values[OVEN] == 50.0

    run(main)


def test_a_write_nobody_knows_of_is_not_undone_before_it_is_known() -> None:
    async def main() -> None:
        async with plant(written=settings(oven=QUICK)) as here:

            async def lose(command: Command) -> None:
                here.oven.fate = None
                raise OutcomeUnknown("plc: no answer")

            here.oven.fate = lose
            lost = await here.propose(50.0)
            assert "hold: it is not known" in (await here.ask(ANNA, "revert", entry=lost.entry))["reason"]
            await asyncio.sleep(10)
            told = await here.ask(ANNA, "revert", entry=lost.entry)
            assert "unchanged: the machine has 40.0, not 50.0" in told["reason"], "it never happened"

    run(main)


def test_an_undoing_that_people_must_agree_to_is_of_no_use_once_the_value_is_another() -> None:
    async def main() -> None:
        async with plant() as here:
            told = await here.ask(ANNA, "write", tag=SPEED, value="60", rule="R-2")
            (question,) = here.acting.approvals.waiting()
            done = await here.acting.approvals.approve(question.id, CARL, question.digest)
            told = await here.ask(ANNA, "revert", entry=done.entry)
            (question,) = here.acting.approvals.waiting()
            assert (told["standing"], question.command["expected"], question.command["reverses"]) == (
                "waiting",
                "60",
                done.entry,
            )
            here.oven.values[SPEED] = 70
            answer = await here.acting.approvals.approve(question.id, CARL, question.digest)
            assert "unchanged: the machine has 70, not 60" in answer.reason
            assert here.oven.values[SPEED] == 70

    run(main)


def test_the_rule_for_reverts_is_no_rule_for_writes() -> None:
    async def main() -> None:
        async with plant() as here:
            with pytest.raises(Rejected, match="is not for writing"):
                await here.ask(ANNA, "write", tag=ADVICE, value="x", rule="gateway.revert")
            assert not here.oven.written

    run(main)


def test_a_long_text_is_undone_whole() -> None:
    async def main() -> None:
        oven = Oven()
        oven.values[ADVICE] = "x" * 900
        async with plant(oven=oven) as here:
            done = await here.propose("y", tag=ADVICE)
            told = await here.ask(ANNA, "revert", entry=done.entry)
            assert (told["standing"], oven.values[ADVICE]) == ("done", "x" * 900)

    run(main)


def test_a_denied_revert_undid_nothing() -> None:
    async def main() -> None:
        async with plant() as here:
            done = await here.propose(50.0)
            here.door(closed=False)
            await asyncio.sleep(1.1)
            await here.ask(ANNA, "revert", entry=done.entry)
            intent = next(entry for entry in here.entries() if entry.id == done.entry)
            assert "undid" not in " ".join(sentences(story(intent, here.entries())))

    run(main)
