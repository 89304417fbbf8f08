"""Completeness: is every intent followed by its outcome, by one alone, and is nothing in the log that is no entry?"""

from datetime import datetime

from plantgate.audit.beats import Beats
from plantgate.audit.entry import MINIMUM, Entry, Kind, Phase, Result, decode
from plantgate.audit.report import Report


class Ledger:
    """Intents and their outcomes."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._open: dict[str, int] = {}
        self._settled: dict[str, int] = {}
        """What became of each intent, as a hash: there may be millions."""
        self._index = report.archived
        self._unknown = 0
        self._beats = Beats()
        self.newest = ""
        self.minimum = 0
        """Entries before this one were archived, as the log says."""

    def take(self, content: bytes) -> None:
        """The next entry."""
        index, self._index = self._index, self._index + 1
        answer = self._report.completeness
        try:
            entry = decode(content)
        except ValueError as error:
            answer.no(f"entry {index}: {error}")
            return
        if entry.time > self.newest and _is_time(entry.time):
            self.newest = entry.time
        if entry.kind is Kind.HEARTBEAT:
            self._beats.take(entry.time)
        if entry.kind is Kind.PRUNE and entry.phase is Phase.INTENT:
            minimum = entry.details.get(MINIMUM, "")
            self.minimum = max(self.minimum, int(minimum) if minimum.isdecimal() and len(minimum) < 20 else 0)
        if entry.phase is Phase.INTENT:
            if entry.id in self._open or entry.id in self._settled:
                answer.no(f"entry {index}: the intent {entry.id} stands here a second time")
            self._open[entry.id] = index
        elif entry.phase is Phase.OUTCOME:
            self._end(index, entry)

    def _end(self, index: int, outcome: Entry) -> None:
        answer, intent, said = self._report.completeness, outcome.refers_to, hash((outcome.result, outcome.after))
        if (before := self._settled.get(intent)) is not None:
            if said != before:
                answer.no(f"entry {index}: another outcome of the intent {intent} than the one before it")
            return
        if intent not in self._open:
            if not self._report.archived:  # where its intent may be
                answer.no(f"entry {index}: an outcome without an intent before it")
                return
            self._unknown += 1
        if outcome.result is not Result.UNKNOWN:
            self._open.pop(intent, None)
            self._settled[intent] = said

    def close(self) -> None:
        """There are no more."""
        if self._unknown:
            self._report.completeness.said.append(f"{self._unknown} outcomes answer intents in the archive, or none")
        self._report.completeness.said += self._beats.said()
        self._report.open_intents = list(self._open)
        for id_, index in self._open.items():
            self._report.completeness.no(f"entry {index}: the intent {id_} has no outcome")


def _is_time(written: str) -> bool:
    try:
        return datetime.fromisoformat(written).tzinfo is not None
    except ValueError:
        return False
