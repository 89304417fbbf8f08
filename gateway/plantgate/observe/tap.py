"""The latest value of each tag, for a person who is looking; costs nothing while nobody is."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

from plantgate.sdk import Batch, Value

TAGS_MOST = 500
"""How many changed tags one look returns."""

Latest: TypeAlias = tuple[Value, int, int | None]
"""Value, quality and source time."""


class Look:
    """What one viewer has not seen yet."""

    def __init__(self) -> None:
        self.changed: dict[str, Latest] = {}

    def take(self) -> Mapping[str, Latest]:
        """The tags that changed since the last look; the first `TAGS_MOST` by name."""
        changed, self.changed = self.changed, {}
        if len(changed) <= TAGS_MOST:
            return changed
        return {tag: changed[tag] for tag in sorted(changed)[:TAGS_MOST]}


class Tap:
    """Sees the batches that flow while at least one view is open."""

    def __init__(self) -> None:
        self.looks: set[Look] = set()

    @contextmanager
    def look(self) -> Iterator[Look]:
        """For as long as one view is open."""
        look = Look()
        self.looks.add(look)
        try:
            yield look
        finally:
            self.looks.discard(look)

    def see(self, batch: Batch) -> None:
        """Remember the newest value of each tag in the batch, for whoever looks."""
        for look in self.looks:
            latest = zip(batch.values, batch.qualities, batch.times, strict=True)
            look.changed.update(zip(batch.tags, latest, strict=True))
