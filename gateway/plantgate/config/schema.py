"""The JSON Schema of a plant file, for what is installed here; editors check and complete plant files with it."""

from typing import Any, Final, TypeAlias

from plantgate.config.model import NAME_PATTERN, PlantSettings
from plantgate.registry import Kind, Registry, Unusable, registry

Schema: TypeAlias = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def plant_schema(plugins: Registry | None = None) -> Schema:
    """A schema of draft 2020-12; a connection's settings follow from its ``type``."""
    plugins = plugins or registry()
    definitions: Schema = {}
    plant = _part(PlantSettings.model_json_schema(ref_template="#/$defs/plant.{model}"), "plant", definitions)
    arms: list[Schema] = []
    usable: list[str] = []
    for name in plugins.names(Kind.CONNECTOR):
        try:
            model = plugins.connector(name).Settings
        except Unusable:
            continue
        part = _part(model.model_json_schema(ref_template=f"#/$defs/{name}.{{model}}"), name, definitions)
        part["properties"] = {"type": {"const": name}, **part.get("properties", {})}
        definitions[name] = part
        usable.append(name)
        arms.append({"if": {"properties": {"type": {"const": name}}}, "then": {"$ref": f"#/$defs/{name}"}})
    connection: Schema = {
        "type": "object",
        "properties": {"type": {"enum": usable, "description": "Which connector it is."}},
        "required": ["type"],
    }
    if arms:
        connection["allOf"] = arms
    definitions["connection"] = connection
    properties = dict(plant["properties"])
    flows = properties.pop("flows")
    properties["connections"] = {
        "type": "object",
        "description": "What the flows join: machines, brokers, folders, by name.",
        "minProperties": 1,
        "propertyNames": {"pattern": NAME_PATTERN},
        "additionalProperties": {"$ref": "#/$defs/connection"},
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


def _part(schema: Schema, prefix: str, definitions: Schema) -> Schema:
    """Move a model's own definitions among everyone's, under names of their own."""
    for name, definition in schema.pop("$defs", {}).items():
        definitions[f"{prefix}.{name}"] = definition
    return schema
