"""Killing a part of a run, as SIGKILL does: nothing of it happens any more, and the rest goes on."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from plantgate.testing.process import Process
from plantgate.testing.simloop import running

pytestmark = pytest.mark.simulated


async def test_a_killed_process_takes_no_further_step_and_tidies_nothing_up() -> None:
    steps: list[object] = []

    async def child() -> None:
        try:
            while True:
                await asyncio.sleep(1)
                steps.append(time.monotonic())
        finally:
            steps.append("tidied up")

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(child())
            group.create_task(child())
            asyncio.get_running_loop().call_later(4.7, steps.append, "a timer")
            await asyncio.to_thread(steps.append, "a function")

    process = Process(main)
    await asyncio.sleep(4.5)
    assert steps.count("a function") == 1
    before = list(steps)
    process.kill()
    process.kill()
    await process.wait()
    await asyncio.sleep(100)
    assert steps == before
    assert len(before) == 9


async def test_what_an_executor_did_not_start_is_never_done_and_what_it_did_is_not_heard_of() -> None:
    happened: list[str] = []

    async def main() -> None:
        writer = ThreadPoolExecutor(1)
        while True:
            await asyncio.get_running_loop().run_in_executor(writer, happened.append, "written")
            happened.append("heard")

    process = Process(main)
    await asyncio.sleep(0.05)
    process.kill()
    counts = happened.count("written"), happened.count("heard")
    await asyncio.sleep(10)
    assert (happened.count("written"), happened.count("heard")) == counts
    assert counts[0] - counts[1] in (0, 1)


async def test_its_connections_are_reset_after_what_it_had_sent() -> None:
    got: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(100):
                got.append(chunk)
        except ConnectionResetError:
            got.append(b"reset")
        writer.close()

    async def main() -> None:
        _, writer = await asyncio.open_connection("plc", 1)
        writer.write(b"last words")
        await asyncio.Event().wait()
        writer.close()

    server = await asyncio.start_server(listen, "plc", 1)
    running().network.link("plc").split = 0
    process = Process(main)
    while not running().network.connections("plc"):  # noqa: ASYNC110  to be there just after it connected
        await asyncio.sleep(0.0001)
    await asyncio.sleep(0.0001)
    process.kill()
    await asyncio.sleep(1)
    assert got in ([b"last words", b"reset"], [b"reset"])
    server.close()


async def test_a_server_it_ran_is_gone_and_a_client_of_it_lives_on() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        await reader.read()
        writer.close()

    async def main() -> None:
        await (await asyncio.start_server(serve, "broker", 1)).serve_forever()

    process = Process(main, name="broker")
    await asyncio.sleep(0.1)
    reader, writer = await asyncio.open_connection("broker", 1)
    writer.write(b"hello\n")
    assert await reader.readline() == b"hello\n"
    process.kill()
    with pytest.raises(ConnectionResetError):
        await reader.read(1)
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("broker", 1)
    again = Process(main, name="broker")
    await asyncio.sleep(0.1)
    reader, writer = await asyncio.open_connection("broker", 1)
    writer.close()
    again.kill()


async def test_a_process_that_ends_by_itself_says_how() -> None:
    async def fine() -> None:
        await asyncio.sleep(1)

    async def fails() -> None:
        raise ValueError("on its own")

    await Process(fine).wait()
    with pytest.raises(ValueError, match="on its own"):
        await Process(fails).wait()
