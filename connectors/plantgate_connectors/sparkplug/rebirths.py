"""Asks edge nodes to say everything anew: with jitter, seldom to one, and not many at a time."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

JITTER_SECONDS: Final = 1.0
"""A first request waits up to this long: after a broker's restart a whole plant would otherwise be asked at once."""
PER_SECOND_MOST: Final = 20.0
"""Requests to all edge nodes together."""
_MOST_SECONDS: Final = 300.0

Key = tuple[str, str]
"""Group and edge node."""


@dataclass(slots=True)
class _Asking:
    due: float
    asked: int = 0
    wanted: bool = True


class Rebirths:
    """Who is to be asked, and when. Lives as long as a session."""

    def __init__(self, send: Callable[[Key], None], *, seconds: float) -> None:
        """`seconds`: the least time between two requests to one edge node, doubled with each that goes unanswered."""
        self._send = send
        self._seconds = seconds
        self._asking: dict[Key, _Asking] = {}
        self._changed = asyncio.Event()
        self._next = 0.0

    def want(self, key: Key) -> None:
        """Ask it, once it is due; asking for what is asked for already changes nothing."""
        asking = self._asking.get(key)
        if asking is None:
            now = asyncio.get_running_loop().time()
            self._asking[key] = _Asking(now + random.random() * JITTER_SECONDS)  # noqa: S311  spreads load
            self._changed.set()
        elif not asking.wanted:
            asking.wanted = True
            self._changed.set()

    def answered(self, key: Key) -> None:
        """It has; the next request may still not come sooner than the least time after the last."""
        asking = self._asking.get(key)
        if asking is not None:
            asking.wanted = False
            if asking.asked:
                asking.due = min(asking.due, asyncio.get_running_loop().time() + self._seconds)
                asking.asked = 0

    async def run(self) -> None:
        """For as long as the session lasts."""
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            wanted = [(asking.due, key) for key, asking in self._asking.items() if asking.wanted]
            now = loop.time()
            due, key = min(wanted, default=(None, None))
            if due is not None and key is not None and max(due, self._next) <= now:
                asking = self._asking[key]
                pause = min(self._seconds * 2.0**asking.asked, _MOST_SECONDS)
                asking.due, asking.asked = now + pause, min(asking.asked + 1, 16)
                self._next = now + 1.0 / PER_SECOND_MOST
                self._send(key)
                continue
            try:
                async with asyncio.timeout_at(None if due is None else max(due, self._next)):
                    await self._changed.wait()
            except TimeoutError:
                continue
