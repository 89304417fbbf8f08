"""A Modbus slave on libmodbus (`modbus_slave.c`): registers set from here, refusals, silence, delays, a count."""

import asyncio
import contextlib
import json
import struct
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.peers import require
from tests.peers.child import Child, PeerError
from tests.peers.mosquitto import free_port


@dataclass(frozen=True, slots=True)
class Asked:
    """What a unit was asked for so far."""

    requests: int
    registers: int
    """Or bits."""
    written: int
    """Writes that it did."""


def words(form: str, *values: float) -> list[int]:
    """Values as 16-bit registers in network order: ``words("d", 61.2)`` are four, ``words("Q", 7)`` too."""
    packed = struct.pack(f">{form}", *values)
    return list(struct.unpack(f">{len(packed) // 2}H", packed))


class ModbusSlave:
    """One slave; in TCP every unit from 0 to 255 is there, each with 65,536 of everything, all zero."""

    def __init__(self, command: Sequence[str | Path], folder: Path, port: int) -> None:
        self.host = "127.0.0.1"
        self.port = port
        self._command = command
        self._log = folder / "modbus_slave.log"
        self._child: Child | None = None
        self._turn = asyncio.Lock()

    @property
    def child(self) -> Child:
        """The running process."""
        assert self._child is not None, "the slave is not running"
        return self._child

    async def start(self, seconds: float = 10.0) -> None:
        """Start, and return when it listens. After `kill` it comes back on the same port, with everything zero."""
        self._child = await Child.start(self._command, log=self._log, talks=True)
        await self._answer(seconds)

    async def kill(self) -> None:
        """End at once (SIGKILL)."""
        await self.child.kill()

    async def set(self, unit: int, registers: Mapping[int, Sequence[int]], *, table: str = "holding") -> None:
        """Set registers (or bits), from each address on; all of it between two requests, so no poll sees half."""
        parts = [f"{table} {address} {' '.join(map(str, values))}" for address, values in registers.items()]
        await self._tell(f"set {unit} {' ; '.join(parts)}")

    async def get(self, unit: int, address: int, count: int, *, table: str = "holding") -> list[int]:
        """What it holds."""
        said = await self._tell(f"get {unit} {table} {address} {count}")
        found: list[int] = said["values"]
        return found

    async def refuse(self, unit: int, address: int, count: int = 1, *, code: int = 2, table: str = "holding") -> None:
        """From now on requests that touch these are answered with an exception; `code` 0 ends it."""
        await self._tell(f"refuse {unit} {table} {address} {count} {code}")

    async def delay(self, unit: int, seconds: float) -> None:
        """Before each answer of this unit; the whole slave waits meanwhile."""
        await self._tell(f"delay {unit} {round(seconds * 1000)}")

    async def silent(self, unit: int, silent: bool = True) -> None:
        """Hear this unit's requests and say nothing."""
        await self._tell(f"silent {unit} {int(silent)}")

    async def count(self, unit: int) -> Asked:
        """How often it was asked."""
        said = await self._tell(f"count {unit}")
        return Asked(said["requests"], said["asked"], said["written"])

    async def writes(self, unit: int) -> list[tuple[int, int, int]]:
        """Writes of registers that it did, oldest first: address, first register, second (0 if there is none)."""
        said = await self._tell(f"writes {unit}")
        return [(address, first, second) for address, first, second in said["writes"]]

    async def drop(self) -> None:
        """Close every connection."""
        await self._tell("drop")

    async def _tell(self, command: str) -> dict[str, Any]:
        stdin = self.child.process.stdin
        assert stdin is not None
        async with self._turn:
            stdin.write(f"{command}\n".encode())
            with contextlib.suppress(ConnectionError):
                await stdin.drain()
            return await self._answer(10.0)

    async def _answer(self, seconds: float) -> dict[str, Any]:
        stdout = self.child.process.stdout
        assert stdout is not None
        try:
            async with asyncio.timeout(seconds):
                line = await stdout.readline()
        except TimeoutError:
            line = b""
        if not line:
            raise PeerError(f"the Modbus slave does not answer: {self.child.last_words()}")
        said: dict[str, Any] = json.loads(line)
        if "error" in said:
            raise PeerError(f"the Modbus slave: {said['error']}")
        return said


@contextlib.asynccontextmanager
async def modbus_slave(*, port: int = 0) -> AsyncIterator[ModbusSlave]:
    """Run a slave on 127.0.0.1; it is there when the block begins and gone when it ends."""
    with TemporaryDirectory(prefix="modbus-slave-") as folder:
        chosen = port or free_port()
        slave = ModbusSlave([require.find("modbus-slave"), "tcp", str(chosen)], Path(folder), chosen)
        await slave.start()
        try:
            yield slave
        finally:
            await slave.kill()


@contextlib.asynccontextmanager
async def serial_slave(
    *, unit: int, baud: int = 19_200, near: Path | None = None
) -> AsyncIterator[tuple[ModbusSlave, Path]]:
    """Run a slave with one unit on a serial line, a pair of terminals; gives it and the line's other end."""
    with TemporaryDirectory(prefix="modbus-slave-") as folder:
        near, far = near or Path(folder) / "near", Path(folder) / "far"
        async with socat(f"PTY,link={near},raw,echo=0", f"PTY,link={far},raw,echo=0", folder=Path(folder)):
            await _until_there(near, far)
            command: list[str | Path] = [require.find("modbus-slave"), "rtu", far, str(baud), "E", str(unit)]
            slave = ModbusSlave(command, Path(folder), 0)
            await slave.start()
            try:
                yield slave, near
            finally:
                await slave.kill()


@contextlib.asynccontextmanager
async def socat(one: str, other: str, *, folder: Path) -> AsyncIterator[Child]:
    """Run socat between two of its addresses."""
    child = await Child.start([require.find("socat"), one, other], log=folder / "socat.log")
    try:
        yield child
    finally:
        await child.kill()


async def mbpoll(port: int, *arguments: str) -> str:
    """What libmodbus's own master makes of a slave: runs `mbpoll` once and returns what it prints."""
    command = [str(require.find("mbpoll")), "-1", "-p", str(port), *arguments]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(20):
        printed, _ = await process.communicate()
    if process.returncode != 0:
        raise PeerError(f"mbpoll: {printed.decode(errors='replace').strip()}")
    return printed.decode()


async def _until_there(*paths: Path) -> None:
    async with asyncio.timeout(10):
        while not all(path.exists() for path in paths):  # noqa: ASYNC110  socat tells nobody
            await asyncio.sleep(0.02)


__all__ = ["Asked", "ModbusSlave", "mbpoll", "modbus_slave", "serial_slave", "socat", "words"]
