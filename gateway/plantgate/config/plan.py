"""What would change: a plant file against the plant that runs."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from plantgate.config.model import Connection, Plant, PlantSettings
from plantgate.config.place import Step, Trail
from plantgate.sdk import Settings

Written: TypeAlias = dict[str, Any]
"""A plant as `document` writes it."""

_SECTIONS: Final = (*(name for name in PlantSettings.model_fields if name not in ("flows", "cells")), "models")


@dataclass(frozen=True, slots=True)
class Difference:
    """One setting that is not what it was; None stands for absent."""

    trail: Trail
    before: object
    after: object


@dataclass(frozen=True, slots=True)
class Changes:
    """Flows by what happens to them; names in the order of the new file, then of the old one."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    """Those that restart: their own settings or those of a connection they name have changed."""
    unchanged: tuple[str, ...]
    restart: dict[str, str]
    """Why each of `changed` restarts, in a sentence."""
    settings: tuple[str, ...]
    """Sections outside connections and flows that have changed; they take effect when the process is started anew."""
    cells: tuple[str, ...] = ()
    """Cells that are new, gone or have other limits; what moves into or out of one restarts with its flow."""
    differences: tuple[Difference, ...] = field(default=())
    """Setting by setting."""

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.settings or self.cells)


def document(plant: Plant) -> Written:
    """The plant as JSON values, defaults filled in, secrets as their references; what `GET /plan` answers.

    ``digests`` has a fingerprint of what each connection has read from files of its own, such as tag lists.
    """
    written = plant.model_dump(mode="json", by_alias=True, exclude={"connections", "models", "flows", "file"})
    return {
        **written,
        "file": str(plant.file),
        "connections": {name: _connection(connection) for name, connection in plant.connections.items()},
        "models": {
            name: {"type": model.type_name, **model.settings.model_dump(mode="json", by_alias=True)}
            for name, model in plant.models.items()
        },
        "flows": {name: flow.model_dump(mode="json", by_alias=True) for name, flow in plant.flows.items()},
        "digests": {name: _digest(connection.settings) for name, connection in plant.connections.items()},
    }


def changes(old: Plant | None, new: Plant) -> Changes:
    """From one plant to the next; from none, everything is new."""
    return compare(document(old) if old is not None else None, document(new))


def compare(old: Written | None, new: Written) -> Changes:
    """The same for plants as documents."""
    before: Written = old or {"connections": {}, "flows": {}, "digests": {}}
    flows, former = new["flows"], before["flows"]
    cells, former_cells = new.get("cells", {}), before.get("cells", {})
    reasons = {name: _reason(name, before, new) for name in flows if name in former}
    return Changes(
        added=tuple(name for name in flows if name not in former),
        removed=tuple(name for name in former if name not in flows),
        changed=tuple(name for name, reason in reasons.items() if reason),
        unchanged=tuple(name for name, reason in reasons.items() if not reason),
        restart={name: reason for name, reason in reasons.items() if reason},
        settings=tuple(name for name in _SECTIONS if old is not None and before.get(name) != new.get(name)),
        cells=tuple(
            name for name in dict.fromkeys((*cells, *former_cells)) if cells.get(name) != former_cells.get(name)
        ),
        differences=tuple(_differences(before, new, ())) if old is not None else (),
    )


def _connection(connection: Connection) -> Written:
    return {"type": connection.type_name, **connection.settings.model_dump(mode="json", by_alias=True)}


def _digest(settings: Settings) -> str:
    private = settings.__pydantic_private__
    return hashlib.sha256(repr(private).encode("utf-8", "backslashreplace")).hexdigest()[:16] if private else ""


def _reason(flow: str, before: Written, after: Written) -> str:
    """Why a flow that stays must restart; empty if it need not."""
    was, becomes = before["flows"][flow], after["flows"][flow]
    if was != becomes:
        names = [name for name in becomes if was.get(name) != becomes[name]]
        return f"its own settings have changed: {', '.join(names)}"
    for name in (*_names(becomes["from"]), *_names(becomes["to"])):
        if before["connections"].get(name) != after["connections"].get(name):
            return f"connection {name} has changed"
        if before["digests"].get(name) != after["digests"].get(name):
            return f"a file that connection {name} reads has changed"
        if (cell := _cell(name, after)) != _cell(name, before):
            return f"connection {name} moves {f'into cell {cell}' if cell else 'out of its cell'}"
    return ""


def _cell(connection: str, plant: Written) -> str:
    """The cell a connection lives in; empty for the gateway's own process."""
    cells: Written = plant.get("cells", {})
    return next((name for name, cell in cells.items() if connection in _names(cell["connections"])), "")


def _names(written: str | list[str]) -> list[str]:
    return [written] if isinstance(written, str) else written


def _differences(before: object, after: object, trail: Trail) -> Iterator[Difference]:
    """Down to single settings; a list is one."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        steps: list[Step] = [*after, *(step for step in before if step not in after)]
        for step in steps:
            if not trail and step in ("digests", "file"):
                continue
            yield from _differences(before.get(step), after.get(step), (*trail, step))
    elif before != after:
        yield Difference(trail, before, after)
