"""An actuator in a cell says of each write what became of it, at whatever moment the cell ends or stands still."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, NoReturn

import msgspec
import pytest

from plantgate.runtime.cells import hosted
from plantgate.runtime.cells.messages import Write
from plantgate.runtime.cells.wire import ASKED
from plantgate.sdk import (
    Actuator,
    Command,
    Connector,
    Deadline,
    OutcomeUnknown,
    Rejected,
    Sample,
    Setpoint,
    Settings,
    State,
    Unavailable,
    Value,
)
from plantgate.testing.contract import lent
from plantgate.testing.simloop import running
from tests.gateway.runtime.celled import Nothing, Nursery, a_cell, remote


@dataclass
class Drive:
    """What is written to: it remembers, and does as it is told to."""

    got: list[tuple[str, Setpoint]] = field(default_factory=list)
    has: Value = 0.0
    waits: Callable[[], object] = lambda: None
    """What a command waits for before it is sent, if anything."""
    fails: Exception | None = None
    answers: bool = True
    opened: int = 0
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """The connection to it is."""
    tidies_seconds: float = 0.0

    async def wait(self) -> None:
        for_what = self.waits()
        if isinstance(for_what, asyncio.Event):
            await for_what.wait()


class Driving(Connector[Nothing]):
    """Its connector."""

    Settings: ClassVar[type[Settings]] = Nothing
    drive: ClassVar[Drive]

    @asynccontextmanager
    async def actuator(self) -> AsyncIterator[Actuator]:
        self.drive.opened += 1
        self.drive.gone.clear()
        try:
            yield self
        finally:
            await asyncio.sleep(self.drive.tidies_seconds)

    async def lost(self) -> NoReturn:
        await self.drive.gone.wait()
        raise Unavailable("drive: the connection is gone")

    async def write(self, command: Command) -> None:
        await self.drive.wait()
        if self.drive.fails is not None:
            raise self.drive.fails
        if objection := command.objection():
            raise Unavailable(f"{command.tag}: {objection}; nothing was sent")
        self.drive.got.append((command.id, command.value))
        if not self.drive.answers:
            await asyncio.Event().wait()

    async def read(self, tag: str, deadline: Deadline) -> Sample:
        await self.drive.wait()
        if self.drive.fails is not None:
            raise self.drive.fails
        return Sample(tag, self.drive.has, 0, 7)


@dataclass
class Scene:
    """The drive, its actuator as the gateway has it, and the cell between them."""

    drive: Drive
    nursery: Nursery
    remote: Connector[Nothing]
    host: str

    def kill(self) -> None:
        self.nursery.alive["hall"].process.kill()

    def stand_still(self) -> None:
        running().network.hold(self.host)

    def go_on(self) -> None:
        running().network.heal(self.host)


@asynccontextmanager
async def scene(folder: Path, stall_seconds: float = 10.0) -> AsyncIterator[Scene]:
    nursery = Nursery()
    Driving.drive = Drive()
    async with a_cell(nursery, stall_seconds) as cell:
        there = remote(cell, lent(folder), Driving, Nothing())
        yield Scene(Driving.drive, nursery, there, nursery.alive["hall"].host)


@asynccontextmanager
async def session_that_ends(here: Scene, why: str) -> AsyncIterator[Actuator]:
    """In the midst of the block, or in the hour after it, while nobody asks anything."""
    try:
        async with here.remote.actuator() as actuator:
            yield actuator
            await asyncio.sleep(3600.0)
    except Unavailable as error:
        if why not in str(error):
            raise
    else:
        pytest.fail("the session did not end")


def command(value: Setpoint = 1.0, seconds: float = 5.0, recalled: Callable[[], str] = lambda: "") -> Command:
    return Command("intent 7", "press/speed", value, Deadline.after(seconds), recalled)


@pytest.mark.simulated(seeds=2)
async def test_a_value_arrives_as_what_it_was_both_ways(tmp_path: Path) -> None:
    async with scene(tmp_path) as here, here.remote.actuator() as actuator:
        for value in (True, 1, 1.0, "1", False, 0, 0.0, -0.0, "", 2**64 - 1, -(2**63), 0.1, 5e-324, "°µ"):
            await actuator.write(command(value))
            ((named, got),) = here.drive.got
            here.drive.got.clear()
            assert (named, type(got), repr(got)) == ("intent 7", type(value), repr(value))
            here.drive.has = value
            seen = await actuator.read("press/speed", Deadline.after(5.0))
            assert (seen.tag, type(seen.value), repr(seen.value)) == ("press/speed", type(value), repr(value))
            assert (seen.quality, seen.time) == (0, 7)


@pytest.mark.simulated(seeds=5)
async def test_a_cell_that_ends_after_it_was_told_leaves_an_unknown_outcome(tmp_path: Path) -> None:
    for sent in (False, True):
        async with scene(tmp_path) as here:
            here.drive.answers = False
            here.drive.waits = (lambda: None) if sent else asyncio.Event
            async with session_that_ends(here, "cell hall ended by SIGKILL") as actuator:
                writing = asyncio.create_task(actuator.write(command()))
                await asyncio.sleep(0.5)
                here.kill()
            with pytest.raises(OutcomeUnknown, match="told to write, and then cell hall ended by SIGKILL"):
                await writing
            await asyncio.sleep(60.0)
            assert here.drive.got == ([("intent 7", 1.0)] if sent else [])


@pytest.mark.simulated(seeds=5)
async def test_a_cell_that_was_told_nothing_leaves_no_doubt(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        async with session_that_ends(here, "cell hall ended by SIGKILL") as over:
            here.kill()
        with pytest.raises(Unavailable, match="cell hall ended by SIGKILL"):
            await over.write(command())
        async with here.remote.actuator() as actuator:
            await actuator.write(command(2.0))
        assert here.drive.got == [("intent 7", 2.0)]


@pytest.mark.simulated(seeds=5)
async def test_the_end_of_a_cell_is_seen_while_nobody_asks_it_anything(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        begun = running().elapsed
        async with session_that_ends(here, "cell hall ended by SIGKILL"):
            here.kill()
        assert running().elapsed - begun < 5.0
        async with here.remote.actuator():
            assert here.remote.context.standing.state is State.UP


@pytest.mark.simulated(seeds=5)
async def test_a_machine_lost_while_nobody_asks_anything_ends_the_session_and_not_the_cell(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        begun = running().elapsed
        async with session_that_ends(here, "drive: the connection is gone") as over:
            await over.write(command())
            here.drive.gone.set()
        assert running().elapsed - begun < 5.0
        assert here.remote.context.standing.state is State.AWAY
        with pytest.raises(Unavailable, match="drive: the connection is gone"):
            await over.write(command(2.0))
        async with here.remote.actuator() as actuator:
            await actuator.write(command(3.0))
        assert here.drive.got == [("intent 7", 1.0), ("intent 7", 3.0)]
        assert here.nursery.born == 1


@pytest.mark.simulated(seeds=5)
async def test_a_machine_lost_while_a_command_is_under_way_is_told_by_that_command_first(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        for verdict in (None, OutcomeUnknown("sent, and then nothing"), Unavailable("nothing was sent")):
            sent = asyncio.Event()
            here.drive.waits, here.drive.fails = lambda sent=sent: sent, verdict
            async with session_that_ends(here, "drive: the connection is gone") as actuator:
                writing = asyncio.create_task(actuator.write(command()))
                await asyncio.sleep(0.5)
                here.drive.gone.set()
                await asyncio.sleep(0.5)
                assert not writing.done()
                sent.set()
            await asyncio.wait([writing])
            assert type(writing.exception()) is type(verdict)
        assert here.drive.got == [("intent 7", 1.0)]


@pytest.mark.simulated(seeds=5)
async def test_what_was_told_to_a_cell_that_is_ended_for_standing_still_nobody_does_later(tmp_path: Path) -> None:
    async with scene(tmp_path, stall_seconds=1.0) as here:
        async with session_that_ends(here, "has stood still") as actuator:
            here.stand_still()
            writing = asyncio.create_task(actuator.write(command(seconds=3600.0)))
        with pytest.raises(OutcomeUnknown, match="stood still"):
            await writing
        async with here.remote.actuator() as actuator:
            await actuator.read("press/speed", Deadline.after(5.0))
            here.go_on()
            await asyncio.sleep(60.0)
        assert here.nursery.born == 2
        assert here.drive.got == []


@pytest.mark.simulated(seeds=5)
async def test_a_command_that_lay_in_a_cell_that_stood_still_is_not_sent_too_late(tmp_path: Path) -> None:
    async with scene(tmp_path) as here, here.remote.actuator() as actuator:
        here.stand_still()
        asyncio.get_running_loop().call_later(3.0, here.go_on)
        with pytest.raises(Unavailable, match="too late; nothing was sent"):
            await actuator.write(command(seconds=2.0))
        assert here.drive.got == []
        await actuator.write(command(2.0))
        assert here.drive.got == [("intent 7", 2.0)], "and the session is as good as before"


@pytest.mark.simulated(seeds=5)
async def test_a_command_that_is_recalled_while_its_cell_stands_still_is_not_sent(tmp_path: Path) -> None:
    async with scene(tmp_path) as here, here.remote.actuator() as actuator:
        here.stand_still()
        asyncio.get_running_loop().call_later(3.0, here.go_on)
        stopped = running().elapsed + 1.0
        with pytest.raises(Unavailable, match="press is stopped; nothing was sent"):
            await actuator.write(command(9.0, 60.0, lambda: "press is stopped" if running().elapsed > stopped else ""))
        assert here.drive.got == []
        await actuator.write(command(2.0))
        assert here.drive.got == [("intent 7", 2.0)], "the next one was not recalled"


@pytest.mark.simulated(seeds=5)
async def test_a_command_that_is_recalled_while_it_waits_inside_the_actuator_is_not_sent(tmp_path: Path) -> None:
    async with scene(tmp_path) as here, here.remote.actuator() as actuator:
        turn = asyncio.Event()
        here.drive.waits = lambda: turn
        stopped = running().elapsed + 1.0
        asyncio.get_running_loop().call_later(1.2, turn.set)
        with pytest.raises(Unavailable, match="press is stopped; nothing was sent"):
            await actuator.write(command(9.0, 60.0, lambda: "press is stopped" if running().elapsed > stopped else ""))
        assert here.drive.got == []


@pytest.mark.simulated(seeds=5)
async def test_a_write_that_was_given_up_while_its_cell_stood_still_is_not_sent(tmp_path: Path) -> None:
    """And whoever asks afterwards what became of it asks a session that begins when that one can do no more."""
    async with scene(tmp_path) as here:
        async with here.remote.actuator() as actuator:
            here.stand_still()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.0):
                    await actuator.write(command(seconds=3600.0))
            with pytest.raises(Unavailable, match="closed"):
                await actuator.read("press/speed", Deadline.after(5.0))
        here.go_on()
        async with here.remote.actuator() as actuator:
            assert (await actuator.read("press/speed", Deadline.after(5.0))).value == 0.0
        await asyncio.sleep(60.0)
        assert here.drive.got == []


@pytest.mark.simulated(seeds=5)
async def test_the_next_session_begins_when_the_one_before_has_ended(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        here.drive.tidies_seconds = 50.0
        async with here.remote.actuator() as actuator:
            here.drive.waits = asyncio.Event
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.0):
                    await actuator.write(command())
        begun = running().elapsed
        opening = here.remote.actuator()
        await opening.__aenter__()
        assert running().elapsed - begun > 45.0
        assert here.drive.opened == 2
        here.drive.tidies_seconds = 0.0
        await opening.__aexit__(None, None, None)


@pytest.mark.simulated(seeds=5)
async def test_a_machine_that_does_not_say_what_it_has_is_not_waited_for(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        async with session_that_ends(here, "goes on to say nothing") as actuator:
            here.drive.waits = asyncio.Event
            begun = running().elapsed
            with pytest.raises(Unavailable, match="in time"):
                await actuator.read("press/speed", Deadline.after(2.0))
            assert running().elapsed - begun < 2.1
            with pytest.raises(Unavailable, match="an earlier call is still under way; nothing was sent"):
                await actuator.write(command(seconds=1.0))
        with pytest.raises(Unavailable, match="closed"):
            await actuator.write(command())


@pytest.mark.simulated(seeds=1)
async def test_a_value_that_is_too_much_to_cross_is_said_and_the_session_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosted, "FRAME_BYTES_MAX", 1000)
    async with scene(tmp_path) as here, here.remote.actuator() as actuator:
        here.drive.has = "x" * 600
        with pytest.raises(Rejected, match=r"press/speed: \d+ bytes are too much to leave the cell"):
            await actuator.read("press/speed", Deadline.after(5.0))
        here.drive.has = 1.5
        assert (await actuator.read("press/speed", Deadline.after(5.0))).value == 1.5


@pytest.mark.parametrize("verdict", [Rejected("no"), Unavailable("no"), OutcomeUnknown("no")])
@pytest.mark.simulated(seeds=2)
async def test_a_verdict_of_the_actuator_is_told_and_the_session_stands(tmp_path: Path, verdict: Exception) -> None:
    async with scene(tmp_path) as here, here.remote.actuator() as actuator:
        here.drive.fails = verdict
        with pytest.raises(type(verdict), match="no"):
            await actuator.write(command())
        with pytest.raises(type(verdict), match="no"):
            await actuator.read("press/speed", Deadline.after(5.0))
        here.drive.fails = None
        await actuator.write(command())
        assert here.drive.opened == 1


@pytest.mark.simulated(seeds=2)
async def test_a_bug_of_the_actuator_met_while_writing_leaves_an_unknown_outcome(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        here.drive.fails = KeyError("speed")
        async with session_that_ends(here, "unexpected KeyError") as actuator:
            writing = asyncio.create_task(actuator.write(command()))
        with pytest.raises(OutcomeUnknown, match="told to write, and then unexpected KeyError"):
            await writing
        here.drive.fails = None
        async with here.remote.actuator() as actuator:
            await actuator.write(command())


@pytest.mark.simulated(seeds=3)
async def test_what_cannot_be_written_is_known_before_the_cell_is_told(tmp_path: Path) -> None:
    async with scene(tmp_path) as here, here.remote.actuator() as actuator:
        for late in (command(seconds=0.0), command(seconds=-1.0), command(recalled=lambda: "stopped")):
            with pytest.raises(Unavailable, match="nothing was sent"):
                await actuator.write(late)
        await actuator.write(command())
        assert len(here.drive.got) == 1


def test_a_value_of_another_type_is_no_message() -> None:
    for value in (None, [1.0], {"a": 1}, b"1"):
        with pytest.raises(msgspec.ValidationError):
            ASKED(msgspec.msgpack.encode(["write", 1, "7", "press/speed", value, 1000.0]))
    told = ASKED(msgspec.msgpack.encode(Write(1, "7", "press/speed", 1, 1000.0)))
    assert isinstance(told, Write)
    assert type(told.value) is int
