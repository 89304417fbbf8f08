"""The load of the benchmark: an OPC UA server on open62541 that changes thousands of values, from Python."""

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

from tests.peers import require
from tests.peers.child import Child, PeerError
from tests.peers.mosquitto import free_port

TAGS_PER_UNIT = 50


@dataclass(frozen=True, slots=True)
class Load:
    """How far the server is since it started."""

    written: int
    """Values written, over all tags. A tag's value is how often it was written."""
    owed: int
    """Values due by now: a server that keeps up is less than one step of 10 ms behind."""
    cpu_seconds: float
    """User and system time of its process."""
    worst_late_ms: float
    """The longest that a step came after its time since the last call."""
    sessions: int


class LoadServer:
    """A running server. It starts on hold: every value is 0.0 until `go`."""

    def __init__(self, child: Child, url: str, tags: int, hz: float) -> None:
        self.child = child
        self.url = url
        self.tags = tags
        self.hz = hz

    def node_ids(self) -> list[str]:
        """The node id of each tag, in the order in which they are written."""
        return [f"ns=1;s=load/unit{at // TAGS_PER_UNIT:03}/v{at % TAGS_PER_UNIT:02}" for at in range(self.tags)]

    async def go(self) -> Load:
        """Write every tag `hz` times a second from now on, spread evenly over each period."""
        return await self._say("go")

    async def hold(self) -> Load:
        """Write no more; what is monitored is still delivered, so that counts can be compared."""
        return await self._say("hold")

    async def count(self) -> Load:
        """How it is going."""
        return await self._say("count")

    async def _say(self, word: str) -> Load:
        stdin, stdout = self.child.process.stdin, self.child.process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{word}\n".encode())
        try:
            await stdin.drain()
            async with asyncio.timeout(10):
                line = await stdout.readline()
        except (ConnectionError, TimeoutError):
            line = b""
        if not line:
            raise PeerError(f"the load server does not answer: {self.child.last_words()}")
        said = cast(dict[str, float], json.loads(line))
        return Load(
            written=int(said["written"]),
            owed=int(said["owed"]),
            cpu_seconds=said["cpu_seconds"],
            worst_late_ms=said["worst_late_ms"],
            sessions=int(said["sessions"]),
        )


@contextlib.asynccontextmanager
async def load_server(
    *, tags: int, hz: float, port: int = 0, core: int | None = None, publishing_min_ms: float = 10.0
) -> AsyncIterator[LoadServer]:
    """Run the server, pinned to one CPU core if `core` says which.

    It grants publishing intervals from `publishing_min_ms` and sampling interval 0, at which every write is reported.
    No encryption, anonymous only, on 127.0.0.1. Port 0 takes a free one.
    """
    program: list[str | Path] = [require.find("load-server"), str(port or free_port()), str(tags), str(hz)]
    if core is not None:
        taskset = shutil.which("taskset")
        if taskset is None:
            raise PeerError("taskset is not on this machine: the package util-linux has it")
        program = [taskset, "-c", str(core), *program]
    with TemporaryDirectory(prefix="load-server-") as folder:
        child = await Child.start([*program, str(publishing_min_ms)], log=Path(folder) / "log", talks=True)
        try:
            stdout = child.process.stdout
            assert stdout is not None
            async with asyncio.timeout(30):
                line = await stdout.readline()
            if not line:
                raise PeerError(f"the load server did not start: {child.last_words()}")
            yield LoadServer(child, json.loads(line)["url"], tags, hz)
        finally:
            await child.kill()
