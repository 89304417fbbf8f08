"""Whether an answer is a yes, a no, or neither; and where in a message the number of its command stands."""

import json
from typing import Any

import pytest

from plantgate.testing.mqtt_fields import V5, Property
from plantgate.testing.mqtt_packets import Message, write_publish
from plantgate_connectors.mqtt.answers import Said, correlation_of, judged
from plantgate_connectors.mqtt.commands import Answer

YES = Said(accepted=True, words="")
WORDS: dict[str, Any] = {"value": "/status", "accepted": ["ok", 200], "refused": ["error"], "error": "/error"}
SHELLY: dict[str, Any] = {"value": "/result", "error": "/error/message"}
TEXT: dict[str, Any] = {"payload": "text", "accepted": ["OK"], "refused": ["NO"]}


def no(words: str) -> Said:
    return Said(accepted=False, words=words)


@pytest.mark.parametrize(
    ("written", "payload", "said"),
    [
        (WORDS, b'{"status": "ok"}', YES),
        (WORDS, b'{"status": 200}', YES),
        (WORDS, b'{"status": "ok", "error": null}', YES),
        (WORDS, b'{"status": "ok", "error": ""}', YES),
        (WORDS, b'{"status": "error", "error": "door open"}', no("door open")),
        (WORDS, b'{"status": "error"}', no("error")),
        (WORDS, b'{"error": {"code": 7}}', no("{'code': 7}")),
        (WORDS, b'{"status": "late", "error": "door open"}', no("door open")),
        (WORDS, b'{"status": "ok", "error": "door open"}', None),
        (WORDS, b'{"status": "pending"}', None),
        (WORDS, b'{"status": "200"}', None),
        (WORDS, b'{"status": true}', None),
        (WORDS, b'"ok"', None),
        (WORDS, b"", None),
        (WORDS, b"\xff", None),
        (SHELLY, b'{"id": "7", "result": {"was_on": false}}', YES),
        (SHELLY, b'{"id": "7", "result": null}', YES),
        (SHELLY, b'{"id": "7", "error": {"code": -105, "message": "not found"}}', no("not found")),
        (SHELLY, b'{"id": "7", "method": "NotifyStatus"}', None),
        (TEXT, b"OK", YES),
        (TEXT, b"NO", no("NO")),
        (TEXT, b"ok", None),
        (TEXT, b"\xff", None),
        ({"value": "/s", "refused": [False]}, b'{"s": 0}', YES),
        ({"value": "/s", "refused": [False]}, b'{"s": false}', no("False")),
    ],
)
def test_an_answer_is_a_yes_a_no_or_neither(written: dict[str, Any], payload: bytes, said: Said | None) -> None:
    assert judged(Answer.model_validate_json(json.dumps(written)), payload) == said


@pytest.mark.parametrize("qos", [0, 1])
def test_the_number_is_found_among_all_that_can_stand_before_it(qos: int) -> None:
    around = {
        Property.PAYLOAD_FORMAT: 1,
        Property.MESSAGE_EXPIRY: 7,
        Property.CONTENT_TYPE: "application/json",
        Property.USER_PROPERTY: (("a", "b"), ("c", "d")),
        Property.SUBSCRIPTION_IDENTIFIER: 300,
        Property.CORRELATION_DATA: b"7/ab",
    }
    packet = write_publish(V5, Message("answers", b"{}", qos, False, around), 5 if qos else 0, False)
    assert correlation_of(packet[0], packet[2:]) == b"7/ab"
    del around[Property.CORRELATION_DATA]
    packet = write_publish(V5, Message("answers", b"{}", qos, False, around), 5 if qos else 0, False)
    assert correlation_of(packet[0], packet[2:]) is None
