"""How a log is opened: its entries must be those that were signed, and what came after them.

What is archived is taken by its hashes from the public log, which the signed root holds.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final

from plantgate.audit.checkpoint import Checkpoint
from plantgate.audit.note import BadNote, Note, Signer, Verifier
from plantgate.audit.policy import Term
from plantgate.audit.publish import Publisher
from plantgate.audit.rotation import Rotation, hand_over_in
from plantgate.audit.tiles import WIDTH, Tiles, Unreadable
from plantgate.audit.tree import Frontier, leaf_hash
from plantgate.sdk.errors import GatewayError
from plantgate.store.journal import Journal
from plantgate.store.reader import Corrupt, JournalWalk
from plantgate.store.record import Record
from plantgate.store.segment import Damage

_READ_BYTES: Final = 2**20


class LogDamaged(GatewayError):
    """The log holds less than was signed, or something else: it is not opened, and nothing is written into it."""


class KeyMissing(GatewayError):
    """A key that must sign was not given: whatever the log signed without it nobody would believe."""


class Keys:
    """Those to which the log was handed over, and from which."""

    def __init__(self) -> None:
        self._rotations: list[tuple[int, Rotation]] = []
        """By the entry from which on each counts."""

    def take(self, index: int, content: bytes) -> None:
        """One entry. Whether the root signed for it, whoever verifies will ask."""
        with suppress(ValueError):
            if (found := hand_over_in(index, content)) is not None:
                self._rotations.append((found.at, Rotation.parse(found.statement.text)))

    def must_be_among(self, signers: Sequence[Signer], size: int) -> None:
        """Whoever signs a checkpoint of so many entries. Raises `KeyMissing`."""
        terms: dict[Verifier, Term] = {}
        for at, rotation in sorted(self._rotations, key=lambda each: each[0]):
            old = terms.get(rotation.old, Term())
            terms[rotation.old], terms[rotation.new] = rotation.terms(at, old)
        there = [signer.verifier for signer in signers]
        for key, term in terms.items():
            if size in term and key not in there:
                since = f"since entry {term.begin - 1} " if term.begin else ""
                until = "" if term.end is None else f" until it has {term.end} entries"
                raise KeyMissing(
                    f"{key.name}: {since}the log is signed by the key {key.key_id.hex()}{until}, whose private half "
                    "was not given; add it to the keys of this log"
                )


def recover(
    entries: Journal, signed: Journal, publisher: Publisher, origin: str, keys: Keys, hear: Callable[[bytes], None]
) -> Frontier:
    """The right edge of the tree, of entries that are those which were signed, and what came after.

    Whoever else wants to know them hears them on the way, so that they are read once.
    """
    note = last = None
    for record in read_from(signed.walk(), max(signed.begin.sequence, signed.end.sequence - 1)):  # the newest binds us
        try:
            note = Note.parse(record.payload)
            last = Checkpoint.parse(note.text)
        except BadNote as error:
            raise LogDamaged(f"signed checkpoint {record.sequence}: {error}") from None
    if last is not None and last.origin != origin:
        raise LogDamaged(f"this is the log {last.origin}, not {origin}; a new name is a new log, in a new folder")
    if last is not None and entries.end.sequence < last.size:
        raise LogDamaged(
            f"{entries.end.sequence} entries are here where {last.size} were signed: an older copy of the disk, or "
            "records taken away; nothing is appended, since that would be a second history"
        )
    begin = -(-entries.begin.sequence // WIDTH) * WIDTH
    frontier = Frontier()
    if begin:  # what was before is archived; its hashes are in the public log, and held by the root that was signed
        if last is None or last.size < begin:
            raise LogDamaged(f"the entries begin at {begin}, and nothing that was signed covers those before")
        try:
            frontier = Frontier.of(begin, Tiles(publisher.read, last.size).node)
        except Unreadable as error:
            raise LogDamaged(f"the public log is damaged: {error}; restore it from a copy") from None
    for record in read_from(entries.walk(), begin):
        if last is not None and frontier.size == last.size:
            _same(frontier, last)
        keys.take(frontier.size, record.payload)
        hear(record.payload)
        frontier.append(leaf_hash(record.payload))
    if last is not None and frontier.size == last.size:
        _same(frontier, last)
    publisher.resume(note)
    return frontier


def _same(frontier: Frontier, last: Checkpoint) -> None:
    if frontier.root() != last.root:
        raise LogDamaged(f"the first {last.size} entries are not those that were signed: their root is another")


def read_from(walk: JournalWalk, sequence: int) -> Iterator[Record]:
    while True:
        found = walk.read(sequence, _READ_BYTES)
        if isinstance(found, Damage):
            raise Corrupt(found)
        if not found:
            return
        yield from found
        sequence = found[-1].sequence + 1
