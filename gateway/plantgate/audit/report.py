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

    @property
    def exit_code(self) -> int:
        """0 fine, 2 something is missing, 3 tampered with, 4 forked or rolled back."""
        if self.forked:
            return 4
        if self.integrity.verdict is Verdict.NO:
            return 3
        return 2 if Verdict.NO in (self.completeness.verdict, self.freshness.verdict, self.quorum.verdict) else 0
