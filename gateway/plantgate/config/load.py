"""From a plant file to a `Plant`, or to all that is wrong with it; touches no network."""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol, TypeVar

from plantgate.config.anchor import anchored
from plantgate.config.fit import cells_fit, flows_fit, folders_fit, secrets_exist
from plantgate.config.fit_control import acting_lacks, control_fits
from plantgate.config.judge import Judge
from plantgate.config.model import NAME_PATTERN, Connection, ModelEntry, Plant, PlantSettings
from plantgate.config.place import Trail
from plantgate.config.problems import PlantFileError, Problem, Severity, file_name, in_order, instead
from plantgate.config.sentences import not_a_name, wrong_kind
from plantgate.config.yaml12 import SIZE_MAX, Document, NotYaml, Plain, parse
from plantgate.registry import Kind, NotInstalled, Registry, Unusable, registry
from plantgate.sdk import Settings

_PLUGGED: Final = ("connections", "models")
"""Sections whose settings belong to plugins."""


def load(path: Path, *, plugins: Registry | None = None) -> Plant:
    """The plant a file describes. Raises `PlantFileError` with every problem found."""
    plant, problems = check(path, plugins=plugins)
    if plant is None:
        raise PlantFileError([problem for problem in problems if problem.severity is Severity.ERROR])
    return plant


def check(path: Path, *, plugins: Registry | None = None) -> tuple[Plant | None, tuple[Problem, ...]]:
    """The plant, unless there are errors, and every error and warning in the order of the file."""
    file = file_name(path)
    document, problems = _read(path, file)
    if document is None:
        return None, problems
    judge = Judge(document, file, path.absolute().parent)
    plant = _plant(path.absolute(), judge, plugins or registry())
    problems = in_order(judge.problems)
    if judge.untold:
        last = problems[-1]
        problems += (Problem(file, last.place, (), f"and {judge.untold} more errors like the ones above"),)
    return (None if judge.errors else plant), problems


def _read(path: Path, file: str) -> tuple[Document | None, tuple[Problem, ...]]:
    try:
        with path.open("rb") as opened:
            content = opened.read(SIZE_MAX + 1)
    except OSError as error:
        return None, (Problem(file, None, (), f"cannot read the file: {(error.strerror or str(error)).lower()}"),)
    try:
        return parse(content), ()
    except NotYaml as error:
        return None, in_order(Problem(file, fault.place, fault.trail, fault.text) for fault in error.faults)


def _plant(path: Path, judge: Judge, plugins: Registry) -> Plant | None:
    root = judge.document.root
    if not isinstance(root, dict):
        what = "the file is empty" if root is None else "the file is not made of `name: value` lines"
        judge.blame((), f"{what}; a plant file has at least `plant: NAME`, `connections:` and `flows:`")
        return None
    frame = judge.settings(
        PlantSettings,
        {name: part for name, part in root.items() if name not in _PLUGGED},
        (),
        also=_PLUGGED,
    )
    connections = _connections(root, judge, plugins)
    models = _models(root, judge, plugins)
    flows_fit(root, connections, judge)
    cells_fit(root, connections, judge)
    if frame is not None:
        control_fits(frame, connections, root, judge)
    if frame is None or judge.errors:
        return None
    fields = {name: getattr(frame, name) for name in PlantSettings.model_fields}
    plant = anchored(
        Plant.model_validate({**fields, "file": path, "connections": connections, "models": models}), judge.folder
    )
    folders_fit(plant, judge)
    secrets_exist(plant, judge)
    acting_lacks(plant, judge)
    return plant


def _connections(root: dict[str, Plain], judge: Judge, plugins: Registry) -> dict[str, Connection]:
    """Those that are sound."""
    if "connections" not in root:
        judge.blame((), "`connections` is missing: what the flows join, by name")
        return {}
    written = root["connections"]
    if not isinstance(written, dict) or not written:
        judge.blame(("connections",), "expected connections, as `name: { type: ..., ... }`")
        return {}
    names = plugins.names(Kind.CONNECTOR)
    return {
        name: Connection(type_name, connector, settings)
        for name, type_name, connector, settings in _sound("connections", written, judge, names, plugins.connector)
    }


def _models(root: dict[str, Plain], judge: Judge, plugins: Registry) -> dict[str, ModelEntry]:
    """Those that are sound."""
    written = root.get("models", {})
    if not isinstance(written, dict):
        judge.blame(("models",), "expected models, as `name: { type: ..., ... }`")
        return {}
    names = plugins.names(Kind.MODEL)
    return {
        name: ModelEntry(type_name, adapter, settings)
        for name, type_name, adapter, settings in _sound("models", written, judge, names, plugins.model)
    }


class _Configurable(Protocol):
    @property
    def Settings(self) -> type[Settings]: ...  # noqa: N802  a class in a class, as every plugin has it


P = TypeVar("P", bound=_Configurable)


def _sound(
    section: str, written: dict[str, Plain], judge: Judge, names: Sequence[str], find: Callable[[str], P]
) -> Iterator[tuple[str, str, P, Settings]]:
    """Name, type, plugin and settings of every entry of the section that is sound; the problems of the others noted."""
    for name in written:
        trail: Trail = (section, name)
        if (found := _plugged(trail, written[name], judge, names, find)) is None:
            continue
        type_name, plugin, part = found
        if (settings := judge.settings(plugin.Settings, part, trail, also=("type",))) is not None:
            yield name, type_name, plugin, anchored(settings, judge.folder)


def _plugged(
    trail: Trail, written: Plain, judge: Judge, names: Sequence[str], find: Callable[[str], P]
) -> tuple[str, P, dict[str, Plain]] | None:
    """The plugin that the entry at this trail names, and what is written for it; None, with the problems noted."""
    kind, name = str(trail[0])[:-1], str(trail[-1])
    if re.fullmatch(NAME_PATTERN, name) is None:
        judge.blame(trail, not_a_name(name), key=True)
        return None
    if not isinstance(written, dict):
        judge.blame(trail, wrong_kind(["`name: value` lines"], name, written))
        return None
    noun = {"connection": "connector"}.get(kind, kind)
    if "type" not in written:
        judge.blame(trail, f"`type` is missing: which {noun} it is; installed are {', '.join(names) or 'none'}")
        return None
    type_name = written["type"]
    if not isinstance(type_name, str):
        judge.blame((*trail, "type"), wrong_kind([f"the name of a {noun}"], "type", type_name, needed=True))
        return None
    try:
        plugin = find(type_name)
    except NotInstalled:
        guess = instead(type_name, names, there_are="installed are")
        judge.blame((*trail, "type"), f"no {noun} `{type_name}` is installed; {guess}")
        return None
    except Unusable as error:
        judge.blame((*trail, "type"), str(error))
        return None
    return type_name, plugin, {key: part for key, part in written.items() if key != "type"}
