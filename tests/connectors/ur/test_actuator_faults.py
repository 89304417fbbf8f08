"""A command to a robot while connection, program or gateway fail: done once, in time, or not at all.

Where a test shows that something does not happen, its other half takes away what prevents it, and it happens.
"""

import asyncio
import random
from pathlib import Path

import pytest

from plantgate.sdk import Actuator, Command, Deadline, OutcomeUnknown, Rejected, Unavailable
from plantgate.testing.process import Process
from plantgate.testing.simloop import running
from tests.connectors.ur.given import HOST, OFFSET, writer
from tests.peers.ur_twin import Robot, robot

pytestmark = pytest.mark.simulated(seeds=3)

MOVE, MOVED = "[0.001,-0.002,0.01]", (0.001, -0.002, 0.01)
OTHER, OTHER_MOVED = "[0.002,0.001,0.0]", (0.002, 0.001, 0.0)


def command(value: str, seconds: float = 0.5) -> Command:
    return Command("intent-1", OFFSET, value, Deadline.after(seconds))


async def reads(actuator: Actuator) -> object:
    return (await actuator.read(OFFSET, Deadline.after(1.0))).value


async def test_an_echo_that_is_lost_is_an_unknown_outcome_and_the_next_session_reads_that_it_was_applied(
    tmp_path: Path,
) -> None:
    async with robot(HOST) as twin:
        connector = writer(tmp_path)
        async with connector.actuator() as actuator:
            await actuator.write(command(OTHER))
            twin.program.on_applied = twin.drop
            with pytest.raises(OutcomeUnknown, match="sent, and then"):
                await actuator.write(command(MOVE))
            twin.program.on_applied = None
            with pytest.raises(Unavailable, match="open another session"):
                await actuator.write(command(MOVE))
        async with connector.actuator() as actuator:
            assert await reads(actuator) == MOVE
        await asyncio.sleep(60.0)
    assert twin.program.applied == [OTHER_MOVED, MOVED]


async def test_a_command_that_is_lost_is_an_unknown_outcome_and_the_next_session_reads_that_it_was_not_applied(
    tmp_path: Path,
) -> None:
    async with robot(HOST) as twin:
        connector = writer(tmp_path)
        async with connector.actuator() as actuator:
            await actuator.write(command(OTHER))
            twin.delivers = False
            with pytest.raises(OutcomeUnknown, match="did not show it in time"):
                await actuator.write(command(MOVE))
        twin.delivers = True
        async with connector.actuator() as actuator:
            assert await reads(actuator) == OTHER
            await actuator.write(command(MOVE))
    assert twin.program.applied == [OTHER_MOVED, MOVED]


@pytest.mark.parametrize("dated", [True, False])
async def test_a_command_that_is_held_up_on_its_way_is_too_late_for_the_program(tmp_path: Path, dated: bool) -> None:
    async with robot(HOST) as twin:
        twin.program.heeds_clock = dated
        async with writer(tmp_path).actuator() as actuator:
            await actuator.write(command(OTHER))
            twin.delivers = False
            with pytest.raises(OutcomeUnknown):
                await actuator.write(command(MOVE))
        await asyncio.sleep(1.0)
        twin.delivers = True
        twin.deliver(twin.late[0])  # what was sent after it, to take it back, is lost
        await asyncio.sleep(1.0)
    late = [] if dated else [MOVED]
    assert twin.program.applied == [OTHER_MOVED, *late]


@pytest.mark.parametrize("fenced", [True, False])
async def test_a_late_command_of_an_earlier_session_is_harmless(tmp_path: Path, fenced: bool) -> None:
    async with robot(HOST) as twin:
        twin.program.heeds_epoch = fenced
        connector = writer(tmp_path)
        async with connector.actuator() as actuator:
            await actuator.write(command(OTHER))
            twin.delivers = False
            given_up = asyncio.create_task(actuator.write(command(MOVE, 3600.0)))
            while not twin.late:  # noqa: ASYNC110  the twin has no event for it
                await asyncio.sleep(0.01)
            twin.drop()
            with pytest.raises(OutcomeUnknown):
                await given_up
        twin.delivers = True
        async with connector.actuator() as actuator:
            assert await reads(actuator) == OTHER, "so the intent is settled as not done"
            twin.deliver(twin.late[0])
            await asyncio.sleep(1.0)
    assert twin.program.applied == [OTHER_MOVED, *([] if fenced else [MOVED])]


@pytest.mark.parametrize("withdrawn", [True, False])
async def test_a_command_that_meets_a_paused_program_is_taken_back(tmp_path: Path, withdrawn: bool) -> None:
    async with robot(HOST) as twin:
        async with writer(tmp_path).actuator() as actuator:
            await actuator.write(command(OTHER))
            stir = twin.program.stir

            def stopped_first() -> None:
                twin.program.stir = stir  # type: ignore[method-assign]  # of this one
                twin.protective_stop()
                twin.delivers = withdrawn

            twin.program.stir = stopped_first  # type: ignore[method-assign]  # of this one
            with pytest.raises(OutcomeUnknown):
                await actuator.write(command(MOVE))
            await asyncio.sleep(1.0)
        await asyncio.sleep(600.0)
        twin.resume_program()
        await asyncio.sleep(1.0)
    late = [] if withdrawn else [MOVED]
    assert twin.program.applied == [OTHER_MOVED, *late], "a clock that is paused with its program cannot tell"


async def test_a_command_under_way_when_its_session_ends_is_taken_back(tmp_path: Path) -> None:
    """As one that is given up: the gateway is stopped while the program is paused."""
    async with robot(HOST) as twin:
        async with writer(tmp_path).actuator() as actuator:
            await actuator.write(command(OTHER))
            stir, paused = twin.program.stir, asyncio.Event()

            def stopped_first() -> None:
                twin.program.stir = stir  # type: ignore[method-assign]  # of this one
                twin.protective_stop()
                paused.set()

            twin.program.stir = stopped_first  # type: ignore[method-assign]  # of this one
            writing = asyncio.create_task(actuator.write(command(MOVE, 60.0)))
            await paused.wait()
        with pytest.raises(OutcomeUnknown):
            await writing
        await asyncio.sleep(600.0)
        twin.resume_program()
        await asyncio.sleep(1.0)
    assert twin.program.applied == [OTHER_MOVED]


async def test_a_program_that_is_started_takes_what_lies_in_its_mailbox_as_done(tmp_path: Path) -> None:
    async with robot(HOST) as twin:
        connector = writer(tmp_path)
        async with connector.actuator() as actuator:
            await actuator.write(command(OTHER))
            stir = twin.program.stir

            def started_first() -> None:
                twin.program.stir = stir  # type: ignore[method-assign]  # of this one
                twin.start_program()

            twin.program.stir = started_first  # type: ignore[method-assign]  # of this one
            with pytest.raises(OutcomeUnknown, match="started anew"):
                await actuator.write(command(MOVE))
        async with connector.actuator() as actuator:
            await actuator.write(command(OTHER))
    assert twin.program.applied == [OTHER_MOVED, OTHER_MOVED]


async def test_a_command_cancelled_once_it_was_sent_spoils_the_session(tmp_path: Path) -> None:
    async with robot(HOST) as twin, writer(tmp_path).actuator() as actuator:
        await actuator.write(command(OTHER))
        twin.delivers = False
        writing = asyncio.create_task(actuator.write(command(MOVE, 60.0)))
        while not twin.late:  # noqa: ASYNC110  the twin has no event for it
            await asyncio.sleep(0.01)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        with pytest.raises(Unavailable, match="given up after it was sent"):
            await actuator.read(OFFSET, Deadline.after(1.0))
        await asyncio.sleep(0.1)
        assert len(twin.late) == 2, "it was taken back"


async def test_commands_wait_for_one_another_and_not_beyond_their_deadline(tmp_path: Path) -> None:
    async with robot(HOST) as twin, writer(tmp_path).actuator() as actuator:
        await asyncio.gather(actuator.write(command(MOVE)), actuator.write(command(OTHER)))
        assert sorted(twin.program.applied) == sorted([MOVED, OTHER_MOVED])
        twin.delivers = False
        first = asyncio.create_task(actuator.write(command(MOVE, 5.0)))
        await asyncio.sleep(0.1)
        with pytest.raises(Unavailable, match="nothing was sent"):
            await actuator.write(command(OTHER, 0.2))
        with pytest.raises(OutcomeUnknown):
            await first


async def test_what_the_next_session_reads_after_the_gateway_was_killed_stays_true(
    tmp_path: Path, seed: object
) -> None:
    luck = random.Random(f"{seed}/kill")
    async with robot(HOST) as twin:
        for number in range(1, 21):
            value = f"[{number / 10_000},0.0,0.0]"

            async def gateway(value: str = value) -> None:
                async with writer(tmp_path).actuator() as actuator:
                    await actuator.write(command(value, 5.0))

            process = Process(gateway)
            await asyncio.sleep(luck.uniform(0.0, 0.06))
            process.kill()
            told = await _reconciled(tmp_path)
            await asyncio.sleep(10.0)
            assert told == await _reconciled(tmp_path)
    applied = twin.program.applied
    assert len(set(applied)) == len(applied)
    assert 0 < len(applied) < 20, "killed before some of them and after others"


async def _reconciled(folder: Path) -> object:
    """What a gateway that starts anew reads; the killed one can hold the registers for a moment still."""
    while True:
        try:
            async with writer(folder).actuator() as actuator:
                return await reads(actuator)
        except Unavailable:
            await asyncio.sleep(0.1)


@pytest.mark.simulated(seeds=40)
async def test_whatever_fails_no_command_is_done_twice_or_late_or_unsaid(tmp_path: Path, seed: object) -> None:
    luck = random.Random(f"{seed}/all")
    network, loop = running().network, asyncio.get_running_loop()
    deadlines: dict[tuple[float, ...], float] = {}
    outcomes: dict[tuple[float, ...], str] = {}
    late: list[tuple[float, ...]] = []
    async with robot(HOST) as twin:

        def on_applied() -> None:
            moved = twin.program.applied[-1]
            if loop.time() > deadlines[moved]:
                late.append(moved)

        twin.program.on_applied = on_applied
        connector, number = writer(tmp_path), 0
        async with asyncio.TaskGroup() as group:
            trouble = group.create_task(_trouble(twin, luck))
            while number < 40:
                try:
                    async with connector.actuator() as actuator:
                        while number < 40:
                            number += 1
                            moved = (number / 20_000, 0.0, 0.0)
                            asked = command(f"[{moved[0]},0.0,0.0]", luck.choice((0.03, 0.1, 1.0)))
                            deadlines[moved] = asked.deadline.at
                            outcomes[moved] = await _outcome(actuator, asked)
                            if outcomes[moved] in ("unknown", "not sent"):
                                break
                            await asyncio.sleep(luck.uniform(0.0, 0.5))
                except Unavailable:
                    await asyncio.sleep(0.5)
            trouble.cancel()
        network.heal(HOST)
        twin.thaw()
        twin.start_program()
        twin.board.remote = True
        await asyncio.sleep(300.0)
    applied = twin.program.applied
    assert len(set(applied)) == len(applied), "twice"
    assert not late, "after its deadline"
    for moved, outcome in outcomes.items():
        if outcome != "unknown":
            assert (moved in applied) == (outcome == "done"), f"{moved} was said to be {outcome}"
    assert sum(outcome == "done" for outcome in outcomes.values()) > 5


async def _outcome(actuator: Actuator, asked: Command) -> str:
    try:
        await actuator.write(asked)
    except Rejected:
        return "refused"
    except Unavailable:
        return "not sent"
    except OutcomeUnknown:
        return "unknown"
    return "done"


async def _trouble(twin: Robot, luck: random.Random) -> None:
    """Faults and their ends, one after the other, until cancelled."""
    network = running().network
    while True:
        await asyncio.sleep(luck.uniform(0.0, 2.0))
        match luck.randrange(7):
            case 0:
                network.reset(HOST)
            case 1:
                network.hold(HOST)
            case 2:
                network.cut(HOST)
            case 3:
                network.link(HOST).breaks_after_bytes = luck.randrange(1, 2000)
            case 4:
                twin.protective_stop()
            case 5:
                twin.freeze()
            case _:
                twin.drop()
        await asyncio.sleep(luck.choice((0.0, 0.05, 0.5, 3.0)))
        network.heal(HOST)
        twin.thaw()
        if twin.values["runtime_state"] != 2:
            twin.start_program()
