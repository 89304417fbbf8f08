"""Settings tables in Markdown, made from the settings models, so that the documentation cannot be out of date."""

import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from plantgate.config.hints import size
from plantgate.config.model import PlantSettings
from plantgate.registry import Kind, Registry, Unusable
from plantgate.sdk import Bytes, Secret, Settings

BEGIN: Final = "<!-- settings -->"
END: Final = "<!-- /settings -->"
_BLOCK: Final = re.compile(rf"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)


class _Probe(Settings):
    size: Bytes
    secret: Secret


_SIZE: Final = _Probe.model_json_schema()["properties"]["size"]["anyOf"]
_REFERENCE: Final = _Probe.model_json_schema()["properties"]["secret"]["pattern"]


def pages(plugins: Registry, folder: Path) -> Iterator[tuple[Path, str]]:
    """The pages that have a settings table, each with the table it should have.

    These are the README beside every installed connector or above it, and ``docs/plant-file.md`` below `folder`.
    """
    for name in plugins.names(Kind.CONNECTOR):
        try:
            connector = plugins.connector(name)
        except Unusable:
            continue
        source = getattr(sys.modules[connector.__module__], "__file__", None)
        for home in (Path(source).parent, Path(source).parent.parent) if source else ():
            if BEGIN in _read(page := home / "README.md"):
                yield page, tables(connector.Settings)
                break
    if (page := folder / "docs" / "plant-file.md").exists():
        yield page, tables(PlantSettings)


def _read(page: Path) -> str:
    return page.read_text(encoding="utf-8") if page.exists() else ""


def refresh(wanted: Iterable[tuple[Path, str]], *, write: bool) -> list[Path]:
    """The pages whose table is not as it should be; with `write`, they are made so. Pages without marks are left."""
    stale = []
    for page, table in wanted:
        before = page.read_text(encoding="utf-8")
        escaped = table.replace("\\", r"\\")
        after = _BLOCK.sub(f"{BEGIN}\n{escaped}{END}", before)
        if after != before:
            stale.append(page)
            if write:
                page.write_text(after, encoding="utf-8")
    return stale


def tables(model: type[BaseModel]) -> str:
    """A table for the model, and one for each model in it under a heading that says where it stands."""
    schema = model.model_json_schema()
    definitions: dict[str, Any] = schema.get("$defs", {})
    parts = [_table(schema, definitions)]
    done: set[str] = set()
    waiting = list(_inner(schema, definitions, ""))
    while waiting:
        where, name = waiting.pop(0)
        if name in done:
            continue
        done.add(name)
        inner = definitions[name]
        about = _line(inner.get("description", ""))
        parts.append(f"### `{where}`\n\n{about}\n\n{_table(inner, definitions)}")
        waiting[:0] = _inner(inner, definitions, where)
    return "\n".join(parts)


def _table(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    rows = ["| Setting | Type | Default | Meaning |", "|---|---|---|---|"]
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        default = "**required**" if name in required else _default(field, definitions)
        cells = (f"`{name}`", _kind(field, definitions), default, _line(field.get("description", "")))
        rows.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _inner(schema: dict[str, Any], definitions: dict[str, Any], above: str) -> Iterator[tuple[str, str]]:
    """The models that fields hold, with the place where they stand: ``tags[]``, ``flows.<name>``."""
    for name, field in schema.get("properties", {}).items():
        for suffix, referred in _references(field):
            if "properties" in definitions[referred]:
                yield f"{above}.{name}{suffix}".lstrip("."), referred


def _references(field: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if "$ref" in field:
        yield "", field["$ref"].rpartition("/")[2]
    for arm in (*field.get("anyOf", ()), *field.get("oneOf", ()), *field.get("allOf", ())):
        yield from _references(arm)
    if isinstance(items := field.get("items"), dict):
        yield from ((f"[]{suffix}", name) for suffix, name in _references(items))
    for values in (field.get("additionalProperties"), *field.get("patternProperties", {}).values()):
        if isinstance(values, dict):
            yield from ((f".<name>{suffix}", name) for suffix, name in _references(values))


def _kind(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    """What can be written, in words."""
    arms = field.get("anyOf") or field.get("oneOf")
    if arms and all(arm in arms for arm in _SIZE):
        return "size"
    if arms:
        words = [_kind(arm, definitions) for arm in arms if arm.get("type") != "null"]
        return " or ".join(dict.fromkeys(words))
    if "$ref" in field:
        referred = definitions[field["$ref"].rpartition("/")[2]]
        return _kind(referred, definitions) if "properties" not in referred else "section"
    if "enum" in field or "const" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    match field.get("type"):
        case "string":
            return _text_kind(field)
        case "integer":
            return f"whole number{_range(field)}"
        case "number":
            return f"number{_range(field)}"
        case "boolean":
            return "`true` or `false`"
        case "array":
            items = field.get("items")
            return f"list of {_plural(_kind(items, definitions))}" if isinstance(items, dict) else "list"
        case "object":
            values = field.get("additionalProperties") or next(iter(field.get("patternProperties", {}).values()), None)
            return f"by name: {_kind(values, definitions)}" if isinstance(values, dict) else "by name"
        case _:
            return "any"


def _text_kind(field: dict[str, Any]) -> str:
    if field.get("pattern") == _REFERENCE:
        return "secret (a reference)"
    return "path" if field.get("format") in ("path", "file-path", "directory-path") else "text"


def _plural(kind: str) -> str:
    return {"text": "texts", "path": "paths", "section": "sections", "number": "numbers"}.get(kind, kind)


def _range(field: dict[str, Any]) -> str:
    low, high = field.get("minimum"), field.get("maximum")
    above, below = field.get("exclusiveMinimum"), field.get("exclusiveMaximum")
    least = f"from {low:.12g}" if low is not None else f"above {above:.12g}" if above is not None else ""
    most = f"to {high:.12g}" if high is not None else f"below {below:.12g}" if below is not None else ""
    return f", {' '.join(filter(None, (least, most)))}" if least or most else ""


def _default(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    value = field.get("default")
    if value is None or value == [] or value == {} or value == "":
        return ""
    if isinstance(value, dict):
        return "as below"
    if _kind(field, definitions) == "size" and isinstance(value, int):
        return f"`{size(value)}`"
    if isinstance(value, float):
        return f"`{value:.12g}`"
    return f"`{value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}`"


def _line(text: str) -> str:
    return " ".join(text.split())
