"""A server on Node.js that takes batches and shows a reading; told what to do line by line."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.peers.certificates import Authority
from tests.peers.child import Child, PeerError
from tests.peers.require import ROOT, find


class Office:
    """The running server."""

    def __init__(self, child: Child, scheme: str) -> None:
        self._child = child
        self._scheme = scheme
        self.port = 0
        self.taken: list[dict[str, Any]] = []
        """What was posted: status answered (0: none), key, body."""

    def url(self, path: str) -> str:
        """Where it is."""
        return f"{self._scheme}://127.0.0.1:{self.port}{path}"

    async def tell(self, **what: Any) -> None:
        """Change what it does; returns when it has."""
        assert self._child.process.stdin is not None
        self._child.process.stdin.write(json.dumps(what).encode() + b"\n")
        await self._hear("done")

    async def caught_up(self) -> None:
        """Hear everything it has said so far."""
        await self.tell()

    async def _hear(self, word: str) -> None:
        assert self._child.process.stdout is not None
        async with asyncio.timeout(20):
            while line := await self._child.process.stdout.readline():
                said = json.loads(line)
                if "status" in said:
                    self.taken.append(said)
                if "port" in said:
                    self.port = said["port"]
                if word in said:
                    return
        raise PeerError(f"the office has ended: {self._child.last_words()}")

    async def begin(self) -> None:
        """Wait for its port."""
        await self._hear("port")


@contextlib.asynccontextmanager
async def office(folder: Path, authority: Authority | None = None) -> AsyncIterator[Office]:
    """Run it, its log in `folder`; with an authority it speaks TLS and wants certificates of that authority."""
    command: list[str | Path] = [find("nodejs"), ROOT / "tests/peers/node/http_office.js"]
    if authority is not None:
        issued = authority.issue("office", hosts=["127.0.0.1"])
        command += [issued.certificate, issued.key, authority.certificate]
    child = await Child.start(command, log=folder / "office.log", talks=True)
    try:
        running = Office(child, "http" if authority is None else "https")
        await running.begin()
        yield running
    finally:
        await child.kill()
