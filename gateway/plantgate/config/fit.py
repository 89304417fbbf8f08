"""Whether the parts of a plant file fit together: names, roles, folders, secrets."""

import os
import pickle
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel

from plantgate.config.judge import Judge
from plantgate.config.model import NAME_PATTERN, Connection, Plant
from plantgate.config.place import Trail
from plantgate.config.problems import file_name, instead
from plantgate.config.yaml12 import Plain
from plantgate.sdk import Secret


def flows_fit(document: Mapping[str, Plain], connections: Mapping[str, Connection], judge: Judge) -> None:
    """Every flow names connections there are, in roles they can play; every connection is named.

    `connections` are those whose settings are sound. Whatever else is wrong with a flow is said elsewhere.
    """
    flows, written = document.get("flows"), document.get("connections")
    if not isinstance(flows, dict) or not isinstance(written, dict) or not written:
        return
    used = set(_written_to(document))
    for key, trail, named in _named(flows):
        used.add(named)
        if re.fullmatch(NAME_PATTERN, named) is None:
            continue  # said already
        if named not in written:
            guess = instead(named, list(written), there_are="there are")
            judge.blame(trail, f"no connection is called `{named}`; {guess}")
        elif named in connections and (objection := _objection(connections[named], key)):
            judge.blame(trail, f"`{named}` {objection}")
    for connection in connections:
        # Not while something is wrong: it may be why the connection is not used, and is said already.
        if connection not in used and not judge.errors:
            judge.warn(
                ("connections", connection), "no flow uses this connection, and nothing is written to it", key=True
            )
    for name, entry in connections.items():
        for remark in entry.connector.remarks(entry.settings):
            judge.warn(("connections", name), remark, key=True)


def _named(flows: Mapping[str, Plain]) -> Iterator[tuple[str, Trail, str]]:
    """Every name under `from` and `to`, where each may be one name or a list."""
    for name, flow in flows.items():
        for key in ("from", "to"):
            written = flow.get(key) if isinstance(flow, dict) else None
            for trail, named in _names(written, ("flows", name, key)):
                yield key, trail, named


def _written_to(document: Mapping[str, Plain]) -> Iterator[str]:
    """Connections that `control` writes to, or sees by."""
    control = document.get("control")
    loops = control.get("loops") if isinstance(control, dict) else None
    for loop in loops.values() if isinstance(loops, dict) else ():
        if isinstance(loop, dict) and isinstance(camera := loop.get("camera"), str):
            yield camera
    writes = control.get("writes") if isinstance(control, dict) else None
    for writable in writes.values() if isinstance(writes, dict) else ():
        if isinstance(writable, dict) and isinstance(named := writable.get("connection"), str):
            yield named


def _names(written: Plain, trail: Trail) -> Iterator[tuple[Trail, str]]:
    """One name, or each of a list of them."""
    if isinstance(written, str):
        yield trail, written
    elif isinstance(written, list):
        for index, member in enumerate(written):
            if isinstance(member, str):
                yield (*trail, index), member


def _objection(connection: Connection, key: str) -> str:
    """What keeps a connection from this role; empty if nothing does."""
    connector = connection.connector
    if key == "from" and not connector.reads():
        return f"cannot be read from: {connection.type_name} only writes; it can stand under `to`"
    if key == "to" and not connector.writes():
        return f"cannot be written to: {connection.type_name} only reads; it can stand under `from`"
    return connector.objection(connection.settings, source=key == "from")


def cells_fit(document: Mapping[str, Plain], connections: Mapping[str, Connection], judge: Judge) -> None:
    """Every cell names connections there are, and none that is in another cell or cannot live in one.

    `connections` are those whose settings are sound. Whatever else is wrong with a cell is said elsewhere.
    """
    cells, written = document.get("cells"), document.get("connections")
    if not isinstance(cells, dict) or not isinstance(written, dict) or not written:
        return
    owners: dict[str, str] = {}
    for cell, settings in cells.items():
        named = settings.get("connections") if isinstance(settings, dict) else None
        for trail, name in _names(named, ("cells", cell, "connections")):
            if re.fullmatch(NAME_PATTERN, name) is None:
                continue  # said already
            if name not in written:
                guess = instead(name, list(written), there_are="there are")
                judge.blame(trail, f"no connection is called `{name}`; {guess}")
            elif (owner := owners.setdefault(name, cell)) != cell:
                judge.blame(trail, f"`{name}` is in cell `{owner}` already; a connection lives in one cell")
            elif name in connections and (trouble := _unfit(connections[name])):
                judge.blame(trail, f"`{name}` cannot live in a cell: {trouble}")


def _unfit(connection: Connection) -> str:
    """What keeps a connector out of every cell; empty if nothing does."""
    try:
        pickle.dumps((connection.connector, connection.settings))
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        return f"its settings cannot be given to another process, which is for {connection.type_name} to mend ({error})"
    return ""


def folders_fit(plant: Plant, judge: Judge) -> None:
    """Every outbox has a folder of its own; what two of them would write there neither could read."""
    owners: dict[Path, str] = {}
    for flow in plant.flows:
        folder = plant.outbox_folder(flow)
        for taken, owner in owners.items():
            if folder == taken or taken in folder.parents or folder in taken.parents:
                judge.blame(
                    ("flows", flow, "outbox", "folder"),
                    f"flow `{owner}` has its outbox there; give each its own folder",
                )
        owners[folder] = flow
    if plant.store.folder.exists() and not plant.store.folder.is_dir():
        judge.blame(("store", "folder"), f"{file_name(plant.store.folder)} is a file; name a folder")


def secrets_exist(plant: Plant, judge: Judge) -> None:
    """A secret that is not there yet may come with the machine that runs the plant: a warning."""
    for name, connection in plant.connections.items():
        for trail, secret in _secrets(connection.settings):
            kind, _, where = str(secret)[2:-1].partition(":")
            place = ("connections", name, *trail)
            if kind == "env" and where not in os.environ:
                judge.warn(place, f"the environment variable {where} is not set here")
            elif kind == "file" and not Path(where).is_absolute():
                judge.warn(place, f"{where} starts at the folder the gateway is started in; write the whole path")
            elif kind == "file" and not os.access(where, os.R_OK):
                why = "cannot be read by this user" if Path(where).exists() else "does not exist here"
                judge.warn(place, f"{where} {why}")


def _secrets(value: object, trail: Trail = ()) -> Iterator[tuple[Trail, Secret]]:
    if isinstance(value, Secret):
        yield trail, value
    elif isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            yield from _secrets(getattr(value, name), (*trail, field.alias or name))
    elif isinstance(value, tuple | list):
        for index, member in enumerate(value):
            yield from _secrets(member, (*trail, index))
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from _secrets(member, (*trail, str(name)))
