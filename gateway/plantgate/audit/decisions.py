"""What a decision is made of: its intent and outcomes, who agreed, and the rules and limits as they were in force.

An outcome alone says neither what was wanted nor why, and a rule is named by its digest: whoever is to judge a decision
needs all of it.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from plantgate.audit.entry import Entry, Kind, Phase, decode
from plantgate.audit.search import Found

_DIGESTS: Final = ("limits", "limits_digest", "rule_digest")
"""Among the details of a write, or of a question to people: of which limits, of which rule."""
EMERGENCY_RULE: Final = "gateway.emergency"
"""What is written by it stands on an emergency that the same person has declared."""


@dataclass(frozen=True, slots=True)
class Whole:
    """By index, in the order of the log."""

    decisions: Sequence[int]
    """What was found, with its intents and outcomes."""
    grounds: Sequence[int]
    """What they stand on: approvals, declared emergencies, and the texts of rules and limits."""


def whole(found: Sequence[Found], entries: Iterable[tuple[int, bytes]]) -> Whole:
    """All that belongs to what was found; `entries` are those of the same log. What is no entry is passed over."""
    intents = {_intent(each.entry) for each in found} - {""}
    decisions = {each.index: each.entry for each in found}
    past, grounds = _Past(), set[int]()
    for index, entry in readable(entries):
        if index in decisions or _intent(entry) in intents:
            decisions[index] = entry
            if entry.why and entry.why.rule == EMERGENCY_RULE and entry.who.id in past.declared:
                grounds.add(past.declared[entry.who.id])
        past.take(index, entry)
    for entry in decisions.values():
        grounds.update(past.grounds(entry))
    return Whole(sorted(decisions), sorted(grounds - decisions.keys()))


def readable(contents: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, Entry]]:
    """What may tell of a decision: all but heartbeats, which most of a log is, and what is no entry."""
    for index, content in contents:
        if b'"kind":"heartbeat"' not in content:
            with suppress(ValueError):
                yield index, decode(content)


def _intent(entry: Entry) -> str:
    """Of the decision that it is a part of."""
    return entry.id if entry.phase is Phase.INTENT else entry.refers_to


class _Past:
    """Where in the log the grounds of decisions are."""

    def __init__(self) -> None:
        self.declared: dict[str, int] = {}
        """Emergencies, the newest of each person."""
        self._texts: dict[str, int] = {}
        """Of rules and limits, by digest."""
        self._people: dict[str, tuple[int, str]] = {}
        """Questions, and what people said; each with the question it is about."""
        self._said: dict[str, list[int]] = {}
        """What people said, by question."""

    def take(self, index: int, entry: Entry) -> None:
        """The next entry."""
        match entry.kind:
            case Kind.RULE_CHANGE:
                self._texts.setdefault(entry.details.get("digest", ""), index)
            case Kind.APPROVAL:
                question = entry.details.get("question", "")
                self._people[entry.id] = index, question
                self._said.setdefault(question, []).append(index)
            case Kind.EMERGENCY if entry.details.get("emergency") == "declared":
                self.declared[entry.who.id] = index

    def grounds(self, entry: Entry) -> Iterator[int]:
        """Indexes of what an entry stands on."""
        named = [entry.why.digest] if entry.why else []
        named += [entry.details.get(name, "") for name in _DIGESTS]
        yield from (self._texts[digest] for digest in named if digest in self._texts)
        questions = [entry.details.get("question", "")]
        for approval in entry.approvals:
            index, question = self._people.get(approval.entry, (-1, ""))
            yield from [index] if index >= 0 else []
            questions.append(question)
        yield from (self._people[question][0] for question in questions if question in self._people)
        yield from self._said.get(entry.id, ())
