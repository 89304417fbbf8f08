"""The load of the Modbus benchmark, from Python: devices in C, each at a port of its own."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.meter import pin
from tests.peers import require
from tests.peers.child import Child, PeerError


@dataclass(frozen=True, slots=True)
class Served:
    """What was answered so far."""

    registers: int
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class ModbusLoad:
    """The devices, the dead ones last."""

    child: Child
    ports: tuple[int, ...]

    async def served(self) -> Served:
        """Ask."""
        stdin, stdout = self.child.process.stdin, self.child.process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(b"count\n")
        async with asyncio.timeout(10):
            said = json.loads(await stdout.readline())
        return Served(int(said["registers"]), float(said["cpu_seconds"]))


@contextlib.asynccontextmanager
async def modbus_load(*, devices: int, dead: int, core: int) -> AsyncIterator[ModbusLoad]:
    """Run them on one core."""
    first = _free_ports(devices)
    program: list[str | Path] = [require.find("modbus-load"), str(first), str(devices), str(dead)]
    with TemporaryDirectory(prefix="modbus-load-") as folder:
        child = await Child.start(program, log=Path(folder) / "log", talks=True)
        try:
            pin(child.process.pid, core)
            assert child.process.stdout is not None
            async with asyncio.timeout(10):
                if not await child.process.stdout.readline():
                    raise PeerError(f"the Modbus load did not start: {child.last_words()}")
            yield ModbusLoad(child, tuple(range(first, first + devices)))
        finally:
            await child.kill()


def _free_ports(count: int) -> int:
    """The first of so many ports in a row that are free now."""
    for first in range(20_000, 32_000, count):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    raise PeerError(f"no {count} free ports in a row")
