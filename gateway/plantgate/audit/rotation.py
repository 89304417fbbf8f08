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
ROTATION_MARK: Final = b'"kind":"key_rotation"'
"""Only an entry with these bytes can be one."""
_OVERLAP_MAX: Final = 10**15


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


def entry_of(statement: Note, *, by: str, clock: Clock) -> Entry:
    """What to append, with both keys at hand: the next checkpoint must be signed by both."""
    now = clock.now()
    return Entry(
        v=FORMAT,
        id=new_id(now),
        kind=Kind.KEY_ROTATION,
        phase=Phase.OBSERVED,
        time=iso(now) or "",
        who=Who(kind="person", id=by),
        details={_STATEMENT: bytes(statement).decode()},
    )


def statement_in(content: bytes) -> Note | None:
    """The statement in an entry; None in any other. Raises `BadNote`, `ValueError`."""
    if ROTATION_MARK not in content:
        return None
    entry = decode(content)
    if entry.kind is not Kind.KEY_ROTATION:
        return None
    return Note.parse(entry.details.get(_STATEMENT, "").encode())


def follow(policy: Policy, entries: Iterable[tuple[int, bytes]]) -> tuple[Policy, Sequence[str]]:
    """The policy with the keys and terms that its root has signed for, and what is wrong, a sentence each.

    Without a root it is as it was: its terms are those that somebody wrote into it.
    """
    wrong: list[str] = []
    if policy.root is None:
        return policy, wrong
    for index, content in entries:
        try:
            statement = statement_in(content)
            if statement is not None:
                policy = _followed(policy, index, statement)
        except ValueError as error:
            wrong.append(f"entry {index}: a key rotation that is none: {error}")
    return policy, wrong


def _followed(policy: Policy, index: int, statement: Note) -> Policy:
    assert policy.root is not None
    if not check_note(statement, [policy.root]):
        raise BadNote(f"not signed by the root {policy.root.name}")
    rotation = Rotation.parse(statement.text)
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
