"""How often and how far each tag was moved of late."""

from collections import defaultdict, deque

_MINUTE = 60.0


class Pace:
    """Remembers the writes of the last minute, by tag; times are on the loop's clock."""

    def __init__(self) -> None:
        self._writes: dict[str, deque[tuple[float, float]]] = defaultdict(deque)
        self._last: dict[str, float] = {}

    def note(self, tag: str, at: float, distance: float) -> None:
        """A write was begun; whether it took effect makes no difference to the pace."""
        self._writes[tag].append((at, abs(distance)))
        self._last[tag] = at

    def since_last(self, tag: str, now: float) -> float | None:
        """Seconds since this tag was last written; None if never."""
        last = self._last.get(tag)
        return None if last is None else now - last

    def writes(self, tag: str, now: float) -> int:
        """Writes of the last minute."""
        return len(self._of_late(tag, now))

    def distance(self, tag: str, now: float) -> float:
        """How far all of them went together."""
        return sum(distance for _, distance in self._of_late(tag, now))

    def _of_late(self, tag: str, now: float) -> deque[tuple[float, float]]:
        writes = self._writes[tag]
        while writes and writes[0][0] <= now - _MINUTE:
            writes.popleft()
        return writes
