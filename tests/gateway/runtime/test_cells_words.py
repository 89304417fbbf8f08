"""What a connector in a cell says, whatever it is, ends no cell."""

import asyncio
from pathlib import Path

import pytest

from plantgate.runtime.cells.inside import Inside
from plantgate.sdk import Unavailable
from tests.gateway.runtime.celled import Nursery
from tests.gateway.runtime.test_cells_camera import Watching, picture, watching


@pytest.mark.simulated(seeds=3)
async def test_half_a_character_in_what_a_connector_says_ends_no_cell(tmp_path: Path) -> None:
    """Names of files may hold such; the whole cell ended, and so did the next one."""
    nursery = Nursery()
    async with watching(tmp_path, nursery) as there:
        async with there.camera() as camera:
            Watching.handed.put_nowait(picture("\udcff.png", 2, 2, context={"product": "\udcff"}))
            came = await camera.frame()
            assert (came.name, came.context) == ("\\udcff.png", {"product": "\\udcff"})
            Watching.handed.put_nowait(Unavailable("eye: \udcff.png is no picture"))
            with pytest.raises(Unavailable, match=r"eye: \\udcff\.png is no picture"):
                await camera.frame()
        async with there.camera() as camera:
            Watching.handed.put_nowait(picture("again", 2, 2))
            assert (await camera.frame()).name == "again"
    assert nursery.born == 1


@pytest.mark.simulated(seeds=3)
async def test_a_log_line_that_cannot_be_told_as_it_is_ends_no_cell() -> None:
    inside = Inside(context=lambda orders: pytest.fail("nobody is built"), news=lambda: [{"event": "\udcff"}])
    loop, beats = asyncio.get_running_loop(), asyncio.Event()

    class Far(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            beats.set()

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

    far = Far()
    server = await loop.create_server(lambda: far, "gateway", 1)
    serving = asyncio.create_task(inside.serve(lambda wire: loop.create_connection(lambda: wire, "gateway", 1)))
    async with asyncio.timeout(10.0):
        await beats.wait()
    far.transport.close()
    server.close()
    await serving
