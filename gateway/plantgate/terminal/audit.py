"""`plantgate audit`: reads and judges a published audit log, offline. Needs the folder and a public key, no gateway."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from plantgate.audit.note import BadNote
from plantgate.audit.policy import BadPolicy, Policy
from plantgate.audit.tiles import Unreadable
from plantgate.audit.verify import Report, Verdict, verify
from plantgate.sdk.errors import GatewayError
from plantgate.terminal.audit_export import export_arguments, run_export
from plantgate.terminal.audit_folder import (
    FORKED,
    TAMPERED,
    USAGE,
    CannotJudge,
    log_argument,
    note_at,
    plain,
    policy_argument,
    reading,
    seconds_in,
)
from plantgate.terminal.audit_keys import keys, keys_arguments, witness, witness_arguments
from plantgate.terminal.audit_proof import check_proof, check_proof_arguments, prove, prove_arguments
from plantgate.terminal.audit_read import search, search_arguments, show, show_arguments, tail, tail_arguments
from plantgate.terminal.audit_rotation import (
    rotate,
    rotate_arguments,
    sign_rotation,
    sign_rotation_arguments,
)
from plantgate.terminal.audit_vault import archive_arguments, erase_arguments, run_archive, run_erase

EXITS: Final = """exit codes: 0 all that was asked is so; 2 something is missing (an outcome, a witness, freshness);
3 not what was signed; 4 forked or rolled back; 5 nothing could be judged"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """What comes behind `plantgate audit`."""
    parser.epilog = EXITS
    verbs = parser.add_subparsers(title="what to do", metavar="WHAT", required=True)
    for name, (run, about, add) in _VERBS.items():
        verb = verbs.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.", epilog=EXITS)
        verb.set_defaults(verb=run)
        add(verb)


def _verify_arguments(verb: argparse.ArgumentParser) -> None:
    log_argument(verb)
    policy_argument(verb)
    verb.add_argument(
        "--seen", type=Path, action="append", default=[], metavar="FILE", help="a checkpoint seen earlier, elsewhere"
    )
    verb.add_argument(
        "--policy-out", type=Path, metavar="FILE", help="write the policy with the keys that its root has signed for"
    )
    verb.add_argument("--within", metavar="TIME", help="how old the log may be: 90s, 10m, 24h, 7d")
    verb.add_argument("--json", action="store_true", help="for programs")


def run(chosen: argparse.Namespace) -> int:
    """One verb; gives its exit code."""
    verb: Callable[[argparse.Namespace], int] = chosen.verb
    try:
        return verb(chosen)
    except OSError as error:
        _complain(f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error))
    except UnicodeDecodeError as error:
        _complain(f"a file that was given is not a text: {error}")
    except (BadPolicy, CannotJudge, GatewayError) as error:
        _complain(error)
    except (Unreadable, BadNote) as error:
        _complain(error)
        return TAMPERED
    return USAGE


def _complain(error: Exception | str) -> None:
    print(f"plantgate audit: {plain(str(error))}", file=sys.stderr)


def _verify(chosen: argparse.Namespace) -> int:
    policy = Policy.load(chosen.policy)
    seen = [note_at(path) for path in chosen.seen]
    within = seconds_in(chosen.within) if chosen.within else None
    report = verify(reading(chosen), policy, seen=seen, now_seconds=int(time.time()), within_seconds=within)
    if chosen.policy_out is not None and report.policy is not None and report.integrity.verdict is Verdict.YES:
        chosen.policy_out.write_text(str(report.policy), encoding="utf-8")
    if chosen.json:
        print(json.dumps(_document(report), indent=2))
    else:
        print("\n".join(_told(report, str(chosen.log), policy)))
    return report.exit_code


_WHAT_NOW: Final = {
    TAMPERED: """\
This is not what was signed. Leave the copy as it is, copy the log again (`checkpoint` first, then `tile/`), check that.
If it says the same, it is no bad copy: the log was changed, or the key is not that of this log.""",
    FORKED: """\
This is not what was seen earlier, grown. Where it is shorter, copy the log again and check that: an older copy says it.
Else there are two histories of this log: keep this copy and the checkpoint that was seen, together they show it.""",
}
"""To a person, below what was found."""


def _told(report: Report, log: str, policy: Policy) -> Iterator[str]:
    """The four answers, a line or more each."""
    if report.checkpoint is None:
        yield f"{log}: {policy.log.name}, nothing that it signed"
    else:
        yield f"{log}: {policy.log.name}, {report.checkpoint.size:,} entries signed, {report.entries:,} read"
    for question, answer in report.answers().items():
        first, *rest = answer.said or [""]
        if question == "freshness" and answer.verdict is Verdict.NOT_ASKED and report.entries:
            first += ": --within 24h asks whether that is young enough"
        yield f"  {question:<13} {answer.verdict.value:<10} {plain(first)}".rstrip()
        for sentence in rest:
            yield f"  {'':<24} {plain(sentence)}"
    if (now := _WHAT_NOW.get(report.exit_code)) is not None:
        yield now


def _document(report: Report) -> dict[str, object]:
    answers = {name: {"verdict": each.verdict.value, "said": each.said} for name, each in report.answers().items()}
    return {
        "size": report.checkpoint.size if report.checkpoint else None,
        "origin": report.checkpoint.origin if report.checkpoint else None,
        "entries": report.entries,
        "forked": report.forked,
        "open_intents": report.open_intents,
        **answers,
    }


_Verb = tuple[Callable[[argparse.Namespace], int], str, Callable[[argparse.ArgumentParser], None]]
_VERBS: Final[dict[str, _Verb]] = {
    "verify": (_verify, "say whether a log is what was signed, complete, fresh and witnessed", _verify_arguments),
    "tail": (tail, "show the newest entries, a line each", tail_arguments),
    "show": (show, "show one entry", show_arguments),
    "search": (search, "find entries by tag, rule, kind, result, time, id or any text", search_arguments),
    "prove": (prove, "write a receipt for one entry, to be checked without the log", prove_arguments),
    "check-proof": (check_proof, "check a receipt against the entry it names", check_proof_arguments),
    "export": (run_export, "write a part of a log to hand over: page, entries, proofs, verifier", export_arguments),
    "erase": (run_erase, "make everything in the vault about one subject unreadable, and log it", erase_arguments),
    "archive": (run_archive, "move old volumes of a log into an archive, and log it", archive_arguments),
    "keys": (keys, "make a key pair for a log, or for a witness", keys_arguments),
    "sign-rotation": (sign_rotation, "sign, with the root key, for another key of a log", sign_rotation_arguments),
    "rotate": (rotate, "hand a log over to another key, by a statement that the root signed", rotate_arguments),
    "witness": (witness, "sign for the logs of other boxes, and never for two histories of one", witness_arguments),
}
