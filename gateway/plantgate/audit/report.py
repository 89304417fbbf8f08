"""What can be said of a log: an answer to each of the four questions."""

from dataclasses import dataclass, field
from enum import Enum

from plantgate.audit.checkpoint import Checkpoint
from plantgate.audit.note import Note
from plantgate.audit.policy import Policy

_NAMED_MOST = 20


class Verdict(Enum):
    """An answer."""

    YES = "yes"
    NO = "no"
    NOT_ASKED = "not asked"


@dataclass(slots=True)
class Answer:
    """To one of the four questions."""

    verdict: Verdict = Verdict.YES
    said: list[str] = field(default_factory=list)
    """What was found, a sentence each."""

    def no(self, sentence: str) -> None:
        """Found wanting."""
        self.verdict = Verdict.NO
        if len(self.said) < _NAMED_MOST:
            self.said.append(sentence)


@dataclass(slots=True)
class Report:
    """What can be said of a log."""

    integrity: Answer = field(default_factory=Answer)
    completeness: Answer = field(default_factory=Answer)
    freshness: Answer = field(default_factory=Answer)
    quorum: Answer = field(default_factory=Answer)
    forked: bool = False
    """The log is not the one that was seen earlier, grown."""
    checkpoint: Checkpoint | None = None
    note: Note | None = None
    """It, with its signatures, as it was read."""
    entries: int = 0
    """That were read."""
    archived: int = 0
    """Entries before this one are not here."""
    open_intents: list[str] = field(default_factory=list)
    policy: Policy | None = None
    """As it was given, with the keys that its root has signed for in the log."""

    def answers(self) -> dict[str, Answer]:
        """By question, for a person: a yes says first what it means."""
        means = {"completeness": "every intent has its outcome, and everything in here is an entry"}
        if self.policy is not None and self.note is not None:
            ours = [(each.name, each.key_id) for each in self.policy.keys]
            by = [
                f"{each.name} ({each.key_id.hex()})"
                for each in self.note.signatures
                if (each.name, each.key_id) in ours
            ]
            means["integrity"] = f"all that is in here is what {' and '.join(by)} signed"
        answers = {
            "integrity": self.integrity,
            "completeness": self.completeness,
            "freshness": self.freshness,
            "quorum": self.quorum,
        }
        return {
            question: Answer(answer.verdict, [means[question], *answer.said])
            if answer.verdict is Verdict.YES and question in means
            else answer
            for question, answer in answers.items()
        }

    @property
    def exit_code(self) -> int:
        """0 fine, 2 something is missing, 3 tampered with, 4 forked or rolled back."""
        if self.forked:
            return 4
        if self.integrity.verdict is Verdict.NO:
            return 3
        return 2 if Verdict.NO in (self.completeness.verdict, self.freshness.verdict, self.quorum.verdict) else 0
