"""That a host application is there: its STATE, said, taken back, and said again when somebody says otherwise."""

import asyncio
from collections.abc import Callable
from typing import Final

from plantgate.sdk import Unavailable
from plantgate_connectors.mqtt.client import Will
from plantgate_connectors.mqtt.publisher import Message, Publisher, on_the_wire
from plantgate_connectors.mqtt.session import Session
from plantgate_connectors.sparkplug.state import State, read_state, write_state
from plantgate_connectors.sparkplug.topics import state_topic

_AGAIN_SECONDS: Final = 1.0
"""It is said again at most this often: two hosts of one name must not shout each other down."""

Send = Callable[[str, bytes], None]
"""Publish this on a topic now, retained, QoS 1, without waiting."""


class Presence:
    """Of one session."""

    def __init__(self, host_id: str, since: int, send: Send) -> None:
        """`since` (ms UTC) ties the will to the birth."""
        self.topic = state_topic(host_id)
        self._since = since
        self._send = send
        self._said_at: float | None = None
        self._again: asyncio.TimerHandle | None = None

    @property
    def will(self) -> Will:
        """That we are gone; leaving in good order we say so ourselves."""
        return Will(self.topic, write_state(State(False, self._since)), at_goodbye=False)

    async def say(self, session: Session, publisher: Publisher, properties: bytes, seconds: float) -> list[int]:
        """That we are there. Returns the reasons of a refusal; raises `Unavailable` when nobody confirms."""
        self._said_at = asyncio.get_running_loop().time()
        content = write_state(State(True, self._since))
        message = Message(on_the_wire(self.topic), content, properties, retain=True)
        try:
            refused = await publisher.send([message], qos=1, patience_seconds=seconds)
        except TimeoutError:
            words = f"it has not confirmed our STATE within {seconds:g} s"
            session.end(words, abort=True)
            raise Unavailable(f"{session.who}: {words}") from None
        return [code for code, _ in refused]

    def heard(self, content: bytes, told: Callable[[], None]) -> None:
        """Somebody, perhaps the broker with the will of a connection before this one, has said something of us."""
        state = read_state(content)
        if state is None or state.online or self._said_at is None or self._again is not None:
            return

        def again() -> None:
            self._again = None
            self._said_at = asyncio.get_running_loop().time()
            self._send(self.topic, write_state(State(True, self._since)))
            told()

        loop = asyncio.get_running_loop()
        self._again = loop.call_later(max(0.0, self._said_at + _AGAIN_SECONDS - loop.time()), again)

    def take_back(self, now: int) -> None:
        """We leave; with the time (ms UTC) of it, as the specification has it for a goodbye."""
        if self._again is not None:
            self._again.cancel()
        if self._said_at is not None:
            self._send(self.topic, write_state(State(False, now)))
