"""What may be written under `commands`, what is said of the rest, and how a value becomes a message."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from plantgate.sdk import Rejected
from plantgate_connectors import mqtt
from plantgate_connectors.mqtt import Mqtt
from plantgate_connectors.mqtt.commanded import payload_of
from plantgate_connectors.mqtt.commands import Command
from tests.connectors.mqtt.given import settings

STATE = {"topic": "oven", "ask": {"topic": "oven/get"}}
OVEN: dict[str, Any] = {"tag": "oven", "topic": "oven/set", "state": STATE}
JSON: dict[str, Any] = {**OVEN, "payload": "json", "value": "/v"}


def oven(**written: Any) -> Command:
    return Command.model_validate_json(json.dumps({**OVEN, **written}))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ({"topic": "oven/+"}, "'oven/+' is not one topic: it contains a wildcard"),
        ({"topic": ""}, "it is empty"),
        ({"state": {"topic": "oven/#"}}, "'oven/#' is not one topic: it contains a wildcard"),
        ({"state": {"topic": "oven", "payload": "fields"}}, "a state is one value; write number, text or json"),
        ({"state": {"topic": "oven", "value": "/v"}}, "only payload: json and payload: fields look inside the message"),
        ({"state": {"topic": "oven", "payload": "json", "value": "v"}}, "'v' is not a JSON Pointer"),
        ({"state": {**STATE, "fresh_seconds": 5}}, "a device that can be asked is asked each time"),
        ({"state": {"topic": "oven", "ask": {"topic": "oven/+/get"}}}, "is not one topic"),
        ({"state": {"topic": "oven", "true_is": 1}}, "true_is and false_is: write both or neither"),
        ({"payload": "plantgate"}, "a command is one value; write number, text or json"),
        ({"template": {}}, "template: only payload: json has one"),
        ({"payload": "json", "template": {"a": 1}}, "say where in the template the value goes, for example /state"),
        ({**JSON, "template": {"v": 1}, "value": "/v/w"}, "1 stands in the way of 'w'"),
        ({**JSON, "template": {"v": [1]}, "value": "/v/1"}, "the list there has 1 places, and none is called '1'"),
        ({"true_is": "ON"}, "true_is and false_is: write both or neither"),
        ({"true_is": 1, "false_is": 1}, "true_is and false_is are both 1"),
        ({"true_is": "ON", "false_is": "OFF"}, "with payload: number both are whole numbers"),
        ({"payload": "text", "true_is": 1, "false_is": 0}, "with payload: text both are texts in quotes"),
        ({"qos": 2}, "less than or equal to 1"),
        ({"until": "/until"}, "look inside the message"),
        ({"payload": "json", "until": "/until"}, "until: it needs a place beside the value"),
        ({**JSON, "until": "/v"}, "value and until are the same place in the command"),
        ({**JSON, "until": "/u", "answer": {"value": "/s", "id": "/u"}}, "answer.id and until are the same place"),
        ({"answer": {}}, "accepted: write the words that mean yes, or a value that only such an answer has"),
        ({"answer": {"value": "/s", "accepted": [True], "refused": [True]}}, "True cannot mean both"),
        ({"answer": {"value": "/s", "payload": "number"}}, "an answer is json or text"),
        ({"answer": {"value": "/s", "payload": "text"}}, "look inside the answer"),
        ({"answer": {"value": "/s", "topic": "answers/{tag}"}}, "{tag} has no meaning here"),
        ({"answer": {"value": "/s", "id": "/id"}}, "answer.id: it needs a place beside the value"),
        ({**JSON, "answer": {"value": "/s", "id": "/v/id"}}, "value and answer.id are the same place in the command"),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_write_instead(command: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        oven(**command)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("commands", "topic"),
    [
        ([oven(state={"topic": "oven/set"})], "oven/set"),
        ([oven(state={"topic": "oven", "ask": {"topic": "oven"}})], "oven"),
        ([oven(), oven(tag="other", topic="other/set", state={"topic": "oven/set"})], "oven/set"),
        ([oven(), oven(tag="other", topic="other/set", state={"topic": "oven/get"})], "oven/get"),
        ([oven(payload="json", value="/v", answer={"topic": "oven/set", "id": "/id", "value": "/v"})], "oven/set"),
    ],
)
def test_a_topic_on_which_we_speak_is_none_on_which_a_device_is_heard(commands: list[Command], topic: str) -> None:
    """The broker gives us our own message, which would confirm itself with nobody there."""
    written = [command.model_dump(mode="json", exclude_defaults=True) for command in commands]
    with pytest.raises(ValidationError, match=f"'{topic}' is where we publish"):
        settings(commands=written)


def test_a_tag_has_one_command_and_311_no_correlation_data() -> None:
    with pytest.raises(ValidationError, match="'oven' stands twice; a tag has one command"):
        settings(commands=[OVEN, OVEN])
    answer = {"value": "/s"}
    with pytest.raises(ValidationError, match=r"write answer\.id if the device repeats a number of the payload"):
        settings(commands=[{**OVEN, "answer": answer}], version="3.1.1")
    settings(commands=[{**JSON, "answer": {**answer, "id": "/id"}}], version="3.1.1")
    settings(commands=[{**OVEN, "answer": answer}])


def test_what_is_unwise_is_remarked() -> None:
    quiet = {**OVEN, "state": {"topic": "oven"}, "qos": 0}
    said = Mqtt.remarks(settings(commands=[quiet], version="3.1.1", client_id="gate"))
    assert any("in version 3.1.1 a command never expires" in remark for remark in said)
    assert any("with client_id set, they and a flow" in remark for remark in said)
    assert any("commands oven: with qos 0 the broker does not say" in remark for remark in said)
    assert any("commands oven: nothing makes the device report (state.ask)" in remark for remark in said)
    assert Mqtt.remarks(settings(commands=[OVEN])) == ()
    assert Mqtt.remarks(settings(commands=[{**OVEN, "state": {"topic": "oven", "fresh_seconds": 60}}])) == ()


@pytest.mark.parametrize(
    ("command", "data_type", "words"),
    [
        ({"tag": "other"}, "Double", "no command of this connection has the tag `oven`"),
        ({"state": None}, "Double", "its command has no `state`, so nobody could say what the device has"),
        ({}, "Double", ""),
        ({}, "UInt64", ""),
        ({}, "String", "is sent as payload: number, which says no String"),
        ({}, "Boolean", "for a Boolean write true_is: 1 and false_is: 0"),
        ({"payload": "text"}, "String", "its state is read as payload: number, which gives no String"),
        ({"payload": "text", "state": {"topic": "o", "payload": "text"}}, "String", ""),
        ({"payload": "text", "state": {"topic": "o", "payload": "text"}}, "Int32", "which gives no Int32"),
        ({"payload": "text", "state": {"topic": "o", "payload": "json"}}, "Boolean", ""),
        ({"payload": "text", "state": {"topic": "o", "payload": "text"}}, "Boolean", "write state.true_is and"),
        ({"true_is": 1, "false_is": 0}, "Boolean", "its state is read as payload: number; for a Boolean"),
        ({"state": {"topic": "o", "true_is": 1, "false_is": 0}}, "Double", "are for a Boolean, and it is written as D"),
        ({"true_is": 1, "false_is": 0, "state": {"topic": "o", "true_is": 1, "false_is": 0}}, "Boolean", ""),
        (
            {**JSON, "state": {"topic": "o", "payload": "text", "true_is": "ON", "false_is": "OFF"}},
            "Boolean",
            "",
        ),
    ],
)
def test_a_tag_that_cannot_be_written_as_that_type_is_told_why(
    command: dict[str, Any], data_type: str, words: str
) -> None:
    said = Mqtt.unwritable(settings(commands=[{**OVEN, **command}]), "oven", data_type)
    assert words in said
    assert bool(words) is bool(said)


@pytest.mark.parametrize(
    ("command", "value", "message"),
    [
        ({}, 21.5, b"21.5"),
        ({}, 20.0, b"20.0"),
        ({}, 0.1, b"0.1"),
        ({}, 0.1 + 0.2, b"0.30000000000000004"),
        ({}, -0.0, b"-0.0"),
        ({}, 2**64 - 1, b"18446744073709551615"),
        ({}, -(2**63), b"-9223372036854775808"),
        ({"true_is": 1, "false_is": 0}, True, b"1"),
        ({"true_is": 1, "false_is": 0}, 1, b"1"),
        ({"payload": "text"}, True, b"true"),
        ({"payload": "text"}, "süd", "süd".encode()),
        ({"payload": "text"}, "", b""),
        ({"payload": "text", "true_is": "ON", "false_is": "OFF"}, False, b"OFF"),
        ({"payload": "json"}, 'a"b', b'"a\\"b"'),
        ({"payload": "json"}, True, b"true"),
        ({**JSON, "value": "/state", "true_is": "ON", "false_is": "OFF"}, True, b'{"state":"ON"}'),
        ({**JSON, "value": "/a/b"}, 3, b'{"a":{"b":3}}'),
        ({**JSON, "value": "/p/1/on", "template": {"p": [0, {}], "t": 1}}, True, b'{"p":[0,{"on":true}],"t":1}'),
        ({**JSON, "value": "/a~1b"}, 1, b'{"a/b":1}'),
        ({**JSON, "answer": {"value": "/s", "id": "/n"}}, 1.5, b'{"v":1.5,"n":"7"}'),
        ({**JSON, "until": "/u"}, 1.5, b'{"v":1.5,"u":1767225600000}'),
    ],
)
def test_a_value_is_written_exactly(command: dict[str, Any], value: Any, message: bytes) -> None:
    ours = oven(**command)
    assert payload_of(ours, value, "7", 1_767_225_600_000) == message
    assert payload_of(ours, value, "7", 1_767_225_600_000) == message, "the template was changed by it"


@pytest.mark.parametrize(
    ("command", "value"),
    [
        ({}, math.nan),
        ({"payload": "json"}, math.inf),
        ({}, True),
        ({}, "21.5"),
        ({"payload": "text"}, "half \ud800"),
        ({"payload": "json"}, "half \ud800"),
    ],
)
def test_what_a_message_cannot_say_is_rejected(command: dict[str, Any], value: Any) -> None:
    with pytest.raises(Rejected):
        payload_of(oven(**command), value, "7", 1_767_225_600_000)


def test_the_examples_of_the_readme_are_what_they_say() -> None:
    page = Path(mqtt.__file__).with_name("README.md").read_text(encoding="utf-8")
    blocks = [block for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "- tag: " in block]
    first = yaml.safe_load(blocks[0])["connections"]["hall"]["commands"]
    ours = settings(commands=[*first, *yaml.safe_load(blocks[1])]).commands
    assert [payload_of(command, True, "7/ab", 0) for command in ours if command.tag != "line3/oven/setpoint"] == [
        b'{"transition":0,"state":"ON"}',
        b"ON",
        b'{"src":"plantgate-line3","method":"Switch.Set","params":{"id":0,"on":true},"id":"7/ab"}',
    ]
    assert payload_of(ours[2], 50.0, "7/ab", 1795694400123) == b'{"setpoint":50.0,"until":1795694400123}'
    assert not any(
        Mqtt.unwritable(settings(commands=first), tag, "Boolean") for tag in ("hall/lamp/on", "hall/pump/on")
    )
