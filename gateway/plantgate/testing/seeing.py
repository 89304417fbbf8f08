"""What the cases of a camera's contract share: a device that shows numbered pictures, a connector, ways of asking."""

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import pytest

from plantgate.sdk import Camera, Connector, Frame, Unavailable
from plantgate.testing.event_loop import where_is
from plantgate.testing.simloop import running

D = TypeVar("D")


class CameraUnderTest(Generic[D]):
    """Override what is abstract.

    The `number`th picture is one that has `number` for every pixel, in a format that loses nothing.
    """

    host: ClassVar[str] = ""
    """The host the connector dials on the simulated network; empty where there is no network."""
    repeats: ClassVar[bool] = True
    """False for a camera that gives each picture once and then waits for another."""
    patience_seconds: ClassVar[float] = 60.0
    """Simulated time within which every call must have ended."""

    @abstractmethod
    def device(self) -> AbstractAsyncContextManager[D]:
        """The simulated camera, running while the context is. It shows nothing yet, or picture 0."""

    @abstractmethod
    def connector(self, device: D, tmp_path: Path) -> Connector[Any]:
        """The connector, set up for `device`; `lent(tmp_path)` makes a context."""

    @abstractmethod
    def show(self, device: D, number: int) -> None:
        """From now on the device shows this picture, 1 to 255."""

    @abstractmethod
    def garble(self, device: D) -> None:
        """From now on what the device shows is no picture."""

    @abstractmethod
    def away(self, device: D) -> None:
        """The device is gone."""

    @abstractmethod
    def back(self, device: D) -> None:
        """And there again."""

    # How they are done.

    async def next(self, camera: Camera) -> Frame:
        """The next picture, in good time."""
        try:
            async with asyncio.timeout(self.patience_seconds):
                return await camera.frame()
        except TimeoutError:
            pytest.fail(f"no picture, and no word, for {self.patience_seconds:.0f} s")

    async def until(self, camera: Camera, number: int) -> Frame:
        """This picture; older ones may come before it, newer ones there are none."""
        last = -1
        try:
            async with asyncio.timeout(self.patience_seconds):
                while True:
                    frame = await camera.frame()
                    assert shade(frame) >= last, f"picture {shade(frame)} after {last}: an old one"
                    assert self.repeats or shade(frame) != last, f"picture {last} was given twice"
                    last = shade(frame)
                    if last == number:
                        return frame
        except TimeoutError:
            pytest.fail(f"picture {number} was not given within {self.patience_seconds:.0f} s")

    @asynccontextmanager
    async def opened(self, connector: Connector[Any]) -> AsyncIterator[Camera]:
        """A session; one that cannot be opened yet is tried again."""
        async with AsyncExitStack() as session:
            yield await self._opened(connector, session)

    async def _opened(self, connector: Connector[Any], session: AsyncExitStack) -> Camera:
        try:
            async with asyncio.timeout(self.patience_seconds):
                while True:
                    try:
                        return await session.enter_async_context(connector.camera())
                    except Unavailable:
                        await asyncio.sleep(1.0)
        except TimeoutError:
            pytest.fail("after the trouble no session opens")

    async def nothing_left(self, before: "set[asyncio.Task[Any]]") -> None:
        """Every task but those of `before` has ended, and every connection is closed."""
        await asyncio.sleep(10.0)
        left = [task for task in running().unfinished() if task not in before]
        assert not left, "left behind: " + "; ".join(map(where_is, left))
        if self.host:
            assert running().network.connections(self.host) == 0, "a connection was left open"


def shade(frame: Frame) -> int:
    """Which picture it is: the number that its first pixel has."""
    return frame.pixels.tobytes()[0]
