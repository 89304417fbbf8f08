"""What the audit log already says when the gateway starts: what is open, what stands, which rules it knows."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from plantgate.audit.entry import Entry, Kind, Phase, Result, decode

_TELLING: Final = tuple(f'"kind":"{kind.value}"'.encode() for kind in (Kind.WRITE, Kind.RULE_CHANGE))
"""Entries without any of these are passed over unread; in a text the quotes would be escaped."""

_RECENT: Final = 4096
"""More than any pace allows within a minute."""


@dataclass(slots=True)
class Past:
    """The log, as far as writing is concerned."""

    open: dict[str, Entry] = field(default_factory=dict)
    """Intents of which the log does not say what became of them, by id."""
    standing: dict[str, Entry] = field(default_factory=dict)
    """Of each tag the last intent that is known to have happened."""
    recent: deque[Entry] = field(default_factory=lambda: deque(maxlen=_RECENT))
    """The last intents, for the pace."""
    texts: set[str] = field(default_factory=set)
    """Digests of the rules and limits whose text is on record."""

    def hear(self, content: bytes) -> None:
        """The next entry of the log. Raises `ValueError` for bytes that are none."""
        if not any(mark in content for mark in _TELLING):
            return
        entry = decode(content)
        if entry.kind is Kind.RULE_CHANGE:
            self.texts.add(entry.details.get("digest", ""))
        elif entry.kind is not Kind.WRITE or entry.target is None:
            return
        elif entry.phase is Phase.INTENT:
            self.open[entry.id] = entry
            self.recent.append(entry)
        elif entry.phase is Phase.OUTCOME and entry.result is not Result.UNKNOWN:
            intent = self.open.pop(entry.refers_to, None)
            if intent is not None and entry.result is Result.OK:
                self.standing[entry.target.address] = intent


def recall(entries: Iterable[bytes]) -> Past:
    """Everything there is."""
    past = Past()
    for content in entries:
        past.hear(content)
    return past
