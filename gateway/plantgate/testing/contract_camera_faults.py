"""What every camera must do while the line to the device misbehaves. The docstring of a case is its promise."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk import Connector, Unavailable
from plantgate.testing.seeing import CameraUnderTest, D, shade
from plantgate.testing.simloop import running


class CameraUnderFaults(CameraUnderTest[D]):
    """The cases that need a `host`: its network is cut, noisy, silent."""

    @pytest.mark.bad_network
    async def test_a_connection_that_breaks_is_unavailable(self, tmp_path: Path) -> None:
        """Reset, cut, or swallowing what is sent: `Unavailable`, in good time, and the next session gives pictures.

        Look at: a request or stream without a time limit, and errors of the library that come through.
        """
        network = running().network
        for fault in (network.reset, network.lose, network.cut, network.mute):
            async with self.device() as device:
                connector = self.connector(device, tmp_path / fault.__name__)
                async with connector.camera() as camera:
                    self.show(device, 1)
                    await self.until(camera, 1)
                    network.refuse(self.host)  # or it could be connected again before anybody has seen anything
                    fault(self.host)
                    with pytest.raises(Unavailable) as gone:
                        await self.until(camera, 255)
                    assert str(gone.value), "`Unavailable` without a word: say what failed, and where"
                network.heal(self.host)
                await self._works(connector, device)

    @pytest.mark.bad_network
    async def test_a_connection_that_breaks_at_any_byte_gives_no_torn_picture(
        self, tmp_path: Path, seed: object
    ) -> None:
        """Cut within a picture: what is given is whole, the shown one, or `Unavailable`.

        Look at: a body that ends early and is unpacked as far as it goes.
        """
        luck = random.Random(f"{seed}/bytes")  # noqa: S311  chooses places
        for number in range(12):
            async with self.device() as device:
                connector = self.connector(device, tmp_path / str(number))
                link = running().network.link(self.host)
                link.breaks_after_bytes = round(10 ** luck.uniform(0.0, 3.0))
                self.show(device, 7)
                try:
                    async with connector.camera() as camera:
                        for _ in range(50):
                            frame = await self.next(camera)
                            shown = set(frame.pixels.cast("B"))
                            assert shown in ({0}, {7}), f"a torn picture, of {sorted(shown)}"
                except Unavailable:
                    pass
                link.breaks_after_bytes = None
                await self._works(connector, device)

    @pytest.mark.bad_network
    async def test_survives_noise(self, tmp_path: Path, seed: object) -> None:
        """Whatever bytes come: a picture, or `Unavailable`, never another error; afterwards all is well.

        Look at: exceptions of your parser and decoder, and waits for bytes that a damaged length promised.
        """
        luck = random.Random(f"{seed}/noise")  # noqa: S311  chooses how much
        link = running().network.link(self.host)
        link.noise_from_dialler = False
        for number in range(8):
            async with self.device() as device:
                connector = self.connector(device, tmp_path / str(number))
                link.noise = luck.choice((0.5, 1.0))
                try:
                    async with connector.camera() as camera, asyncio.timeout(self.patience_seconds):
                        while True:
                            await camera.frame()
                except (Unavailable, TimeoutError):
                    pass
                link.noise = 0.0
                await self._works(connector, device)

    @pytest.mark.bad_network
    async def test_a_device_that_accepts_and_says_nothing_is_given_up(self, tmp_path: Path) -> None:
        """Connected is not answered: `Unavailable`, in good time.

        Look at: the deadline of the first exchange after connecting.
        """
        running().network.mute(self.host)
        async with self.device() as device:
            connector = self.connector(device, tmp_path)
            try:
                async with asyncio.timeout(self.patience_seconds), connector.camera() as camera:
                    frame = await camera.frame()
                pytest.fail(f"nobody answered, and a picture was given: {frame.name}")
            except Unavailable:
                pass
            except TimeoutError:
                pytest.fail(f"the device was silent for {self.patience_seconds:.0f} s, and the camera did not say so")
            running().network.heal(self.host)
            await self._works(connector, device)

    # How they are done.

    async def _works(self, connector: Connector[Any], device: D) -> None:
        async with self.opened(connector) as camera:
            self.show(device, 99)
            frame = await self.until(camera, 99)
            assert shade(frame) == 99
