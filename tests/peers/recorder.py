"""Writes down everything a broker delivers, in order and with its time of arrival, across kills of the broker.

It is `mosquitto_sub`: another's MQTT client, so that our own client is not its own witness.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from tests.peers.child import Child, PeerError
from tests.peers.mosquitto import Mosquitto

# Arrival in seconds with nanoseconds, QoS, retain, message id, topic, payload in hex.
FORMAT = "%U %q %r %m %t\t%x"


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it arrived."""

    topic: str
    payload: bytes
    qos: int
    retained: bool
    arrived_ns: int
    """When, in ns since 1970."""


class Recorder:
    """A durable QoS 1 subscriber. Its session outlives the connection; the file holds what arrived so far."""

    def __init__(self, broker: Mosquitto, child: Child, file: Path, mark: str) -> None:
        self.file = file
        self._broker = broker
        self._child = child
        self._mark = mark
        self._messages: list[Message] = []
        self._read_bytes = 0
        self._seen_marks: set[bytes] = set()

    def messages(self) -> list[Message]:
        """All that arrived until now, oldest first. A message that the broker sent twice is here twice."""
        with self.file.open("rb") as file:
            file.seek(self._read_bytes)
            fresh = file.read()
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        for line in whole.splitlines():
            head, payload = line.split(b"\t")
            arrived, qos, retained, _, topic = head.split(b" ", 4)
            body = bytes.fromhex(payload.decode())
            if topic.decode() == self._mark:
                self._seen_marks.add(body)
                continue
            seconds, fraction = arrived.split(b".")
            at = int(seconds) * 10**9 + int(fraction.ljust(9, b"0"))
            self._messages.append(Message(topic.decode(), body, int(qos), retained == b"1", at))
        return self._messages

    async def caught_up(self, seconds: float = 20.0) -> list[Message]:
        """Wait until all that the broker has accepted before this call is recorded; answers `messages()`."""
        mark = uuid4().hex.encode()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        await self._broker.publish(self._mark, mark)
        while loop.time() < deadline:
            messages = self.messages()
            if mark in self._seen_marks:
                return messages
            if not self._child.running:
                raise PeerError(f"mosquitto_sub ended: {self._child.last_words()}")
            await asyncio.sleep(0.02)
        raise PeerError(f"the recorder did not catch up in {seconds} s; it has {len(self._messages)} messages")


@contextlib.asynccontextmanager
async def recorder(
    broker: Mosquitto,
    *topics: str,
    folder: Path | None = None,
    client_id: str | None = None,
    extra: Sequence[str] = (),
) -> AsyncIterator[Recorder]:
    """Record `topics` (default `#`) from now on; the subscription stands when the block begins.

    `extra` are further arguments for `mosquitto_sub`, such as `-V 5`.
    """
    name = client_id or f"recorder-{uuid4().hex[:8]}"
    mark = f"plantgate-recorder/{name}"
    with contextlib.ExitStack() as stack:
        home = folder or Path(stack.enter_context(TemporaryDirectory(prefix="recorder-")))
        file = home / f"{name}.messages"
        wanted = [argument for topic in (*(topics or ("#",)), mark) for argument in ("-t", topic)]
        child = await Child.start(
            ["mosquitto_sub", *broker.arguments(), "-i", name, "-c", "-q", "1", "-F", FORMAT, *wanted, *extra],
            log=home / f"{name}.log",
            output=file,
        )
        try:
            recording = Recorder(broker, child, file, mark)
            await _subscribed(recording)
            yield recording
        finally:
            await child.kill()


async def _subscribed(recording: Recorder, seconds: float = 20.0) -> None:
    """A mark published before the subscription stands is lost, so publish until one arrives."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while loop.time() < deadline:
        with contextlib.suppress(PeerError):
            await recording.caught_up(0.25)
            return
    raise PeerError(f"mosquitto_sub did not subscribe in {seconds} s")
