"""What the audit log already says when the gateway starts: what is open, what stands, which rules it knows."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from plantgate.audit.entry import Entry, Kind, Phase, Result, decode

_TELLING: Final = tuple(f'"kind":"{kind.value}"'.encode() for kind in (Kind.WRITE, Kind.RULE_CHANGE))
"""Entries without any of these are passed over unread; in a text the quotes would be escaped."""

_RECENT: Final = 4096
"""More than any pace allows within a minute."""


@dataclass(slots=True)
class Past:
    """The log, as far as writing is concerned; `AuditLog.open` lets it `hear`."""

    open: dict[str, Entry] = field(default_factory=dict)
    """Intents of which the log does not say what became of them, by id."""
    standing: dict[str, Entry] = field(default_factory=dict)
    """Of each tag the last intent that has happened, or may have."""
    happened: dict[str, str] = field(default_factory=dict)
    """Of each tag the id of the last intent of which the log says that the machine had what was written."""
    _before: dict[str, Entry | None] = field(default_factory=dict)
    """What stood before each intent that is open."""
    recent: deque[Entry] = field(default_factory=lambda: deque(maxlen=_RECENT))
    """The last intents, for the pace."""
    texts: dict[str, str] = field(default_factory=dict)
    """Of every rule and limit, by name, the digest of the text that was in force last."""

    def hear(self, content: bytes) -> None:
        """The next entry of the log. Raises `ValueError` for bytes that are none."""
        if not any(mark in content for mark in _TELLING):
            return
        entry = decode(content)
        if entry.kind is Kind.RULE_CHANGE:
            self.texts[entry.details.get("name", "")] = entry.details.get("digest", "")
        elif entry.kind is not Kind.WRITE or entry.target is None:
            return
        elif entry.phase is Phase.INTENT:
            self._intend(entry)
        elif entry.phase is Phase.OUTCOME and entry.result is not Result.UNKNOWN:
            self._end(entry)

    def _intend(self, entry: Entry) -> None:
        assert entry.target is not None, "an intent to write has a target"
        self.recent.append(entry)
        self.open[entry.id] = entry
        self._before[entry.id] = self.standing.get(entry.target.address)
        self.standing[entry.target.address] = entry

    def _end(self, outcome: Entry) -> None:
        intent = self.open.pop(outcome.refers_to, None)
        if intent is None:
            return  # it has one already
        assert intent.target is not None, "an intent to write has a target"
        tag, before = intent.target.address, self._before.pop(intent.id, None)
        if outcome.result is Result.OK:
            self.happened[tag] = intent.id
        nothing = outcome.result in (Result.LATE, Result.DENIED) or (
            outcome.result is Result.FAILED and outcome.after is None
        )
        if nothing and self.standing.get(tag) is intent:
            if before is None:
                del self.standing[tag]
            else:
                self.standing[tag] = before
