"""The host application that an edge node waits for."""

import asyncio
from enum import Enum

from plantgate_connectors.sparkplug.state import State, read_state
from plantgate_connectors.sparkplug.topics import state_topic


class Heard(Enum):
    """What a STATE message said."""

    ONLINE = "online"
    OFFLINE = "offline"
    OLD = "old"
    """Older than the last: of a connection that is no more."""
    UNREADABLE = "unreadable"


class PrimaryHost:
    """Whether it is there, as far as the broker says."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.topic = state_topic(host)
        self._last: State | None = None
        self._online = asyncio.Event()

    @property
    def online(self) -> bool:
        """Whether it was, when it was last heard of."""
        return self._online.is_set()

    async def wait(self, seconds: float) -> bool:
        """Until it is online; False if it is not by then."""
        try:
            async with asyncio.timeout(seconds):
                await self._online.wait()
        except TimeoutError:
            return False
        return True

    def heard(self, content: bytes) -> Heard:
        """A message on its topic."""
        state = read_state(content)
        if state is None:
            return Heard.UNREADABLE
        if self._last is not None and state.timestamp < self._last.timestamp:
            return Heard.OLD
        self._last = state
        if state.online:
            self._online.set()
            return Heard.ONLINE
        self._online.clear()
        return Heard.OFFLINE
