"""The two processes beside the demo's own: the PLC and the gateway. Neither outlives it."""

import asyncio
import ctypes
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

_PR_SET_PDEATHSIG: Final = 1
_LINE_MOST: Final = 4 * 2**20


class CannotRun(Exception):
    """A child did not come up, or went away; the message says what it said."""


class Plc:
    """The simulated machines: an OPC UA server and an energy meter."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, meter_port: int, tags: Sequence[str]) -> None:
        self._process, self.port, self.meter_port, self.tags = process, port, meter_port, tags
        self._stopped = asyncio.Event()

    async def listen(self, made: Callable[[list[Any]], None]) -> None:
        """Hand on what it says it made, until it ends."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            said = json.loads(line)
            if "made" in said:
                made(said["made"])
            if "stopped" in said:
                self._stopped.set()
        raise CannotRun(f"the simulated PLC ended by itself (exit code {await self._process.wait()})")

    async def go(self) -> None:
        """Begin making values."""
        await self._tell(b"go\n")

    async def stop(self) -> None:
        """Make no more; what was made can still be fetched."""
        await self._tell(b"stop\n")
        await self._stopped.wait()

    async def _tell(self, command: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(command)
        await self._process.stdin.drain()


@asynccontextmanager
async def plc(log: Path) -> AsyncIterator[Plc]:
    """Starts it and waits until it serves."""
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "deploy.demo.plc",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=errors,
            limit=_LINE_MOST, start_new_session=True, preexec_fn=partial(_end_with_parent, os.getpid()),
        )  # fmt: skip
    try:
        assert process.stdout is not None
        try:
            async with asyncio.timeout(60):
                said = json.loads(await process.stdout.readline() or b"{}")
        except TimeoutError:
            said = {}
        if "port" not in said:
            raise CannotRun(f"the simulated PLC did not start:\n{_tail(log)}")
        yield Plc(process, said["port"], said["meter_port"], said["tags"])
    finally:
        await _end(process, signal.SIGTERM, 1.0)


class GatewayProcess:
    """`plantgate run`, and a way to kill it and start it again."""

    def __init__(self, plant_file: Path, log: Path) -> None:
        self._plant_file, self._log = plant_file, log
        self._process: asyncio.subprocess.Process | None = None
        self._wanted = asyncio.Event()
        self.starts = 0

    async def start(self) -> None:
        """Starts it; it serves a moment later."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "plantgate", "run", str(self._plant_file),
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=partial(_end_with_parent, os.getpid()),
            )  # fmt: skip
        self.starts += 1
        self._wanted.set()

    async def watch(self) -> None:
        """Raises `CannotRun` if it ends while it should not."""
        while True:
            await self._wanted.wait()
            process = self._process
            assert process is not None
            code = await process.wait()
            if process is self._process and self._wanted.is_set():
                raise CannotRun(f"the gateway ended by itself (exit code {code}):\n{_tail(self._log)}")

    async def kill(self) -> None:
        """As a power cut would: no goodbye."""
        self._wanted.clear()
        await _end(self._process, signal.SIGKILL, 2.0)

    async def stop(self) -> int | None:
        """An orderly end, within seconds; its exit code."""
        self._wanted.clear()
        return await _end(self._process, signal.SIGTERM, 3.5)


def free_port() -> int:
    """A port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _end(process: asyncio.subprocess.Process | None, number: signal.Signals, seconds: float) -> int | None:
    if process is None:
        return None
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.send_signal(number)
        try:
            async with asyncio.timeout(seconds):
                await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return process.returncode


def _end_with_parent(parent: int) -> None:
    """Linux only, and no loss elsewhere: the child is told to end when the demo is gone, however it went."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # gone between the fork and the line above
        os._exit(0)


def _tail(log: Path) -> str:
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    except OSError as error:
        return str(error)
