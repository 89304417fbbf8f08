"""The JSON Schema and `plantgate check` agree on what a plant file is."""

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from plantgate.config.schema import plant_schema
from plantgate.config.yaml12 import NotYaml, parse

EXAMPLES = Path(__file__).parent / "examples"
CONNECTORS = Path(__file__).parents[1] / "connectors" / "plantgate_connectors"
SOUND = sorted([*(EXAMPLES / "sound").glob("*.yaml"), *CONNECTORS.glob("*/example*.yaml")])

BEYOND_A_SCHEMA = {
    "cell_connection_in_two", "cell_memory_too_small", "cell_unknown_connection",
    "connection_name_in_capitals", "exponent_for_a_whole_number", "files_without_a_part",
    "machine_as_destination", "mqtt_command_nobody_can_read_back", "mqtt_command_value_without_slash",
    "mqtt_topic_with_wildcard", "mqtt_value_without_tag", "one_outbox_for_two",
    "opcua_node", "opcua_nothing_to_read", "opcua_tag_twice", "opcua_url", "outbox_inside_another",
    "size_too_small", "store_is_a_file", "tags_file_missing", "tags_file_with_faults",
    "tags_file_without_a_header", "trace_endpoint", "unknown_connection",
}  # fmt: skip
"""What only `plantgate check` can know: the rules between settings, the files beside the plant file."""


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = plant_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("file", SOUND, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_the_schema_takes_every_example(file: Path, validator: Draft202012Validator) -> None:
    assert [error.message for error in validator.iter_errors(parse(file.read_bytes()).root)] == []


def test_the_schema_refuses_what_check_refuses(validator: Draft202012Validator) -> None:
    taken = set()
    for file in (EXAMPLES / "broken").glob("*.yaml"):
        try:
            root = parse(file.read_bytes()).root
        except NotYaml:
            continue
        if validator.is_valid(root):
            taken.add(file.stem)
    assert taken <= BEYOND_A_SCHEMA


def test_every_setting_is_described() -> None:
    silent = []

    def look(schema: Any, where: str) -> None:
        for name, field in schema.get("properties", {}).items():
            if "const" not in field and not field.get("description"):
                silent.append(f"{where}.{name}")

    schema = plant_schema()
    look(schema, "plant")
    for name, definition in schema["$defs"].items():
        look(definition, name)
    assert silent == []
