"""Any bytes at all: frames that were sent, or none."""

import contextlib

import pytest

from plantgate_connectors.modbus.mbap import Malformed, Mbap
from plantgate_connectors.modbus.rtu import Rtu, crc
from tests.fuzz.modbus_oracle import judge, seeds, spoilt


def test_right_answers_are_frames() -> None:
    assert {judge(stream) for stream in seeds()} >= {"frames rtu nothing", "malformed rtu frames"}


def test_spoilt_answers_are_judged_without_a_surprise() -> None:
    ended = [judge(stream) for stream in spoilt(5_000, seed=1)]
    assert {word for each in set(ended) for word in each.split()} >= {"frames", "malformed", "rtu", "nothing"}


def test_the_checksum_of_the_standards_example() -> None:
    assert crc(bytes.fromhex("020741 12".replace(" ", ""))[:2]) == bytes.fromhex("4112")


@pytest.mark.parametrize("framing", [Mbap, Rtu])
def test_a_mebibyte_of_noise_is_not_held(framing: type[Mbap] | type[Rtu]) -> None:
    held = framing()
    for _ in range(16):
        with contextlib.suppress(Malformed):
            held.feed((b"\x03\x03\xfa" + bytes(27)) * 2_200)
    assert held.forget() <= 512
