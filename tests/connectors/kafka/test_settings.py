"""What an operator may write, what is refused, what is doubted."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import plantgate_connectors.kafka as package
from plantgate.sdk import Gap
from plantgate_connectors.kafka import Kafka
from plantgate_connectors.kafka.payloads import Writer
from plantgate_connectors.payloads.words import TimeFormat
from tests.connectors.kafka.given import batch, settings


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ({"servers": ["kafka1"]}, "is not host:port"),
        ({"servers": ["kafka1:99999"]}, "is not host:port"),
        ({"servers": []}, "at least 1"),
        ({"publish": {"topic": "a/b"}}, "cannot be a topic"),
        ({"publish": {"topic": ".."}}, "cannot be a topic"),
        ({"publish": {"gaps_topic": ""}}, "cannot be a topic"),
        ({"subscribe": [{"topic": "t"}]}, "subscribe needs a group"),
        ({"group": "g", "subscribe": [{"topic": "t"}, {"topic": "t"}]}, "stands twice"),
        ({"group": "g", "subscribe": [{"topic": "t", "tag": "{line}"}]}, "has no meaning here"),
        ({"group": "g", "subscribe": [{"topic": "t", "key": "{a#}/{b}"}]}, "can only come last"),
        ({"group": "g", "subscribe": [{"topic": "t", "key": "{key}"}]}, "has a meaning already"),
        ({"group": "g", "subscribe": [{"topic": "t", "value": "/v"}]}, "look inside the record"),
        ({"tls": {"key_file": "k.pem"}}, "come together"),
    ],
)
def test_what_cannot_work_is_refused_with_a_reason(written: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        settings("broker:9092", **written)


def test_a_password_in_the_clear_is_doubted_and_a_compression_without_its_library_refused() -> None:
    sasl = {"mechanism": "PLAIN", "username": "u", "password": "${env:P}"}
    assert "unencrypted" in Kafka.remarks(settings("broker:9092", sasl=sasl))[0]
    assert Kafka.remarks(settings("broker:9092", sasl=sasl, tls={})) == ()
    assert Kafka.objection(settings("broker:9092", publish={"compression": "gzip"}), source=False) == ""
    words = Kafka.objection(settings("broker:9092", publish={"compression": "zstd"}), source=False)
    assert ("cramjam" in words) is (find_spec("cramjam") is None)
    assert "has no `subscribe`" in Kafka.objection(settings("broker:9092"), source=True)


@pytest.mark.parametrize("time", list(TimeFormat))
def test_every_record_is_as_the_published_schema_says(time: TimeFormat) -> None:
    schema = Path(package.__file__).with_name("records.schema.json").read_bytes()
    judge = Draft202012Validator(json.loads(schema))
    writer, one = Writer(time), batch(12)
    one.values[:9] = [True, 3, -0.0, float("nan"), "ü\0", b"\xff", None, [1, [2.5]], {"a": None}]
    one.times[4] = None
    one.gaps = (Gap(("line/t1",), None, 5, "session lost", None),)
    for value in [*writer.each(one), writer.tag(one, "line/t1", [1, 6]), writer.batch(one, [0, 1]), writer.gap(one, 0)]:
        judge.validate(json.loads(value))
