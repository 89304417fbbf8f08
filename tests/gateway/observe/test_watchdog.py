import asyncio
import time

import pytest

from plantgate.observe.watchdog import STALLED, Watchdog


def test_a_loop_that_stands_still_is_noticed_from_outside(capfd: pytest.CaptureFixture[str]) -> None:
    left: list[int] = []
    watchdog = Watchdog(stall_seconds=0.05, exit_seconds=0.2, leave=left.append)

    async def main() -> None:
        async with watchdog.watching():
            await asyncio.sleep(0)
            time.sleep(0.4)  # noqa: ASYNC251  the stall itself
            await asyncio.sleep(0.05)

    asyncio.run(main())
    assert watchdog.stalls == 1
    assert left[0] == STALLED
    assert "test_watchdog.py" in capfd.readouterr().err, "the report names the line that blocks"


def test_a_loop_that_turns_is_left_alone() -> None:
    watchdog = Watchdog(stall_seconds=5.0)

    async def main() -> None:
        async with watchdog.watching():
            await asyncio.sleep(0.01)

    asyncio.run(main())
    assert watchdog.stalls == 0
