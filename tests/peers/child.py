"""A child process that does not outlive its test: started, killed, frozen, and never left behind."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path


class PeerError(Exception):
    """A peer did not do what it was told; carries what it wrote to its log."""


class Child:
    """One run of a program, its stderr in a file."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process = process
        self.log = log

    @classmethod
    async def start(
        cls,
        command: Sequence[str | Path],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        talks: bool = False,
        output: Path | None = None,
        line_bytes_max: int = 2**26,
    ) -> "Child":
        """Start `command`; what it prints goes to `output`, or to `log`, or with `talks` through a pipe."""
        pipe = asyncio.subprocess.PIPE
        with log.open("ab") as errors, (output or log).open("ab") as printed:
            process = await asyncio.create_subprocess_exec(
                *map(str, command),
                stdin=pipe if talks else asyncio.subprocess.DEVNULL,
                stdout=pipe if talks else printed,
                stderr=errors,
                env={**os.environ, **(environment or {})},
                limit=line_bytes_max,
            )
        return cls(process, log)

    @property
    def running(self) -> bool:
        """Whether the process has not ended."""
        return self.process.returncode is None

    def freeze(self) -> None:
        """Stop the process where it stands (SIGSTOP): its sockets stay open and nobody answers."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process go on."""
        self.process.send_signal(signal.SIGCONT)

    async def kill(self) -> None:
        """End the process at once (SIGKILL) and wait until it is gone."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()

    async def stop(self, grace_seconds: float = 5.0) -> int:
        """Ask the process to end (SIGTERM), then insist; answers its exit code."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        return await self.ended(grace_seconds)

    async def ended(self, grace_seconds: float = 5.0) -> int:
        """Wait for the end the process was asked for; kill it when that takes longer than `grace_seconds`."""
        try:
            async with asyncio.timeout(grace_seconds):
                return await self.process.wait()
        except TimeoutError:
            await self.kill()
            return await self.process.wait()

    def last_words(self, lines: int = 20) -> str:
        """The end of what the process wrote to stderr."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
