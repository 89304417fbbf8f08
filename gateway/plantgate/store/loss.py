"""What was dropped, added up while it is dropped, and told as gaps."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from plantgate.sdk.sample import Batch, Gap

FULL: Final = "outbox full"
TOO_OLD: Final = "too old"
DAMAGED: Final = "damaged on disk"


class Loss:
    """Samples dropped for one cause: how many, of which tags, over which time; and the gaps that were among them."""

    def __init__(self, cause: str) -> None:
        self.cause = cause
        self.count = 0
        self.accepted: int | None = None
        """When the last record of it was accepted, ns UTC."""
        self.gaps: list[Gap] = []
        """Gap records of the source that were in what was dropped: they are still owed."""
        self._tags: dict[str, None] = {}
        self._since: int | None = None
        self._until: int | None = None
        self._damaged = 0

    def add(self, batch: Batch) -> None:
        """All of a batch."""
        self.count += len(batch)
        self.gaps += batch.gaps
        self._tags.update(dict.fromkeys(batch.tags))
        times = [time for time in batch.times if time is not None]
        if times:
            self._stretch(min(times), max(times))

    def add_sample(self, tag: str, time: int | None) -> None:
        """One sample."""
        self.count += 1
        self._tags[tag] = None
        if time is not None:
            self._stretch(time, time)

    def add_damage(self, weight: int) -> None:
        """Samples that can no longer be read: how many is known, of which tags is not."""
        self.count += weight
        self._damaged += weight

    def told(self) -> list[Gap]:
        """The gaps that say so; the times are those of the first and the last sample dropped."""
        gaps = list(self.gaps)
        if dropped := self.count - self._damaged:
            gaps.append(Gap(tuple(self._tags), self._since, self._until, self.cause, dropped))
        if self._damaged:
            gaps.append(Gap((), None, None, DAMAGED, self._damaged))
        return gaps

    def _stretch(self, since: int, until: int) -> None:
        self._since = since if self._since is None else min(self._since, since)
        self._until = until if self._until is None else max(self._until, until)


def merged(gaps: Iterable[Gap]) -> list[Gap]:
    """One gap for each cause: what a destination is owed stays small, however long it is away."""
    by_cause: dict[str, Gap] = {}
    for gap in gaps:
        known = by_cause.get(gap.cause)
        by_cause[gap.cause] = gap if known is None else _both(known, gap)
    return list(by_cause.values())


def _both(first: Gap, second: Gap) -> Gap:
    return replace(
        first,
        tags=tuple(dict.fromkeys(first.tags + second.tags)),
        since=_extreme(min, first.since, second.since),
        until=_extreme(max, first.until, second.until),
        lost=None if first.lost is None or second.lost is None else first.lost + second.lost,
        recovered=first.recovered + second.recovered,
    )


def _extreme(choose: Callable[[list[int]], int], first: int | None, second: int | None) -> int | None:
    known = [time for time in (first, second) if time is not None]
    return choose(known) if known else None
