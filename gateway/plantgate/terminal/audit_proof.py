"""`plantgate audit prove` and `check-proof`: one entry's receipt, made and checked."""

import argparse
from pathlib import Path

from plantgate.audit.checkpoint import Checkpoint
from plantgate.audit.note import BadNote
from plantgate.audit.policy import Policy
from plantgate.audit.receipt import Receipt
from plantgate.audit.tiles import Tiles
from plantgate.audit.tree import NotProven, inclusion_proof
from plantgate.terminal.audit_folder import (
    FINE,
    INCOMPLETE,
    TAMPERED,
    CannotJudge,
    entry_asked_for,
    log_argument,
    note_at,
    policy_argument,
    reading,
)


def prove_arguments(verb: argparse.ArgumentParser) -> None:
    """What comes behind `prove`."""
    log_argument(verb)
    verb.add_argument("entry", help="number of the entry, or the id in it")
    verb.add_argument("--out", type=Path, metavar="FILE", help="where to (ENTRY.tlog-proof)")


def prove(chosen: argparse.Namespace) -> int:
    """Write a receipt."""
    index, _ = entry_asked_for(chosen)
    note = note_at(chosen.log / "checkpoint")
    tiles = Tiles(reading(chosen), Checkpoint.parse(note.text).size)  # of this one: the log may have grown meanwhile
    out: Path = chosen.out or Path(f"{index}.tlog-proof")
    receipt = Receipt(index, tuple(inclusion_proof(index, tiles.size, tiles.node)), note)
    try:
        with out.open("xb") as file:
            file.write(bytes(receipt))
    except FileExistsError:
        raise CannotJudge(f"{out}: is there already; nothing is written over it") from None
    print(f"{out}: that entry {index} is in the log of {tiles.size:,}; whoever has the log's public key can check it")
    return FINE


def check_proof_arguments(verb: argparse.ArgumentParser) -> None:
    """What comes behind `check-proof`."""
    log_argument(verb)
    verb.add_argument("receipt", type=Path, help="the .tlog-proof file")
    policy_argument(verb)


def check_proof(chosen: argparse.Namespace) -> int:
    """Check a receipt."""
    policy = Policy.load(chosen.policy)
    read = reading(chosen)
    try:
        receipt = Receipt.parse(chosen.receipt.read_bytes())
        checkpoint = Checkpoint.parse(receipt.checkpoint.text)
        signed = receipt.check(Tiles(read, checkpoint.size).entry(receipt.index), policy)
    except (BadNote, IndexError, NotProven) as error:
        print(f"{chosen.receipt}: {error}")
        return TAMPERED
    witnesses = ", ".join(signed.witnesses) or "nobody"
    print(f"{chosen.receipt}: entry {receipt.index} is in the log of {checkpoint.size:,} that {policy.log.name} signed")
    print(f"  witnessed by {witnesses}{'' if signed.quorum else '; the policy asks for more'}")
    return FINE if signed.quorum else INCOMPLETE
