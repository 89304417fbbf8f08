"""Somebody who writes to a machine through the gateway's local socket, again and again, and not always as allowed."""

import asyncio
import fcntl
import json
import random
import sys
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

from tests.integration.journey.acted import Asked
from tests.integration.journey.machines import Machine

VALUE_MOST: Final = 1_000_000
"""By the plant file. A value is a command's number, so that a write tells which command it is."""
SECONDS: Final = 0.3
"""How long each command may take."""


@dataclass
class Proposer:
    """Somebody at the local socket."""

    socket: Path
    machine: Machine
    luck: random.Random
    asked: list[Asked] = field(default_factory=list)
    values: Iterator[int] = field(default_factory=partial(count, 1))

    async def propose(self, per_second: float, over: asyncio.Event) -> None:
        """Commands at a steady rate, some of them against a limit or by no rule, until it is over."""
        async with asyncio.TaskGroup() as group:
            while not over.is_set():
                group.create_task(self._one())
                await asyncio.sleep(self.luck.uniform(0.5, 1.5) / per_second)

    async def _one(self) -> None:
        value, rule, unit = next(self.values), "R-1", "rpm"
        fault = self.luck.choice(("", "", "", "", "", "", "range", "rule", "unit"))
        match fault:
            case "range":
                value += VALUE_MOST
            case "rule":
                rule = "R-9"
            case "unit":
                unit = "1/min"
        each = Asked(value, None, SECONDS, not fault)
        self.asked.append(each)
        asked = {
            "tag": f"{self.machine.name}/speed",
            "value": str(value),
            "unit": unit,
            "rule": rule,
            "seconds": str(SECONDS),
        }
        try:
            reader, writer = await asyncio.open_unix_connection(self.socket)
        except (FileNotFoundError, ConnectionRefusedError):
            self.asked.remove(each)  # nobody was there to be asked
            return
        try:
            writer.write(json.dumps({"do": "write", "asked": asked}).encode() + b"\n")
            while _unread(writer):  # noqa: ASYNC110  the kernel knows, and tells nobody
                await asyncio.sleep(0.001)
            each.taken = time.monotonic()
            if answer := await reader.readline():
                told = json.loads(answer)
                assert "standing" in told, f"the desk met what it should not: {told}"
                each.standing = told["standing"]
        except OSError:
            pass  # the gateway is gone, and what it did nobody was told
        finally:
            writer.close()


def _unread(writer: asyncio.StreamWriter) -> int:
    """Bytes, and what keeps them, that the other end of a local socket has not read yet. Raises `OSError`."""
    file = writer.get_extra_info("socket").fileno()
    if file < 0:
        raise ConnectionResetError
    waiting = bytearray(4)
    fcntl.ioctl(file, termios.TIOCOUTQ, waiting)
    return int.from_bytes(waiting, sys.byteorder)
