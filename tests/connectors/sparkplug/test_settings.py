"""What may be written, what may not, and what `plantgate plan` says."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from plantgate_connectors.sparkplug import Sparkplug, SparkplugSettings
from tests.connectors.sparkplug.given import HOST, edge_node, sparkplug, twin

EDGE = {"edge_node": "line"}
SCADA = {"host_id": "scada"}
SPEED = {"tag": "plant/line/press/speed", "group": "plant", "edge_node": "line", "device": "press", "metric": "speed"}


def settings(**written: Any) -> SparkplugSettings:
    """As from a plant file."""
    return SparkplugSettings.model_validate_json(json.dumps({"host": HOST, **written}))


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ({"publish": {"edge_node": "a/b"}}, "'a/b' cannot be a Sparkplug id: it contains '/'"),
        ({"publish": {"edge_node": ""}}, "it is empty"),
        ({"publish": {**EDGE, "group": "a+"}}, r"it contains '\+'"),
        ({"publish": {**EDGE, "primary_host": "#"}}, "it contains '#'"),
        ({"publish": {**EDGE, "confirm_topic": "spBv1.0/x"}}, "is Sparkplug's own"),
        ({"publish": {**EDGE, "confirm_topic": "a/{tag}"}}, "{tag} has no meaning here"),
        ({"publish": {"group": "plant"}}, "edge_node"),
        ({"subscribe": {}}, "host_id"),
        ({"subscribe": {"host_id": "a" * 300}}, "it is 300 bytes long"),
        ({"subscribe": {"host_id": "scada", "tag": "{device}"}}, "has no {metric}"),
        ({"subscribe": {"host_id": "scada", "node_tag": "{device}/{metric}"}}, "{device} has no meaning here"),
        ({"commands": {"metrics": [SPEED]}}, "write subscribe: { host_id: … } as well"),
        ({"subscribe": SCADA, "commands": {"metrics": []}}, "at least 1 item"),
        ({"subscribe": SCADA, "commands": {"metrics": [SPEED, SPEED]}}, "stands there twice"),
        (
            {"subscribe": SCADA, "commands": {"metrics": [SPEED, {**SPEED, "tag": "another"}]}},
            "stands there twice, or its metric does",
        ),
        ({"subscribe": SCADA, "commands": {"metrics": [{**SPEED, "tag": "x"}]}}, "is read as plant/line/press/speed"),
        ({"subscribe": {**SCADA, "groups": ["b"]}, "commands": {"metrics": [SPEED]}}, "not among subscribe.groups"),
        ({"subscribe": SCADA, "commands": {"metrics": [{**SPEED, "device": "a/b"}]}}, "it contains '/'"),
        (
            {"subscribe": SCADA, "commands": {"metrics": [{**SPEED, "metric": "Node Control/Reboot"}]}},
            "no value of a machine but Sparkplug's own",
        ),
        ({"subscribe": SCADA, "commands": {"metrics": [SPEED]}, "client_id": "a"}, "as commands.client_id"),
        (
            {"subscribe": SCADA, "commands": {"metrics": [SPEED], "client_id": "a"}, "client_id": "a"},
            "as commands.client_id",
        ),
        ({"password": "${env:X}"}, "password without username"),
        ({"topic": "x"}, "topic"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(written: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        settings(**written)


def test_each_role_needs_its_section() -> None:
    assert "write publish:" in Sparkplug.objection(settings(), source=False)
    assert "write subscribe:" in Sparkplug.objection(settings(), source=True)
    assert Sparkplug.objection(settings(publish=EDGE), source=False) == ""
    assert Sparkplug.objection(settings(subscribe={"host_id": "scada"}), source=True) == ""


def test_only_what_is_named_can_be_written() -> None:
    assert "has no `commands`" in Sparkplug.unwritable(settings(subscribe=SCADA), "x", "Double")
    commanding = settings(subscribe=SCADA, commands={"metrics": [SPEED]})
    assert "is not among its commands.metrics" in Sparkplug.unwritable(commanding, "plant/line/press/x", "Double")
    assert Sparkplug.unwritable(commanding, "plant/line/press/speed", "Double") == ""


def test_each_use_has_its_own_client_id(tmp_path: Path) -> None:
    commands = {"metrics": [SPEED]}
    ours = sparkplug(tmp_path / "a", subscribe=SCADA, commands=commands)
    kept = ours.client_id("actuator")
    assert kept != ours.client_id("source")
    assert sparkplug(tmp_path / "a", subscribe=SCADA, commands=commands).client_id("actuator") == kept, "over restarts"
    named = sparkplug(tmp_path / "b", subscribe=SCADA, client_id="a", commands={**commands, "client_id": "b"})
    assert (named.client_id("source"), named.client_id("actuator")) == ("a", "b")


def test_what_is_unwise_is_remarked() -> None:
    assert Sparkplug.remarks(settings(publish=EDGE)) == ()
    remarks = Sparkplug.remarks(settings(publish={**EDGE, "numbers": False, "datatypes": True}))
    assert [remark.split()[0] for remark in remarks] == ["publish.numbers:", "publish.datatypes:"]
    *_, remark = Sparkplug.remarks(settings(subscribe=SCADA, commands={"metrics": [SPEED]}, version="3.1.1"))
    assert "never expires" in remark
    by_alias = [{**SPEED, "by": "alias"}]
    assert Sparkplug.remarks(settings(subscribe=SCADA, commands={"metrics": [SPEED]})) == ()
    [remark] = Sparkplug.remarks(settings(subscribe=SCADA, commands={"metrics": by_alias}))
    assert remark.startswith("commands.metrics: plant/line/press/speed by alias: ")
    assert remark.endswith("then writes another metric; write by: name")


@pytest.mark.simulated(seeds=1)
async def test_a_survey_says_what_is_granted_and_whether_the_primary_host_is_there(tmp_path: Path) -> None:
    async with twin() as device:
        connector = edge_node(tmp_path, publish={"primary_host": "scada"})
        found = {finding.subject: finding for finding in (await connector.survey()).findings}
        assert found["spBv1.0/plant/NCMD/line"].granted == "QoS 1"
        assert not found["primary host scada"].fine
        for online, words in (("false", "offline"), ("true", "online")):
            state = f'{{"online": {online}, "timestamp": 1}}'
            device.broker.publish("spBv1.0/STATE/scada", state.encode(), retain=True)
            findings = (await connector.survey()).findings
            assert findings[-1].granted == words
        host = sparkplug(tmp_path / "host", subscribe={"host_id": "scada", "groups": ["plant"]})
        survey = await host.survey()
        assert survey.fine
        assert "spBv1.0/plant/#" in [finding.subject for finding in survey.findings]
        assert device.came == []
