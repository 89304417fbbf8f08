"""A disk of a given size, seen by the programs that are told to: a tmpfs in a mount namespace, no rights needed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from tests.peers import require
from tests.peers.child import Child, PeerError


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """Lives as long as `small_disk`; what is written survives the programs that wrote it."""

    mounted: Path
    holder: Child

    @property
    def command(self) -> tuple[str, ...]:
        """What to put before a program so that it sees the disk; the process stays the same one."""
        return ("nsenter", "--preserve-credentials", "-U", "-m", "-t", str(self.holder.process.pid))

    async def run(self, *command: str) -> str:
        """Run a command that sees the disk; answers what it printed."""
        process = await asyncio.create_subprocess_exec(
            *self.command, *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        async with asyncio.timeout(20):
            printed, _ = await process.communicate()
        return printed.decode()


@contextlib.asynccontextmanager
async def small_disk(folder: Path, *, kibibytes: int) -> AsyncIterator[SmallDisk]:
    """A disk mounted at `folder`; nobody else sees it there."""
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240  a moment, in a test
    script = f'mount -t tmpfs -o size={kibibytes}k none "$1" && echo mounted && exec sleep 3600'
    command: list[str | Path] = [require.find("small-disk"), "-rm", "sh", "-c", script, "sh", folder]
    holder = await Child.start(command, log=folder.with_suffix(".log"), talks=True)
    try:
        assert holder.process.stdout is not None
        async with asyncio.timeout(20):
            if await holder.process.stdout.readline() != b"mounted\n":
                raise PeerError(f"no disk at {folder}: {holder.last_words()}")
        yield SmallDisk(folder, holder)
    finally:
        await holder.kill()
