"""Pictures from a folder through a cell, which is a real process and may end."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from plantgate.config.model import CellSettings
from plantgate.flow.stop import Stop
from plantgate.runtime.cells.cell import Cell
from plantgate.runtime.cells.child import spawning
from plantgate.runtime.cells.orders import Orders, packed_plan
from plantgate.runtime.cells.remote import Remote
from plantgate.sdk import Unavailable
from plantgate.testing.context import RecordedLog
from plantgate.testing.contract import lent
from plantgate_connectors.camera import Cameras
from tests.connectors.camera.given import cameras, noise

pytestmark = pytest.mark.integration


def test_a_picture_is_the_same_from_a_cell_and_a_killed_one_is_followed_by_another(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    here = cameras(tmp_path / "here", folder={"path": str(folder), "settle_ms": 10})

    async def run() -> None:
        stop = Stop()
        cell = Cell(
            "hall",
            CellSettings(connections=("eye",)),
            spawn=spawning(level="info", text=True),
            log=RecordedLog(),
            news=lambda _: None,
        )
        orders = Orders("eye", "loop", str(tmp_path), str(tmp_path), packed_plan(Cameras, here.settings))
        there = Remote(here.settings, lent(tmp_path), cell, orders)
        async with asyncio.TaskGroup() as group:
            group.create_task(cell.keep(stop))
            async with here.camera() as ours, there.camera() as camera:
                began = asyncio.get_running_loop().time()
                for number in range(3):
                    (folder / f"{number}.png").write_bytes(noise("PNG", (640 - number, 480)))
                    near, far = await ours.frame(), await camera.frame()
                    assert (near.name, near.context, near.time) == (far.name, far.context, far.time)
                    assert (near.pixels.shape, near.pixels.tobytes()) == (far.pixels.shape, far.pixels.tobytes())
                    assert began <= far.at <= asyncio.get_running_loop().time(), "on the clock of both"
                os.kill(cell.status().pid, signal.SIGKILL)
                with pytest.raises(Unavailable, match="cell hall ended by SIGKILL"):
                    await camera.frame()
            async with there.camera() as camera:
                (folder / "after.png").write_bytes(noise("PNG", (640, 480)))
                while (await camera.frame()).name != "after.png":
                    pass
            stop.set()

    asyncio.run(run())
