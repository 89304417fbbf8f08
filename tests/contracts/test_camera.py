"""What the door of a camera promises, held against pictures in a folder."""

import asyncio
from pathlib import Path

import pytest

from plantgate.sdk import Exhausted
from plantgate_connectors.camera import Cameras
from tests.connectors.camera.given import cameras, packed

pytestmark = pytest.mark.simulated(seeds=5)


def folder(tmp_path: Path, number: int) -> Cameras:
    (tmp_path / "in").mkdir()
    for each in range(number):
        (tmp_path / "in" / f"{each}.png").write_bytes(packed())
    return cameras(tmp_path, folder={"path": str(tmp_path / "in"), "take": "once", "settle_ms": 10})


async def test_a_picture_is_given_once_with_the_time_at_which_it_was_there(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    began, names = loop.time(), []
    async with folder(tmp_path, 5).camera() as camera:
        for _ in range(5):
            frame = await camera.frame()
            assert began <= frame.at <= loop.time()
            assert (frame.pixels.format, frame.pixels.shape, frame.pixels.c_contiguous) == ("B", (3, 4, 3), True)
            names.append(frame.name)
    assert names == [f"{each}.png" for each in range(5)]


async def test_a_camera_that_has_no_more_says_so_as_often_as_it_is_asked(tmp_path: Path) -> None:
    connector = folder(tmp_path, 1)
    for _ in range(2):
        async with connector.camera() as camera:
            for _ in range(2):
                try:
                    await camera.frame()
                except Exhausted:
                    continue
            with pytest.raises(Exhausted):
                await camera.frame()


async def test_a_picture_that_nobody_waited_for_to_its_end_is_not_lost(tmp_path: Path) -> None:
    names = []
    async with folder(tmp_path, 6).camera() as camera:
        for patience in (0, 1, 2, 5, 10, 20):
            asking = asyncio.ensure_future(camera.frame())
            for _ in range(patience):
                await asyncio.sleep(0.001)
            asking.cancel()
            await asyncio.wait([asking])
            if not asking.cancelled():
                names.append(asking.result().name)
        while len(names) < 6:
            names.append((await camera.frame()).name)
    assert names == [f"{each}.png" for each in range(6)]
