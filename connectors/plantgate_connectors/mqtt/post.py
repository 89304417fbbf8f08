"""Messages of which each counts by itself: sent once and at once or not at all, and what the broker said of each."""

import asyncio
import secrets
import struct
from typing import Final, TypeAlias

from plantgate.sdk import GatewayError, OutcomeUnknown, Rejected, Unavailable
from plantgate_connectors.leaving import under_way
from plantgate_connectors.mqtt.publisher import REFUSED, Message, on_the_wire, varint
from plantgate_connectors.mqtt.session import Session
from plantgate_connectors.mqtt.transport import ACCEPTED, PUBLISH

NOBODY: Final = 0x10
"""Reason code of a PUBACK: there are no matching subscribers (MQTT 5, 3.4.2.1)."""
_NOT_TAKEN: Final = frozenset((0x80, 0x83, 0x87, 0x90, 0x95, 0x97, 0x99))
"""Those that say for certain that the broker did not take it. 0x91, packet identifier in use, says that something is
wrong between the two; 0x95, packet too large, is none by the standard, and Mosquitto says it."""
_EXPIRY, _RESPONSE_TOPIC, _CORRELATION, _USER = b"\x02", b"\x08", b"\x09", b"\x26"
_QOS_1: Final = 2
_FIRST_ID, _LAST_ID = 0x8000, 0xFFFF
"""Packet identifiers of ours; paho counts its own, of SUBSCRIBE, from 1."""
_U16: Final = struct.Struct("!H")
_U32: Final = struct.Struct("!I")
_ID_NAME: Final = "plantgate-command"

Word: TypeAlias = int | Unavailable
"""What the broker said of a message: a reason code, or that the connection was gone before it said anything."""


class Words:
    """Which messages the broker has not answered for yet."""

    def __init__(self) -> None:
        self.waiting: dict[int, asyncio.Future[Word]] = {}
        """By packet identifier."""
        self._last = _FIRST_ID + secrets.randbelow(_LAST_ID - _FIRST_ID)
        """Where they begin is chance, so that what comes late for an earlier session is none for this one."""

    def expect(self) -> "tuple[int, asyncio.Future[Word]]":
        """A packet identifier for a message, and what the broker will say of it."""
        while True:
            self._last = self._last + 1 if self._last < _LAST_ID else _FIRST_ID
            if self._last not in self.waiting:
                break
        word = self.waiting[self._last] = asyncio.get_running_loop().create_future()
        return self._last, word

    def confirmed(self, mid: int, reason: int) -> None:
        """A PUBACK came; one for a message that was not sent says nothing."""
        word = self.waiting.pop(mid, None)
        if word is not None and not word.done():
            word.set_result(reason)

    def fail(self, error: Unavailable) -> None:
        """The connection is gone."""
        waiting, self.waiting = self.waiting, {}
        for word in waiting.values():
            if not word.done():
                word.set_result(error)


class Post:
    """The sending half of one session. Nothing is ever sent a second time: the next session knows nothing of it."""

    def __init__(self, session: Session, words: Words) -> None:
        self._wire, self._granted, self._words = session.wire, session.granted, words

    @property
    def qos_max(self) -> int:
        """What the broker takes."""
        return self._granted.qos_max

    def objection(self) -> str:
        """Why nothing can leave at once; empty if it can."""
        if not self._wire.clear:
            return "the broker does not take what is sent"
        if len(self._words.waiting) >= self._granted.receive_max:
            return f"the broker has {len(self._words.waiting)} messages to confirm, and takes no more"
        return ""

    def fits(self, message: Message) -> bool:
        """Whether the broker takes packets of that size."""
        return message.size() <= self._granted.packet_bytes_max

    def send(self, message: Message, qos: int) -> "asyncio.Future[Word]":
        """Send it, now. What the broker says of it comes by the future; at QoS 0, where it says nothing, at once.

        Ask for `objection` before, with nothing awaited in between.
        """
        content = message.properties + message.payload
        if qos:
            mid, word = self._words.expect()
            content = _U16.pack(mid) + content
        else:
            word = asyncio.get_running_loop().create_future()
            word.set_result(ACCEPTED)
        first = bytes((PUBLISH | (_QOS_1 if qos else 0),))
        self._wire.write(first + varint(len(message.topic) + len(content)) + message.topic + content)
        return word

    def keep_here(self) -> bool:
        """Whether something had not reached the broker's machine; then the connection is dropped, and that with it."""
        transport = self._wire.transport
        if transport is None or not under_way(transport):
            return False
        self._wire.drop()
        return True


def properties(*, expires_seconds: int, number: str = "", answer_topic: str = "") -> bytes:
    """Of a command or question in MQTT 5 (3.3.2.3), as on the wire, with their length in front.

    `number` travels as a user property, and where there is an `answer_topic` as Correlation Data as well.
    """
    written = _EXPIRY + _U32.pack(expires_seconds)
    if answer_topic:
        written += _RESPONSE_TOPIC + on_the_wire(answer_topic) + _CORRELATION + on_the_wire(number)
    if number:
        written += _USER + on_the_wire(_ID_NAME) + on_the_wire(number)
    return varint(len(written)) + written


def expiry_seconds(left: float) -> int:
    """How long a broker may keep a message whose deadline is so many seconds away, in whole seconds, one at least.

    Brokers count whole seconds of their clock (Mosquitto 2.0 gives out what is up to one second too old), so one is
    taken off; and 0 is no use: to Mosquitto it means for ever.
    """
    return max(1, int(left) - 1)


def judged(code: int, topic: str, *, who: str, five: bool, words: str) -> GatewayError | None:
    """What a PUBACK says of a command; None where the broker has it. `words` are those for the code."""
    if code == ACCEPTED:
        return None
    if five and code == NOBODY:
        return Rejected(f"nobody listens at topic {topic!r}; nothing was changed")
    if five and code in _NOT_TAKEN:
        return Rejected(f"{who} did not take it on {topic!r}: {words}; nothing was changed")
    meaning = words if five and code >= REFUSED else f"reason {code:#04x}"
    return OutcomeUnknown(f"sent, and then {who} says {meaning}, which is neither yes nor no; look at the machine")
