"""What an operator writes is taken or refused with what to write instead."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from plantgate_connectors.opcua.deadband import Deadband
from plantgate_connectors.opcua.protection import Policy
from plantgate_connectors.opcua.settings import OpcUaSettings
from tests.connectors.opcua.plant_given import settings


def test_security_is_on_unless_the_file_says_none() -> None:
    assert settings().security.policy is Policy.BEST
    assert settings(security={"policy": "None"}).security.policy is Policy.NONE


def test_tags_of_the_file_and_of_the_list_stand_together(tmp_path: Path) -> None:
    (tmp_path / "tags.csv").write_text("tag,node\nb,i=2\n", encoding="utf-8")
    given = {"url": "opc.tcp://press:4840", "tags": [{"tag": "a", "node": "i=1"}], "tags_file": "tags.csv"}
    made = OpcUaSettings.model_validate_json(json.dumps(given), context={"folder": tmp_path})
    assert [row.tag for row in made.rows] == ["a", "b"]


def test_a_change_of_the_tag_file_alone_is_a_change_of_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "tags.csv"
    path.write_text("tag,node\nb,i=2\n", encoding="utf-8")
    before = settings(tags_file=str(path))
    assert before == settings(tags_file=str(path))
    path.write_text("tag,node\nb,i=3\n", encoding="utf-8")
    after = settings(tags_file=str(path))
    assert before != after
    assert before.model_dump(mode="json") != after.model_dump(mode="json")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"url": "http://press:4840"}, "opc.tcp://HOST:PORT"),
        ({"url": "opc.tcp://press"}, "opc.tcp://press:4840"),
        ({"url": "opc.tcp://me:secret@press:4840"}, "not into the url"),
        ({"url": "opc.tcp://press:99999"}, "not an address"),
        ({"tags": []}, "nothing to read"),
        ({"tags": [{"tag": "a", "node": "Temp"}]}, "write it as nsu="),
        (
            {"tags": [{"tag": "a", "node": "i=1"}, {"tag": "a", "node": "i=2"}]},
            r"tags\[1\].*already given at tags\[0\]",
        ),
        ({"tags": [{"tag": "a", "node": "i=1", "deadband": "3%%"}]}, "share of its range"),
        ({"tags": [{"tag": "a", "node": "i=1", "deadband": True}]}, "share of its range"),
        ({"security": {"policy": "Basic256"}}, "Basic256Sha256"),
        ({"security": {"policy": None}}, "policy"),
        ({"security": {"server_thumbprint": "12:34"}}, "64 hex digits"),
        ({"security": {"tolerate": ["validity"]}}, "server_thumbprint"),
        ({"security": {"certificate": "a.der"}}, "together"),
        ({"user": {"name": "op"}}, "name and password"),
        ({"user": {"name": "op", "password": "secret"}}, r"\$\{file:"),
        ({"user": {"name": "op", "password": "${env:P}", "certificate": "x"}}, "name and password"),
        ({"browse": [{"path": "Objects//x"}]}, "not a browse path"),
        ({"browse": [{"path": "Objects/**", "tag": "same"}]}, "same name"),
        ({"browse": [{"path": "Objects/**", "tag": "{pth}"}]}, "can be filled in"),
        ({"events": [{"tag": "e", "node": "Server"}]}, "write it as nsu="),
        ({"events": [{"tag": "e", "fields": ["/"]}]}, "not a field"),
        ({"lifetime_seconds": 10, "keepalive_seconds": 5}, "three times"),
        ({"publishing_interval_ms": 60000}, "keepalive_seconds"),
        ({"publishing_interval_ms": 0}, "greater than or equal to 1"),
        ({"tags_file": "/nonexistent/tags.csv"}, "cannot read"),
        ({"sampling": 5}, "Extra inputs"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_to_write(given: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        settings(**{"url": "opc.tcp://press:4840", **given})  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    ("written", "kind", "size"),
    [(0.5, "absolute", 0.5), (2, "absolute", 2.0), ("2 %", "percent", 2.0), ("1e-3", "absolute", 0.001)],
)
def test_a_deadband_is_a_number_or_a_share(written: object, kind: str, size: float) -> None:
    deadband = settings(deadband=written).deadband
    assert deadband is not None
    assert (deadband.kind, deadband.size) == (kind, size)
    assert Deadband.parse(str(deadband)) == deadband


@pytest.mark.parametrize("written", ["nan", "inf", "-1", "101%", "", "5 mm"])
def test_a_deadband_that_means_nothing_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="deadband"):
        Deadband.parse(written)


def test_every_setting_is_documented() -> None:
    schema = json.dumps(OpcUaSettings.model_json_schema())
    for model in json.loads(schema)["$defs"].values():
        for name, field in model.get("properties", {}).items():
            assert field.get("description"), f"{model['title']}.{name}"


def test_reading_settings_does_not_load_asyncua() -> None:
    script = "import sys, plantgate_connectors.opcua; sys.exit('asyncua' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0


def test_what_is_allowed_and_unwise_is_told() -> None:
    assert settings().doubts() == ()
    tags = [
        {"tag": "a", "node": "nsu=urn:press;s=a"},
        {"tag": "b", "node": "ns=2;s=b"},
        {"tag": "c", "node": "ns=3;s=c"},
    ]
    [open_channel, shaky] = settings(security={"policy": "None"}, tags=tags).doubts()
    assert "anyone on the network" in open_channel
    assert shaky.startswith("tags[1]: ns=2;s=b (and 1 more) names its namespace by a number")
