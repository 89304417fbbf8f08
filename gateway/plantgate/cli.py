"""The command line; thin: each command reads its arguments, asks one room, and prints.

Exit codes: 0 all well · 1 a bug · 2 the configuration is wrong · 3 stopped, but something had to be abandoned ·
4 no gateway answers.
"""

import argparse
import asyncio
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence, Sized
from pathlib import Path
from typing import Final

from plantgate import __version__
from plantgate.config.load import check, load
from plantgate.config.place import spell
from plantgate.config.plan import Changes, Difference, Written, compare, document
from plantgate.config.problems import PlantFileError, Problem, file_name, nearest
from plantgate.registry import Installed, registry
from plantgate.terminal.inquiry import NoAnswer, address_of, ask, status_text
from plantgate.terminal.tables import table

FINE: Final = 0
CONFIGURATION: Final = 2
ABANDONED: Final = 3
NO_ANSWER: Final = 4
_DEFAULT: Final = Path("plant.yaml")
_EXITS: Final = """exit codes: 0 all well; 1 a bug; 2 the configuration is wrong; 3 stopped, but something had to be
abandoned; 4 no gateway answers"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives its exit code."""
    written = list(sys.argv[1:] if arguments is None else arguments)
    if written and not written[0].startswith("-") and written[0] not in _COMMANDS:
        guess = nearest(written[0], _COMMANDS)
        hint = f"did you mean `plantgate {guess}`?" if guess else f"there are {', '.join(_COMMANDS)}"
        print(f"plantgate: no command `{written[0]}`; {hint}", file=sys.stderr)
        return CONFIGURATION
    chosen = _parser(written[0] if written else "").parse_args(written)
    command: Callable[[argparse.Namespace], int] = chosen.command
    try:
        return command(chosen)
    except PlantFileError as error:
        print(error, file=sys.stderr)
        return CONFIGURATION
    except NoAnswer as error:
        print(f"plantgate: {error}", file=sys.stderr)
        return NO_ANSWER
    except BrokenPipeError:
        # Whoever read our output has had enough; Python must not trip over it again on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINE
    except asyncio.CancelledError:
        return ABANDONED  # asked twice to stop, as the log says
    except KeyboardInterrupt:
        return 130


def _run(chosen: argparse.Namespace) -> int:
    from plantgate.runtime.run import run  # the runtime is loaded only where something runs

    return run(chosen.plant, until_done=chosen.until_done)


def _check(chosen: argparse.Namespace) -> int:
    reports = [(file_name(file), *check(file)) for path in chosen.files for file in _plant_files(path)]
    wrong = sum(plant is None for _, plant, _ in reports)
    if chosen.json:
        _print_json(
            [
                {"file": file, "fine": plant is not None, "problems": [_problem(problem) for problem in problems]}
                for file, plant, problems in reports
            ]
        )
        return CONFIGURATION if wrong else FINE
    for file, plant, problems in reports:
        for problem in problems:
            print(problem)
        if plant is not None:
            print(f"{file}: fine: {_count(plant.connections, 'connection')}, {_count(plant.flows, 'flow')}")
    if len(reports) > 1:
        print(f"{len(reports)} files, {wrong} of them with errors")
    return CONFIGURATION if wrong else FINE


def _plan(chosen: argparse.Namespace) -> int:
    plant = load(chosen.plant)
    wanted = document(plant)
    old, against = _running(chosen) if chosen.against == "running" else _on_file(Path(chosen.against))
    difference = compare(old, wanted)
    surveys = []
    if chosen.survey:
        from plantgate.observe.logging import News, configure_logging
        from plantgate.terminal.surveys import survey_all

        configure_logging("error", News(), text=True)
        surveys = asyncio.run(survey_all(plant, seconds=chosen.seconds))
    if chosen.json:
        found = [
            {
                "connection": one.connection,
                "type": one.type_name,
                "trouble": one.trouble,
                "findings": [
                    {"subject": each.subject, "wanted": each.wanted, "granted": each.granted, "fine": each.fine}
                    for each in one.findings
                ],
            }
            for one in surveys
        ]
        _print_json({"against": against, "changes": _changes(difference), "survey": found})
        return FINE
    print(f"{file_name(chosen.plant)} against {against}:")
    print("\n".join(_told(difference)))
    for one in surveys:
        answer = one.trouble or ("would grant" if one.findings else "nothing to say")
        print(f"\n{one.connection} ({one.type_name}): {answer}")
        if one.findings:
            rows = [["" if found.fine else "!", found.subject, found.wanted, found.granted] for found in one.findings]
            print(table(("", "WHAT", "WANTED", "GRANTED"), rows))
    return FINE


def _running(chosen: argparse.Namespace) -> tuple[Written | None, str]:
    """What the running gateway runs, and how to call it; nothing, if none answers."""
    try:
        url = chosen.url or address_of(chosen.plant)
        return ask(url, "plan") or None, f"the gateway at {url}"
    except NoAnswer as error:
        return None, f"nothing, since {str(error).partition(';')[0]}"


def _on_file(file: Path) -> tuple[Written, str]:
    return document(load(file)), file_name(file)


def _status(chosen: argparse.Namespace) -> int:
    status = ask(chosen.url or address_of(chosen.plant), "status")
    if chosen.json:
        _print_json(status)
    else:
        print(status_text(status))
    return FINE


def _list(chosen: argparse.Namespace) -> int:
    found = registry().installed()
    if chosen.json:
        _print_json([_plugin(each) for each in found])
        return FINE
    rows = [
        [each.kind.name.lower(), each.name, f"{each.package} {each.version}", each.stability, _roles(each),
         each.trouble or each.about]
        for each in found
    ]  # fmt: skip
    print(table(("KIND", "NAME", "PACKAGE", "STABILITY", "CAN", "ABOUT"), rows))
    return FINE


def _schema(chosen: argparse.Namespace) -> int:
    from plantgate.config.schema import plant_schema  # imports every connector

    _print_json(plant_schema())
    return FINE


def _docs(chosen: argparse.Namespace) -> int:
    from plantgate.docs import pages, refresh  # imports every connector

    stale = refresh(pages(registry(), chosen.folder), write=not chosen.check)
    for page in stale:
        print(f"{file_name(page)}: {'out of date; run `plantgate docs`' if chosen.check else 'brought up to date'}")
    return CONFIGURATION if stale and chosen.check else FINE


def _version(chosen: argparse.Namespace) -> int:
    print(f"plantgate {__version__}")
    return FINE


def _plant_files(path: Path) -> list[Path]:
    """The file itself, or all YAML files below a folder."""
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.rglob("*") if file.suffix in (".yaml", ".yml") and file.is_file())
    if not found:
        raise PlantFileError([Problem(file_name(path), None, (), "there is no YAML file in this folder")])
    return found


def _told(difference: Changes) -> Iterator[str]:
    """The changes, a line for each flow and each setting."""
    if not difference:
        yield "  nothing would change"
    for name in difference.added:
        yield f"  flow {name}: new, would start"
    for name in difference.removed:
        yield f"  flow {name}: gone, would end; what its outbox still holds stays on disk"
    for name, reason in difference.restart.items():
        yield f"  flow {name}: would restart, {reason}"
    if difference and difference.unchanged:
        yield f"  untouched: {', '.join(difference.unchanged)}"
    if difference.cells:
        yield f"  cells that are new, gone or have other limits: {', '.join(difference.cells)}"
    if difference.settings:
        yield f"  need a new start of the process: {', '.join(difference.settings)}"
    for each in difference.differences:
        if each.trail[0] != "flows" or len(each.trail) > 2:  # whole flows are told above
            yield f"    {spell(each.trail)}: {_before_after(each)}"


def _before_after(each: Difference) -> str:
    if len(each.trail) == 2 and each.trail[0] == "connections":
        return "new" if each.before is None else "gone"
    if isinstance(each.before, list) and isinstance(each.after, list):
        gone = sum(member not in each.after for member in each.before)
        new = sum(member not in each.before for member in each.after)
        return f"{new} new, {gone} gone" if gone or new else "another order"
    return f"{_short(each.before)} → {_short(each.after)}"


def _short(value: object) -> str:
    text = "not set" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _roles(each: Installed) -> str:
    can = {"read": each.reads, "write": each.writes, "act": each.acts, "see": each.sees}
    return " ".join(word for word, so in can.items() if so)


def _count(things: Sized, noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def _problem(problem: Problem) -> dict[str, object]:
    return {
        "file": problem.file,
        "line": problem.place.line if problem.place else None,
        "column": problem.place.column if problem.place else None,
        "path": spell(problem.trail),
        "severity": problem.severity.value,
        "text": problem.text,
    }


def _plugin(each: Installed) -> dict[str, object]:
    return {
        "kind": each.kind.name.lower(),
        "name": each.name,
        "package": each.package,
        "version": each.version,
        "stability": each.stability,
        "reads": each.reads,
        "writes": each.writes,
        "acts": each.acts,
        "sees": each.sees,
        "about": each.about,
        "trouble": each.trouble,
    }


def _late(chosen: argparse.Namespace) -> int:
    """A command that stands in a room of its own, which `_parser` has loaded."""
    run: Callable[[argparse.Namespace], int] = chosen.run
    return run(chosen)


def _changes(difference: Changes) -> dict[str, object]:
    return {
        "added": difference.added,
        "removed": difference.removed,
        "restart": difference.restart,
        "unchanged": difference.unchanged,
        "cells": difference.cells,
        "settings": difference.settings,
        "differences": [
            {"path": spell(each.trail), "before": each.before, "after": each.after} for each in difference.differences
        ],
    }


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


_COMMANDS: Final[dict[str, tuple[Callable[[argparse.Namespace], int], str]]] = {
    "run": (_run, "run a plant file until asked to stop (SIGTERM, Ctrl-C); SIGHUP or a changed file applies it anew"),
    "check": (_check, "say what is wrong with plant files, without touching the network"),
    "plan": (_plan, "say what would change, and what the servers would really grant"),
    "status": (_status, "say how a running gateway stands"),
    "control": (_late, "stop, arm, write: what people may do with a gateway that acts on machines"),
    "approvals": (_late, "the writes that wait for people: look, agree, refuse"),
    "revert": (_late, "undo a write, through the guards that it went through"),
    "explain": (_late, "tell one decision in sentences, from the published audit log"),
    "audit": (_late, "read and judge a published audit log, offline"),
    "list": (_list, "list the connectors and other plugins that are installed"),
    "schema": (_schema, "print the JSON Schema of plant files, for editors"),
    "new": (_late, "make the package of a new connector, with tests that pass"),
    "check-plugin": (_late, "say how good an installed connector is, and what is missing"),
    "docs": (_docs, "bring the settings tables in the documentation up to date"),
    "version": (_version, "print the version"),
}

_ROOMS: Final = {
    "control": ("control", "control_arguments", "run"),
    "approvals": ("control", "approvals_arguments", "run"),
    "revert": ("control", "revert_arguments", "run"),
    "explain": ("explain", "arguments", "run"),
    "audit": ("audit", "arguments", "run"),
    "new": ("kit", "new_arguments", "new"),
    "check-plugin": ("kit", "check_arguments", "check_plugin"),
}
"""Commands whose module in `plantgate.terminal`, with all that it needs, is loaded only where they are wanted."""


def _parser(wanted: str) -> argparse.ArgumentParser:
    """Understands the command that is wanted; of those in `_ROOMS` it otherwise knows the name only."""
    parser = argparse.ArgumentParser(
        prog="plantgate",
        description="Joins a plant's machines to its AI and its business systems, with nothing lost silently.",
        epilog=_EXITS,
    )
    parser.add_argument("--version", action="version", version=f"plantgate {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    parsers: dict[str, argparse.ArgumentParser] = {}
    for name, (command, about) in _COMMANDS.items():
        parsers[name] = commands.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
        parsers[name].set_defaults(command=command)
    if wanted in _ROOMS:
        module, add, run = _ROOMS[wanted]
        room = importlib.import_module(f"plantgate.terminal.{module}")
        getattr(room, add)(parsers[wanted])
        parsers[wanted].set_defaults(run=getattr(room, run))
    for name in ("run", "plan"):
        parsers[name].add_argument("plant", nargs="?", type=Path, default=_DEFAULT, help="plant file (plant.yaml)")
    parsers["run"].add_argument(
        "--until-done", action="store_true", help="end once every source has ended and all is delivered"
    )
    parsers["check"].add_argument(
        "files", nargs="*", type=Path, default=[_DEFAULT], help="plant files, or folders of them (plant.yaml)"
    )
    parsers["plan"].add_argument(
        "--against", default="running", metavar="running|FILE", help="what to compare with (the running gateway)"
    )
    parsers["plan"].add_argument(
        "--no-survey", dest="survey", action="store_false", help="do not ask the servers what they would grant"
    )
    parsers["plan"].add_argument(
        "--seconds", type=float, default=15.0, help="how long each server may take to answer (15)"
    )
    parsers["status"].add_argument(
        "plant",
        nargs="?",
        type=Path,
        default=_DEFAULT,
        help="plant file that says where the gateway listens (plant.yaml)",
    )
    for name in ("plan", "status"):
        parsers[name].add_argument("--url", help="address of the gateway; from the plant file if not given")
    for name in ("check", "plan", "status", "list"):
        parsers[name].add_argument("--json", action="store_true", help="for programs")
    parsers["docs"].add_argument("--check", action="store_true", help="change nothing; fail if a table is out of date")
    parsers["docs"].add_argument("folder", nargs="?", type=Path, default=Path(), help="where the folder docs is (here)")
    return parser
