"""One process of a cell: started, watched from outside, ended with all that it started."""

import asyncio
import contextlib
import os
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeAlias

_LAST_WORDS_SECONDS: Final = 1.0
"""How long a process may take to say where it hangs, or to end once its socket is closed."""
_OOM_SCORE: Final = "600"
"""Of 1000: when the machine runs out of memory, the kernel ends a cell before it ends the gateway."""
_SOCKET_BYTES: Final = 4 * 2**20
"""What the socket holds, as far as the kernel allows it (net.core.wmem_max): a picture of 3.9 MB crosses in 3 ms, and
in 28 through the 208 KiB that are usual, since each process must wait for the other 19 times."""
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process takes."""

    rss_bytes: int = 0
    cpu_seconds: float = 0.0


class Child(Protocol):
    """A process that runs `plantgate.runtime.cells.inside`."""

    pid: int

    def usage(self) -> Usage:
        """What it takes now."""
        ...

    def limit(self, bytes_max: int) -> None:
        """Refuse it more memory than this."""
        ...

    async def abort(self) -> None:
        """End it, and let it say first where it hangs."""
        ...

    async def ended(self) -> str:
        """How it ended, in words; waits only a moment, and ends it if it has not."""
        ...


Spawn: TypeAlias = Callable[[str, asyncio.Protocol], AbstractAsyncContextManager[Child]]
"""Starts the process of the cell of that name, and connects the gateway's end of its socket to the protocol; leaving
the block ends the process, and all that it started."""


def spawning(*, level: str, text: bool) -> Spawn:
    """Real processes: a fresh interpreter each, since a forked one would share locks, sockets and the event loop."""

    @asynccontextmanager
    async def spawn(name: str, protocol: asyncio.Protocol) -> AsyncIterator[Child]:
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)
        with ours, theirs:  # closing twice is harmless
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # what lies in the folder the gateway was started in is not imported
                "-m",
                "plantgate.runtime.cells.main",
                name,
                str(theirs.fileno()),
                str(os.getpid()),
                level,
                "text" if text else "json",
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the gateway; and what a cell starts can be ended with it
            )
            try:
                theirs.close()
                transport, _ = await asyncio.get_running_loop().create_connection(lambda: protocol, sock=ours)
                child = _Child(process)
                child.come_first_when_memory_ends()
                try:
                    yield child
                finally:
                    transport.abort()
                    await child.gone()
            finally:
                _kill(process)
                await process.wait()

    return spawn


class _Child:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid

    def usage(self) -> Usage:
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
            # The name in parentheses can hold anything; the fields are counted from behind it.
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except (OSError, IndexError, ValueError):
            return Usage()
        return Usage(pages * _PAGE, (int(fields[11]) + int(fields[12])) / _TICKS)

    def limit(self, bytes_max: int) -> None:
        with contextlib.suppress(OSError, ValueError):
            resource.prlimit(self.pid, resource.RLIMIT_DATA, (bytes_max, bytes_max))

    def come_first_when_memory_ends(self) -> None:
        with contextlib.suppress(OSError):
            Path(f"/proc/{self.pid}/oom_score_adj").write_text(_OOM_SCORE)

    async def abort(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGABRT)
        await self.gone()

    async def ended(self) -> str:
        if not await self.gone():
            return "hung up, so it was ended"
        code = self._process.returncode
        assert code is not None
        return f"ended by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"

    async def gone(self) -> bool:
        """Wait a moment for its end, and bring it about; False if it had to be brought about."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_SECONDS):
                await self._process.wait()
        by_itself = self._process.returncode is not None
        _kill(self._process)
        return by_itself


def _kill(process: asyncio.subprocess.Process) -> None:
    """The process and everything it started, for as long as its group has a member."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
