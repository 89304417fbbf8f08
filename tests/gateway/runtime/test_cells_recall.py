"""A process that stands still between reading a command and sending it: what was said meanwhile counts all the same."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from plantgate.config.model import CellSettings
from plantgate.flow.stop import Stop
from plantgate.runtime.cells.cell import Cell
from plantgate.runtime.cells.child import spawning
from plantgate.sdk import Actuator, Command, Deadline, Unavailable
from plantgate.testing.context import RecordedLog
from plantgate.testing.contract import lent
from tests.gateway.runtime.celled import remote
from tests.gateway.runtime.frozen import Frozen, NoSettings

ROOT = Path(__file__).parents[3]


@asynccontextmanager
async def frozen(folder: Path) -> AsyncIterator[tuple[Cell, Actuator, Path]]:
    stop, settings = Stop(), CellSettings(connections=("press",), stall_seconds=60.0)
    spawn = spawning(level="info", text=True)
    cell = Cell("hall", settings, spawn=spawn, log=RecordedLog(), news=lambda _: None)
    living = asyncio.create_task(cell.keep(stop))
    try:
        connector = remote(cell, lent(folder), Frozen, NoSettings())
        async with connector.actuator() as actuator:
            yield cell, actuator, connector.context.folder
    finally:
        stop.set()
        await living


async def until(so: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not so():  # noqa: ASYNC110  a file tells nobody
            await asyncio.sleep(0.01)


def stands_still(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.parametrize("what", ["a stop", "given up", "nothing"])
def test_a_process_that_stood_still_hears_what_was_said_before_it_sends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    stopped, told = "", asyncio.Event()

    def recalled() -> str:
        if stopped:
            told.set()
        return stopped

    async def main() -> None:
        nonlocal stopped
        async with frozen(tmp_path) as (cell, actuator, folder):
            pid = cell.status().pid
            writing = asyncio.create_task(
                actuator.write(Command("7", "press/speed", 1.5, Deadline.after(3600.0), recalled))
            )
            await until((folder / "told").exists)
            await until(lambda: stands_still(pid))
            if what == "a stop":
                stopped = "press is stopped"
                await told.wait()
                await asyncio.sleep(0)
            if what == "given up":
                writing.cancel()
                await asyncio.wait([writing])
            os.kill(pid, signal.SIGCONT)
            if what == "a stop":
                with pytest.raises(Unavailable, match="press/speed: press is stopped; nothing was sent"):
                    await writing
            if what == "nothing":
                await writing
        machine = folder / "machine"
        assert (machine.read_text() if machine.exists() else "") == ("1.5" if what == "nothing" else "")

    asyncio.run(main())
