"""The latest value of each tag, for a person who is looking; costs nothing while nobody is."""

from collections.abc import Mapping

from plantgate.sdk import Batch, Value

TAGS_MOST = 500
"""How many changed tags one look returns."""


class Tap:
    """Sees the batches that flow while at least one view is open."""

    def __init__(self) -> None:
        self.watchers = 0
        self._changed: dict[str, tuple[Value, int, int | None]] = {}

    def see(self, batch: Batch) -> None:
        """Remember the newest value of each tag in the batch, if anyone looks."""
        if self.watchers:
            self._changed.update(
                zip(batch.tags, zip(batch.values, batch.qualities, batch.times, strict=True), strict=True)
            )

    def take(self) -> Mapping[str, tuple[Value, int, int | None]]:
        """Value, quality and source time of tags that changed since the last look; the first `TAGS_MOST` by name."""
        changed, self._changed = self._changed, {}
        if len(changed) <= TAGS_MOST:
            return changed
        return {tag: changed[tag] for tag in sorted(changed)[:TAGS_MOST]}
