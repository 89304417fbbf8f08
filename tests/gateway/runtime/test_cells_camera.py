"""A camera in a cell gives what it sees, byte for byte, one picture at a time, and the newest."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from plantgate.runtime.cells import hosted
from plantgate.runtime.cells.link import Link
from plantgate.runtime.cells.messages import Role, Shown
from plantgate.sdk import (
    Camera,
    Connector,
    Exhausted,
    Frame,
    Settings,
    Unavailable,
)
from plantgate.testing.contract import lent
from plantgate.testing.simloop import running
from tests.gateway.runtime.celled import Nothing, Nursery, a_cell, remote
from tests.gateway.runtime.test_cells_wire import Far, opened, talking


class Watching(Connector[Nothing]):
    """Gives what it is handed, and waits while there is nothing."""

    Settings: ClassVar[type[Settings]] = Nothing
    handed: ClassVar["asyncio.Queue[Frame | Exception]"]
    asked: ClassVar[int] = 0

    @asynccontextmanager
    async def camera(self) -> AsyncIterator[Camera]:
        self.context.standing.up()
        yield self

    async def frame(self) -> Frame:
        Watching.asked += 1
        handed = await self.handed.get()
        if isinstance(handed, Exception):
            raise handed
        return handed


def picture(name: str, *shape: int, **more: object) -> Frame:
    size = 1
    for side in shape:
        size *= side
    pixels = memoryview(bytes(place % 251 for place in range(size))).cast("B", shape)
    return Frame(name, pixels, running().time() - 0.25, **more)  # type: ignore[arg-type]


@asynccontextmanager
async def watching(folder: Path, nursery: Nursery) -> AsyncIterator[Connector[Nothing]]:
    Watching.handed, Watching.asked = asyncio.Queue(), 0
    async with a_cell(nursery) as cell:
        yield remote(cell, lent(folder), Watching, Nothing())


@pytest.mark.simulated(seeds=3)
async def test_a_picture_arrives_as_it_is(tmp_path: Path) -> None:
    async with watching(tmp_path, Nursery()) as there, there.camera() as camera:
        for sent in (
            picture("grey", 3, 4),
            picture("colour", 2, 5, 3, time=7, context={"product": "board 7"}),
            picture("large", 700, 1000, 3),
        ):
            Watching.handed.put_nowait(sent)
            came = await camera.frame()
            assert (came.name, came.at, came.time, came.context) == (sent.name, sent.at, sent.time, sent.context)
            assert (came.pixels.shape, came.pixels.format) == (sent.pixels.shape, "B")
            assert came.pixels.tobytes() == sent.pixels.tobytes()


@pytest.mark.simulated(seeds=3)
async def test_a_camera_is_asked_for_one_picture_at_a_time_and_for_none_that_nobody_wants(tmp_path: Path) -> None:
    async with watching(tmp_path, Nursery()) as there, there.camera() as camera:
        for number in range(5):
            Watching.handed.put_nowait(picture(str(number), 2, 2))
        await asyncio.sleep(10.0)
        assert Watching.asked == 0
        assert (await camera.frame()).name == "0"
        await asyncio.sleep(10.0)
        assert Watching.asked == 1


@pytest.mark.simulated(seeds=3)
async def test_a_picture_that_came_when_nobody_waited_any_more_is_gone_and_one_that_comes_later_is_not(
    tmp_path: Path,
) -> None:
    async with watching(tmp_path, Nursery()) as there, there.camera() as camera:
        for later in (False, True):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.0):
                    await camera.frame()
            if not later:
                Watching.handed.put_nowait(picture("old", 2, 2))
                await asyncio.sleep(1.0)
            Watching.handed.put_nowait(picture("new", 2, 2))
            assert (await camera.frame()).name == "new"


@pytest.mark.simulated(seeds=3)
async def test_what_a_camera_raises_there_it_raises_here(tmp_path: Path) -> None:
    async with watching(tmp_path, Nursery()) as there:
        async with there.camera() as camera:
            Watching.handed.put_nowait(Exhausted("no more"))
            with pytest.raises(Exhausted, match="no more"):
                await camera.frame()
            Watching.handed.put_nowait(Unavailable("eye: dark"))
            with pytest.raises(Unavailable, match="eye: dark"):
                await camera.frame()
        async with there.camera() as camera:
            Watching.handed.put_nowait(picture("again", 2, 2))
            assert (await camera.frame()).name == "again"


@pytest.mark.simulated(seeds=3)
async def test_the_end_of_a_cell_is_the_end_of_its_cameras_session_and_of_nothing_else(tmp_path: Path) -> None:
    nursery = Nursery()
    async with watching(tmp_path, nursery) as there:
        async with there.camera() as camera:
            running().call_later(1.0, lambda: nursery.alive["hall"].process.kill())
            with pytest.raises(Unavailable, match="cell hall ended by SIGKILL"):
                await camera.frame()
        Watching.handed = asyncio.Queue()
        async with there.camera() as camera:
            Watching.handed.put_nowait(picture("again", 2, 2))
            assert (await camera.frame()).name == "again"


@pytest.mark.simulated(seeds=1)
async def test_a_picture_too_large_to_cross_is_said_and_the_cell_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosted, "PICTURE_BYTES_MAX", 500)
    nursery = Nursery()
    async with watching(tmp_path, nursery) as there:
        async with there.camera() as camera:
            Watching.handed.put_nowait(picture("huge", 20, 30))
            with pytest.raises(Unavailable, match="huge: a picture of 600 bytes is too large to leave the cell"):
                await camera.frame()
        async with there.camera() as camera:
            Watching.handed.put_nowait(picture("small", 20, 20))
            assert (await camera.frame()).name == "small"
    assert nursery.born == 1


@pytest.mark.parametrize(
    ("shape", "pixels"), [((2, 3), b"12345"), ((), b"12"), ((0, 5), b""), ((-2, -3), b"123456"), ((2**40, 2**40), b"1")]
)
@pytest.mark.simulated(seeds=1)
async def test_pixels_that_are_no_picture_are_a_fault_of_the_cell(shape: tuple[int, ...], pixels: bytes) -> None:
    async def meet(link: Link, far: Far) -> None:
        with link.session(1, Role.CAMERA) as session:
            await opened(session, far)
            looking = asyncio.create_task(session.frame())
            await asyncio.sleep(0.1)
            await far.answers(Shown(session.number, "x", shape, pixels, 1.0, None, {}))
            assert "gave a picture that is none" in link.wire.over.result()
            link.end("cell hall is gone")
            with pytest.raises(Unavailable, match="cell hall is gone"):
                await looking

    await talking(meet)


@pytest.mark.simulated(seeds=3)
async def test_a_wait_of_a_cameras_own_that_was_cancelled_ends_its_session_and_not_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Libraries cancel their own futures; the loop then waited for ever for a picture."""

    async def cancelled(self: Watching) -> Frame:
        raise asyncio.CancelledError("its library gave up")

    async with watching(tmp_path, Nursery()) as there:
        with monkeypatch.context() as patched:
            patched.setattr(Watching, "frame", cancelled)
            async with there.camera() as camera:
                with pytest.raises(Unavailable, match="unexpected CancelledError: its library gave up"):
                    async with asyncio.timeout(60.0):
                        await camera.frame()
        async with there.camera() as camera:
            Watching.handed.put_nowait(picture("again", 2, 2))
            assert (await camera.frame()).name == "again"


@pytest.mark.simulated(seeds=3)
async def test_a_part_of_a_larger_picture_crosses_as_it_does_outside(tmp_path: Path) -> None:
    async with watching(tmp_path, Nursery()) as there, there.camera() as camera:
        whole = picture("whole", 6, 4)
        Watching.handed.put_nowait(Frame("rows", whole.pixels[::2], whole.at))
        came = await camera.frame()
        assert (came.pixels.shape, came.pixels.tolist()) == ((3, 4), whole.pixels.tolist()[::2])


@pytest.mark.simulated(seeds=1)
async def test_a_picture_of_a_camera_for_boards_crosses(tmp_path: Path) -> None:
    """Twelve million pixels in colour: half of what a frame may have was too little."""
    async with watching(tmp_path, Nursery()) as there, there.camera() as camera:
        board = memoryview(bytes(3000 * 4000 * 3)).cast("B", (3000, 4000, 3))
        Watching.handed.put_nowait(Frame("board", board, running().time()))
        assert (await camera.frame()).pixels.shape == (3000, 4000, 3)
