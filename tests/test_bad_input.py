"""The table of bad input names tests that are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = {
    "## OPC UA": "tests/connectors/opcua",
    "## OPC UA server": "tests/connectors/opcua_server",
    "## MQTT": "tests/connectors/mqtt",
    "## Modbus": "tests/connectors/modbus",
    "## HTTP": "tests/connectors/http",
    "## Sparkplug": "tests/connectors/sparkplug",
    "## Kafka": "tests/connectors/kafka",
    "## Universal Robots": "tests/connectors/ur",
    "## Cameras": "tests/connectors/camera",
    "## Acting on machines": "tests/gateway/control",
    "## The audit log": "tests/gateway/audit",
    "## Platform": "tests/gateway/runtime",
}


def test_every_test_named_in_the_table_exists() -> None:
    text = (ROOT / "docs" / "bad-input.md").read_text(encoding="utf-8")
    named = 0
    for heading, folder in FOLDERS.items():
        section = text[text.index(heading) :].partition("\n## ")[0]
        for file, test in re.findall(r"([\w./]+\.py)::(\w+)", section):
            source = (ROOT / folder / file).read_text(encoding="utf-8")
            assert f"def {test}(" in source, f"{file} has no {test}"
            named += 1
    assert named > 30


def test_every_test_named_against_a_threat_exists() -> None:
    text = (ROOT / "docs" / "threats.md").read_text(encoding="utf-8")
    named = re.findall(r"(tests/[\w./]+\.py)::(\w+)", text)
    for file, test in named:
        assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file} has no {test}"
    assert {int(number) for number in re.findall(r"ATK-(\d+)", text)} == {*range(1, 11), 17, 19, 20}
