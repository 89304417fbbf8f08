"""`plantgate audit sign-rotation` and `rotate`: a log handed over to another key, in two steps on two machines."""

import argparse
import asyncio
from pathlib import Path

from plantgate.audit.note import BadNote, Verifier
from plantgate.audit.policy import BadPolicy, Term
from plantgate.audit.rotation import Rotation, entry_of
from plantgate.sdk.clock import SystemClock
from plantgate.terminal.audit_folder import FINE, CannotJudge, note_at, own_log, signer_at
from plantgate.terminal.audit_vault import own_log_arguments


def sign_rotation_arguments(verb: argparse.ArgumentParser) -> None:
    """What comes behind `sign-rotation`."""
    verb.add_argument("--root", type=Path, required=True, metavar="FILE", help="the root's private key")
    verb.add_argument("--old", type=Path, required=True, metavar="FILE", help="the log's public key")
    verb.add_argument("--new", type=Path, required=True, metavar="FILE", help="the public key that replaces it")
    verb.add_argument(
        "--overlap", type=int, default=10_000, metavar="ENTRIES", help="how long the old one still signs (10000)"
    )
    verb.add_argument("--out", type=Path, required=True, metavar="FILE", help="the statement")


def sign_rotation(chosen: argparse.Namespace) -> int:
    """Where the root key is: nowhere near the gateway."""
    root, (old, new) = signer_at(chosen.root), (_public(path) for path in (chosen.old, chosen.new))
    if old.name != new.name:
        raise CannotJudge(f"{chosen.new} is a key of {new.name}, and the log is {old.name}: it takes a key of its own")
    if chosen.overlap < 0:
        raise CannotJudge(f"an overlap of {chosen.overlap} entries")
    try:
        rotation = Rotation.parse(str(Rotation(old.name, old, new, chosen.overlap)))
    except BadNote as error:
        raise CannotJudge(str(error)) from None
    with chosen.out.open("xb") as file:
        file.write(bytes(rotation.signed(root)))
    print(
        f"{chosen.out}: {old.name} goes from {old.key_id.hex()} to {new.key_id.hex()}, signed by {root.verifier.name}"
    )
    return FINE


def rotate_arguments(verb: argparse.ArgumentParser) -> None:
    """What comes behind `rotate`."""
    own_log_arguments(verb)
    verb.add_argument("--new", type=Path, required=True, metavar="FILE", help="the new private key")
    verb.add_argument("--statement", type=Path, required=True, metavar="FILE", help="what the root has signed")
    verb.add_argument("--by", required=True, metavar="ID", help="id of whoever does it")


def rotate(chosen: argparse.Namespace) -> int:
    """Where the log is, with the gateway stopped; prints what a policy says from now on."""
    signers, new = [signer_at(path) for path in chosen.key], signer_at(chosen.new)
    statement = note_at(chosen.statement)
    try:
        rotation = Rotation.parse(statement.text)
    except BadNote as error:
        raise CannotJudge(f"{chosen.statement}: {error}") from None
    if rotation.new != new.verifier or rotation.old not in [signer.verifier for signer in signers]:
        raise CannotJudge(f"{chosen.statement}: it is about other keys than those given")
    entry = entry_of(statement, by=chosen.by, clock=SystemClock())

    async def hand_over() -> int:
        async with await own_log(chosen.log, [*signers, new]) as audit:
            index = await audit.append(entry)
            await audit.publish()
            return index

    index = asyncio.run(hand_over())
    until, since = rotation.terms(index, Term())
    print(f"entry {index}: the log is signed by {new.verifier.key_id.hex()} too")
    print("give the gateway both keys now; a policy without a root has to say:")
    print(f"  log {rotation.old}{until}\n  signer {rotation.new}{since}")
    print(f"when the log has {until.end:,} entries, take the old key away")
    return FINE


def _public(path: Path) -> Verifier:
    try:
        return Verifier.parse(path.read_text(encoding="utf-8").strip())
    except BadNote as error:
        raise BadPolicy(f"{path}: {error}") from None
