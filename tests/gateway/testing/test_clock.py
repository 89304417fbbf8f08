"""The wall clock that a test sets."""

import asyncio
import time

import pytest

from plantgate.sdk import Clock
from plantgate.testing.clock import WallClock
from plantgate.testing.simloop import STARTS_AT


def test_outside_a_simulation_it_moves_only_when_told() -> None:
    clock: Clock = WallClock()
    assert clock.now() == STARTS_AT == clock.now()
    clock = WallClock(1_000)
    clock.step(2.5)
    assert clock.now() == 2_500_001_000
    clock.step(-1)
    assert clock.now() == 1_500_001_000
    clock.set(7)
    assert clock.now() == 7


@pytest.mark.simulated(seeds=1)
async def test_in_a_simulation_it_goes_with_time_and_a_step_leaves_monotonic_time_alone() -> None:
    clock, loop = WallClock(), asyncio.get_running_loop()
    await asyncio.sleep(10)
    assert clock.now() == STARTS_AT + 10_000_000_000 == time.time_ns()
    before = loop.time(), time.monotonic()
    clock.step(-3600)
    assert clock.now() == STARTS_AT - 3_590_000_000_000 == time.time_ns()
    clock.set(5)
    assert time.time_ns() == 5
    assert (loop.time(), time.monotonic()) == before
