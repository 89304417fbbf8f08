"""A model that keeps going beyond its limits is not believed any more; one that is merely refused is."""

import asyncio
import errno

import pytest

from plantgate.audit.entry import Kind, Who
from plantgate.control.proposal import Standing
from plantgate.control.settings import ShadowSettings
from plantgate.sdk import Command, OutcomeUnknown, Rejected
from plantgate.testing.disk import SimulatedDisk
from tests.gateway.control.given import ANNA, BERT, MODEL, OVEN, Oven, Plant, plant, run, settings

IN_THE_SHADOW = "model:oven-control"


async def beyond(here: Plant, times: int = 10, pause_seconds: float = 0.1) -> None:
    for number in range(times):
        answer = await here.propose(1000.0 + number)
        assert answer.standing is Standing.DENIED
        await asyncio.sleep(pause_seconds)


def test_a_model_that_keeps_going_beyond_its_limits_is_judged_and_not_written_any_more() -> None:
    async def main() -> None:
        async with plant() as here:
            await beyond(here, 9)
            assert (await here.propose(50.0)).standing is Standing.DONE, "nine are not ten"
            await beyond(here, 1)
            here.door()
            await asyncio.sleep(2.0)
            answer = await here.propose(51.0)
            assert answer.standing is Standing.DENIED
            assert "switch: model:oven-control is stopped by gateway: in the shadow: 10 proposals" in answer.reason
            assert [check.guard for check in answer.checks if not check.passed] == ["switch"], "the rest is judged"
            assert len(here.oven.written) == 1

    run(main)


def test_nobody_else_is_in_the_shadow() -> None:
    async def main() -> None:
        async with plant() as here:
            await beyond(here)
            here.door()
            other = await here.propose(50.0, who=Who(kind="model", id="another"))
            assert other.standing is Standing.DONE
            await asyncio.sleep(2.0)
            here.door()
            anna = {"tag": OVEN, "value": "55.0", "unit": "degC", "rule": "R-2"}
            assert (await here.ask(ANNA, "write", **anna))["standing"] == "done"

    run(main)


def test_people_who_go_beyond_the_limits_are_told_and_not_stopped() -> None:
    async def main() -> None:
        async with plant() as here:
            anna = {"tag": OVEN, "unit": "degC", "rule": "R-2"}
            for _ in range(12):
                assert (await here.ask(ANNA, "write", value="1000.0", **anna))["standing"] == "denied"
            here.door()
            assert (await here.ask(ANNA, "write", value="55.0", **anna))["standing"] == "done"

    run(main)


@pytest.mark.parametrize("why", ["an open door", "a low confidence", "now and then"])
def test_refusals_that_are_not_its_own_doing_or_are_rare_are_no_reason(why: str) -> None:
    async def main() -> None:
        async with plant() as here:
            for _ in range(30):
                match why:
                    case "an open door":
                        here.door(closed=False)
                        await here.propose(50.0)
                    case "a low confidence":
                        await here.propose(50.0, confidence=0.1)
                    case _:
                        await beyond(here, 1, pause_seconds=7.0)
            here.door()
            assert (await here.propose(50.0)).standing is Standing.DONE

    run(main)


def test_writes_left_in_doubt_are_a_reason() -> None:
    async def lose(command: Command) -> None:
        raise OutcomeUnknown("plc: no answer")

    async def main() -> None:
        quick = settings().model_copy(update={"shadow": ShadowSettings(refusals=5)})
        async with plant(written=quick, oven=Oven(fate=lose)) as here:
            for number in range(40):
                here.door()
                await here.propose(40.5 + number % 2)
                await asyncio.sleep(2.0)
            assert IN_THE_SHADOW in here.acting.gate.switches.thrown()

    run(main)


def test_it_stays_there_over_restarts_until_two_people_arm_it() -> None:
    async def main() -> None:
        disk = SimulatedDisk()
        async with plant(disk) as here:
            await beyond(here)
            (entry,) = [entry for entry in here.entries() if entry.kind is Kind.SWITCH]
            assert entry.target is not None
            assert (entry.who.kind, entry.target.connection) == ("gateway", IN_THE_SHADOW)
        async with plant(disk) as here:
            assert (await here.propose(50.0)).standing is Standing.DENIED
            for person in (ANNA, BERT):
                await here.ask(person, "arm", name=IN_THE_SHADOW, reason="its camera was cleaned")
            assert (await here.propose(50.0)).standing is Standing.DONE

    run(main)


def test_a_person_can_stop_one_model() -> None:
    async def main() -> None:
        async with plant() as here:
            await here.ask(ANNA, "stop", name=IN_THE_SHADOW, reason="it hunts")
            assert "it hunts" in (await here.propose(50.0)).reason
            assert (await here.propose(50.0, who=Who(kind="model", id="another"))).standing is Standing.DONE
            with pytest.raises(Rejected, match="any model as model:NAME"):
                await here.ask(ANNA, "stop", name="nothing", reason="typed wrong")

    run(main)


def test_proposers_that_never_come_back_take_no_room() -> None:
    async def main() -> None:
        async with plant() as here:
            for number in range(300):
                await here.propose(1000.0, who=Who(kind="model", id=f"m{number}"))
            await beyond(here)
            assert list(here.acting.gate.switches.thrown()) == [f"model:{MODEL.id}"]

    run(main)


def test_a_proposer_in_the_shadow_that_could_not_be_put_on_record_still_gets_its_answer() -> None:
    async def main() -> None:
        disk = SimulatedDisk()
        async with plant(disk) as here:
            await beyond(here, 9)

            async def full(entry: object) -> int | None:
                raise OSError(errno.EIO, "the reserve cannot be written")

            here.acting.record._ledger.append_in_emergency = full  # type: ignore[method-assign]
            await beyond(here, 1)
            assert IN_THE_SHADOW in here.acting.gate.switches.thrown()
            assert [line for line in here.news.lines if "could not be put on record" in line]

    run(main)
