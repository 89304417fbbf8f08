import asyncio

import pytest

from plantgate.flow.stop import Stop


def test_a_wait_ends_when_asked_to_stop() -> None:
    async def main() -> object:
        stop = Stop()
        asyncio.get_running_loop().call_soon(stop.set)
        return await stop.unless(lambda: asyncio.sleep(3600, "slept"))

    assert asyncio.run(main()) is None


def test_a_wait_that_is_not_stopped_gives_its_result() -> None:
    async def main() -> object:
        return await Stop().unless(lambda: asyncio.sleep(0, "slept"))

    assert asyncio.run(main()) == "slept"


def test_after_the_stop_nothing_is_waited_for() -> None:
    async def main() -> object:
        stop = Stop()
        stop.set()
        return await stop.unless(lambda: asyncio.sleep(0, "slept"))

    assert asyncio.run(main()) is None


def test_a_timeout_of_the_work_itself_passes_through() -> None:
    async def late() -> None:
        async with asyncio.timeout(0):
            await asyncio.sleep(3600)

    async def main() -> None:
        await Stop().unless(late)

    with pytest.raises(TimeoutError):
        asyncio.run(main())


def test_cancellation_from_outside_passes_through() -> None:
    async def main() -> bool:
        stop = Stop()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(stop.sleep(3600))
            await asyncio.sleep(0)
            task.cancel()
        return task.cancelled()

    assert asyncio.run(main())
