"""Writing to a robot: once, in time, behind its own state, and with a word for every way it can end."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk import Actuator, Command, Deadline, OutcomeUnknown, Rejected, Setpoint, Unavailable
from plantgate.sdk.quality import GOOD
from plantgate.testing.simloop import running
from tests.connectors.ur.given import HOST, OFFSET, OFFSET_WRITE, SPEED, writer
from tests.peers.ur_twin import Robot, robot

pytestmark = pytest.mark.simulated(seeds=3)

MOVE = "[0.001,-0.002,0.01]"
MOVED = (0.001, -0.002, 0.01)
OTHER, OTHER_MOVED = "[0.002,0.001,0.0]", (0.002, 0.001, 0.0)


def command(tag: str, value: Setpoint, seconds: float = 0.5) -> Command:
    return Command("intent-1", tag, value, Deadline.after(seconds))


@asynccontextmanager
async def acting(folder: Path, **written: Any) -> AsyncIterator[tuple[Robot, Actuator]]:
    async with robot(HOST) as twin, writer(folder, **written).actuator() as actuator:
        yield twin, actuator


async def reads(actuator: Actuator, tag: str) -> Any:
    sample = await actuator.read(tag, Deadline.after(3.0))
    assert (sample.tag, sample.quality, sample.time) == (tag, GOOD, None)
    return sample.value


async def test_an_offset_is_applied_once_and_read_back_as_it_was_written(tmp_path: Path) -> None:
    async with acting(tmp_path) as (twin, actuator):
        await actuator.write(command(OFFSET, MOVE))
        assert twin.program.applied == [MOVED], "it returns when the program has it, not before"
        assert await reads(actuator, OFFSET) == MOVE
        await actuator.write(command(OFFSET, OTHER))
        await actuator.write(command(OFFSET, OTHER))
        assert await reads(actuator, OFFSET) == OTHER
    assert twin.program.applied == [MOVED, OTHER_MOVED, OTHER_MOVED], "the same value again is another command"


async def test_everything_of_a_command_is_in_one_package(tmp_path: Path) -> None:
    async with acting(tmp_path) as (twin, actuator):
        await actuator.write(command(OFFSET, MOVE))
        [package] = [came for came in twin.received if came.get("input_double_register_24") == MOVED[0]]
    assert set(package) == {
        *OFFSET_WRITE["registers"],  # type: ignore[misc]
        *(f"input_int_register_{number}" for number in (24, 25, 26)),
    }


async def test_a_register_without_a_mailbox_is_confirmed_by_its_mirror(tmp_path: Path) -> None:
    async with acting(tmp_path) as (_, actuator):
        await actuator.write(command(SPEED, 0.5))
        assert await reads(actuator, SPEED) == 0.5
        await actuator.write(command(SPEED, 1))
        assert await reads(actuator, SPEED) == 1.0


async def test_whole_numbers_and_bits_are_written_as_they_are(tmp_path: Path) -> None:
    writes = [
        {"tag": "n", "registers": ["input_int_register_40"], "confirm": ["output_int_register_40"]},
        {"tag": "b", "registers": ["input_bit_register_64"], "confirm": ["output_bit_register_64"]},
    ]
    async with acting(tmp_path, writes=writes) as (twin, actuator):
        mirror(twin, "int_register_40", "bit_register_64")
        await actuator.write(command("n", -(2**31)))
        await actuator.write(command("b", True))
        assert await reads(actuator, "n") == -(2**31)
        assert await reads(actuator, "b") is True


def mirror(twin: Robot, *names: str) -> None:
    """Let the program show those inputs as outputs, as a line of its script would."""

    def show() -> None:
        for name in names:
            twin.set(f"output_{name}", twin.inputs.get(f"input_{name}", 0))

    stir = twin.program.stir
    twin.program.stir = lambda: (show(), stir())[1]  # type: ignore[method-assign]  # of this one


BAD_VALUES: list[tuple[str, Any]] = [
    (SPEED, float("nan")),
    (SPEED, float("inf")),
    (SPEED, True),
    (SPEED, "0.5"),
    (SPEED, 2.5),
    (SPEED, -0.1),
    (SPEED, 10**400),
    (OFFSET, 0.001),
    (OFFSET, "0.001"),
    (OFFSET, "[0.001,0.002]"),
    (OFFSET, "[0.001,0.002,0.003,0.004]"),
    (OFFSET, "[0.001,0.002,NaN]"),
    (OFFSET, "[0.001,0.002,Infinity]"),
    (OFFSET, "[0.001,0.002,1e999]"),
    (OFFSET, "[0.001,true,0]"),
    (OFFSET, '[0.001,"0.002",0]'),
    (OFFSET, "[0.02,0,0]"),
    (OFFSET, "[" * 1000),
    (OFFSET, ""),
    ("line3/robot/unknown", 1),
]


@pytest.mark.parametrize(("tag", "value"), BAD_VALUES, ids=[f"{tag} {str(value)[:30]}" for tag, value in BAD_VALUES])
async def test_a_value_that_does_not_fit_is_refused_and_nothing_is_sent(tmp_path: Path, tag: str, value: Any) -> None:
    async with acting(tmp_path) as (twin, actuator):
        before = len(twin.received)
        with pytest.raises(Rejected, match=tag):
            await actuator.write(command(tag, value))
        await asyncio.sleep(1.0)
        assert len([came for came in twin.received[before:] if came.get("input_int_register_26")]) == 0
        assert twin.program.applied == []
        await actuator.write(command(OFFSET, MOVE))
    assert twin.program.applied == [MOVED], "the session goes on"


INTERLOCKS = {
    "power off": ("power_off", "robot mode is POWER_OFF"),
    "protective stop": ("protective_stop", "PROTECTIVE_STOP"),
    "emergency stop": ("emergency_stop", "POWER_OFF"),
    "program stopped": ("stop_program", "program is STOPPED"),
}


@pytest.mark.parametrize("name", INTERLOCKS)
@pytest.mark.parametrize(("tag", "value"), [(OFFSET, MOVE), (SPEED, 0.5)])
async def test_a_robot_that_is_not_ready_is_not_written_to(
    tmp_path: Path, name: str, tag: str, value: Setpoint
) -> None:
    act, told = INTERLOCKS[name]
    async with acting(tmp_path) as (twin, actuator):
        await actuator.write(command(OFFSET, OTHER))
        getattr(twin, act)()
        await twin.shown()
        await asyncio.sleep(0.05)
        before = len(twin.received)
        with pytest.raises(Rejected, match=told):
            await actuator.write(command(tag, value))
        with pytest.raises(Unavailable, match="does not run"):
            await actuator.read(tag, Deadline.after(0.5))
        assert len(twin.received) == before, "not one byte was sent"
        twin.start_program()
        await asyncio.sleep(0.05)
        await actuator.write(command(tag, value))
    assert twin.program.applied == [OTHER_MOVED, MOVED] if tag == OFFSET else [OTHER_MOVED]


async def test_reduced_mode_is_no_stop(tmp_path: Path) -> None:
    async with acting(tmp_path) as (twin, actuator):
        twin.set("safety_status", 2)
        await asyncio.sleep(0.1)
        await actuator.write(command(OFFSET, MOVE))
    assert twin.program.applied == [MOVED]


async def test_a_robot_in_local_control_is_not_written_to(tmp_path: Path) -> None:
    async with acting(tmp_path) as (twin, actuator):
        twin.board.remote = False
        await asyncio.sleep(1.0)
        with pytest.raises(Rejected, match="local control"):
            await actuator.write(command(OFFSET, MOVE))
        twin.board.mute = True
        await asyncio.sleep(2.0)
        with pytest.raises(Unavailable, match="not known"):
            await actuator.write(command(OFFSET, MOVE))
        twin.board.mute, twin.board.remote = False, True
        await asyncio.sleep(20.0)
        await actuator.write(command(OFFSET, MOVE))
        assert twin.program.applied == [MOVED]


async def test_local_control_can_be_ignored_for_controllers_without_that_switch(tmp_path: Path) -> None:
    async with acting(tmp_path, remote_control="ignored") as (twin, actuator):
        twin.board.remote, twin.board.mute = False, True
        await asyncio.sleep(1.0)
        await actuator.write(command(OFFSET, MOVE))
    assert twin.program.applied == [MOVED]


async def test_the_state_that_counts_is_asked_for_anew_when_it_is_older_than_two_periods(tmp_path: Path) -> None:
    async with acting(tmp_path) as (twin, actuator):
        twin.freeze()
        twin.protective_stop()
        await asyncio.sleep(0.3)
        asyncio.get_running_loop().call_later(0.1, twin.thaw)
        with pytest.raises(Rejected, match="PROTECTIVE_STOP"):
            await actuator.write(command(OFFSET, MOVE, 1.0))
    assert twin.program.applied == []


async def test_a_state_that_does_not_come_is_unavailable_and_nothing_is_sent(tmp_path: Path) -> None:
    async with acting(tmp_path) as (twin, actuator):
        await actuator.write(command(OFFSET, OTHER))
        twin.freeze()
        await asyncio.sleep(0.3)
        with pytest.raises(Unavailable, match="nothing was sent"):
            await actuator.write(command(OFFSET, MOVE, 0.2))
        twin.thaw()
        await asyncio.sleep(0.3)
    assert twin.program.applied == [OTHER_MOVED]


async def test_after_its_deadline_not_one_byte_leaves(tmp_path: Path) -> None:
    async with acting(tmp_path) as (twin, actuator):
        await actuator.write(command(OFFSET, OTHER))
        before = len(twin.received)
        with pytest.raises(Unavailable, match="too late"):
            await actuator.write(command(OFFSET, MOVE, -0.001))
        await asyncio.sleep(0.5)
        assert len(twin.received) == before


async def test_the_programs_own_limits_refuse(tmp_path: Path) -> None:
    async with acting(tmp_path) as (twin, actuator):
        with pytest.raises(Rejected, match="limits in the program"):
            await actuator.write(command(OFFSET, "[0.009,0,0]"))
        assert twin.program.applied == []
        await actuator.write(command(OFFSET, MOVE))
    assert twin.program.applied == [MOVED], "a refused number is used up, and the next one counts"


async def test_a_mirror_that_never_shows_it_is_an_unknown_outcome(tmp_path: Path) -> None:
    async with acting(tmp_path) as (_, actuator):
        with pytest.raises(OutcomeUnknown, match=SPEED):
            await actuator.write(command(SPEED, 1.5))
        with pytest.raises(Unavailable, match="open another session"):
            await actuator.write(command(SPEED, 0.5))


async def test_a_register_somebody_else_holds_is_named_with_who_it_may_be(tmp_path: Path) -> None:
    async with robot(HOST) as twin:
        twin.in_use.add("input_double_register_25")
        with pytest.raises(Unavailable, match=r"input_double_register_25 .*EtherNet/IP"):
            async with writer(tmp_path).actuator():
                pass
        twin.in_use.clear()
        async with writer(tmp_path).actuator():
            with pytest.raises(Unavailable, match="in use by another RTDE client"):
                async with writer(tmp_path).actuator():
                    pass


async def test_a_controller_without_safety_status_is_not_written_to(tmp_path: Path) -> None:
    async with robot(HOST) as twin:
        twin.absent.add("safety_status")
        with pytest.raises(Unavailable, match="update the controller"):
            async with writer(tmp_path).actuator():
                pass


async def test_a_session_leaves_nothing(tmp_path: Path) -> None:
    async with robot(HOST):
        for _ in range(3):
            async with writer(tmp_path).actuator() as actuator:
                await actuator.write(command(OFFSET, MOVE))
        await asyncio.sleep(1.0)
        assert running().network.connections(HOST) == 0


async def test_the_text_of_an_offset_may_be_written_with_spaces_and_whole_numbers(tmp_path: Path) -> None:
    async with acting(tmp_path) as (_, actuator):
        await actuator.write(command(OFFSET, "[ 0, -0.002, 1e-3 ]"))
        assert json.loads(await reads(actuator, OFFSET)) == [0.0, -0.002, 0.001]


async def test_a_connection_that_is_gone_is_unavailable_and_not_unknown(tmp_path: Path, seed: object) -> None:
    async with acting(tmp_path) as (twin, actuator):
        await actuator.write(command(OFFSET, OTHER))
        twin.drop()
        await asyncio.sleep(0.004 + 0.02 * int(str(seed)))
        with pytest.raises(Unavailable, match=HOST):
            await actuator.write(command(OFFSET, MOVE))
        with pytest.raises(Unavailable, match=HOST):
            await actuator.read(OFFSET, Deadline.after(1.0))
    assert twin.program.applied == [OTHER_MOVED]


async def test_a_state_once_a_second_is_enough_to_write_by(tmp_path: Path) -> None:
    async with acting(tmp_path, write_frequency_hz=1, silence_seconds=0.5) as (twin, actuator):
        await asyncio.sleep(10.0)
        await actuator.write(command(OFFSET, MOVE, 5.0))
        assert await reads(actuator, SPEED) == 0.0
    assert twin.program.applied == [MOVED]
