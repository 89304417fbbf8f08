"""What people agree to: one exact command, once, in time, and never their own; and what it takes to arm."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from plantgate.audit.entry import Kind, Result, Who
from plantgate.control.approvals import WAITING_MAX, Person, Question
from plantgate.control.proposal import Answer, Standing
from plantgate.control.switches import EVERYTHING
from plantgate.sdk import Deadline, GatewayError, Rejected
from plantgate.sdk.quality import UNCERTAIN_LAST_USABLE
from plantgate.testing.clock import WallClock
from plantgate.testing.disk import SimulatedDisk
from tests.gateway.control.given import ANNA, BERT, CARL, DORA, OVEN, SPEED, Plant, plant, run, settings

TWO = settings(oven={"class": "W3"})


async def asked(here: Plant, **changed: Any) -> Question:
    """A model proposes; people have to agree."""
    answer = await here.acting.approvals.propose(here.proposal(deadline=Deadline.after(600), **changed))
    assert answer.standing is Standing.WAITING
    (question,) = here.acting.approvals.waiting()
    assert question.id == answer.entry
    return question


async def agree(here: Plant, question: Question, person: Person, digest: str | None = None) -> Answer:
    return await here.acting.approvals.approve(question.id, person, question.digest if digest is None else digest)


def test_a_setpoint_waits_for_an_operator_and_is_then_written_with_the_approval_on_record() -> None:
    async def main() -> None:
        async with plant(written=settings(oven={"class": "W2"})) as here:
            question = await asked(here)
            assert not here.oven.written
            answer = await agree(here, question, ANNA)
            assert (answer.standing, here.oven.values[OVEN]) == (Standing.DONE, 50.0)
            intent = next(entry for entry in here.entries() if entry.id == answer.entry)
            (approval,) = intent.approvals
            said = next(entry for entry in here.entries() if entry.id == approval.entry)
            assert (said.kind, said.who.id, said.result) == (Kind.APPROVAL, "p-anna", Result.OK)
            assert said.details["command"] == question.digest

    run(main)


def test_motion_takes_an_operator_and_an_engineer() -> None:
    async def main() -> None:
        async with plant(written=TWO) as here:
            question = await asked(here)
            assert (await agree(here, question, ANNA)).standing is Standing.WAITING
            with pytest.raises(Rejected, match="has agreed already"):
                await agree(here, question, ANNA)
            with pytest.raises(Rejected, match="needs an operator and an engineer"):
                await agree(here, question, CARL)
            assert not here.oven.written
            assert (await agree(here, question, BERT)).standing is Standing.DONE
            assert len(here.oven.written) == 1

    run(main)


def test_two_operators_who_agree_at_the_same_moment_are_not_an_operator_and_an_engineer() -> None:
    async def main() -> None:
        async with plant(written=TWO) as here:
            question = await asked(here)
            both = await asyncio.gather(
                agree(here, question, ANNA), agree(here, question, CARL), return_exceptions=True
            )
            assert sum(isinstance(each, Rejected) for each in both) == 1
            assert not here.oven.written

    run(main)


def test_an_approval_is_used_once_however_many_clicks_there_are() -> None:
    async def main() -> None:
        async with plant(written=settings(oven={"class": "W2"})) as here:
            question = await asked(here)
            clicks = [agree(here, question, ANNA), agree(here, question, ANNA), agree(here, question, CARL)]
            answers = await asyncio.gather(*clicks, return_exceptions=True)
            assert sum(isinstance(each, Answer) and each.standing is Standing.DONE for each in answers) == 1
            with pytest.raises(Rejected, match="no question that still stands"):
                await agree(here, question, ANNA)
            assert len(here.oven.written) == 1

    run(main)


def test_nobody_agrees_to_what_they_proposed_themselves() -> None:
    async def main() -> None:
        async with plant() as here:
            told = await here.ask(ANNA, "write", tag=SPEED, value="60", rule="R-2")
            assert told["standing"] == "waiting"
            (question,) = here.acting.approvals.waiting()
            with pytest.raises(Rejected, match="p-anna proposed it"):
                await agree(here, question, ANNA)
            assert (await agree(here, question, CARL)).standing is Standing.DONE

    run(main)


@pytest.mark.parametrize(
    ("person", "digest", "saw"),
    [
        (DORA, None, "neither operator nor engineer"),
        (BERT, None, "needs an operator"),
        (Person("uid-1234", frozenset()), None, "neither operator nor engineer"),
        (ANNA, "sha256:" + "0" * 64, "another command than the one that was seen"),
        (ANNA, "", "another command than the one that was seen"),
    ],
)
def test_who_may_not_or_did_not_see_it_does_not_agree(person: Person, digest: str | None, saw: str) -> None:
    async def main() -> None:
        async with plant(written=settings(oven={"class": "W2"})) as here:
            question = await asked(here)
            with pytest.raises(Rejected, match=saw):
                await agree(here, question, person, digest)
            assert not here.oven.written

    run(main)


@pytest.mark.parametrize("step", [0.0, -86400.0 * 365, 86400.0 * 3650])
def test_a_question_that_is_too_old_by_either_clock_is_gone(step: float) -> None:
    async def main() -> None:
        async with plant(written=settings(oven={"class": "W2"})) as here:
            question = await asked(here)
            WallClock().step(step)
            if step <= 0:
                await asyncio.sleep(301)
            with pytest.raises(Rejected, match="no question that still stands"):
                await agree(here, question, ANNA)
            assert not here.oven.written

    run(main)


def test_while_the_clock_is_not_trusted_nobody_agrees_to_anything() -> None:
    async def main() -> None:
        async with plant(written=settings(oven={"class": "W2"})) as here:
            question = await asked(here)
            WallClock().step(-3600)
            with pytest.raises(Rejected, match="the clock was set by -3600"):
                await agree(here, question, ANNA)

    run(main)


def test_limits_that_have_changed_void_what_was_agreed_to() -> None:
    """Also where the question itself survived: the gate compares what was agreed to with what is in force."""

    async def main() -> None:
        async with plant(written=TWO) as here:
            question = await asked(here)
            await agree(here, question, ANNA)
            narrower = type(here.acting.gate.book).of(settings(oven={"class": "W3", "range": [20, 60]}), {})
            here.acting.gate.book = narrower
            answer = await agree(here, question, BERT)
            assert (answer.standing, here.oven.written) == (Standing.DENIED, [])
            assert "people: 0 of 2" in answer.reason

    run(main)


def test_no_question_survives_a_restart() -> None:
    async def main() -> None:
        disk = SimulatedDisk()
        async with plant(disk, settings(oven={"class": "W2"})) as here:
            question = await asked(here)
        async with plant(disk, settings(oven={"class": "W2"})) as here:
            with pytest.raises(Rejected, match="no question that still stands"):
                await agree(here, question, ANNA)

    run(main)


def test_what_was_agreed_to_still_meets_every_guard() -> None:
    async def main() -> None:
        async with plant(written=settings(oven={"class": "W2"})) as here:
            question = await asked(here)
            here.door(closed=False)
            answer = await agree(here, question, ANNA)
            assert (answer.standing, here.oven.written) == (Standing.DENIED, [])

    run(main)


def test_a_refused_write_is_gone_and_the_refusal_is_on_record() -> None:
    async def main() -> None:
        async with plant(written=settings(oven={"class": "W2"})) as here:
            question = await asked(here)
            await here.ask(BERT, "deny", entry=question.id[:20], reason="line is down")
            assert here.acting.approvals.waiting() == ()
            assert here.entries()[-1].result is Result.DENIED

    run(main)


def test_questions_do_not_pile_up_without_end() -> None:
    async def main() -> None:
        async with plant(written=settings(oven={"class": "W2", "range": [20, 80]})) as here:

            async def ask(name: str) -> Answer:
                who = Who(kind="model", id=name)
                return await here.acting.approvals.propose(here.proposal(deadline=Deadline.after(600), who=who))

            for _ in range(50):
                await ask("eager")
            assert len(here.acting.approvals.waiting()) == 1, "the newest of one proposer about one tag"
            for number in range(99):
                await ask(f"model {number}")
            refused = await ask("one more")
            assert "100 writes wait for people already" in refused.reason
            assert here.entries()[-1].id == refused.entry, "the refusal is on record"

    run(main)


def test_questions_that_are_asked_at_the_same_moment_do_not_pile_up_either() -> None:
    """Each was counted only once it was on record."""

    async def main() -> None:
        async with plant() as here:

            def ask(name: str) -> Coroutine[Any, Any, Answer]:
                who = Who(kind="person", id=name)
                proposal = here.proposal(60, tag=SPEED, rule="R-2", who=who, deadline=Deadline.after(60))
                return here.acting.approvals.propose(proposal)

            answers = await asyncio.gather(*(ask(f"p-{number}") for number in range(150)))
            assert len(here.acting.approvals.waiting()) == WAITING_MAX
            assert [answer.standing for answer in answers].count(Standing.WAITING) == WAITING_MAX
            for question in here.acting.approvals.waiting():
                await here.acting.approvals.deny(question.id, ANNA, "too many")
            await asyncio.gather(ask("p-0"), ask("p-0"))
            assert len(here.acting.approvals.waiting()) == 1, "the newer one takes the place of the older"

    run(main)


def test_who_looks_at_a_question_sees_the_rule_and_what_the_machine_has_now() -> None:
    async def main() -> None:
        async with plant(written=settings(oven={"class": "W2"})) as here:
            question = await asked(here)
            here.oven.values[OVEN] = 41.5
            shown = (await here.ask(ANNA, "show", entry=question.id))["question"]
            assert (shown["has"], shown["cites"]) == ("41.5 degC", "WI-0421 3.2")
            assert shown["when"].startswith("defect.score > 0.5")
            here.oven.quality = UNCERTAIN_LAST_USABLE
            shown = (await here.ask(ANNA, "show", entry=question.id))["question"]
            assert shown["has"] == "41.5 degC (UncertainLastUsableValue)"

    run(main)


def test_a_question_about_a_machine_that_is_away_is_shown_all_the_same() -> None:
    async def main() -> None:
        async with plant(written=settings(oven={"class": "W2"})) as here:
            question = await asked(here)
            here.oven.values.clear()
            shown = (await here.ask(ANNA, "show", entry=question.id))["question"]
            assert shown["has"].startswith("not known (plc: unexpected KeyError")

    run(main)


def test_who_proposes_the_same_again_and_again_leaves_people_the_time_to_agree() -> None:
    """A loop sees the same in each picture; another value is another question, and takes the place of the first."""

    async def main() -> None:
        async with plant() as here:

            async def propose(value: int) -> Answer:
                who = Who(kind="person", id=CARL.id)
                proposal = here.proposal(value, tag=SPEED, rule="R-2", who=who, deadline=Deadline.after(600))
                return await here.acting.approvals.propose(proposal)

            first = await propose(60)
            asked = len(here.entries())
            for _ in range(10):
                await asyncio.sleep(1)
                assert (await propose(60)).entry == first.entry
            assert len(here.entries()) == asked, "nothing new was asked"
            [question] = here.acting.approvals.waiting()
            assert question.until.left() < 291, "it does not stand longer for it"
            other = await propose(61)
            assert [each.id for each in here.acting.approvals.waiting()] == [other.entry]
            told = await here.ask(ANNA, "approve", entry=other.entry, digest=here.acting.approvals.waiting()[0].digest)
            assert (told["standing"], here.oven.values[SPEED]) == ("done", 61)
            assert (await propose(60)).entry not in (first.entry, other.entry), "an agreement is used once"

    run(main)


def test_a_proposal_that_cannot_wait_is_refused_where_people_have_to_agree() -> None:
    async def main() -> None:
        async with plant(written=TWO) as here:
            refused = await here.acting.approvals.propose(here.proposal(deadline=Deadline.after(0.12)))
            assert (refused.standing, "leaves no time to ask" in refused.reason) == (Standing.DENIED, True)
            assert here.entries()[-1].id == refused.entry, "the refusal is on record"

    run(main)


def test_a_write_is_refused_after_the_seconds_that_its_person_gives_it() -> None:
    async def main() -> None:
        async with plant() as here:
            write = {"tag": OVEN, "value": "50.0", "unit": "degC", "rule": "R-2"}
            async with here.acting.gate.hands["plc"].busy:
                told = await here.ask(ANNA, "write", **write, seconds="0.3")
            assert (told["standing"], here.oven.written) == ("late", [])
            assert (await here.ask(ANNA, "write", **write, seconds="0.3"))["standing"] == "done"
            for seconds in ("0", "-1", "10.5", "nan", "inf", "soon"):
                with pytest.raises(Rejected, match="above 0, at most 10"):
                    await here.ask(ANNA, "write", **write, seconds=seconds)

    run(main)


def test_a_new_gateway_writes_nothing_until_an_operator_and_an_engineer_have_armed_it() -> None:
    async def main() -> None:
        disk = SimulatedDisk()
        async with plant(disk, arm=False) as here:
            assert "it has not been armed yet" in (await here.propose()).reason
            with pytest.raises(Rejected, match="say why"):
                await here.ask(ANNA, "arm")
            with pytest.raises(Rejected, match="neither operator nor engineer"):
                await here.ask(DORA, "arm", reason="go")
            assert "somebody else must too" in (await here.ask(ANNA, "arm", reason="go"))["said"]
            assert (await here.ask(CARL, "status"))["arming"] == [{"name": "everything", "by": "p-anna"}]
            assert "somebody else must too" in (await here.ask(ANNA, "arm", reason="go"))["said"]
            with pytest.raises(Rejected, match="an operator and an engineer"):
                await here.ask(CARL, "arm", reason="go")
            assert (await here.ask(BERT, "arm", reason="go"))["said"] == "everything is armed"
            assert (await here.propose()).standing is Standing.DONE
        async with plant(disk, arm=False) as here:
            await asyncio.sleep(1)
            assert (await here.propose(45.0)).standing is Standing.DONE

    run(main)


def test_stopping_takes_one_word_and_survives_restarts() -> None:
    async def main() -> None:
        disk = SimulatedDisk()
        async with plant(disk) as here:
            with pytest.raises(Rejected, match="cannot be stopped by itself; there are belt/speed, everything, hall2"):
                await here.ask(DORA, "stop", name="plx", reason="smoke")
            await here.ask(DORA, "stop", name="hall2", reason="smoke")
            assert (await here.propose()).standing is Standing.DENIED
        async with plant(disk.power_cut(1)) as here:
            assert "hall2 is stopped by p-dora: smoke" in (await here.propose()).reason
            with pytest.raises(Rejected, match="is not stopped"):
                await here.ask(ANNA, "arm", name=EVERYTHING, reason="go")

    run(main)


def test_a_switch_that_cannot_be_kept_still_stops_and_does_not_arm() -> None:
    async def main() -> None:
        disk = SimulatedDisk()
        async with plant(disk) as here:
            disk.fail("pwrite", 28, times=1, suffix="switches.json.new")
            with pytest.raises(GatewayError, match="could not be kept on the disk"):
                await here.ask(ANNA, "stop", reason="smoke")
            assert (await here.propose()).standing is Standing.DENIED
            await here.ask(ANNA, "arm", reason="go")
            disk.fail("pwrite", 28, times=1, suffix="switches.json.new")
            with pytest.raises(GatewayError, match="could not be kept on the disk"):
                await here.ask(BERT, "arm", reason="go")
            assert (await here.propose()).standing is Standing.DENIED

    run(main)


def test_a_person_undoes_a_write_if_the_machine_still_has_it() -> None:
    async def main() -> None:
        async with plant() as here:
            done = await here.propose(50.0)
            await asyncio.sleep(1.1)
            here.door()
            told = await here.ask(ANNA, "revert", entry=done.entry)
            assert (told["standing"], here.oven.values[OVEN]) == ("done", 40.0)
            undone = next(entry for entry in here.entries() if entry.id == told["entry"])
            assert (undone.reverses, undone.who.id) == (done.entry, "p-anna")
            await asyncio.sleep(1.1)
            here.door()
            again = await here.ask(ANNA, "revert", entry=done.entry)
            assert (again["standing"], len(here.oven.written)) == ("denied", 2)
            assert "unchanged: the machine has 40.0, not 50.0" in again["reason"]
            with pytest.raises(Rejected, match="not the intent of a write"):
                await here.ask(ANNA, "revert", entry=here.entries()[0].id)
            with pytest.raises(Rejected, match="has no entry"):
                await here.ask(ANNA, "revert", entry="nonsense")

    run(main)


def test_wider_limits_are_of_no_use_until_an_operator_and_an_engineer_have_armed_the_tag() -> None:
    """Whoever may change the plant file, and write, would otherwise need nobody (ATK-05)."""

    async def main() -> None:
        disk = SimulatedDisk()
        async with plant(disk) as here:
            assert (await here.propose(50.0)).standing is Standing.DONE
        async with plant(disk) as here:
            await asyncio.sleep(1)
            here.door()
            assert (await here.propose(51.0)).standing is Standing.DONE, "what did not change is not stopped"
        wider = settings(oven={"range": [0, 500], "step_max": 400, "change_max_per_minute": 900})
        async with plant(disk, wider) as here:
            await asyncio.sleep(1)
            here.door()
            assert (
                "oven/setpoint is stopped by gateway: its limits or rules have changed"
                in (await here.propose(300.0)).reason
            )
            changes = [entry for entry in here.entries() if entry.kind is Kind.RULE_CHANGE]
            assert '"range":[0.0,500.0]' in changes[-1].details["text"]
            with pytest.raises(Rejected, match="neither operator nor engineer"):
                await here.ask(DORA, "arm", name=OVEN, reason="go")
            await here.ask(ANNA, "arm", name=OVEN, reason="go")
            assert (await here.propose(300.0)).standing is Standing.DENIED
            await here.ask(BERT, "arm", name=OVEN, reason="go")
            assert (await here.propose(300.0)).standing is Standing.DONE

    run(main)
