"""A part of a log to hand over: entries, their proofs, what they commit to, a page to read and a verifier.

Whoever gets it needs nothing of ours: the page opens in any browser and prints, ``verify.py`` asks for Python alone.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import Final

from plantgate.audit.entry import FORMAT, Entry, Kind, Phase, Who, decode
from plantgate.audit.receipt import Receipt
from plantgate.audit.tiles import Read, Tiles
from plantgate.audit.tree import inclusion_proof
from plantgate.audit.vault import Disclosed, Erased
from plantgate.audit.verify import Report
from plantgate.audit.view import About, Record, page
from plantgate.sdk.errors import Rejected

ENTRIES_MAX: Final = 10_000
"""More than that nobody reads; a copy of the whole log is the better thing then."""

_README: Final = """\
Part of the audit log {origin}: {count} of {size} entries.
Asked for: {asked}. With it: the intents and outcomes that belong to it, and what they stand on.

index.html    to read, and to print; nobody has signed this page, and verify.py does not read it
entries/      each entry, its bytes as they are in the log; named by its number
proofs/       that each is in the log that was signed (c2sp.org/tlog-proof)
payloads/     what entries commit to, with the salt; only where it was disclosed
checkpoint    the log's size and root, signed
policy        the keys that must have signed (c2sp.org/tlog-policy)
verify.py     checks entries and payloads: python3 -I verify.py
SHA256SUMS    of these files: sha256sum -c SHA256SUMS

The keys in `policy` and the file verify.py came with this export. Whoever made it up could have made up both:
compare the keys with those that you have from elsewhere, or give those: python3 -I verify.py --policy FILE
and check with a verify.py that you have from elsewhere: python3 -I verify.py EXPORT --policy FILE
An export shows that its entries are in the log. It does not show that others are not.
"""


@dataclass(frozen=True, slots=True)
class Order:
    """What to export."""

    decisions: Sequence[int]
    """Entries, by index: what was asked for, whole."""
    grounds: Sequence[int]
    """Entries that those stand on."""
    asked: str
    """In words, for the reader."""
    time: str
    """Of the export, RFC 3339."""
    disclose: Callable[[str], Disclosed] | None = None
    """Gives what a commitment stands for; None keeps all payloads back."""

    @property
    def count(self) -> int:
        """Of entries."""
        return len(self.decisions) + len(self.grounds)


def export(read: Read, report: Report, order: Order) -> Iterator[tuple[str, bytes]]:
    """The files, by their path; `report` is what `verify` said of the same log.

    Raises `Rejected` where it is too much, `Unreadable`, `VaultDamaged`, `OSError`.
    """
    assert report.checkpoint is not None, "only what was signed is exported"
    if order.count > ENTRIES_MAX:
        raise Rejected(f"{order.count:,} entries are too many to read; ask for fewer ({ENTRIES_MAX:,} at most)")
    sums = []
    for path, content in _files(read, report, order):
        sums.append(f"{sha256(content).hexdigest()}  {path}\n")
        yield path, content
    yield "SHA256SUMS", "".join(sums).encode()


def recorded(order: Order, sums: bytes, *, by: str, id_: str) -> Entry:
    """That it was exported, for the log; `sums` is the export's SHA256SUMS."""
    return Entry(
        v=FORMAT,
        id=id_,
        kind=Kind.EXPORT,
        phase=Phase.OBSERVED,
        time=order.time,
        who=Who(kind="person", id=by),
        details={
            "asked": order.asked,
            "entries": str(order.count),
            "payloads": "disclosed" if order.disclose is not None else "kept back",
            "sums": f"sha256:{sha256(sums).hexdigest()}",
        },
    )


def _files(read: Read, report: Report, order: Order) -> Iterator[tuple[str, bytes]]:
    policy = report.policy
    assert report.checkpoint is not None
    assert policy is not None
    assert report.note is not None
    tiles, note = Tiles(read, report.checkpoint.size), report.note  # not the newest: the log may grow meanwhile
    records = []
    for index in sorted((*order.decisions, *order.grounds)):
        content = tiles.entry(index)
        yield f"entries/{index}.json", content
        proof = inclusion_proof(index, tiles.size, tiles.node)
        yield f"proofs/{index}.tlog-proof", bytes(Receipt(index, tuple(proof), note))
        record = Record(index, decode(content))
        yield from _payloads(record, order)
        records.append(record)
    about = About(report, policy, order.asked, order.time, frozenset(order.grounds))
    yield "index.html", page(about, records).encode()
    yield "checkpoint", bytes(note)
    yield "policy", str(policy).encode()
    yield "verify.py", files("plantgate.audit").joinpath("bare_verifier.py").read_bytes()
    filled = _README.format(origin=policy.log.name, count=order.count, size=report.checkpoint.size, asked=order.asked)
    yield "README.txt", filled.encode()


def _payloads(record: Record, order: Order) -> Iterator[tuple[str, bytes]]:
    """Each is a file, and beside it the salt; fills the record."""
    for number, payload in enumerate(record.entry.payloads):
        if order.disclose is None:
            continue
        try:
            disclosed = order.disclose(payload.commitment)
        except Erased:
            record.disclosed[payload.commitment] = None
            continue
        record.disclosed[payload.commitment] = disclosed.content
        name = f"{record.index}-{number}"
        yield f"payloads/{name}.content", disclosed.content
        about = {
            "entry": record.index,
            "name": payload.name,
            "file": f"{name}.content",
            "salt": disclosed.salt.hex(),
            "commitment": payload.commitment,
        }
        yield f"payloads/{name}.json", json.dumps(about, indent=1, ensure_ascii=False).encode()
