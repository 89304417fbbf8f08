"""Run asyncio code in simulated time, in an order that a seed decides; nothing real is waited for.

    def test_a_value_arrives():
        for seed in range(100):
            simulate(journey, seed=seed)

Runs unmodified asyncio code on Python 3.11 to 3.13: tasks, timers, streams, transports and executors. The same seed
gives the same history in every process; another seed gives another order of the tasks that could run, other delays and
other cuts of the byte stream. 60 simulated hours cost what their events cost.

What it cannot show: TLS handshakes, threads that were not started through ``run_in_executor``, real scheduling delay.
"""

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from plantgate.testing.event_loop import STARTS_AT, SimLoop, where_is
from plantgate.testing.failures import Deadlock, LeftoverTasks, Livelock, OutOfTime, SimulationFailure, Unhandled
from plantgate.testing.simtime import simulated_time

T = TypeVar("T")

__all__ = [
    "STARTS_AT",
    "Deadlock",
    "LeftoverTasks",
    "Livelock",
    "OutOfTime",
    "SimLoop",
    "SimulationFailure",
    "Unhandled",
    "running",
    "simulate",
]


def simulate(
    main: Callable[[], Coroutine[Any, Any, T]],
    *,
    seed: object = 0,
    seconds_max: float = 30 * 24 * 3600.0,
    grace_seconds: float = 1.0,
) -> T:
    """Run `main` in simulated time, and return what it returns.

    `seconds_max` bounds the simulated time. When `main` has returned, what it started has `grace_seconds` (simulated)
    to end: long enough for a closed connection to be noticed at its other end.

    Raises what `main` raises, `Deadlock`, `Livelock`, `OutOfTime`, `LeftoverTasks`, or `Unhandled`; each carries a note
    with the seed and the time.
    """
    loop = SimLoop(seed, seconds_max=seconds_max)
    collecting = gc.isenabled()
    with simulated_time(loop, seed):
        gc.disable()  # finalizers run where the loop says, not where the allocator happens to be
        try:
            whole: asyncio.Task[T] = loop.create_task(_whole(main, loop, grace_seconds), name="simulation")
            return loop.run_until_complete(whole)
        except BaseException as error:
            error.add_note(f"seed {seed}, {loop.elapsed:.6f} simulated seconds after the start")
            raise
        finally:
            _bury(loop)
            if collecting:
                gc.enable()


def running() -> "SimLoop":
    """The simulated loop we are on: its network, its seed, its history."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimLoop), "not inside simulate()"
    return loop


async def _whole(main: Callable[[], Coroutine[Any, Any, T]], loop: SimLoop, grace_seconds: float) -> T:
    result = await main()
    me = asyncio.current_task()
    ends = loop.time() + grace_seconds
    while (left := [task for task in loop.unfinished() if task is not me]) and loop.time() < ends:
        await asyncio.wait(left, timeout=ends - loop.time())
    if left:
        raise LeftoverTasks("still running at the end:\n" + "\n".join(f"  {where_is(task)}" for task in left))
    del left
    gc.collect(0)  # so that a failed task nobody awaited is heard of; the run's own objects are all young
    if loop.unhandled:
        context = loop.unhandled[0]
        raise Unhandled(f"{context.get('message')} ({len(loop.unhandled)} in all)") from context.get("exception")
    return result


def _bury(loop: SimLoop) -> None:
    """Cancel and close what is left, so that nothing of this run reaches the next."""
    try:
        loop.network.collapse()
        loop.resurrect()
        for _ in range(3):
            left = loop.unfinished()
            if not left:
                break
            for task in left:
                task.cancel()
            loop.allow(3600.0)
            try:
                loop.run_until_complete(asyncio.wait(left))
            except SimulationFailure:
                continue
        for task in loop.unfinished():
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001  it was reported already
        loop.run_until_complete(loop.shutdown_asyncgens())
    except SimulationFailure:
        pass
    finally:
        loop.close()
