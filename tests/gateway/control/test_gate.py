"""One write, whatever happens on the way; and what becomes of one that nobody answered for."""

import asyncio
from dataclasses import dataclass

import pytest

from plantgate.audit.entry import Kind, Phase, Result
from plantgate.control.proposal import Standing
from plantgate.sdk import Command, Deadline, Exhausted, OutcomeUnknown, Rejected, Sample, Unavailable
from plantgate.testing.disk import SimulatedDisk
from tests.gateway.control.given import ANNA, OVEN, Oven, Plant, plant, run, settings

LEASED = settings(oven={"lease": {"seconds": 10, "fallback": 30.0}})


def outcomes(here: Plant) -> list[Result | None]:
    return [entry.result for entry in here.entries() if entry.phase is Phase.OUTCOME]


def test_a_write_is_on_record_before_and_after_with_what_the_machine_had() -> None:
    async def main() -> None:
        async with plant() as here:
            answer = await here.propose(50.0)
            intent, outcome = here.entries()[-2:]
            assert (intent.id, intent.phase, outcome.refers_to) == (answer.entry, Phase.INTENT, intent.id)
            assert intent.before is not None
            assert intent.after is not None
            assert outcome.after is not None
            assert (intent.before.value, intent.after.value, outcome.after.value) == ("40.0", "50.0", "50.0")
            assert here.oven.written[0].id == intent.id

    run(main)


@pytest.mark.parametrize("error", [Rejected("plc: no"), Unavailable("plc: away")])
def test_a_machine_that_refuses_or_is_away_was_not_written(error: Exception) -> None:
    async def refuse(command: Command) -> None:
        raise error

    async def main() -> None:
        async with plant(oven=Oven(fate=refuse)) as here:
            answer = await here.propose()
            assert (answer.standing, answer.reason) == (Standing.FAILED, str(error))
            assert outcomes(here) == [Result.FAILED]
            assert not any(here.acting.gate.held.values())

    run(main)


@pytest.mark.parametrize("what", ["a stop", "an interlock", "nothing"])
def test_a_write_that_waits_inside_its_actuator_is_recalled(what: str) -> None:
    """A slow line, a robot program that is not ready: what changes meanwhile counts up to the first byte."""

    async def main() -> None:
        oven = Oven()

        async def wait_for_the_line(command: Command) -> None:
            await asyncio.sleep(0.2)
            if objection := command.objection():
                raise Unavailable(f"plc: {objection}; nothing was sent")
            oven.values[command.tag] = command.value

        oven.fate = wait_for_the_line
        async with plant(oven=oven) as here:
            writing = asyncio.create_task(here.propose(50.0))
            await asyncio.sleep(0.1)
            if what == "a stop":
                await here.ask(ANNA, "stop", name="plc", reason="smoke")
            if what == "an interlock":
                here.door(closed=False)
            answer = await writing
            if what == "nothing":
                assert answer.standing is Standing.DONE
                return
            assert answer.standing is Standing.DENIED
            assert {"a stop": "smoke", "an interlock": "interlock door"}[what] in answer.reason
            assert (oven.values[OVEN], outcomes(here)) == (40.0, [Result.DENIED])
            assert here.acting.gate.hands["plc"].open, "the session was as good as before"

    run(main)


def test_a_machine_that_confirms_and_has_something_else_is_found_out() -> None:
    async def confirm(command: Command) -> None: ...

    async def main() -> None:
        async with plant(oven=Oven(fate=confirm)) as here:
            answer = await here.propose()
            assert (answer.standing, answer.seen) == (Standing.FAILED, 40.0)
            assert "confirmed it, and has another value" in answer.reason

    run(main)


@pytest.mark.parametrize(("looks", "standing"), [(0, Standing.UNKNOWN), (1, Standing.FAILED)])
def test_a_machine_that_falls_silent_after_it_has_confirmed_has_what_it_had_at_the_last_look(
    looks: int, standing: Standing
) -> None:
    @dataclass
    class Silent(Oven):
        left: int = looks

        async def read(self, tag: str, deadline: Deadline) -> Sample:
            if self.written:
                self.left -= 1
            return await super().read(tag, deadline) if self.left >= 0 else await asyncio.sleep(3600)

    async def confirm(command: Command) -> None: ...

    async def main() -> None:
        async with plant(oven=Silent(fate=confirm)) as here:
            answer = await here.propose()
            assert (answer.standing, answer.seen) == (standing, 40.0 if looks else None)

    run(main)


@pytest.mark.parametrize("happened", [True, False])
def test_a_lost_reply_holds_the_machine_until_it_has_been_asked(happened: bool) -> None:
    async def main() -> None:
        oven = Oven()

        async def lose(command: Command) -> None:
            if happened:
                oven.values[command.tag] = command.value
            oven.fate = None
            raise OutcomeUnknown("plc: no answer")

        oven.fate = lose
        async with plant(oven=oven) as here:
            first = await here.propose(50.0)
            assert first.standing is Standing.UNKNOWN
            assert f"it is not known yet what became of {first.entry}" in (await here.propose(51.0)).reason
            await asyncio.sleep(5)
            assert outcomes(here) == [Result.UNKNOWN, Result.OK if happened else Result.FAILED]
            assert len(oven.written) == 1
            here.door()
            assert (await here.propose(52.0)).standing is Standing.DONE

    run(main)


def test_an_error_that_no_actuator_should_raise_is_an_unknown_outcome() -> None:
    async def burst(command: Command) -> None:
        raise KeyError("bug")

    async def main() -> None:
        async with plant(oven=Oven(fate=burst)) as here:
            assert (await here.propose()).standing is Standing.UNKNOWN
            here.oven.fate = None
            await asyncio.sleep(5)
            assert outcomes(here)[-1] is Result.FAILED

    run(main)


def test_a_machine_that_never_confirms_is_given_up_after_its_time() -> None:
    async def hang(command: Command) -> None:
        await asyncio.sleep(3600)

    async def main() -> None:
        async with plant(oven=Oven(fate=hang)) as here:
            answer = await here.propose()
            assert "did not confirm oven/setpoint in 2 s" in answer.reason

    run(main)


def test_whoever_stops_waiting_stops_nothing_that_was_begun() -> None:
    async def main() -> None:
        async with plant() as here:

            async def slow(command: Command) -> None:
                await asyncio.sleep(0.5)
                here.oven.values[OVEN] = command.value

            here.oven.fate = slow
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await here.propose(50.0)
            await here.acting.gate.close()
            assert outcomes(here) == [Result.OK]

    run(main)


def test_while_the_log_takes_no_entry_nothing_is_written() -> None:
    async def main() -> None:
        disk = SimulatedDisk()
        async with plant(disk) as here:
            disk.fail("datasync", 5, times=1000)
            answer = await here.propose()
            assert (answer.standing, here.oven.written) == (Standing.DENIED, [])
            assert "the audit log takes no entry" in answer.reason
            disk._faults.clear()

    run(main)


def test_an_outcome_that_cannot_be_recorded_holds_the_machine_and_is_asked_for_after_the_restart() -> None:
    async def main() -> None:
        disk = SimulatedDisk()
        oven = Oven()
        async with plant(disk, oven=oven) as here:

            async def then_the_disk_fails(command: Command) -> None:
                oven.values[OVEN] = command.value
                disk.fail("datasync", 5, times=1000)

            oven.fate = then_the_disk_fails
            await here.propose(50.0)
            assert any(here.acting.gate.held.values())
            disk._faults.clear()
        oven.fate = None
        async with plant(disk.restart(), oven=oven) as here:
            await asyncio.sleep(5)
            assert outcomes(here) == [Result.OK]
            assert len(oven.written) == 1

    run(main)


def test_a_person_says_what_happened_where_the_machine_cannot_be_asked() -> None:
    async def main() -> None:
        async with plant() as here:

            async def lose(command: Command) -> None:
                raise OutcomeUnknown("plc: no answer")

            here.oven.fate = lose
            here.oven.values[OVEN] = 40.0
            answer = await here.propose(50.0)
            here.oven.quality = 0x8000_0000
            await here.ask(ANNA, "settle", entry=answer.entry, happened="no", reason="looked at the panel")
            assert outcomes(here) == [Result.UNKNOWN, Result.FAILED]
            assert not any(here.acting.gate.held.values())

    run(main)


def test_a_lease_that_is_not_renewed_falls_back_in_steps_and_through_the_guards() -> None:
    async def main() -> None:
        far = settings(oven={"lease": {"seconds": 10, "fallback": 20.0}, "step_max": 15, "change_max_per_minute": 500})
        async with plant(written=far) as here:
            assert (await here.propose(55.0)).standing is Standing.DONE
            await asyncio.sleep(8)
            assert (await here.ask(ANNA, "renew", tag=OVEN))["left_seconds"] == 10.0
            (renewed,) = [entry for entry in here.entries() if entry.kind is Kind.LEASE]
            assert renewed.target is not None
            assert (renewed.who.id, renewed.target.address) == ("p-anna", OVEN)
            await asyncio.sleep(8)
            assert here.oven.values[OVEN] == 55.0
            await asyncio.sleep(4)
            assert "interlock door" in here.news.lines[-1]
            assert here.oven.values[OVEN] == 55.0
            for _ in range(20):
                here.door()
                await asyncio.sleep(0.5)
            assert [command.value for command in here.oven.written] == [55.0, 40.0, 25.0, 20.0]
            with pytest.raises(Rejected, match="nothing that was written"):
                await here.ask(ANNA, "renew", tag=OVEN)

    run(main)


def test_a_lease_does_not_survive_a_restart() -> None:
    async def main() -> None:
        disk, oven = SimulatedDisk(), Oven()
        async with plant(disk, LEASED, oven=oven) as here:
            await here.propose(50.0)
        async with plant(disk.restart(), LEASED, oven=oven) as here:
            for _ in range(10):
                here.door()
                await asyncio.sleep(0.5)
            assert oven.values[OVEN] == 30.0

    run(main)


def test_writes_to_one_machine_come_one_after_the_other_and_those_that_waited_too_long_are_late() -> None:
    async def main() -> None:
        quick = settings(oven={"interval_seconds": 0})
        async with plant(written=quick) as here:

            async def slow(command: Command) -> None:
                await asyncio.sleep(0.3)
                here.oven.values[OVEN] = command.value

            here.oven.fate = slow
            answers = await asyncio.gather(*(here.propose(50.0, deadline=Deadline.after(0.2)) for _ in range(3)))
            assert sorted(answer.standing.value for answer in answers) == ["done", "late", "late"]
            assert len(here.oven.written) == 1

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


def test_what_interlocks_saw_is_on_record_where_they_hold() -> None:
    async def main() -> None:
        async with plant() as here:
            answer = await here.propose(50.0)
            (door,) = {check.saw for check in answer.checks if check.guard == "interlock door"}
            assert door == "closed True"

    run(main)
