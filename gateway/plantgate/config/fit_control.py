"""Whether what may be written to machines fits the rest of the plant file."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from plantgate.config.judge import Judge
from plantgate.config.model import Connection, Plant, PlantSettings
from plantgate.config.place import Trail
from plantgate.config.problems import instead
from plantgate.config.yaml12 import Plain
from plantgate.control.door import may_be_used
from plantgate.control.settings import ControlSettings, LoopSettings, Role, WritableSettings, WriteClass


def control_fits(
    plant: PlantSettings, connections: Mapping[str, Connection], document: Mapping[str, Plain], judge: Judge
) -> None:
    """Every tag is written through a connection that can, every rule allows tags there are, and there is a record.

    `connections` are those whose settings are sound, `document` is all that the file says.
    """
    control = plant.control
    if control is None:
        return
    if plant.audit is None:
        judge.blame(("control",), "`audit` is missing: nothing is written to machines without a record", key=True)
    names, models = _named(document, "connections"), _named(document, "models")
    for tag, writable in control.writes.items():
        _written(tag, writable, connections, names, judge)
    for rule, settings in control.rules.items():
        for index, tag in enumerate(settings.allows):
            if tag not in control.writes:
                guess = instead(tag, list(control.writes), there_are="there are")
                judge.blame(("control", "rules", rule, "allows", index), f"`{tag}` is not under `writes`; {guess}")
    for loop, looking in control.loops.items():
        _looks(("control", "loops", loop), looking, connections, names, models, judge)
        if looking.keep_pictures and plant.audit is not None and plant.audit.vault is None:
            vault = "`audit.vault` is missing: pictures are kept there; write vault: { wrapping: FOLDER }"
            judge.blame(("control", "loops", loop, "keep_pictures"), vault)
    _people(control, judge)


def acting_lacks(plant: Plant, judge: Judge) -> None:
    """Not errors: keys may come with the machine that runs the plant, and telemetry runs without."""
    audit = plant.audit
    if plant.control is not None and (trouble := may_be_used(plant.control_socket)):
        judge.warn(("control", "socket"), f"nothing is written to machines: {trouble}")
    if audit is None:
        return
    keys: list[tuple[Trail, Path]] = [(("audit", "key"), audit.key)]
    keys += [(("audit", "more_keys", number), key) for number, key in enumerate(audit.more_keys)]
    for trail, key in keys:
        if not os.access(key, os.R_OK):
            made = f"cannot be read by this user: {key}" if key.exists() else f"not here: {key}"
            judge.warn(trail, f"{made}; `plantgate audit keys {audit.origin} --out FILE` makes one")


def _named(document: Mapping[str, Plain], section: str) -> list[str]:
    written = document.get(section)
    return list(written) if isinstance(written, dict) else []


def _looks(
    trail: Trail,
    loop: LoopSettings,
    connections: Mapping[str, Connection],
    names: list[str],
    models: list[str],
    judge: Judge,
) -> None:
    entry = connections.get(loop.camera)
    if loop.camera not in names:
        guess = instead(loop.camera, names, there_are="there are")
        judge.blame((*trail, "camera"), f"no connection is called `{loop.camera}`; {guess}")
    elif entry is not None and not entry.connector.sees():
        judge.blame((*trail, "camera"), f"`{loop.camera}` gives no pictures: {entry.type_name} is no camera")
    if loop.model not in models:
        guess = instead(loop.model, models, there_are="there are") if models else "there is no section `models`"
        judge.blame((*trail, "model"), f"no model is called `{loop.model}`; {guess}")


def _written(
    tag: str, writable: WritableSettings, connections: Mapping[str, Connection], names: list[str], judge: Judge
) -> None:
    trail = ("control", "writes", tag, "connection")
    name = writable.connection
    if name not in names:
        judge.blame(trail, f"no connection is called `{name}`; {instead(name, names, there_are='there are')}")
    elif (entry := connections.get(name)) is not None:
        if not entry.connector.acts():
            judge.blame(trail, f"`{name}` cannot act on a machine: {entry.type_name} has no way to write a single tag")
        elif trouble := entry.connector.unwritable(entry.settings, tag, writable.data_type.value):
            judge.blame(("control", "writes", tag), trouble, key=True)


def _people(control: ControlSettings, judge: Judge) -> None:
    """Not errors: people may be named later, and until then nothing is written."""
    roles = [set(person.roles) for person in control.people.values()]
    operators, engineers = _with(Role.OPERATOR, roles), _with(Role.ENGINEER, roles)
    if not operators | engineers:
        judge.warn(
            ("control",), "nobody under `people` is operator or engineer, so nobody can arm the gateway", key=True
        )
        return
    together = bool(operators) and bool(engineers) and len(operators | engineers) > 1
    if control.people_to_arm == 2 and not together:
        judge.warn(("control", "people"), "arming takes an operator and an engineer, two people", key=True)
    for tag, writable in control.writes.items():
        if writable.write_class is WriteClass.W2 and not operators:
            judge.warn(("control", "writes", tag), "W2 needs an operator to agree, and there is none", key=True)
        elif writable.write_class is WriteClass.W3 and not together:
            judge.warn(("control", "writes", tag), "W3 needs an operator and an engineer, two people", key=True)


def _with(role: Role, people: Iterable[set[Role]]) -> set[int]:
    return {number for number, roles in enumerate(people) if role in roles}
