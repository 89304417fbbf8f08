"""The newest value of every tag that a guard asks about, as the flows bring it."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass

from plantgate.sdk import Batch, Clock, Severity, Value, quality_name, severity

AHEAD_MAX_NS = 2_000_000_000
"""How far ahead of ours a device's clock may be for its values to hold an interlock."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One value, and when it came."""

    value: Value
    quality: int
    time: int | None
    """Source time, ns UTC."""
    at: float
    """When the gateway had it, on the loop's clock."""
    came: int
    """The same on the wall clock, ns UTC."""


class Latest:
    """Knows the tags it was made for, and no others."""

    def __init__(self, tags: Collection[str], clock: Clock) -> None:
        self._tags = frozenset(tags)
        self._seen: dict[str, Seen] = {}
        self._clock = clock

    def see(self, batch: Batch) -> None:
        """Take what is new in a batch; what was made up for later (history, a replay) is older than what is known."""
        if self._tags.isdisjoint(batch.tags):  # most batches: one look at all of it, in C
            return
        at, now = asyncio.get_running_loop().time(), self._clock.now()
        for index, tag in enumerate(batch.tags):
            if tag in self._tags:
                self._take(tag, Seen(batch.values[index], batch.qualities[index], batch.times[index], at, now))

    def get(self, tag: str) -> Seen | None:
        """The newest value; None before the first."""
        return self._seen.get(tag)

    def trusted(self, tag: str, age_max_seconds: float) -> Value:
        """A value that a decision may rest on: Good and young, by our clock and by the device's.

        Raises `ValueError` with a sentence for any other.
        """
        seen = self._seen.get(tag)
        if seen is None:
            raise ValueError(f"{tag} has no value yet")
        if severity(seen.quality) is not Severity.GOOD:
            raise ValueError(f"{tag} is {quality_name(seen.quality)}")
        age = asyncio.get_running_loop().time() - seen.at
        if seen.time is not None and seen.time > self._clock.now() + AHEAD_MAX_NS:
            raise ValueError(f"{tag} is of a time that is still to come: the device's clock is ahead")
        if seen.time is not None:
            age = max(age, (self._clock.now() - seen.time) / 1e9)
        if not age <= age_max_seconds:
            raise ValueError(f"{tag} is {age:.1f} s old, and {age_max_seconds:g} s are allowed")
        return seen.value

    def _take(self, tag: str, seen: Seen) -> None:
        """Older news changes nothing, unless it is worse: a fault is believed at once.

        A device whose clock is ahead must not make its next value look old, so its time counts up to ours.
        """
        known = self._seen.get(tag)
        if (
            known is None
            or known.time is None
            or seen.time is None
            or seen.time >= min(known.time, known.came)
            or severity(seen.quality) > severity(known.quality)
        ):
            self._seen[tag] = seen
