"""`plantgate control`, `approvals` and `revert`: what a person on this machine may ask of a running gateway."""

import argparse
import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from plantgate.config.load import load
from plantgate.control.door import ask
from plantgate.sdk import GatewayError
from plantgate.terminal.audit_folder import plain
from plantgate.terminal.inquiry import NoAnswer
from plantgate.terminal.tables import duration, table

FINE: Final = 0
REFUSED: Final = 2

EXITS: Final = (
    "exit codes: 0 done, or waiting for people; 2 refused, or not known to have happened; 4 no gateway answers"
)

Told = dict[str, Any]


def control_arguments(parser: argparse.ArgumentParser) -> None:
    """What comes behind `plantgate control`."""
    parser.epilog = EXITS
    verbs = parser.add_subparsers(title="what to do", metavar="WHAT", required=True)
    _verb(verbs, "status", "what is stopped, what is held, what waits, and who you are", _status)
    stop = _verb(verbs, "stop", "stop all writes to machines, now and over restarts", _done)
    arm = _verb(verbs, "arm", "let the gateway write again; takes two people unless the plant file says one", _done)
    emergency = _verb(verbs, "emergency", "break the glass: write past rules and interlocks, for 15 minutes", _done)
    emergency.add_argument("--over", action="store_const", const="yes", default="", help="it is over before that")
    _reason(emergency)
    for verb in (stop, arm):
        verb.add_argument("name", nargs="?", default="", help="a connection or a cell; everything if not given")
        _reason(verb)
    write = _verb(verbs, "write", "propose a write; all guards are asked, and people where the class says so", _answer)
    write.add_argument("tag", help="its name under `control: writes`")
    write.add_argument("value", help="as the tag's type is written: 20.5, 3, true, text")
    write.add_argument("unit", nargs="?", default="", help="unit of the value, where the tag has one")
    write.add_argument("--rule", required=True, help="id of the rule that allows it")
    write.add_argument(
        "--within",
        dest="seconds",
        metavar="SECONDS",
        help="refuse what would be later; 10 at most, and people have no longer than that to agree",
    )
    write.add_argument("--expected", default="", metavar="VALUE", help="refuse if the machine has another value")
    renew = _verb(verbs, "renew", "a setpoint under a lease stands for its whole time again", _renewed)
    renew.add_argument("tag", help="its name under `control: writes`")
    settle = _verb(verbs, "settle", "say what became of a write, where the machine itself cannot be asked", _done)
    settle.add_argument("entry", help="id of the intent, as `plantgate control status` shows it")
    settle.add_argument("happened", choices=("yes", "no"), help="whether the machine has it")
    _reason(settle)


def approvals_arguments(parser: argparse.ArgumentParser) -> None:
    """What comes behind `plantgate approvals`."""
    parser.epilog = EXITS
    verbs = parser.add_subparsers(title="what to do", metavar="WHAT", required=True)
    _verb(verbs, "list", "the writes that wait for people", _list)
    show = _verb(verbs, "show", "one of them, exactly as it would be written", _show)
    approve = _verb(verbs, "approve", "agree to one; with the last person needed it is written", _answer)
    approve.add_argument("--digest", required=True, help="of the command, as `show` printed it: what you have seen")
    deny = _verb(verbs, "deny", "refuse one", _done)
    _reason(deny)
    for verb in (show, approve, deny):
        verb.add_argument("entry", help="id of the question, or its first characters")


def revert_arguments(parser: argparse.ArgumentParser) -> None:
    """What comes behind `plantgate revert`."""
    parser.epilog = EXITS
    parser.add_argument("entry", help="id of the intent to undo: `control write` printed it, `audit show` does too")
    parser.set_defaults(do="revert", tell=_answer)
    _place(parser)


def run(chosen: argparse.Namespace) -> int:
    """Ask, and tell."""
    sent = {name: str(value) for name, value in vars(chosen).items() if name in _ASKED and value is not None}
    path = chosen.socket or load(chosen.plant).control_socket
    try:
        told = asyncio.run(ask(path, chosen.do, sent))
    except OSError as error:
        raise NoAnswer(
            f"no gateway answers at {path}: {error.strerror or error}; is it running, has its plant file `control:`, "
            "and has it its audit log (plantgate status)?"
        ) from error
    except asyncio.IncompleteReadError:
        raise NoAnswer("the gateway broke the connection; `plantgate control status` says how things stand") from None
    except GatewayError as error:
        print(plain(str(error)))
        return REFUSED
    if chosen.json:
        print(json.dumps(told, ensure_ascii=True))
        return _code(told)
    tell: Callable[[Told], int] = chosen.tell
    return tell(told)


_ASKED: Final = frozenset(
    {"name", "reason", "tag", "value", "unit", "rule", "seconds", "expected", "entry", "happened", "digest", "over"}
)


def _verb(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, about: str, tell: Callable[[Told], int]
) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.", epilog=EXITS)
    verb.set_defaults(do=name, tell=tell)
    _place(verb)
    return verb


def _place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plant", type=Path, default=Path("plant.yaml"), help="plant file (plant.yaml)")
    parser.add_argument("--socket", type=Path, help="the gateway's socket; from the plant file if not given")
    parser.add_argument("--json", action="store_true", help="for programs")


def _reason(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--reason", required=True, help="why, in a few words; it stands in the record for good, so name nobody"
    )


def _done(told: Told) -> int:
    for name, value in told.items():
        print(plain(str(value) if name == "said" else f"{name.replace('_', ' ')}: {value}"))
    return FINE


def _renewed(told: Told) -> int:
    print(f"it stands for {duration(told['left_seconds'])} more")
    return FINE


def _status(told: Told) -> int:
    print(f"you are {plain(told['you'])}: {', '.join(told['roles']) or 'no roles; you can look, and nothing else'}")
    for thrown in told["stopped"]:
        print(plain(f"STOPPED {thrown['name']}: {thrown['reason']} (by {thrown['by']}, {thrown['time']})"))
    if told["stopped"]:
        print("  people let it write again: plantgate control arm [NAME] --reason …")
    else:
        print("armed: what the rules allow is written")
    for begun in told["arming"]:
        print(plain(f"ARMING {begun['name']}: {begun['by']} has agreed, and somebody else must too"))
    if told["clock"]:
        print(f"! {plain(told['clock'])}")
    for held in told["held"]:
        print(plain(f"HELD {held['connection']}: not known yet what became of {held['tag']} ({held['entry']})"))
    if told["held"]:
        print("  the machine is asked; where it cannot be: plantgate control settle ENTRY yes|no --reason …")
    if count := told["waiting"]:
        print(f"{count} {'write waits' if count == 1 else 'writes wait'} for people: plantgate approvals list")
    rows = [[plain(each["tag"]), each["class"], each["connection"]] for each in told["tags"]]
    print(f"\n{table(('TAG', 'CLASS', 'CONNECTION'), rows)}")
    return FINE


def _list(told: Told) -> int:
    rows = []
    for question in told["waiting"]:
        command = question["command"]
        value = f"{command['value']} {command['unit']}".strip()
        agreed = f"{len(question['agreed'])} of {question['needed']}"
        rows.append(
            [question["entry"], command["tag"], value, command["proposer"], agreed, duration(question["left_seconds"])]
        )
    if not rows:
        print("nothing waits")
        return FINE
    print(table(("ENTRY", "TAG", "VALUE", "PROPOSED BY", "AGREED", "LEFT"), [[plain(c) for c in row] for row in rows]))
    return FINE


def _show(told: Told) -> int:
    question = told["question"]
    for name, value in question["command"].items():
        if value:
            print(f"  {name.replace('_', ' '):<14} {plain(value)}")
    for name, text in (("the rule cites", question["cites"]), ("the rule holds", f"when {question['when']}")):
        print(f"  {name:<14} {plain(text)}")
    print(f"  {'machine has':<14} {plain(question['has'])}")
    agreed = ", ".join(question["agreed"]) or "nobody yet"
    print(f"  {'agreed':<14} {plain(agreed)}; {question['needed']} needed, {duration(question['left_seconds'])} left")
    print(
        f"\nto agree to exactly this:\n  plantgate approvals approve {question['entry']} --digest {question['digest']}"
    )
    return FINE


def _answer(told: Told) -> int:
    said = f": {told['reason']}" if told["reason"] else ""
    print(plain(f"{told['standing']}{said}"))
    if told["entry"]:
        print(f"entry {told['entry']}")
    if told["seen"] is not None:
        print(plain(f"the machine has {told['seen']}"))
    for check in told["checks"]:
        objection = f"{check['guard']}: {check['saw']}"
        if not check["passed"] and objection not in said and check["saw"] not in said:
            print(plain(f"  {objection}"))
    if told["standing"] == "waiting":
        print(f"whoever may agree looks at it first: plantgate approvals show {told['entry']}")
    return _code(told)


def _code(told: Told) -> int:
    return REFUSED if told.get("standing", "done") not in ("done", "waiting") else FINE
