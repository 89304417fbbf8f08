"""Batches that were given and are not acknowledged: the next session gives them first."""

from collections import deque
from dataclasses import dataclass

from plantgate.sdk import Batch
from plantgate_connectors.opcua.subscription import Mark


@dataclass(slots=True)
class _Given:
    number: int
    batch: Batch
    marks: list[Mark]


class Unacknowledged:
    """Outlives the sessions; in memory, since after a restart the server is asked for the messages themselves."""

    def __init__(self) -> None:
        self._numbered = 0
        self._given: deque[_Given] = deque()
        self._again: deque[_Given] = deque()

    @property
    def none(self) -> bool:
        """Everything given was acknowledged."""
        return not self._given and not self._again

    def give(self, batch: Batch, marks: list[Mark]) -> Batch:
        """Number a batch and keep it."""
        self._numbered += 1
        batch.cursor = str(self._numbered)
        self._given.append(_Given(self._numbered, batch, marks))
        return batch

    def give_again(self) -> Batch | None:
        """The next batch that was given to a session that is over; None when there is none left."""
        if not self._again:
            return None
        given = self._again.popleft()
        self._given.append(given)
        return given.batch

    def session_over(self) -> None:
        """What was given in vain comes again, in the same order."""
        self._again.extendleft(reversed(self._given))
        self._given.clear()

    def acknowledge(self, cursor: str) -> list[Mark]:
        """Everything up to this cursor is safe; returns the messages that are done with."""
        number, done = int(cursor), []
        while self._given and self._given[0].number <= number:
            done += self._given.popleft().marks
        return done
