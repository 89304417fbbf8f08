"""Hands a log over to another key: a statement that an offline root key signed, as an entry of the log itself.

From that entry on checkpoints carry the new key's signature, and for an overlap still the old one's, so that whoever
verifies has time to learn of it. A stolen key of the log cannot hand it over: only the root can. The terms count in
entries, since the place of the statement is proven and a clock is not.

The statement is a signed note whose text is::

    plantgate key rotation v1
    <origin of the log>
    old <vkey>
    new <vkey>
    overlap <entries>

When that entry goes into the archive, the log repeats it first: another entry with the same ``statement``, and with the
index of the first in ``at``. So whoever knows the root's public key follows a log that has only its newer half. The
statement needs nobody's word but the root's; that it stood there is the log's word, as all its entries are.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from plantgate.audit.entry import FORMAT, Entry, Kind, Phase, Who, decode, new_id
from plantgate.audit.note import ED25519, BadNote, Note, Signer, Verifier, check_note
from plantgate.audit.policy import Policy, Term
from plantgate.sdk.clock import Clock, iso

_MAGIC: Final = "plantgate key rotation v1"
_STATEMENT: Final = "statement"
_AT: Final = "at"
_MARK: Final = b'"kind":"key_rotation"'
"""Only an entry with these bytes can be one."""
_OVERLAP_MAX: Final = 10**15
_NONE: Final = "a key rotation that is none"


@dataclass(frozen=True, slots=True)
class Rotation:
    """From one key to another."""

    origin: str
    old: Verifier
    new: Verifier
    overlap: int
    """So many entries more are signed by the old one too."""

    def __str__(self) -> str:
        return f"{_MAGIC}\n{self.origin}\nold {self.old}\nnew {self.new}\noverlap {self.overlap}\n"

    @classmethod
    def parse(cls, text: str) -> "Rotation":
        """From a statement's text. Raises `BadNote`."""
        lines = text.split("\n")
        if len(lines) != 6 or lines[0] != _MAGIC or lines[5]:
            raise BadNote(f"not a key rotation: it is not five lines that begin with {_MAGIC}")
        old, new, overlap = (
            _behind(word, line) for word, line in zip(("old", "new", "overlap"), lines[2:5], strict=True)
        )
        if not overlap.isdecimal() or len(overlap) > 16 or str(int(overlap)) != overlap or int(overlap) > _OVERLAP_MAX:
            raise BadNote(f"{overlap!r} is not an overlap: a number of entries is")
        made = cls(lines[1], Verifier.parse(old), Verifier.parse(new), int(overlap))
        if made.old == made.new or {made.old.kind, made.new.kind} != {ED25519}:
            raise BadNote("a key rotation is from one log key to another")
        return made

    def signed(self, root: Signer) -> Note:
        """The statement."""
        text = str(self)
        return Note(text, (root.sign(text),))

    def terms(self, index: int, old: Term) -> tuple[Term, Term]:
        """Of the old key and of the new one, where the statement is the entry with this index."""
        return Term(old.begin, index + 1 + self.overlap), Term(index + 1)


@dataclass(frozen=True, slots=True)
class HandOver:
    """A statement, and the entry from which on it counts."""

    at: int
    statement: Note


def entry_of(statement: Note, *, by: str, clock: Clock, at: int | None = None) -> Entry:
    """What to append, with both keys at hand: the next checkpoint must be signed by both.

    `at` is the index of the entry that it repeats.
    """
    now = clock.now()
    return Entry(
        v=FORMAT,
        id=new_id(now),
        kind=Kind.KEY_ROTATION,
        phase=Phase.OBSERVED,
        time=iso(now) or "",
        who=Who(kind="person", id=by),
        details={_STATEMENT: bytes(statement).decode()} | ({} if at is None else {_AT: str(at)}),
    )


def hand_over_in(index: int, content: bytes) -> HandOver | None:
    """What an entry says of one; None where it says nothing. Raises `BadNote`, `ValueError`."""
    if _MARK not in content:
        return None
    entry = decode(content)
    if entry.kind is not Kind.KEY_ROTATION:
        return None
    at = entry.details.get(_AT, str(index))
    if not at.isdecimal() or len(at) > 19 or str(int(at)) != at or int(at) > index:
        raise BadNote(f"{at!r} is no entry before it")
    return HandOver(int(at), Note.parse(entry.details.get(_STATEMENT, "").encode()))


def follow(policy: Policy, entries: Iterable[tuple[int, bytes]]) -> tuple[Policy, Sequence[str]]:
    """The policy with the keys and terms that its root has signed for, and what is wrong, a sentence each.

    Without a root it is as it was: its terms are those that somebody wrote into it.
    """
    wrong: list[str] = []
    if policy.root is None:
        return policy, wrong
    begin, found = -1, list[tuple[int, int, HandOver]]()
    for index, content in entries:
        begin = index if begin < 0 else begin
        try:
            if (hand_over := hand_over_in(index, content)) is not None:
                found.append((hand_over.at, index, hand_over))
        except ValueError as error:
            wrong.append(f"entry {index}: {_NONE}: {error}")
    there = {index for at, index, _ in found if at == index}
    for at, index, hand_over in sorted(found, key=lambda each: each[:2]):  # a repeated one counts from where it stood
        try:
            if at >= begin and at not in there:
                raise BadNote(f"it repeats entry {at}, which is none")
            policy = _followed(policy, hand_over)
        except ValueError as error:
            wrong.append(f"entry {index}: {_NONE}: {error}")
    return policy, wrong


def _followed(policy: Policy, hand_over: HandOver) -> Policy:
    assert policy.root is not None
    index = hand_over.at
    if not check_note(hand_over.statement, [policy.root]):
        raise BadNote(f"not signed by the root {policy.root.name}")
    rotation = Rotation.parse(hand_over.statement.text)
    if rotation.origin != policy.log.name:
        raise BadNote(f"of the log {rotation.origin}")
    if rotation.old not in policy.keys:
        raise BadNote(f"from a key that is not the log's ({rotation.old.key_id.hex()})")
    before = policy.terms.get(rotation.old, Term())
    old, new = rotation.terms(index, before)
    if rotation.new in policy.keys:  # somebody wrote it down already
        if (before, policy.terms.get(rotation.new, Term()).begin) != (old, new.begin):
            raise BadNote(f"to a key ({rotation.new.key_id.hex()}) for which the policy has other terms")
        return policy
    if before.end is not None or index < before.begin:
        raise BadNote(f"from a key ({rotation.old.key_id.hex()}) whose term is another")
    terms = {**policy.terms, rotation.old: old, rotation.new: new}
    return replace(policy, signers=(*policy.signers, rotation.new), terms=terms)


def _behind(word: str, line: str) -> str:
    first, _, rest = line.partition(" ")
    if first != word:
        raise BadNote(f"a key rotation without {word}")
    return rest
