"""The camera's contract passes a vendor that is right, and each mistake fails the case that is named after it."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk import Connector
from plantgate.testing.contract import CameraContract, lent
from plantgate.testing.simloop import running, simulate
from tests.gateway.testing import eye


class EyeContract(CameraContract[eye.Device]):
    """For cases one by one."""

    made: type[eye.EyeCamera] = eye.EyeCamera

    def device(self) -> AbstractAsyncContextManager[eye.Device]:
        return self._device()

    @asynccontextmanager
    async def _device(self) -> AsyncIterator[eye.Device]:
        yield eye.Device()

    def connector(self, device: eye.Device, tmp_path: Path) -> Connector[Any]:
        made = type("Made", (eye.Eye,), {"seen": self.made, "device": device})
        return made(eye.EyeSettings(), lent(tmp_path))

    def show(self, device: eye.Device, number: int) -> None:
        device.show(number)

    def garble(self, device: eye.Device) -> None:
        device.shown = None

    def away(self, device: eye.Device) -> None:
        device.there = False

    def back(self, device: eye.Device) -> None:
        device.there = True


class TestEye(EyeContract):
    """Right."""


class FarContract(EyeContract):
    """Over a network."""

    host = "eye"
    afar: type[eye.FarCamera] = eye.FarCamera

    def device(self) -> AbstractAsyncContextManager[eye.Device]:
        return eye.FarDevice.running()

    def connector(self, device: eye.Device, tmp_path: Path) -> Connector[Any]:
        made = type("Made", (eye.FarEye,), {"seen": self.afar})
        return made(eye.EyeSettings(), lent(tmp_path))

    def away(self, device: eye.Device) -> None:
        running().network.refuse("eye")
        running().network.reset("eye")

    def back(self, device: eye.Device) -> None:
        running().network.heal("eye")


class TestFarEye(FarContract):
    """Right. It cannot tell a picture from none, so that promise is not asked of it."""

    async def test_what_is_no_picture_is_passed_over(self, tmp_path: Path) -> None:
        """Its device sends nothing then, and it gives up in good time: tried with the others."""


def _case(base: type[EyeContract], made: object, case: str, tmp_path: Path, seed: int = 0) -> None:
    name = "afar" if base is FarContract else "made"
    method = getattr(type("Vendor", (base,), {name: made})(), case)
    wanted = method.__code__.co_varnames[: method.__code__.co_argcount]
    arguments = {name: value for name, value in (("tmp_path", tmp_path), ("seed", seed)) if name in wanted}
    simulate(lambda: method(**arguments), seed=seed)


@pytest.mark.parametrize(
    ("mistake", "case", "says"),
    [
        (eye.QueueingCamera, "test_the_newest_is_given_and_none_waits_in_a_queue", "and 8 is what the device shows"),
        (eye.ReusingCamera, "test_pixels_stay_what_they_were", "picture 1 shows 5 by now"),
        (eye.PaddedCamera, "test_gives_what_the_device_shows_as_the_loop_wants_it", "not unsigned bytes"),
        (eye.EarlyCamera, "test_gives_what_the_device_shows_as_the_loop_wants_it", "when the gateway had it"),
        (eye.FaithfulCamera, "test_what_is_no_picture_is_passed_over", "no picture, and one was given"),
        (eye.HopefulCamera, "test_a_camera_that_is_gone_is_unavailable_and_found_again", "was not given within"),
        (eye.LeavingCamera, "test_closing_leaves_no_task_or_socket", "left behind"),
        (eye.LeavingCamera, "test_a_call_can_be_cancelled_at_any_moment", "left behind"),
    ],
)
def test_a_mistake_is_noticed(mistake: type[eye.EyeCamera], case: str, says: str, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)) as failure:
        _case(EyeContract, mistake, case, tmp_path)
    assert says in str(failure.value)


def test_a_decoders_error_that_comes_through_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a picture"):
        _case(EyeContract, eye.BluntCamera, "test_what_is_no_picture_is_passed_over", tmp_path)


@pytest.mark.parametrize(
    ("mistake", "case", "says"),
    [
        (eye.TornCamera, "test_a_connection_that_breaks_at_any_byte_gives_no_torn_picture", "picture"),
        (eye.PatientCamera, "test_a_device_that_accepts_and_says_nothing_is_given_up", "did not say so"),
        (eye.PatientCamera, "test_a_connection_that_breaks_is_unavailable", "reset by peer"),
        (eye.GullibleCamera, "test_survives_noise", "brighter than"),
    ],
)
def test_a_mistake_on_a_bad_network_is_noticed(
    mistake: type[eye.FarCamera], case: str, says: str, tmp_path: Path
) -> None:
    assert says in _failure(mistake, case, tmp_path)


def _failure(mistake: type[eye.FarCamera], case: str, tmp_path: Path) -> str:
    for seed in range(20):
        try:
            _case(FarContract, mistake, case, tmp_path / str(seed), seed)
        except (AssertionError, ValueError, EOFError, OSError, pytest.fail.Exception) as failure:
            return str(failure)
    pytest.fail(f"{case} did not notice {mistake.__name__}")
