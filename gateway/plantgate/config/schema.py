"""The JSON Schema of a plant file, for what is installed here; editors check and complete plant files with it."""

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from plantgate.config.model import NAME_PATTERN, PlantSettings
from plantgate.registry import Kind, Registry, Unusable, registry
from plantgate.sdk import Settings

Schema: TypeAlias = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def plant_schema(plugins: Registry | None = None) -> Schema:
    """A schema of draft 2020-12; a connection's settings follow from its ``type``."""
    plugins = plugins or registry()
    definitions: Schema = {}
    plant = _part(PlantSettings.model_json_schema(ref_template="#/$defs/plant.{model}"), "plant", definitions)
    definitions["connection"] = _plugged(
        "Which connector it is.",
        plugins.names(Kind.CONNECTOR),
        lambda name: plugins.connector(name).Settings,
        definitions,
    )
    definitions["model"] = _plugged(
        "Which model adapter it is.", plugins.names(Kind.MODEL), lambda name: plugins.model(name).Settings, definitions
    )
    properties = dict(plant["properties"])
    flows = properties.pop("flows")
    properties["connections"] = {
        "type": "object",
        "description": "What the flows join: machines, brokers, folders, by name.",
        "minProperties": 1,
        "propertyNames": {"pattern": NAME_PATTERN},
        "additionalProperties": {"$ref": "#/$defs/connection"},
    }
    properties["models"] = {
        "type": "object",
        "description": "What loops ask about pictures, by name.",
        "propertyNames": {"pattern": NAME_PATTERN},
        "additionalProperties": {"$ref": "#/$defs/model"},
    }
    properties["flows"] = {**flows, "propertyNames": {"pattern": NAME_PATTERN}}
    properties["cells"] = {**properties.pop("cells"), "propertyNames": {"pattern": NAME_PATTERN}}
    return {
        "$schema": DIALECT,
        **plant,
        "title": "plantgate plant file",
        "description": "What a gateway joins, and how.",
        "properties": properties,
        "required": [name for name in properties if name in (*plant["required"], "connections")],
        "$defs": dict(sorted(definitions.items())),
    }


def _plugged(
    about: str, names: tuple[str, ...], settings: Callable[[str], type[Settings]], definitions: Schema
) -> Schema:
    """An entry whose settings follow from its ``type``; those of every plugin go among the definitions."""
    arms: list[Schema] = []
    usable: list[str] = []
    for name in names:
        try:
            model = settings(name)
        except Unusable:
            continue
        part = _part(model.model_json_schema(ref_template=f"#/$defs/{name}.{{model}}"), name, definitions)
        part["properties"] = {"type": {"const": name}, **part.get("properties", {})}
        definitions[name] = part
        usable.append(name)
        arms.append({"if": {"properties": {"type": {"const": name}}}, "then": {"$ref": f"#/$defs/{name}"}})
    entry: Schema = {
        "type": "object",
        "properties": {"type": {"enum": usable, "description": about}},
        "required": ["type"],
    }
    if arms:
        entry["allOf"] = arms
    return entry


def _part(schema: Schema, prefix: str, definitions: Schema) -> Schema:
    """Move a model's own definitions among everyone's, under names of their own."""
    for name, definition in schema.pop("$defs", {}).items():
        definitions[f"{prefix}.{name}"] = definition
    return schema
