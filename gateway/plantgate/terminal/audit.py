"""`plantgate audit`: reads and judges a published audit log, offline. Needs the folder and a public key, no gateway."""

import argparse
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from plantgate.audit.checkpoint import Checkpoint
from plantgate.audit.entry import Entry, Phase, decode
from plantgate.audit.note import BadNote, Note
from plantgate.audit.policy import BadPolicy, Policy
from plantgate.audit.receipt import Receipt
from plantgate.audit.tiles import Tiles, Unreadable, folder
from plantgate.audit.tree import NotProven, inclusion_proof
from plantgate.audit.verify import Answer, Report, verify
from plantgate.terminal.audit_keys import keys, keys_arguments, witness, witness_arguments
from plantgate.terminal.tables import table

FINE: Final = 0
TAMPERED: Final = 3
USAGE: Final = 5
EXITS: Final = """exit codes: 0 all that was asked is so; 2 something is missing (an outcome, a witness, freshness);
3 not what was signed; 4 forked or rolled back; 5 nothing could be judged"""
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class _CannotJudge(Exception):
    """A file or an argument that is not what it should be."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """What comes behind `plantgate audit`."""
    parser.epilog = EXITS
    verbs = parser.add_subparsers(title="what to do", metavar="WHAT", required=True)
    for name, (run, about, add) in _VERBS.items():
        verb = verbs.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.", epilog=EXITS)
        verb.set_defaults(verb=run)
        add(verb)


def _verify_arguments(verb: argparse.ArgumentParser) -> None:
    _log(verb)
    _policy(verb)
    verb.add_argument(
        "--seen", type=Path, action="append", default=[], metavar="FILE", help="a checkpoint seen earlier, elsewhere"
    )
    verb.add_argument("--within", metavar="TIME", help="how old the log may be: 90s, 10m, 24h, 7d")
    verb.add_argument("--json", action="store_true", help="for programs")


def _tail_arguments(verb: argparse.ArgumentParser) -> None:
    _log(verb)
    verb.add_argument("--last", type=int, default=20, metavar="N", help="how many entries (20)")
    verb.add_argument("--json", action="store_true", help="for programs")


def _show_arguments(verb: argparse.ArgumentParser) -> None:
    _log(verb)
    verb.add_argument("entry", help="number of the entry, or the id in it")
    verb.add_argument("--json", action="store_true", help="for programs")


def _prove_arguments(verb: argparse.ArgumentParser) -> None:
    _log(verb)
    verb.add_argument("entry", help="number of the entry, or the id in it")
    verb.add_argument("--out", type=Path, metavar="FILE", help="where to (ENTRY.tlog-proof)")


def _check_proof_arguments(verb: argparse.ArgumentParser) -> None:
    _log(verb)
    verb.add_argument("receipt", type=Path, help="the .tlog-proof file")
    _policy(verb)


def _log(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("log", type=Path, help="folder of the published log: it holds `checkpoint` and `tile`")


def _policy(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--policy", type=Path, required=True, metavar="FILE", help="the log's public key, or a policy with witnesses"
    )


def run(chosen: argparse.Namespace) -> int:
    """One verb; gives its exit code."""
    verb: Callable[[argparse.Namespace], int] = chosen.verb
    try:
        return verb(chosen)
    except OSError as error:
        print(f"plantgate audit: {error.filename}: {error.strerror}", file=sys.stderr)
    except (BadPolicy, _CannotJudge) as error:
        print(f"plantgate audit: {error}", file=sys.stderr)
    except (Unreadable, BadNote) as error:
        print(f"plantgate audit: {error}", file=sys.stderr)
        return TAMPERED
    return USAGE


def _verify(chosen: argparse.Namespace) -> int:
    policy = Policy.load(chosen.policy)
    seen = [_note(path) for path in chosen.seen]
    within = _seconds(chosen.within) if chosen.within else None
    report = verify(folder(chosen.log), policy, seen=seen, now_seconds=int(time.time()), within_seconds=within)
    if chosen.json:
        print(json.dumps(_document(report), indent=2))
    else:
        size = report.checkpoint.size if report.checkpoint else 0
        print(f"{chosen.log}: {policy.log.name}, {size:,} entries signed, {report.entries:,} read")
        for question, answer in _answers(report).items():
            first, *rest = answer.said or [""]
            print(f"  {question:<13} {answer.verdict.value:<10} {first}".rstrip())
            for sentence in rest:
                print(f"  {'':<24} {sentence}")
    return report.exit_code


def _show(chosen: argparse.Namespace) -> int:
    index, tiles = _entry(chosen)
    content = tiles.entry(index)
    if chosen.json:
        print(content.decode())
        return FINE
    entry = decode(content)
    rows = [[name, _told(getattr(entry, name))] for name in entry.__struct_fields__ if name not in ("v",)]
    print(
        f"entry {index} of {tiles.size:,} (as published; `plantgate audit verify` says whether it is what was signed)"
    )
    for name, told in rows:
        if told:
            print(f"  {name:<11} {told}")
    return FINE


def _tail(chosen: argparse.Namespace) -> int:
    tiles = _tiles(chosen.log)
    first = max(0, tiles.size - max(0, chosen.last))
    rows = []
    for index in range(first, tiles.size):
        content = tiles.entry(index)
        if chosen.json:
            print(content.decode())
            continue
        try:
            rows.append([str(index), *_line(decode(content))])
        except ValueError as error:
            rows.append([str(index), "", "", f"not an entry: {error}", "", ""])
    if not chosen.json:
        print(table(("ENTRY", "TIME", "WHAT", "WHO", "TARGET", "VALUE OR RESULT"), rows, right=frozenset({"ENTRY"})))
    return FINE


def _prove(chosen: argparse.Namespace) -> int:
    index, tiles = _entry(chosen)
    note = _note(chosen.log / "checkpoint")
    out: Path = chosen.out or Path(f"{index}.tlog-proof")
    out.write_bytes(bytes(Receipt(index, tuple(inclusion_proof(index, tiles.size, tiles.node)), note)))
    print(f"{out}: that entry {index} is in the log of {tiles.size:,}; whoever has the log's public key can check it")
    return FINE


def _check_proof(chosen: argparse.Namespace) -> int:
    policy = Policy.load(chosen.policy)
    receipt = Receipt.parse(chosen.receipt.read_bytes())
    checkpoint = Checkpoint.parse(receipt.checkpoint.text)
    entry = Tiles(folder(chosen.log), checkpoint.size).entry(receipt.index)
    try:
        signed = receipt.check(entry, policy)
    except NotProven as error:
        print(f"{chosen.receipt}: {error}")
        return TAMPERED
    witnesses = ", ".join(signed.witnesses) or "nobody"
    print(f"{chosen.receipt}: entry {receipt.index} is in the log of {checkpoint.size:,} that {policy.log.name} signed")
    print(f"  witnessed by {witnesses}{'' if signed.quorum else '; the policy asks for more'}")
    return FINE if signed.quorum else 2


_Verb = tuple[Callable[[argparse.Namespace], int], str, Callable[[argparse.ArgumentParser], None]]
_VERBS: Final[dict[str, _Verb]] = {
    "verify": (_verify, "say whether a log is what was signed, complete, fresh and witnessed", _verify_arguments),
    "tail": (_tail, "show the newest entries, a line each", _tail_arguments),
    "show": (_show, "show one entry", _show_arguments),
    "prove": (_prove, "write a receipt for one entry, to be checked without the log", _prove_arguments),
    "check-proof": (_check_proof, "check a receipt against the entry it names", _check_proof_arguments),
    "keys": (keys, "make a key pair for a log, or for a witness", keys_arguments),
    "witness": (witness, "sign for the logs of other boxes, and never for two histories of one", witness_arguments),
}


def _tiles(log: Path) -> Tiles:
    return Tiles(folder(log), Checkpoint.parse(_note(log / "checkpoint").text).size)


def _entry(chosen: argparse.Namespace) -> tuple[int, Tiles]:
    tiles = _tiles(chosen.log)
    if chosen.entry.isdecimal():
        index = int(chosen.entry)
        if index >= tiles.size:
            raise _CannotJudge(f"there is no entry {index}: the log has {tiles.size:,}, from 0 on")
        return index, tiles
    wanted = f'"id":{json.dumps(chosen.entry)}'.encode()
    for index, content in enumerate(tiles):
        if wanted in content:
            return index, tiles
    raise _CannotJudge(f"no entry has the id {chosen.entry}")


def _note(path: Path) -> Note:
    try:
        return Note.parse(path.read_bytes())
    except BadNote as error:
        raise _CannotJudge(f"{path}: {error}") from None


def _seconds(written: str) -> int:
    found = re.fullmatch(r"(\d+) ?([smhd])", written)
    if found is None:
        raise _CannotJudge(f"{written!r} is not a time; write for example 90s, 10m, 24h or 7d")
    return int(found[1]) * _UNITS[found[2]]


def _line(entry: Entry) -> list[str]:
    what = entry.kind.value if entry.phase is Phase.OBSERVED else f"{entry.kind.value} {entry.phase.value}"
    value = entry.result.value if entry.result else ""
    if entry.after is not None:
        value = f"{value} {entry.after.value} {entry.after.unit}".strip()
    return [entry.time, what, entry.who.id, entry.target.address if entry.target else "", value]


def _told(value: object) -> str:
    """A field as a person reads it: parts of parts stand in brackets."""
    if isinstance(value, tuple):
        return "; ".join(_told(each) for each in value)
    plain = msgspec.to_builtins(value)
    if not isinstance(plain, dict):
        return "" if plain is None else str(plain)
    return ", ".join(
        f"{name} {_told(each) if not isinstance(each, list) else _listed(each)}" for name, each in plain.items()
    )


def _listed(values: list[object]) -> str:
    return "(" + "; ".join(_told(each) for each in values) + ")"


def _answers(report: Report) -> dict[str, Answer]:
    return {
        "integrity": report.integrity,
        "completeness": report.completeness,
        "freshness": report.freshness,
        "quorum": report.quorum,
    }


def _document(report: Report) -> dict[str, object]:
    answers = {name: {"verdict": each.verdict.value, "said": each.said} for name, each in _answers(report).items()}
    return {
        "size": report.checkpoint.size if report.checkpoint else None,
        "origin": report.checkpoint.origin if report.checkpoint else None,
        "entries": report.entries,
        "forked": report.forked,
        "open_intents": report.open_intents,
        **answers,
    }
