"""A connector that counts, writes down what it is given, and after a while does whatever a bad neighbour does.

Installed for a test or a benchmark by `tests.gateway.runtime.site`, as a vendor's package would be.
"""

import asyncio
import ctypes
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum
from pathlib import Path
from typing import ClassVar

from plantgate.sdk import Batch, Connector, Cursor, Sample, Settings, Sink, Source


class Deed(Enum):
    """What a neighbour can do to the process it lives in."""

    NOTHING = "nothing"
    HANG = "hang"
    HANG_IN_C = "hang_in_c"
    ABORT = "abort"
    KILL = "kill"
    EXIT = "exit"
    STOP = "stop"
    GREED = "greed"
    GARBAGE = "garbage"
    BIG_WORDS = "big_words"
    DEAF = "deaf"
    STUTTER = "stutter"
    ODD_VALUE = "odd_value"


class NeighbourSettings(Settings):
    """How it behaves."""

    deed: Deed = Deed.NOTHING
    """What it does."""
    after: int = 20
    """How many batches each process of it takes or gives before."""
    pause_seconds: float = 0.01
    """Between two batches that it gives."""
    samples: int = 1
    """In a batch that it gives."""
    written: Path = Path("written")
    """File for what it is given."""


class Neighbour(Connector[NeighbourSettings]):
    """Counts on from what was acknowledged; writes what it is given into a file, a number a line."""

    Settings: ClassVar[type[Settings]] = NeighbourSettings
    done: ClassVar[int] = 0
    """Batches in this process."""

    @asynccontextmanager
    async def source(self) -> AsyncIterator[Source]:
        self.context.standing.up()
        yield _Counting(self)

    @asynccontextmanager
    async def sink(self) -> AsyncIterator[Sink]:
        with self.settings.written.open("a") as file:
            self.context.standing.up()
            yield _Writing(self, file.fileno())

    async def perhaps(self) -> None:
        """The deed, if it is time for it."""
        Neighbour.done += 1
        if Neighbour.done > self.settings.after:
            if self.settings.deed is Deed.HANG:
                (self.context.folder / "hangs").write_text(str(os.getpid()))  # from here on it does
            await _do(self.settings.deed)

    @property
    def position(self) -> Path:
        """File for what was acknowledged."""
        return self.context.folder / "acknowledged"


class _Counting:
    def __init__(self, neighbour: Neighbour) -> None:
        self.neighbour = neighbour
        self.next = int(neighbour.position.read_text()) if neighbour.position.exists() else 0

    async def read(self) -> Batch:
        settings = self.neighbour.settings
        await asyncio.sleep(settings.pause_seconds)
        await self.neighbour.perhaps()
        now = time.time_ns()
        numbers = range(self.next + 1, self.next + settings.samples + 1)
        self.next += settings.samples
        batch = Batch.of((Sample("n", number, 0, now) for number in numbers), cursor=str(self.next))
        if settings.deed is Deed.ODD_VALUE and self.next % 5 == 0:
            batch.values[0] = object()  # type: ignore[call-overload]
        return batch

    async def ack(self, cursor: Cursor) -> None:
        fresh = self.neighbour.position.with_suffix(".fresh")
        fresh.write_text(cursor)
        fresh.rename(self.neighbour.position)


class _Writing:
    def __init__(self, neighbour: Neighbour, file: int) -> None:
        self.neighbour, self.file = neighbour, file

    async def accept(self, batch: Batch) -> None:
        now = time.time_ns()
        lines = (
            f"{value} {(now - (at or now)) // 1000} {now}\n"
            for value, at in zip(batch.values, batch.times, strict=True)
        )
        os.write(self.file, "".join(lines).encode())
        await self.neighbour.perhaps()


async def _do(deed: Deed) -> None:
    match deed:
        case Deed.HANG:
            while True:
                pass
        case Deed.STUTTER:
            time.sleep(0.3)  # noqa: ASYNC251  the deed itself
        case Deed.HANG_IN_C:
            ctypes.PyDLL(None).sleep(3600)  # PyDLL holds the interpreter lock, as a careless driver does
        case Deed.ABORT:
            os.abort()
        case Deed.KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        case Deed.EXIT:
            os._exit(7)
        case Deed.STOP:
            os.kill(os.getpid(), signal.SIGSTOP)
        case Deed.GREED:
            hoard = []
            while True:
                hoard.append(b"x" * 2**20)
                await asyncio.sleep(0.001)
        case Deed.GARBAGE:
            os.write(_socket(), b"\0\0\0\x05hello")
        case Deed.BIG_WORDS:
            os.write(_socket(), b"\xff\xff\xff\xffhello")
        case Deed.DEAF:
            socket.socket(fileno=os.dup(_socket())).shutdown(socket.SHUT_RDWR)
            await asyncio.sleep(3600)


def _socket() -> int:
    """The one to the gateway, as the command line of a cell names it."""
    return int(sys.argv[2])
