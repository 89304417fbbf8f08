"""What every camera must do, as test cases against a simulated device. The docstring of a case is its promise."""

import asyncio
import random
from pathlib import Path

import pytest

from plantgate.sdk import Frame, Unavailable
from plantgate.testing.contract_camera_faults import CameraUnderFaults
from plantgate.testing.seeing import D, shade
from plantgate.testing.simloop import running


@pytest.mark.simulated
class CameraContract(CameraUnderFaults[D]):
    """Inherit, and override what `CameraUnderTest` leaves open. Each case runs once per seed."""

    async def test_gives_what_the_device_shows_as_the_loop_wants_it(self, tmp_path: Path) -> None:
        """Unsigned bytes, rows x columns or x 3, in one piece; `at` is when the gateway had it.

        Look at: rows with padding, pixels that are no bytes, and a time that is the camera's or the request's.
        """
        async with self.device() as device, self.connector(device, tmp_path).camera() as camera:
            asking = asyncio.ensure_future(self.until(camera, 1))
            await asyncio.sleep(1.0)
            began = running().time()
            self.show(device, 1)
            frame = await asking
            pixels = frame.pixels
            assert (pixels.format, pixels.c_contiguous) == ("B", True), "not unsigned bytes in one piece"
            rows_columns = tuple(pixels.shape or ())
            assert len(rows_columns) == 2 or rows_columns[2:] == (3,), f"pixels of the shape {rows_columns}"
            assert set(pixels.cast("B")) == {1}
            assert frame.name, "a picture without a name"
            assert began <= frame.at <= running().time(), "`at` is not when the gateway had it"

    async def test_the_newest_is_given_and_none_waits_in_a_queue(self, tmp_path: Path) -> None:
        """What nobody took in time is gone: after a while of not asking, the next picture is the one of now.

        Look at: queues, buffers of a library, and frames that were fetched ahead.
        """
        async with self.device() as device, self.connector(device, tmp_path).camera() as camera:
            self.show(device, 1)
            await self.until(camera, 1)
            for number in range(2, 9):
                self.show(device, number)
                await asyncio.sleep(2.0)
            frame = await self.next(camera)
            assert shade(frame) == 8, f"picture {shade(frame)} was given, and 8 is what the device shows"

    async def test_pixels_stay_what_they_were(self, tmp_path: Path) -> None:
        """A picture is passed on by reference: what is given later changes nothing in it.

        Look at: a buffer that is used again for the next picture.
        """
        async with self.device() as device, self.connector(device, tmp_path).camera() as camera:
            kept: list[tuple[int, Frame]] = []
            for number in range(1, 6):
                self.show(device, number)
                kept.append((number, await self.until(camera, number)))
            for number, frame in kept:
                assert set(frame.pixels.cast("B")) == {number}, f"picture {number} shows {shade(frame)} by now"

    async def test_what_is_no_picture_is_passed_over(self, tmp_path: Path) -> None:
        """Bytes that are no picture end no session and reach no model: the next picture is given.

        Look at: errors of the decoder, and the last good picture given once more for a bad one.
        """
        async with self.device() as device, self.connector(device, tmp_path).camera() as camera:
            self.show(device, 1)
            await self.until(camera, 1)
            self.garble(device)
            await asyncio.sleep(2.0)
            asking = asyncio.ensure_future(camera.frame())
            await asyncio.sleep(5.0)
            if asking.done():
                pytest.fail(f"the device shows no picture, and one was given: {asking.result().name}")
            self.show(device, 2)
            async with asyncio.timeout(self.patience_seconds):
                assert shade(await asking) == 2

    async def test_a_camera_that_is_gone_is_unavailable_and_found_again(self, tmp_path: Path) -> None:
        """In good time, and with a word; the next session gives pictures.

        Look at: waits without an end, and errors of the library and the operating system that come through.
        """
        async with self.device() as device:
            connector = self.connector(device, tmp_path)
            async with connector.camera() as camera:
                self.show(device, 1)
                await self.until(camera, 1)
                self.away(device)
                with pytest.raises(Unavailable) as gone:
                    await self.until(camera, 255)
                assert str(gone.value), "`Unavailable` without a word: say what failed, and where"
            self.back(device)
            async with self.opened(connector) as camera:
                self.show(device, 2)
                await self.until(camera, 2)

    async def test_a_call_can_be_cancelled_at_any_moment(self, tmp_path: Path, seed: object) -> None:
        """Whoever stops waiting leaves nothing behind, and the next call works.

        Look at: requests that stay half read, threads that hold a picture, and locks.
        """
        luck = random.Random(f"{seed}/cancel")  # noqa: S311  chooses moments
        async with self.device() as device:
            before: set[asyncio.Task[object]] = set(running().unfinished())
            async with self.connector(device, tmp_path).camera() as camera:
                for number in range(1, 9):
                    self.show(device, number)
                    asking = asyncio.ensure_future(camera.frame())
                    await asyncio.sleep(luck.choice((0.0, luck.uniform(0.0, 0.005), luck.uniform(0.0, 0.2))))
                    asking.cancel()
                    await asyncio.wait([asking])
                    assert asking.cancelled() or asking.exception() is None
                self.show(device, 100)
                await self.until(camera, 100)
            await self.nothing_left(before)

    async def test_closing_leaves_no_task_or_socket(self, tmp_path: Path) -> None:
        """A session that ends takes its tasks and connections with it.

        Look at: tasks outside a `TaskGroup`, and streams that are not closed in a `finally`.
        """
        async with self.device() as device:
            before: set[asyncio.Task[object]] = set(running().unfinished())
            connector = self.connector(device, tmp_path)
            for number in range(1, 4):
                async with connector.camera() as camera:
                    self.show(device, number)
                    await self.until(camera, number)
            await self.nothing_left(before)
