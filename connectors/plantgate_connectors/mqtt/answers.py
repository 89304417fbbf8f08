"""Which answer belongs to which command, and whether it is a yes."""

import asyncio
import struct
from dataclasses import dataclass
from typing import Final

from plantgate.sdk import Unavailable
from plantgate_connectors.mqtt.commands import Answer, same_word
from plantgate_connectors.payloads.documents import MISSING, Unreadable, at, pointer
from plantgate_connectors.payloads.readings import parse_json
from plantgate_connectors.payloads.words import Payload

_U16: Final = struct.Struct("!H")
_CORRELATION: Final = 0x09
_FIXED_BYTES: Final = {0x01: 1, 0x02: 4, 0x23: 2}
"""Properties of a PUBLISH with a fixed length (MQTT 5, 3.3.2.3); 0x0B is a Variable Byte Integer."""
_SUBSCRIPTION: Final = 0x0B
_PAIRS: Final = 0x26
_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class Said:
    """What a device answered."""

    accepted: bool
    words: str
    """Why not."""


@dataclass(slots=True)
class Waiting:
    """A command that waits for its answer."""

    answer: Answer
    topic: bytes
    number: str
    said: "asyncio.Future[Said | Unavailable]"
    neither: str = ""
    """The last that came and was neither a yes nor a no."""


class Answers:
    """Of one session."""

    def __init__(self) -> None:
        self._waiting: dict[str, Waiting] = {}

    def expect(self, answer: Answer, topic: str, number: str) -> Waiting:
        """From now on the answer with this number is waited for; give it back with `forget`."""
        said: asyncio.Future[Said | Unavailable] = asyncio.get_running_loop().create_future()
        waiting = self._waiting[number] = Waiting(answer, topic.encode(), number, said)
        return waiting

    def forget(self, waiting: Waiting) -> None:
        """It is waited for no longer."""
        self._waiting.pop(waiting.number, None)

    def heard(self, topic: bytes, correlation: bytes | None, payload: bytes) -> bool:
        """A message came on a topic for answers; False if it answers nothing that was asked."""
        found = False
        for waiting in self._waiting.values():
            if waiting.topic != topic or waiting.said.done() or not _answers(waiting, correlation, payload):
                continue
            found = True
            said = judged(waiting.answer, payload)
            if said is None:
                waiting.neither = payload[:_SHOWN].decode(errors="backslashreplace")
            else:
                waiting.said.set_result(said)
        return found

    def fail(self, error: Unavailable) -> None:
        """The connection is gone."""
        for waiting in self._waiting.values():
            if not waiting.said.done():
                waiting.said.set_result(error)


def _answers(waiting: Waiting, correlation: bytes | None, payload: bytes) -> bool:
    if waiting.answer.id is None:
        return correlation == waiting.number.encode()
    try:
        return same_word(at(parse_json(payload), pointer(waiting.answer.id)), waiting.number)
    except Unreadable:
        return False


def judged(answer: Answer, payload: bytes) -> Said | None:
    """A yes, a no, or None for what is neither, or both."""
    try:
        document = payload.decode() if answer.payload is Payload.TEXT else parse_json(payload)
    except (Unreadable, UnicodeDecodeError):
        return None
    word = at(document, pointer(answer.value))
    error = MISSING if answer.error is None else at(document, pointer(answer.error))
    wrong = error is not MISSING and error is not None and error != ""
    refused = any(same_word(word, no) for no in answer.refused)
    if answer.accepted:
        accepted = any(same_word(word, yes) for yes in answer.accepted)
    else:
        accepted = word is not MISSING and not refused
    if accepted and not wrong:
        return Said(accepted=True, words="")
    if (wrong or refused) and not accepted:
        return Said(accepted=False, words=str(error if wrong else word)[:_SHOWN])
    return None


def correlation_of(first: int, body: bytes) -> bytes | None:
    """Correlation Data of an MQTT 5 PUBLISH (3.3.2.3.6); None without, and for properties that are none."""
    try:
        at_ = 2 + _U16.unpack_from(body)[0] + (2 if first & 0x06 else 0)
        length, at_ = _varint(body, at_)
        end = at_ + length
        while at_ < end:
            kind = body[at_]
            at_ += 1
            if kind in _FIXED_BYTES:
                at_ += _FIXED_BYTES[kind]
            elif kind == _SUBSCRIPTION:
                _, at_ = _varint(body, at_)
            else:
                for _ in range(2 if kind == _PAIRS else 1):
                    start = at_ + 2
                    at_ = start + _U16.unpack_from(body, at_)[0]
                if kind == _CORRELATION:
                    return body[start:at_] if at_ <= end else None
    except (IndexError, struct.error):
        return None
    return None


def _varint(body: bytes, at_: int) -> tuple[int, int]:
    """A Variable Byte Integer (1.5.5), and where what follows it begins."""
    number, shift = 0, 0
    while True:
        byte = body[at_]
        at_ += 1
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128 or shift > 21:
            return number, at_
