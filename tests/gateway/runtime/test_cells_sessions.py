"""Sessions in a cell: each ends, whatever its connector does, and the next begins after it."""

import asyncio
from pathlib import Path

import pytest

from plantgate.control.hand import Hand
from plantgate.flow.stop import Stop
from plantgate.sdk import Deadline, Exhausted, GatewayError, OutcomeUnknown, Sample, Unavailable
from plantgate.testing.simloop import running
from tests.gateway.runtime.test_cells_actuator import Driving, Scene, command, scene, session_that_ends


async def given_up(here: Scene) -> None:
    """A session whose write is given up after a second, with everything the connector still does about it under way."""
    async with here.remote.actuator() as actuator:
        here.drive.waits = asyncio.Event
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await actuator.write(command())
    here.drive.waits = lambda: None


@pytest.mark.simulated(seeds=3)
async def test_an_error_that_is_no_verdict_is_an_unknown_outcome_of_a_write_from_a_cell_too(tmp_path: Path) -> None:
    """It was told as `Unavailable`: nothing was sent."""
    async with scene(tmp_path) as here, here.remote.actuator() as actuator:
        for error in (GatewayError("plc: half of it was sent"), Exhausted("plc: half of it was sent")):
            here.drive.fails = error
            with pytest.raises(OutcomeUnknown, match="half of it was sent"):
                await actuator.write(command())


@pytest.mark.simulated(seeds=3)
async def test_a_connector_that_makes_a_verdict_of_being_cancelled_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its session went on for ever, and so no other one of that machine ever began."""
    write = Driving.write

    async def unknown(self: Driving, told: object) -> None:
        try:
            await write(self, told)  # type: ignore[arg-type]
        except asyncio.CancelledError:
            raise OutcomeUnknown("drive: sent, and then cancelled") from None

    monkeypatch.setattr(Driving, "write", unknown)
    async with scene(tmp_path) as here:
        await given_up(here)
        async with asyncio.timeout(5.0), here.remote.actuator() as actuator:
            assert (await actuator.read("press/speed", Deadline.after(5.0))).value == 0.0
        assert here.nursery.born == 1


@pytest.mark.simulated(seeds=3)
async def test_a_session_begins_after_all_before_it_also_where_one_was_given_up_while_it_waited(tmp_path: Path) -> None:
    """It waited for the one before it alone, which had never begun, and so stood beside one that was still writing."""
    async with scene(tmp_path) as here:
        here.drive.tidies_seconds = 30.0
        begun = running().elapsed
        await given_up(here)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0), here.remote.actuator():
                pytest.fail("the first one is not over")
        here.drive.tidies_seconds = 0.0
        async with here.remote.actuator():
            assert running().elapsed - begun > 30.0


@pytest.mark.simulated(seeds=3)
async def test_an_actuator_that_never_ends_is_ended_with_its_cell(tmp_path: Path) -> None:
    """What the write that was given up may still do, it can do no more when the next session asks."""
    async with scene(tmp_path) as here:
        here.drive.tidies_seconds = 1e9
        await given_up(here)
        with pytest.raises(Unavailable, match="an earlier session has not ended; its cell is ended with it"):
            async with asyncio.timeout(100.0), here.remote.actuator():
                pytest.fail("the first one is not over")
        here.drive.tidies_seconds = 0.0
        await asyncio.sleep(5.0)
        async with asyncio.timeout(10.0), here.remote.actuator() as actuator:
            assert (await actuator.read("press/speed", Deadline.after(5.0))).value == 0.0
        assert here.nursery.born == 2


@pytest.mark.simulated(seeds=3)
async def test_a_session_that_does_not_end_as_asked_is_not_waited_for_without_end(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        here.drive.tidies_seconds = 1e9
        async with asyncio.timeout(100.0), here.remote.actuator():
            pass
        here.drive.tidies_seconds = 0.0
        async with asyncio.timeout(10.0), here.remote.actuator() as actuator:
            assert (await actuator.read("press/speed", Deadline.after(5.0))).value == 0.0
        assert here.nursery.born == 1


@pytest.mark.simulated(seeds=3)
async def test_a_look_at_the_machine_that_came_too_late_costs_the_next_command_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop looks at the machine under its own deadline; each time that passed, the session was gone."""
    slow = asyncio.Event()

    async def read(self: Driving, tag: str, deadline: Deadline) -> Sample:
        if not slow.is_set():
            slow.set()
            await asyncio.sleep(0.1)
        return Sample(tag, self.drive.has, 0, 7)

    monkeypatch.setattr(Driving, "read", read)
    async with scene(tmp_path) as here:
        hand, stop = Hand("press", here.remote.actuator), Stop()
        keeping = asyncio.create_task(hand.session(stop))
        await hand.there()
        with pytest.raises(Unavailable, match="in time"):
            await hand.read("press/speed", Deadline.after(0.04))
        assert hand.open
        await hand.write(command(2.0), 5.0)
        assert (await hand.read("press/speed", Deadline.after(1.0))).value == 0.0
        assert here.drive.opened == 1
        stop.set()
        await keeping


@pytest.mark.simulated(seeds=3)
async def test_a_cell_that_ends_with_a_question_that_nobody_waits_for_ends_its_session_once(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        async with session_that_ends(here, "ended by SIGKILL") as actuator:
            here.drive.waits = asyncio.Event
            with pytest.raises(Unavailable, match="in time"):
                await actuator.read("press/speed", Deadline.after(0.04))
            here.kill()
        await asyncio.sleep(60.0)


@pytest.mark.simulated(seeds=3)
async def test_a_session_whose_cell_goes_on_to_say_nothing_is_replaced_while_nobody_asks(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        async with session_that_ends(here, "goes on to say nothing") as actuator:
            here.drive.waits = asyncio.Event
            with pytest.raises(Unavailable, match="in time"):
                await actuator.read("press/speed", Deadline.after(0.04))
        here.drive.waits = lambda: None
        async with here.remote.actuator() as actuator:
            assert (await actuator.read("press/speed", Deadline.after(1.0))).value == 0.0
