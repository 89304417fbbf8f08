"""The gateway under test as an operator starts it: `plantgate run`, a process of its own."""

import asyncio
import json
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.peers.child import Child

Condition = Callable[[dict[str, Any]], bool]


class Gateway:
    """A plant file and the process that runs it; can be killed and started again on the same folder."""

    def __init__(
        self, plant: Path, port: int, program: Sequence[str | Path] = (Path(sys.executable).parent / "plantgate",)
    ) -> None:
        self.plant = plant
        self.port = port
        self._program = program
        self.starts = 0
        self._child: Child | None = None

    async def start(self) -> None:
        """Start it; returns at once."""
        command: list[str | Path] = [*self._program, "run", self.plant]
        self._child = await Child.start(command, log=self.plant.with_suffix(".log"))
        self.starts += 1

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        assert self._child is not None, "start it first"
        return self._child.process.pid

    async def kill(self) -> None:
        """SIGKILL."""
        if self._child is not None:
            await self._child.kill()

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self._child is not None
        return await self._child.stop(15.0)

    async def status(self) -> dict[str, Any] | None:
        """What GET /status says, or None while nobody answers."""
        return await asyncio.to_thread(self._ask)

    def _ask(self) -> dict[str, Any] | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/status", timeout=2) as answer:
                status: dict[str, Any] = json.load(answer)
                return status
        except (OSError, ValueError):
            return None

    async def until(self, what: str, fine: Condition, seconds: float) -> dict[str, Any]:
        """Wait until the status satisfies `fine`. Raises `TimeoutError` with the gateway's last words."""
        async with self.patience(what, seconds):
            while True:
                status = await self.status()
                if status is not None and fine(status):
                    return status
                await asyncio.sleep(0.2)

    @asynccontextmanager
    async def patience(self, what: str, seconds: float) -> AsyncIterator[None]:
        """Time for a block. Raises `TimeoutError` with how the gateway stands and its last words."""
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            assert self._child is not None
            status = json.dumps(await self.status())
            raise TimeoutError(
                f"waited {seconds:.0f} s for {what}\nstatus: {status}\nlog:\n{self._child.last_words()}"
            ) from None
