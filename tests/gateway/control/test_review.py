"""Faults that were found once in what acts on machines, each by what it let happen."""

import asyncio

import pytest

from plantgate.audit.entry import Entry, Phase, Result
from plantgate.control.proposal import Standing
from plantgate.control.switches import Thrown
from plantgate.sdk import Batch, Command, Deadline, Exhausted, OutcomeUnknown, Rejected, Sample
from plantgate.sdk.quality import BAD
from plantgate.terminal.explain import sentences, story
from plantgate.testing.clock import WallClock
from plantgate.testing.disk import SimulatedDisk
from tests.gateway.control.given import ADVICE, ANNA, BERT, CARL, DOOR, OVEN, Address, Oven, plant, run, settings

LEASED = settings(oven={"lease": {"seconds": 10, "fallback": 30.0}})


def test_the_rule_for_reverts_is_no_rule_for_writes() -> None:
    async def main() -> None:
        async with plant() as here:
            with pytest.raises(Rejected, match="is not for writing"):
                await here.ask(ANNA, "write", tag=ADVICE, value="x", rule="gateway.revert")
            assert not here.oven.written

    run(main)


@pytest.mark.parametrize("error", [KeyError("bug"), OSError(5, "bug"), Exhausted("odd"), asyncio.CancelledError()])
def test_a_bug_in_an_actuators_read_after_a_write_holds_it_and_ends_nothing(error: BaseException) -> None:
    class Odd(Oven):
        reads = 0

        async def read(self, tag: str, deadline: Deadline) -> Sample:
            self.reads += 1
            if self.reads in (2, 3):
                raise error
            return await super().read(tag, deadline)

    async def main() -> None:
        async with plant(oven=Odd()) as here:
            assert (await here.propose(50.0)).standing is Standing.UNKNOWN
            assert "it is not known yet" in (await here.propose(51.0)).reason
            await asyncio.sleep(10)
            results = [entry.result for entry in here.entries() if entry.phase is Phase.OUTCOME]
            assert results == [Result.UNKNOWN, Result.OK]

    run(main)


@pytest.mark.parametrize("error", [Exhausted("odd"), asyncio.CancelledError(), KeyError("bug")])
def test_any_error_of_an_actuators_write_that_is_no_verdict_is_an_unknown_outcome(error: BaseException) -> None:
    async def odd(command: Command) -> None:
        raise error

    async def main() -> None:
        async with plant(oven=Oven(fate=odd)) as here:
            assert (await here.propose(50.0)).standing is Standing.UNKNOWN
            assert any(here.acting.gate.held.values())

    run(main)


def test_a_lease_ends_also_where_the_write_was_only_found_out_about_later() -> None:
    async def main() -> None:
        oven = Oven()

        async def lose(command: Command) -> None:
            oven.values[command.tag] = command.value
            oven.fate = None
            raise OutcomeUnknown("plc: no answer")

        oven.fate = lose
        async with plant(written=LEASED, oven=oven) as here:
            assert (await here.propose(50.0)).standing is Standing.UNKNOWN
            for _ in range(30):
                here.door()
                await asyncio.sleep(0.5)
            assert oven.values[OVEN] == 30.0

    run(main)


def test_a_lease_ends_also_where_the_gateway_died_before_the_outcome() -> None:
    async def main() -> None:
        disk, oven = SimulatedDisk(), Oven()
        async with plant(disk, LEASED, oven=oven) as here:

            async def then_the_disk_fails(command: Command) -> None:
                oven.values[command.tag] = command.value
                disk.fail("datasync", 5, times=1000)

            oven.fate = then_the_disk_fails
            await here.propose(50.0)
            disk._faults.clear()
        oven.fate = None
        async with plant(disk.restart(), LEASED, oven=oven) as here:
            for _ in range(30):
                here.door()
                await asyncio.sleep(0.5)
            assert oven.values[OVEN] == 30.0

    run(main)


def test_a_refused_write_begins_no_lease() -> None:
    async def refuse(command: Command) -> None:
        raise Rejected("plc: no")

    async def main() -> None:
        async with plant(written=LEASED, oven=Oven(fate=refuse)) as here:
            assert (await here.propose(50.0)).standing is Standing.FAILED
            assert here.acting.leases.left(OVEN) is None

    run(main)


def test_a_stop_while_an_arming_is_put_on_record_counts() -> None:
    async def main() -> None:
        async with plant() as here:
            await here.ask(CARL, "stop", reason="smoke")
            await here.ask(ANNA, "arm", reason="go")
            ledger = here.acting.record._ledger

            class Slow:
                append_in_emergency = ledger.append_in_emergency

                async def append(self, entry: Entry) -> int:
                    await here.ask(CARL, "stop", reason="fire")
                    return await ledger.append(entry)

            here.acting.record._ledger = Slow()
            with pytest.raises(Rejected, match="stopped something meanwhile"):
                await here.ask(BERT, "arm", reason="go")
            assert "everything is stopped by p-carl: fire" in (await here.propose()).reason

    run(main)


def test_limits_that_go_back_to_what_they_once_were_have_changed_all_the_same() -> None:
    async def main() -> None:
        disk = SimulatedDisk()
        wide = settings(oven={"range": [0, 500], "step_max": 400, "change_max_per_minute": 900})
        for written in (wide, settings()):
            async with plant(disk, written) as here:
                if OVEN in here.acting.gate.switches.thrown():
                    here.acting.gate.switches.release(OVEN)
        async with plant(disk, wide) as here:
            assert "its limits or rules have changed" in (await here.propose(300.0)).reason

    run(main)


def test_other_people_in_the_plant_file_stop_everything() -> None:
    async def main() -> None:
        disk = SimulatedDisk()
        async with plant(disk):
            pass
        alone = settings().model_copy(update={"people_to_arm": 1})
        async with plant(disk, alone, arm=False) as here:
            assert "people, or what they or models may do, have changed" in (await here.propose()).reason

    run(main)


def test_another_address_behind_a_tag_stops_its_connection_until_people_arm_it() -> None:
    """Whoever can change the register that a tag is written to can write to any other."""

    async def main() -> None:
        disk = SimulatedDisk()
        async with plant(disk):
            pass
        async with plant(disk) as here:
            assert (await here.propose()).standing is Standing.DONE, "nothing has changed"
        async with plant(disk, address=Address(register_number=101)) as here:
            assert "plc is stopped by gateway: its settings have changed" in (await here.propose(51.0)).reason
            for person in (ANNA, BERT):
                await here.ask(person, "arm", name="plc", reason="the new PLC is in")
            await asyncio.sleep(2.0)
            here.door()
            assert (await here.propose(51.0)).standing is Standing.DONE
            await asyncio.sleep(2.0)
        async with plant(disk, address=Address(register_number=101)) as here:
            assert (await here.propose(52.0)).standing is Standing.DONE, "armed is armed"

    run(main)


def test_a_door_that_opens_while_the_intent_is_put_on_record_is_seen() -> None:
    async def main() -> None:
        disk = SimulatedDisk()
        async with plant(disk) as here:
            append = here.acting.record._ledger.append

            class Slow:
                async def append(self, entry: object) -> int:
                    index = await append(entry)  # type: ignore[arg-type]
                    here.door(closed=False)
                    return index

            here.acting.record._ledger = Slow()  # type: ignore[assignment]
            answer = await here.propose(50.0)
            assert (answer.standing, here.oven.written) == (Standing.DENIED, [])
            assert "interlock door" in answer.reason

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


def test_a_hold_follows_the_tag_to_a_connection_of_another_name() -> None:
    async def main() -> None:
        async with plant() as here:

            async def lose(command: Command) -> None:
                raise OutcomeUnknown("plc: no answer")

            here.oven.fate = lose
            await here.propose(50.0)
            here.acting.gate.held = {"plc of old": here.acting.gate.held["plc"]}
            assert "it is not known yet" in (await here.propose(51.0)).reason

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
            assert "undid" not in " ".join(sentences(story(intent, here.log.entries())))

    run(main)


def test_a_new_gateway_is_armed_before_anybody_breaks_the_glass() -> None:
    async def main() -> None:
        async with plant(arm=False) as here:
            await here.ask(ANNA, "emergency", reason="fire")
            told = await here.ask(ANNA, "write", tag=OVEN, value="50.0", unit="degC", rule="gateway.emergency")
            assert "it has not been armed yet" in told["reason"]

    run(main)


def test_what_interlocks_saw_is_on_record_where_they_hold() -> None:
    async def main() -> None:
        async with plant() as here:
            answer = await here.propose(50.0)
            (door,) = {check.saw for check in answer.checks if check.guard == "interlock door"}
            assert door == "closed True"

    run(main)


def test_a_switch_thrown_again_says_who_threw_it_last() -> None:
    async def main() -> None:
        async with plant() as here:
            for name in ("p-1", "p-2"):
                here.acting.gate.switches.throw("plc", Thrown(name, "smoke", ""))
            assert "by p-2" in (await here.propose()).reason

    run(main)
