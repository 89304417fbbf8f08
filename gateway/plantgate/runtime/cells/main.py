"""The process of a cell: ``python -m plantgate.runtime.cells.main NAME SOCKET PARENT LEVEL FORM``."""

import asyncio
import ctypes
import faulthandler
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from plantgate.observe.logging import News, configure_logging
from plantgate.runtime.cells.inside import Inside
from plantgate.runtime.cells.messages import NewsLine
from plantgate.runtime.cells.orders import Orders
from plantgate.sdk import Context, Standing, SystemClock

_NEWS_MOST: Final = 25
"""Log lines told to the gateway with each beat, the newest; all of them are on standard error."""
_PR_SET_PDEATHSIG: Final = 1


def main(arguments: Sequence[str]) -> None:
    """Until the gateway is gone; never returns, so that no thread of a connector can keep the process alive."""
    name, door, parent, level, form = arguments
    faulthandler.enable()
    _die_with(int(parent))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A signal for all processes of the service is the gateway's to heed: it stops its cells in order.
        # A handler of nothing, not SIG_IGN, which programs started by a connector would inherit.
        signal.signal(number, lambda *_: None)
    heard = _Heard()
    configure_logging(level, heard.news, text=form == "text", cell=name)
    with socket.socket(fileno=int(door)) as ours:
        asyncio.run(_serve(ours, heard))


async def _serve(ours: socket.socket, heard: "_Heard") -> None:
    loop = asyncio.get_running_loop()
    inside = Inside(context=_context, news=heard.new, gone=lambda: _leave(0))
    await inside.serve(lambda wire: loop.create_connection(lambda: wire, sock=ours))


def _context(orders: Orders) -> Context:
    log = structlog.get_logger().bind(connection=orders.connection, flow=orders.flow)
    return Context(
        connection=orders.connection,
        folder=Path(orders.folder),
        site_folder=Path(orders.site_folder),
        clock=SystemClock(),
        log=log,
        standing=Standing(log),
    )


class _Heard:
    """The log lines that the gateway has not been told yet."""

    def __init__(self) -> None:
        self.news = News()
        self._lines: deque[NewsLine] = deque(maxlen=_NEWS_MOST)
        self.news.listeners.add(self._hear)

    def new(self) -> list[NewsLine]:
        """And now it is told."""
        lines = list(self._lines)
        self._lines.clear()
        return lines

    def _hear(self, line: dict[str, object]) -> None:
        self._lines.append({key: fact for key, fact in line.items() if isinstance(fact, str | int | float | bool)})


def _die_with(parent: int) -> None:
    """Be killed when the gateway is, even in the middle of a loop that never ends; where the kernel offers it."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        _leave(0)


def _leave(code: int) -> None:
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
