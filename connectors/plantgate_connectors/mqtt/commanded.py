"""A value as the message that sets it."""

import math

from plantgate.sdk import Rejected, Setpoint
from plantgate_connectors.mqtt.commands import Command, Word
from plantgate_connectors.mqtt.payloads import text
from plantgate_connectors.payloads.texts import json_bytes
from plantgate_connectors.payloads.words import Payload


def payload_of(command: Command, value: Setpoint, number: str, until_ms: int) -> bytes:
    """What is published. A float is written with as few digits as give it back exactly.

    Raises `Rejected` for what the payload cannot say: NaN, infinities, halves of characters, and with `number` whatever
    is none. `number` is that of the command, for an answer that repeats it; `until_ms` its deadline, for a device that
    looks at it.
    """
    word = _worded(command, value)
    if isinstance(word, float) and not math.isfinite(word):
        raise Rejected(f"{command.tag}: {word} is not a number that a message can say")
    if command.payload is Payload.NUMBER and isinstance(word, bool | str):
        raise Rejected(f"{command.tag}: {word!r} is not a number, and payload: number says nothing else")
    try:
        if command.payload is Payload.JSON:
            word.encode() if isinstance(word, str) else None
            return json_bytes(command.document(word, number, until_ms))
        return word.encode() if isinstance(word, str) else text(word)
    except UnicodeEncodeError:
        raise Rejected(f"{command.tag}: a text with halves of characters is not published") from None


def _worded(command: Command, value: Setpoint) -> Setpoint | Word:
    if isinstance(value, bool) and command.true_is is not None and command.false_is is not None:
        return command.true_is if value else command.false_is
    return value
