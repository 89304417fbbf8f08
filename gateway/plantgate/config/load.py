"""From a plant file to a `Plant`, or to all that is wrong with it; touches no network."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from plantgate.config.judge import Judge
from plantgate.config.model import Connection, FlowSettings, Plant, PlantSettings
from plantgate.config.place import Trail
from plantgate.config.problems import PlantFileError, Problem, Severity, file_name, in_order, instead
from plantgate.config.yaml12 import SIZE_MAX, Document, NotYaml, Plain, parse
from plantgate.registry import Kind, NotInstalled, Registry, Unusable, registry
from plantgate.sdk import Secret

M = TypeVar("M", bound=BaseModel)


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
    sound = plant is not None and not any(problem.severity is Severity.ERROR for problem in judge.problems)
    return (plant if sound else None), in_order(judge.problems)


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
        judge.blame((), f"{what}; it needs at least plant, connections and flows, see `plantgate schema`")
        return None
    frame = judge.settings(
        PlantSettings, {name: part for name, part in root.items() if name != "connections"}, (), also=("connections",)
    )
    connections = _connections(judge, plugins)
    if frame is not None:
        _flows_fit(frame.flows, connections, judge)
    if frame is None or len(connections) < len(_written(root.get("connections"))):
        return None
    plant = _anchored(
        Plant.model_validate({**_spelled(frame), "file": path, "connections": connections}), judge.folder
    )
    _folders_fit(plant, judge)
    _secrets_exist(plant, judge)
    return plant


def _spelled(frame: PlantSettings) -> dict[str, object]:
    return {name: getattr(frame, name) for name in type(frame).model_fields}


def _written(connections: Plain) -> dict[str, Plain]:
    return connections if isinstance(connections, dict) else {}


def _connections(judge: Judge, plugins: Registry) -> dict[str, Connection]:
    """Those that are sound."""
    root = judge.document.root
    assert isinstance(root, dict)
    if "connections" not in root:
        judge.blame((), "`connections` is missing: what the flows join, by name")
        return {}
    written = root["connections"]
    if not isinstance(written, dict) or not written:
        judge.blame(("connections",), "expected connections, as `name: { type: ..., ... }`")
        return {}
    sound: dict[str, Connection] = {}
    for name in written:
        if (connection := _connection(name, written[name], judge, plugins)) is not None:
            sound[name] = connection
    return sound


def _connection(name: str, written: Plain, judge: Judge, plugins: Registry) -> Connection | None:
    trail: Trail = ("connections", name)
    if re.fullmatch(NAME_PATTERN, name) is None:
        judge.blame(trail, not_a_name(name), key=True)
        return None
    if not isinstance(written, dict):
        judge.blame(trail, wrong_kind(["`name: value` lines"], name, written))
        return None
    kinds = plugins.names(Kind.CONNECTOR)
    if "type" not in written:
        judge.blame(trail, f"`type` is missing: which connector it is; installed are {', '.join(kinds)}")
        return None
    type_name = written["type"]
    if not isinstance(type_name, str):
        judge.blame((*trail, "type"), wrong_kind(["the name of a connector"], "type", type_name))
        return None
    try:
        connector = plugins.connector(type_name)
    except NotInstalled:
        guess = instead(type_name, kinds, there_are="installed are")
        judge.blame((*trail, "type"), f"no connector `{type_name}` is installed; {guess}")
        return None
    except Unusable as error:
        judge.blame((*trail, "type"), str(error))
        return None
    settings = judge.settings(
        connector.Settings, {key: part for key, part in written.items() if key != "type"}, trail, also=("type",)
    )
    return Connection(type_name, connector, settings) if settings is not None else None


def _flows_fit(flows: dict[str, FlowSettings], connections: dict[str, Connection], judge: Judge) -> None:
    """Every flow names connections there are, in roles they can play; every connection is named."""
    root = judge.document.root
    assert isinstance(root, dict)
    written = _written(root.get("connections"))
    for name, flow in flows.items():
        for key, named in (("from", flow.sources), ("to", flow.destinations)):
            for index, connection in enumerate(named):
                trail = _member(judge, ("flows", name, key), index)
                if connection not in written:
                    guess = instead(connection, list(written), there_are="there are")
                    judge.blame(trail, f"no connection is called `{connection}`; {guess}")
                elif connection in connections and (objection := _objection(connections[connection], key)):
                    judge.blame(trail, f"`{connection}` {objection}")
    for connection in written:
        if not any(connection in (*flow.sources, *flow.destinations) for flow in flows.values()):
            judge.warn(("connections", connection), "no flow uses this connection", key=True)


def _member(judge: Judge, trail: Trail, index: int) -> Trail:
    """The trail of one name under `from` or `to`, which may be a list or a single name."""
    return (*trail, index) if isinstance(judge.at(trail), list) else trail


def _objection(connection: Connection, key: str) -> str:
    """What keeps a connection from this role; empty if nothing does."""
    connector = connection.connector
    if key == "from" and not connector.reads():
        return f"cannot be read from: {connection.type_name} only writes; it can stand under `to`"
    if key == "to" and not connector.writes():
        return f"cannot be written to: {connection.type_name} only reads; it can stand under `from`"
    return ""


def _folders_fit(plant: Plant, judge: Judge) -> None:
    """Every outbox has a folder of its own; what two of them would write there neither could read."""
    owners: dict[Path, str] = {}
    for flow in plant.flows:
        folder = plant.outbox_folder(flow)
        for taken, owner in owners.items():
            if folder == taken or taken in folder.parents or folder in taken.parents:
                judge.blame(
                    ("flows", flow, "outbox", "folder"), f"flow `{owner}` has its outbox there; give each its own folder"
                )
        owners[folder] = flow
    if plant.store.folder.exists() and not plant.store.folder.is_dir():
        judge.blame(("store", "folder"), f"{plant.store.folder} is a file; name a folder")


def _secrets_exist(plant: Plant, judge: Judge) -> None:
    """A secret that is not there yet may come with the machine that runs the plant: a warning."""
    for name, connection in plant.connections.items():
        for trail, secret in _secrets(connection.settings):
            kind, _, where = str(secret)[2:-1].partition(":")
            if kind == "file" and not os.access(where, os.R_OK):
                why = "is not readable for this user" if Path(where).exists() else "does not exist here"
                judge.warn(("connections", name, *trail), f"{where} {why}")
            elif kind == "env" and where not in os.environ:
                judge.warn(("connections", name, *trail), f"the environment variable {where} is not set here")


def _secrets(settings: BaseModel) -> Iterator[tuple[Trail, Secret]]:
    for name, value in spelled_values(settings):
        if isinstance(value, Secret):
            yield (name,), value
        elif isinstance(value, BaseModel):
            for trail, secret in _secrets(value):
                yield (name, *trail), secret
