"""Which numbers of an outbox have been written: exactly, so that nothing new is ever taken for a repeat."""

from collections.abc import Iterator
from typing import Final, Self

_ORIGINS_MOST: Final = 100
_STRETCHES_MOST: Final = 10_000


class Numbers:
    """Stretches of numbers for each origin. The oldest are forgotten, to stay small: those could be written twice."""

    def __init__(self) -> None:
        self._stretches: dict[str, list[list[int]]] = {}

    def add(self, origin: str, start: int, stop: int) -> None:
        """From `start` up to, not including, `stop`."""
        stretches = self._stretches.get(origin)
        if stretches is None:
            stretches = self._stretches[origin] = []
            while len(self._stretches) > _ORIGINS_MOST:
                del self._stretches[next(iter(self._stretches))]
        if stretches and stretches[-1][0] <= start <= stretches[-1][1]:
            stretches[-1][1] = max(stop, stretches[-1][1])
            return
        stretches.append([start, stop])
        stretches.sort()
        merged = [stretches[0]]
        for begin, end in stretches[1:]:
            if begin <= merged[-1][1]:
                merged[-1][1] = max(end, merged[-1][1])
            else:
                merged.append([begin, end])
        self._stretches[origin] = merged[-_STRETCHES_MOST:]

    def missing(self, origin: str, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """The stretches between `start` and `stop` that are not there."""
        for begin, end in self._stretches.get(origin, ()):
            if end <= start:
                continue
            if begin >= stop:
                break
            if begin > start:
                yield start, begin
            start = end
        if start < stop:
            yield start, stop

    def document(self) -> dict[str, list[list[int]]]:
        """For keeping."""
        return self._stretches

    @classmethod
    def of(cls, document: object) -> Self:
        """What was kept; raises `ValueError` for anything else."""
        numbers = cls()
        if not isinstance(document, dict):
            raise ValueError("not an object")
        for origin, stretches in document.items():
            try:
                for start, stop in stretches:
                    numbers.add(str(origin), int(start), int(stop))
            except TypeError as error:
                raise ValueError(str(error)) from error
        return numbers
