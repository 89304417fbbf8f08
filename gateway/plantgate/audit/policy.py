"""Whose signatures a verifier asks for: the log's key, and how many witnesses of which.

Source: the policy file of c2sp.org/tlog-policy: ``log <vkey>``, ``witness <name> <vkey>``,
``group <name> all|any|<k> <member>…``, and one ``quorum <name|none>``. A line that begins with # is a remark.
A name is a member of one group at most, so that no witness counts twice on the way to a quorum.

Three words are ours:

- ``signer <vkey>``, another key of the log itself that must have signed too;
- behind ``log`` and ``signer``, ``from <size>`` and ``until <size>``: checkpoints of these sizes only, the second not
  included. Keys that replace each other have terms by the size of the log, since its clock proves nothing;
- ``root <vkey>``, the key that may hand the log over to another one (`plantgate.audit.rotation`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from plantgate.audit.checkpoint import Checkpoint
from plantgate.audit.note import COSIGNATURE, ED25519, BadNote, Note, Verifier, check_note


class BadPolicy(ValueError):
    """A policy file says something that means nothing; the message has the line."""


@dataclass(frozen=True, slots=True)
class Group:
    """So many of these."""

    needed: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Term:
    """The sizes at which a key of the log must have signed."""

    begin: int = 0
    end: int | None = None
    """Not included."""

    def __contains__(self, size: int) -> bool:
        return self.begin <= size and (self.end is None or size < self.end)

    def __str__(self) -> str:
        return (f" from {self.begin}" if self.begin else "") + (f" until {self.end}" if self.end is not None else "")


_ALWAYS: Final = Term()
_NAMED_MOST: Final = 4


@dataclass(frozen=True, slots=True)
class Signed:
    """A checkpoint whose log signatures are good, and who has witnessed it."""

    checkpoint: Checkpoint
    witnesses: Mapping[str, int]
    """By the name in the policy: when the witness signed, seconds since 1970 by its clock."""
    quorum: bool
    """Whether enough of them have."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a checkpoint must carry to be believed."""

    log: Verifier
    signers: tuple[Verifier, ...] = ()
    witnesses: Mapping[str, Verifier] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)
    quorum: str | None = None
    terms: Mapping[Verifier, Term] = field(default_factory=dict)
    """Of the log's own keys; one that is not in here signs always."""
    root: Verifier | None = None
    """Signs for a change of the log's keys."""

    @property
    def keys(self) -> tuple[Verifier, ...]:
        """The log's own."""
        return (self.log, *self.signers)

    def __str__(self) -> str:
        """As a file."""
        lines = [f"log {self.log}{self.terms.get(self.log, _ALWAYS)}"]
        lines += [f"signer {signer}{self.terms.get(signer, _ALWAYS)}" for signer in self.signers]
        lines += [f"root {self.root}"] if self.root is not None else []
        lines += [f"witness {name} {verifier}" for name, verifier in self.witnesses.items()]
        lines += [f"group {name} {group.needed} {' '.join(group.members)}" for name, group in self.groups.items()]
        return "\n".join((*lines, f"quorum {self.quorum or 'none'}", ""))

    @classmethod
    def of_key(cls, vkey: str) -> "Policy":
        """The log's key alone: no witness is asked for. Raises `BadNote`, `BadPolicy`."""
        return cls(_key(vkey.strip(), ED25519))

    @classmethod
    def load(cls, path: Path) -> "Policy":
        """From a policy file, or from a file that holds a vkey and nothing else. Raises `BadPolicy`, `OSError`."""
        text = path.read_text(encoding="utf-8")
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
        try:
            if any(line.startswith("PRIVATE+KEY+") for line in lines):
                raise BadPolicy("that is a private key; give the public one, which `audit keys` wrote beside it (.pub)")
            if len(lines) == 1 and " " not in lines[0].strip():
                return cls.of_key(lines[0])
            return cls.parse(text)
        except (BadNote, BadPolicy) as error:
            raise BadPolicy(f"{path}: {error}") from None

    @classmethod
    def parse(cls, text: str) -> "Policy":
        """Raises `BadPolicy`."""
        draft = _Draft()
        for number, line in enumerate(text.splitlines(), start=1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            try:
                draft.take(words)
            except (BadNote, BadPolicy) as error:
                raise BadPolicy(f"line {number}: {error}") from None
        return draft.policy()

    def judge(self, note: Note) -> Signed:
        """The checkpoint in a note, and what its signatures say.

        Raises `BadNote` where a key of the log has not signed, or a known key's signature is not good.
        """
        keys = dict(self.witnesses)
        found = check_note(note, [*self.keys, *keys.values()])
        checkpoint = Checkpoint.parse(note.text)
        asked = [signer for signer in self.keys if checkpoint.size in self.terms.get(signer, _ALWAYS)]
        if not asked:
            raise BadNote(f"the policy names no key for a log of {checkpoint.size} entries")
        for signer in asked:
            if signer not in found:
                below = ", ".join(f"{each.name} ({each.key_id.hex()})" for each in note.signatures[:_NAMED_MOST])
                raise BadNote(f"not signed by {signer.name} ({signer.key_id.hex()}): below it stands {below}")
        if checkpoint.origin != self.log.name:
            raise BadNote(f"the checkpoint is of {checkpoint.origin}, not of {self.log.name}")
        seen = {name: found[verifier] or 0 for name, verifier in keys.items() if verifier in found}
        return Signed(checkpoint, seen, self.quorum is None or self._met(self.quorum, seen))

    def _met(self, name: str, seen: Mapping[str, int]) -> bool:
        group = self.groups.get(name)
        if group is None:
            return name in seen
        return sum(self._met(member, seen) for member in group.members) >= group.needed


class _Draft:
    """A policy, line by line: what a line names must stand above it."""

    def __init__(self) -> None:
        self._log: Verifier | None = None
        self._signers: list[Verifier] = []
        self._terms: dict[Verifier, Term] = {}
        self._root: Verifier | None = None
        self._witnesses: dict[str, Verifier] = {}
        self._groups: dict[str, Group] = {}
        self._members: set[str] = set()
        """Of all groups."""
        self._quorum: str | None = None
        self._has_quorum = False

    def take(self, words: list[str]) -> None:
        match words:
            case ["log", vkey, *rest] if len(rest) != 1 or rest[0] not in ("from", "until"):
                if self._log is not None:
                    raise BadPolicy("a second log")
                self._log = self._own(vkey, rest if len(rest) > 1 else [])  # one word alone is its address
            case ["signer", vkey, *rest]:
                self._signers.append(self._own(vkey, rest))
            case ["root", vkey]:
                if self._root is not None:
                    raise BadPolicy("a second root")
                self._root = _key(vkey, ED25519)
            case ["witness", name, vkey, *_] if len(words) <= 4:
                self._new(name)
                key = _key(vkey, COSIGNATURE)
                if any(key.key == each.key for each in self._witnesses.values()):
                    raise BadPolicy(f"the key of {name} a second time: one witness is one, whatever it is called")
                self._witnesses[name] = key
            case ["group", name, needed, *members] if members:
                self._new(name)
                self._groups[name] = self._group(needed, members)
            case ["quorum", name]:
                if self._has_quorum:
                    raise BadPolicy("a second quorum")
                self._has_quorum = True
                if name != "none":
                    self._known(name)
                    self._quorum = name
            case _:
                raise BadPolicy(
                    f"{' '.join(words)!r} means nothing here; there are log, signer, root, witness, group, quorum"
                )

    def policy(self) -> Policy:
        if self._log is None:
            raise BadPolicy("no line `log <vkey>`")
        if not self._has_quorum:
            raise BadPolicy("no line `quorum <name>`; write `quorum none` where no witness is asked for")
        return Policy(
            self._log, tuple(self._signers), self._witnesses, self._groups, self._quorum, self._terms, self._root
        )

    def _own(self, vkey: str, rest: list[str]) -> Verifier:
        """A key of the log, and its term."""
        key = _key(vkey, ED25519)
        if key == self._log or key in self._signers:
            raise BadPolicy(f"{key.name} ({key.key_id.hex()}) a second time")
        match rest:
            case []:
                return key
            case ["from", begin]:
                term = Term(_size(begin))
            case ["until", end]:
                term = Term(0, _size(end))
            case ["from", begin, "until", end]:
                term = Term(_size(begin), _size(end))
            case _:
                raise BadPolicy(f"{' '.join(rest)!r} is no term of a key; write from SIZE, until SIZE, or both")
        self._terms[key] = term
        return key

    def _group(self, needed: str, members: list[str]) -> Group:
        for member in members:
            self._known(member)
        if len(set(members)) != len(members):
            raise BadPolicy("a member stands twice in a group")
        if twice := self._members.intersection(members):
            raise BadPolicy(f"{min(twice)} is a member of another group: a witness counts in one way only")
        self._members.update(members)
        count = {"all": len(members), "any": 1}.get(needed) or (
            int(needed) if needed.isdecimal() and len(needed) < 6 else 0
        )
        if not 1 <= count <= len(members):
            raise BadPolicy(f"{needed!r} of {len(members)} members; write all, any, or a number up to {len(members)}")
        return Group(count, tuple(members))

    def _new(self, name: str) -> None:
        if name == "none" or name in self._witnesses or name in self._groups:
            raise BadPolicy(f"the name {name} is taken")

    def _known(self, name: str) -> None:
        if name not in self._witnesses and name not in self._groups:
            raise BadPolicy(f"there is no witness or group {name} above this line")


def _size(written: str) -> int:
    if not written.isdecimal() or len(written) > 19:
        raise BadPolicy(f"{written!r} is not the size of a log")
    return int(written)


def _key(vkey: str, kind: int) -> Verifier:
    verifier = Verifier.parse(vkey)
    if verifier.kind != kind:
        what = "a log's" if kind == ED25519 else "a witness'"
        raise BadPolicy(f"{verifier.name}: not {what} key (kind {verifier.kind}, where {kind} was due)")
    return verifier
