"""Setpoints that end: in time, towards the fallback, once, and nobody else's."""

import asyncio
import struct
from itertools import pairwise
from typing import Any

import pytest

from plantgate.audit.entry import Kind
from plantgate.control.proposal import Standing
from plantgate.control.switches import Thrown
from plantgate.sdk import Command, Deadline, OutcomeUnknown, Rejected, Sample, Setpoint, Unavailable
from plantgate.sdk.quality import BAD
from plantgate.testing.disk import SimulatedDisk
from tests.gateway.control.given import (
    BELT,
    OVEN,
    SPEED,
    Oven,
    plant,
    run,
    settings,
)

LEASED = settings(oven={"lease": {"seconds": 10, "fallback": 30.0}})


def leased(**changed: Any) -> Any:
    return settings(oven={"lease": {"seconds": 10, "fallback": 30.0}, "interlocks": {}, **changed})


async def takes(seconds: float, oven: Oven, command: Command) -> None:
    """A machine that needs its time."""
    await asyncio.sleep(seconds)
    oven.values[command.tag] = command.value


def test_a_value_that_is_written_while_the_last_one_ends_stands_for_its_own_time() -> None:
    async def main() -> None:
        async with plant(written=leased(interval_seconds=0)) as here:
            await here.propose(50.0)
            here.oven.fate = lambda command: takes(1.0, here.oven, command)
            await asyncio.sleep(9.5)
            assert (await here.propose(55.0)).standing is Standing.DONE, "begun before the end, done after it"
            here.oven.fate = None
            await asyncio.sleep(5)
            assert here.oven.values[OVEN] == 55.0
            assert here.acting.leases.stands(OVEN)
            await asyncio.sleep(10)
            assert here.oven.values[OVEN] == 30.0

    run(main)


def test_a_write_of_which_nothing_was_sent_calls_for_no_fallback() -> None:
    async def main() -> None:
        async def away(command: Command) -> None:
            await asyncio.sleep(0.4)
            raise Unavailable("plc: away")

        short = leased(lease={"seconds": 0.2, "fallback": 30.0}, interval_seconds=0)
        async with plant(written=short, oven=Oven(fate=away)) as here:
            assert (await here.propose(50.0)).standing is Standing.FAILED
            here.oven.fate = None
            await asyncio.sleep(5)
            assert [command.value for command in here.oven.written] == [50.0]

    run(main)


def test_what_people_set_at_the_machine_after_a_lease_was_over_outlives_a_restart() -> None:
    async def main() -> None:
        disk, oven = SimulatedDisk(), Oven()
        async with plant(disk, leased(), oven=oven) as here:
            await here.propose(50.0)
            await asyncio.sleep(15)
            assert oven.values[OVEN] == 30.0
        oven.values[OVEN] = 45.0
        async with plant(disk.restart(), leased(), oven=oven) as here:
            await asyncio.sleep(15)
            assert oven.values[OVEN] == 45.0

    run(main)


def test_a_fallback_that_was_on_its_way_goes_on_after_a_restart() -> None:
    async def main() -> None:
        disk, oven = SimulatedDisk(), Oven()
        steps = leased(step_max=12)
        async with plant(disk, steps, oven=oven) as here:
            await here.propose(50.0)
            await asyncio.sleep(10.5)
            assert oven.values[OVEN] == 38.0
        async with plant(disk.restart(), steps, oven=oven):
            await asyncio.sleep(5)
            assert oven.values[OVEN] == 30.0

    run(main)


def test_a_fallback_that_may_not_be_written_does_not_fill_the_record_and_comes_when_it_may() -> None:
    async def main() -> None:
        async with plant(written=leased()) as here:
            await here.propose(50.0)
            here.acting.gate.switches.throw("plc", Thrown("p-anna", "smoke", ""))
            await asyncio.sleep(3610)
            denials = [entry for entry in here.entries() if entry.kind is Kind.DENIAL]
            assert len(denials) == 1, "in an hour"
            assert sum("is not written" in line for line in here.news.lines) == 1
            here.acting.gate.switches.release("plc")
            await asyncio.sleep(2)
            assert here.oven.values[OVEN] == 30.0

    run(main)


def test_a_machine_that_refuses_its_fallback_is_asked_ever_more_seldom() -> None:
    async def main() -> None:
        async def refuse(command: Command) -> None:
            raise Rejected("plc: in local mode")

        async with plant(written=leased(writes_max_per_minute=100)) as here:
            await here.propose(50.0)
            here.oven.fate = refuse
            await asyncio.sleep(3610)
            assert 10 < len(here.oven.written) < 200
            here.oven.fate = None
            await asyncio.sleep(35)
            assert here.oven.values[OVEN] == 30.0

    run(main)


def test_a_fallback_that_waits_for_a_door_is_told_once_and_comes_when_it_closes() -> None:
    """How old the last word of the door is changes all the time."""

    async def main() -> None:
        async with plant(written=settings(oven={"lease": {"seconds": 10, "fallback": 30.0}})) as here:
            await here.propose(50.0)
            await asyncio.sleep(600)
            assert sum("is not written" in line for line in here.news.lines) == 1
            here.door()
            await asyncio.sleep(2)
            assert here.oven.values[OVEN] == 30.0

    run(main)


@pytest.mark.parametrize("has", [float("nan"), "text", True])
def test_a_fallback_waits_for_a_machine_that_says_nothing_sensible(has: Setpoint) -> None:
    async def main() -> None:
        async with plant(written=leased()) as here:
            await here.propose(50.0)
            here.oven.values[OVEN] = has
            await asyncio.sleep(100)
            here.oven.values[OVEN], here.oven.quality = 50.0, BAD
            await asyncio.sleep(100)
            assert [entry.kind for entry in here.entries() if entry.kind is Kind.DENIAL] == []
            here.oven.quality = 0
            await asyncio.sleep(2)
            assert here.oven.values[OVEN] == 30.0

    run(main)


@pytest.mark.parametrize(("has", "step"), [(20.3, 0.2), (20.1, 0.7), (64.9, 1.1)], ids=["up", "up further", "down"])
@pytest.mark.parametrize("resolution", [None, 0.1])
def test_the_dust_of_binary_fractions_keeps_no_fallback_from_its_way(
    has: float, step: float, resolution: float | None
) -> None:
    """20.3 + 0.2 is 20.5, and 20.5 - 20.3 is more than 0.2."""

    async def main() -> None:
        oven = Oven()
        oven.values[OVEN] = has
        written = leased(
            step_max=step,
            resolution=resolution,
            change_max_per_minute=None,
            interval_seconds=0,
            writes_max_per_minute=600,
        )
        async with plant(written=written, oven=oven) as here:
            assert (await here.propose(has)).standing is Standing.DONE
            await asyncio.sleep(120)
            assert oven.values[OVEN] == 30.0
            assert not [entry for entry in here.entries() if entry.kind is Kind.DENIAL]

    run(main)


def test_a_fallback_for_which_there_is_no_way_left_waits_and_writes_nothing() -> None:
    async def main() -> None:
        far = leased(change_max_per_minute=60, writes_max_per_minute=60, lease={"seconds": 10, "fallback": 20.0})
        async with plant(written=far) as here:
            for value in (70.0, 60.0, 50.0):
                assert (await here.propose(value)).standing is Standing.DONE
                await asyncio.sleep(1.1)
            await asyncio.sleep(100)
            assert here.oven.values[OVEN] == 20.0
            sent = [command.value for command in here.oven.written]
            assert all(one != other for one, other in pairwise(sent)), sent

    run(main)


def test_a_machine_that_has_no_number_that_can_be_gone_to_ends_nothing_else() -> None:
    async def main() -> None:
        oven = Oven()
        async with plant(written=leased(), oven=oven) as here:
            await here.propose(50.0)
            oven.values[OVEN] = 1.7e308
            await asyncio.sleep(20)
            oven.values[OVEN] = 50.0
            await asyncio.sleep(35)
            assert oven.values[OVEN] == 30.0

    run(main)


class Frozen(Oven):
    """Answers nothing."""

    async def read(self, tag: str, deadline: Deadline) -> Sample:
        await asyncio.Event().wait()
        raise AssertionError


def test_a_machine_that_does_not_answer_keeps_no_other_from_its_fallback() -> None:
    async def main() -> None:
        oven, belt = Oven(), Oven()
        written = settings(
            oven={"lease": {"seconds": 10, "fallback": 30.0}, "interlocks": {}},
            speed={**BELT, "lease": {"seconds": 10, "fallback": 5}},
        )
        async with plant(written=written, oven=oven, belt=belt) as here:
            assert (await here.propose(50.0)).standing is Standing.DONE
            assert (await here.faster()).standing is Standing.DONE
            oven.read = Frozen().read  # type: ignore[method-assign]
            await asyncio.sleep(11)
            assert belt.values[SPEED] == 5

    run(main)


def test_many_tags_of_one_slow_machine_that_end_at_once_fall_back_one_after_the_other() -> None:
    async def main() -> None:
        tags = {f"oven/{number}": {"connection": "plc", "data_type": "Boolean", "class": "W1"} for number in range(20)}
        lease = {"seconds": 60, "fallback": False}
        written = settings(more={tag: {**tag_settings, "lease": lease} for tag, tag_settings in tags.items()})
        oven = Oven()
        oven.values.update(dict.fromkeys(tags, False))
        async with plant(written=written, oven=oven) as here:
            for tag in tags:
                assert (await here.propose(True, tag=tag)).standing is Standing.DONE
            oven.fate = lambda command: takes(0.5, oven, command)
            await asyncio.sleep(75)
            assert [tag for tag in tags if oven.values[tag]] == []
            assert not [entry for entry in here.entries() if entry.kind is Kind.DENIAL]

    run(main)


@pytest.mark.parametrize("step", [0.1, 0.2, 0.35])
@pytest.mark.parametrize("has", [20.3, 64.9])
def test_a_machine_that_keeps_a_float_of_32_bits_gets_to_its_fallback(has: float, step: float) -> None:
    """20.3 is there 20.299999, a step short of the next one."""

    async def main() -> None:
        oven = Oven()

        async def rounds(command: Command) -> None:
            (oven.values[command.tag],) = struct.unpack("f", struct.pack("f", command.value))

        oven.fate = rounds
        often: dict[str, Any] = {"change_max_per_minute": None, "interval_seconds": 0, "writes_max_per_minute": 600}
        written = leased(data_type="Float", step_max=step, resolution=0.1, **often)
        (oven.values[OVEN],) = struct.unpack("f", struct.pack("f", has))
        async with plant(written=written, oven=oven) as here:
            assert (await here.propose(has)).standing is Standing.DONE
            await asyncio.sleep(600)
            assert abs(float(oven.values[OVEN]) - 30.0) < 1e-5
            assert len(oven.written) < 400

    run(main)


def test_steps_towards_a_fallback_keep_their_interval_and_leave_no_denials_on_record() -> None:
    async def main() -> None:
        slow = leased(step_max=5, interval_seconds=7, writes_max_per_minute=60)
        async with plant(written=slow) as here:
            await here.propose(45.0)
            await asyncio.sleep(40)
            assert [command.value for command in here.oven.written] == [45.0, 40.0, 35.0, 30.0]
            assert not [entry for entry in here.entries() if entry.kind is Kind.DENIAL]

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
