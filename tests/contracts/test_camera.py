"""The cameras under the contract that every camera is held to: pictures in a folder, and snapshots over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from plantgate.sdk import Connector, Exhausted
from plantgate.testing.contract import CameraContract
from plantgate.testing.simloop import running
from plantgate_connectors.camera import Cameras
from tests.connectors.camera.given import cameras, packed
from tests.connectors.http.given import HOST, dialling, server  # noqa: F401  dialling is a fixture

PORT = 8080


def grey(number: int) -> bytes:
    return packed(number, (5, 4), mode="L")


@dataclass
class Shelf:
    """A folder into which a machine puts pictures."""

    path: Path
    put: int = 0

    def add(self, content: bytes) -> None:
        self.put += 1
        (self.path / f"{self.put:04d}.png").write_bytes(content)


class TestFolder(CameraContract[Shelf]):
    """Files, the newest of those that appear."""

    repeats = False

    @pytest.fixture(autouse=True)
    def _home(self, tmp_path: Path) -> None:
        self.home = tmp_path

    @asynccontextmanager
    async def device(self) -> AsyncIterator[Shelf]:
        shelf = Shelf(self.home / "in")
        shelf.path.mkdir()
        yield shelf

    def connector(self, device: Shelf, tmp_path: Path) -> Connector[Any]:
        return cameras(tmp_path, folder={"path": str(device.path), "settle_ms": 10}, grey=True)

    def show(self, device: Shelf, number: int) -> None:
        device.add(grey(number))

    def garble(self, device: Shelf) -> None:
        device.add(b"no picture")

    def away(self, device: Shelf) -> None:
        device.path.rename(self.home / "elsewhere")

    def back(self, device: Shelf) -> None:
        (self.home / "elsewhere").rename(device.path)


@dataclass
class Lens:
    """A camera with a web server."""

    shows: bytes = field(default_factory=lambda: grey(0))

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=self.shows, content_type="image/png")


class TestSnapshot(CameraContract[Lens]):
    """A URL that answers with the picture of the moment."""

    host = HOST

    def device(self) -> AbstractAsyncContextManager[Lens]:
        return self._device()

    @asynccontextmanager
    async def _device(self) -> AsyncIterator[Lens]:
        lens = Lens()
        async with server(lens.answer, PORT):
            yield lens

    def connector(self, device: Lens, tmp_path: Path) -> Connector[Any]:
        snapshot = {"url": f"http://{HOST}:{PORT}/snap", "interval_ms": 100}
        return cameras(tmp_path, snapshot=snapshot, grey=True)

    def show(self, device: Lens, number: int) -> None:
        device.shows = grey(number)

    def garble(self, device: Lens) -> None:
        device.shows = b"no picture"

    def away(self, device: Lens) -> None:
        running().network.refuse(HOST)
        running().network.reset(HOST)

    def back(self, device: Lens) -> None:
        running().network.heal(HOST)


# What only a folder promises.


def folder(tmp_path: Path, number: int) -> Cameras:
    (tmp_path / "in").mkdir()
    for each in range(number):
        (tmp_path / "in" / f"{each}.png").write_bytes(packed())
    return cameras(tmp_path, folder={"path": str(tmp_path / "in"), "take": "once", "settle_ms": 10})


@pytest.mark.simulated(seeds=5)
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


@pytest.mark.simulated(seeds=5)
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
