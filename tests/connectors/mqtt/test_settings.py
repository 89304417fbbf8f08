"""What an operator may write, and what is said when it cannot be meant."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from plantgate_connectors.mqtt import Mqtt
from tests.connectors.mqtt.given import context, mqtt, settings


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ({"port": 0}, "greater than or equal to 1"),
        ({"version": "4"}, "'5' or '3.1.1'"),
        ({"password": "hunter2"}, "${file:/run/secrets/NAME}"),
        ({"password": "${env:P}"}, "password without username"),
        ({"client_id": "a\0b"}, "characters no broker takes"),
        ({"tls": {"certificate_file": "a.pem"}}, "write both or neither"),
        ({"publish": {"topic": ""}}, "it is empty"),
        ({"publish": {"topic": "a/+"}}, "it contains a wildcard"),
        ({"publish": {"topic": "$SYS/a"}}, "the broker's own"),
        ({"publish": {"topic": "a/{tag}"}}, "{tag} has no meaning here; there is {client_id}, {connection}"),
        ({"publish": {"topic": "a/{Plant}"}}, "lower-case"),
        ({"publish": {"each": "value"}}, 'topic: "{tag}"'),
        ({"publish": {"each": "value", "topic": "{tag}", "format": "columns"}}, "for batches"),
        ({"publish": {"format": "text"}}, "it needs each: value"),
        ({"publish": {"qos": 2}}, "less than or equal to 1"),
        ({"publish": {"message_bytes_max": "1KB"}}, "is not a size"),
        ({"subscribe": [{"topic": "a/#/b"}]}, "it can only come last"),
        ({"subscribe": [{"topic": "a/{x}", "tag": "{y}"}]}, "{y} has no meaning here; there is {topic}, {x}"),
        ({"subscribe": [{"topic": "a", "payload": "json", "value": "v"}]}, "write for example '/v'"),
        ({"subscribe": [{"topic": "a", "time": "/t"}]}, "look inside the message"),
        ({"subscribe": [{"topic": "a", "qos": 2}]}, "less than or equal to 1"),
        ({"subscribe": [{"topik": "a"}]}, "topik"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_to_write(written: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(words)):
        settings(**written)


def test_the_port_follows_from_tls() -> None:
    def port(**written: Any) -> int:
        return settings(**{"port": None, **written}).address[1]

    assert port() == 1883
    assert port(tls={}) == 8883
    assert port(tls={}, port=9999) == 9999


def test_what_is_unwise_is_remarked_on() -> None:
    def remarks(**written: Any) -> str:
        return " | ".join(Mqtt.remarks(settings(**written)))

    assert remarks() == ""
    account = {"username": "u", "password": "${env:P}"}
    assert "unencrypted" in remarks(**account)
    assert remarks(**account, host="127.0.0.1") == ""
    assert remarks(**account, tls={}) == ""
    assert "check_server_name" in remarks(tls={"check_server_name": False})
    assert "cannot say that it refused" in remarks(version="3.1.1")
    assert "nobody confirms" in remarks(publish={"qos": 0})
    assert "keeps nothing" in remarks(subscribe=[{"topic": "a", "qos": 0}])


def test_nothing_can_be_read_without_topics() -> None:
    assert "subscribe" in Mqtt.objection(settings(), source=True)
    assert Mqtt.objection(settings(), source=False) == ""
    assert Mqtt.objection(settings(subscribe=[{"topic": "a"}]), source=True) == ""


def test_a_client_id_is_made_once_for_each_role_and_kept(tmp_path: Path) -> None:
    source, sink = mqtt(tmp_path).client_id("source"), mqtt(tmp_path).client_id("sink")
    assert source != sink
    assert re.fullmatch("plantgate-broker-[0-9a-f]{8}", source)
    assert mqtt(tmp_path).client_id("source") == source
    assert mqtt(tmp_path / "other").client_id("source") != source
    assert mqtt(tmp_path, client_id="mine").client_id("sink") == "mine"


def test_settings_survive_being_written_down(tmp_path: Path) -> None:
    given = settings(tls={"ca_file": "ca.pem"}, username="u", password="${env:P}", subscribe=[{"topic": "a/{b}"}])
    again = type(given).model_validate_json(json.dumps(given.model_dump(mode="json")))
    assert again == given
    assert Mqtt(again, context(tmp_path)).settings == given
