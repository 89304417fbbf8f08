"""The simulated loop: time that jumps, order that a seed decides, and endings that are failures."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from typing import Any

import pytest

from plantgate.sdk import Deadline, SystemClock
from plantgate.testing.simloop import (
    STARTS_AT,
    Deadlock,
    LeftoverTasks,
    Livelock,
    OutOfTime,
    Unhandled,
    running,
    simulate,
)


def test_sixty_hours_pass_in_no_time() -> None:
    async def main() -> float:
        await asyncio.sleep(60 * 3600)
        return running().elapsed

    began = time.perf_counter()
    assert simulate(main) == 60 * 3600
    assert time.perf_counter() - began < 1.0


def test_every_clock_tells_simulated_time_and_is_put_back_afterwards() -> None:
    originals = (time.time, time.monotonic, time.sleep, os.urandom, random.getstate())

    async def main() -> None:
        before = (time.time_ns(), time.monotonic_ns(), time.perf_counter_ns(), asyncio.get_running_loop().time())
        await asyncio.sleep(5)
        after = (time.time_ns(), time.monotonic_ns(), time.perf_counter_ns(), asyncio.get_running_loop().time())
        assert [round(b - a, 6) for a, b in zip(before, after, strict=True)] == [5e9, 5e9, 5e9, 5.0]
        assert before[0] == STARTS_AT == SystemClock().now() - 5_000_000_000
        assert time.time() == before[0] / 1e9 + 5
        time.sleep(2)  # noqa: ASYNC251  what a blocking library would do
        assert running().elapsed == 7

    simulate(main)
    assert (time.time, time.monotonic, time.sleep, os.urandom, random.getstate()) == originals


def test_libraries_that_bound_a_clock_at_import_are_reached() -> None:
    client = pytest.importorskip("paho.mqtt.client")
    uatypes = pytest.importorskip("asyncua.ua.uatypes")
    real = uatypes.datetime

    async def main() -> None:
        now = client.time_func()
        await asyncio.sleep(3)
        assert client.time_func() - now == 3
        made = uatypes.datetime.now(UTC)
        assert made.isoformat() == "2026-01-01T00:00:03+00:00"
        assert type(made) is real
        assert isinstance(made, uatypes.datetime)
        assert type(uatypes.datetime(1601, 1, 1)) is real
        assert {real: "found"}[uatypes.datetime] == "found"

    simulate(main)
    assert uatypes.datetime is real


def test_randomness_comes_from_the_seed() -> None:
    async def main() -> tuple[object, ...]:
        return random.random(), uuid.uuid4(), os.urandom(8), random.SystemRandom().random()

    assert simulate(main, seed=1) == simulate(main, seed=1)
    assert len({draw for seed in range(3) for draw in simulate(main, seed=seed)}) == 12


async def _race() -> tuple[int, ...]:
    finished: list[int] = []

    async def runner(number: int) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        finished.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(runner(number))
    return tuple(finished)


def test_the_seed_decides_which_task_runs_first() -> None:
    assert simulate(_race, seed=7) == simulate(_race, seed=7)
    assert len({simulate(_race, seed=seed) for seed in range(40)}) > 20


def test_plain_callbacks_keep_their_order() -> None:
    async def main() -> list[int]:
        called: list[int] = []
        for number in range(20):
            asyncio.get_running_loop().call_soon(called.append, number)
        await asyncio.sleep(0)
        return called

    for seed in range(10):
        assert simulate(main, seed=seed) == list(range(20))


_HISTORY = """
import asyncio, sys
from plantgate.testing.simloop import running, simulate

async def main():
    loop = asyncio.get_running_loop()
    async def echo(reader, writer):
        while line := await reader.readline():
            writer.write(line)
        writer.close()
    async def chat(name):
        reader, writer = await asyncio.open_connection("plc", 1)
        for number in range(5):
            writer.write(f"{name} {number}\\n".encode())
            said.append(await reader.readline())
            await loop.run_in_executor(None, said.append, b"done")
        writer.close()
    said = []
    server = await asyncio.start_server(echo, "plc", 1)
    async with asyncio.TaskGroup() as group:
        for name in {"anna", "bert", "carl"} and ["anna", "bert", "carl"]:
            group.create_task(chat(name))
        idle = [group.create_task(asyncio.sleep(9)) for _ in range(50)]
        await asyncio.sleep(0.1)
        for task in set(idle):
            task.cancel()
    server.close()
    return said

for seed in (1, 2):
    async def whole():
        said = await main()
        return said, running().fingerprint(), running().elapsed
    print(simulate(whole, seed=seed))
"""


def test_the_same_seed_gives_the_same_history_in_another_process() -> None:
    def history(hash_seed: str) -> list[str]:
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", _HISTORY], env=environment, capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout.splitlines()

    first, second = history("1"), history("2")
    assert first == second
    assert first[0] != first[1]


def test_a_deadlock_is_found_and_says_when_and_who() -> None:
    async def waits_for_ever() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        await asyncio.sleep(2.5)
        async with asyncio.TaskGroup() as group:
            group.create_task(waits_for_ever(), name="the-sleeper")

    with pytest.raises(Deadlock, match=r"the-sleeper: .*waits_for_ever at .*test_simloop\.py:\d+") as caught:
        simulate(main, seed=3)
    assert caught.value.__notes__ == ["seed 3, 2.500000 simulated seconds after the start"]


def test_a_task_that_is_left_running_is_found() -> None:
    kept: list[asyncio.Task[None]] = []

    async def main() -> None:
        kept.append(asyncio.get_running_loop().create_task(asyncio.sleep(30), name="forgotten"))

    with pytest.raises(LeftoverTasks, match="forgotten"):
        simulate(main)
    assert kept[0].cancelled()
    simulate(main, grace_seconds=60)


def test_a_loop_without_a_wait_is_found() -> None:
    async def main() -> None:
        while True:  # noqa: ASYNC110  the mistake to be found
            await asyncio.sleep(0)

    with pytest.raises(Livelock):
        simulate(main)


def test_a_run_that_never_ends_is_found() -> None:
    async def main() -> None:
        heart = asyncio.get_running_loop().create_task(_beat())
        await asyncio.Event().wait()
        heart.cancel()

    async def _beat() -> None:
        while True:  # noqa: ASYNC110  a heartbeat
            await asyncio.sleep(1)

    with pytest.raises(OutOfTime, match="100 simulated seconds"):
        simulate(main, seconds_max=100)


def test_an_exception_in_a_callback_fails_the_run() -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_soon(int, "no number")
        await asyncio.sleep(1)

    with pytest.raises(Unhandled) as caught:
        simulate(main)
    assert isinstance(caught.value.__cause__, ValueError)


def test_an_exception_in_a_task_nobody_awaits_fails_the_run() -> None:
    async def fails() -> None:
        raise ValueError("unheard")

    async def main() -> None:
        asyncio.get_running_loop().create_task(fails())
        await asyncio.sleep(1)

    with pytest.raises(Unhandled, match="never retrieved"):
        simulate(main)


def test_the_error_of_main_itself_comes_first() -> None:
    async def main() -> None:
        asyncio.get_running_loop().create_task(asyncio.sleep(99))
        raise KeyError("the real trouble")

    with pytest.raises(KeyError, match="the real trouble"):
        simulate(main)


def test_executor_functions_run_in_order_and_are_heard_of_later() -> None:
    async def main() -> tuple[int, ...]:
        loop = asyncio.get_running_loop()
        ran: list[int] = []
        writer = ThreadPoolExecutor(1)
        heard: list[int] = []
        asked: list[int] = []

        async def work(number: int) -> None:
            asked.append(number)
            await loop.run_in_executor(writer, ran.append, number)
            heard.append(number)

        async with asyncio.TaskGroup() as group:
            for number in range(8):
                group.create_task(work(number))
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(writer, divmod, 1, 0)
        assert await asyncio.to_thread(sum, [1, 2]) == 3
        writer.shutdown()
        assert heard == ran == asked
        return tuple(ran)

    orders = {simulate(main, seed=seed) for seed in range(10)}
    assert len(orders) > 5
    assert all(sorted(order) == list(range(8)) for order in orders)


def test_a_cancelled_executor_call_was_either_never_made_or_made_unheard() -> None:
    async def main() -> str:
        ran: list[int] = []
        task = asyncio.create_task(asyncio.to_thread(ran.append, 1))
        await asyncio.sleep(0.0005)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(1)
        return ("made" if ran else "never made") + (", unheard" if task.cancelled() else "")

    assert {simulate(main, seed=seed) for seed in range(40)} == {"made", "made, unheard", "never made, unheard"}


def test_signals_arrive_only_when_sent() -> None:
    async def main() -> list[int]:
        got: list[int] = []
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, got.append, 15)
        running().send_signal(signal.SIGTERM)
        await asyncio.sleep(0)
        assert asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
        assert not asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
        return got

    before = signal.getsignal(signal.SIGTERM)
    assert simulate(main) == [15]
    assert signal.getsignal(signal.SIGTERM) is before


def test_timeouts_and_deadlines_work_on_simulated_time() -> None:
    async def main() -> None:
        deadline = Deadline.after(3)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(4):
                await asyncio.Event().wait()
        assert running().elapsed == 4
        assert deadline.left() == -1

    simulate(main)


def test_file_descriptors_are_refused_with_a_reason() -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        with pytest.raises(NotImplementedError, match="create_connection"):
            loop.add_reader(0, print)
        with pytest.raises(NotImplementedError, match="ssl="):
            await asyncio.open_connection("plc", 1, ssl=True)

    simulate(main)


def test_outside_a_run_there_is_no_simulated_loop() -> None:
    async def main() -> None:
        with pytest.raises(AssertionError, match="not inside"):
            running()

    asyncio.run(main())
