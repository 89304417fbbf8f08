"""How much an outbox may hold, for how long, and what it does beyond."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from plantgate.store.disk import SECTOR
from plantgate.store.writer import JournalLimits

_SEGMENT_MOST: Final = 16 * 1024 * 1024
_SEGMENT_LEAST: Final = 64 * SECTOR
_SEGMENTS: Final = 8
"""Space is given back a segment at a time: with fewer, one drop would be most of the queue."""


class WhenFull(Enum):
    """What happens to a batch for which there is no room."""

    BLOCK = "block"
    """It is refused for now, and the source waits."""
    DROP_OLDEST = "drop_oldest"
    """The oldest segment is dropped for every destination that still needs it."""
    KEEP_LATEST = "keep_latest"
    """The backlog of every destination that holds space shrinks to the newest sample of each tag."""


class Join(Enum):
    """Where a new destination begins in an outbox that already holds something."""

    OLDEST = "oldest"
    """With the oldest record kept."""
    TAIL = "tail"
    """With what comes from now on."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one outbox."""

    bytes_max: int = 2 * 1024**3
    """Disk for the queue. What a destination is owed besides (gaps, the newest samples) comes on top, and is small."""
    age_max_seconds: float | None = None
    """Records that were accepted longer ago, by the gateway's wall clock, are dropped instead of delivered.

    A clock that is set forward by more than this makes everything queued too old: set it before the gateway starts.
    """
    when_full: WhenFull = WhenFull.BLOCK
    batch_samples_max: int = 1024
    """Small batches are given together up to this many samples; a larger batch is never split."""

    def __post_init__(self) -> None:
        if self.bytes_max < 2 * _SEGMENT_LEAST:
            raise ValueError(f"an outbox of {self.bytes_max} bytes is too small; {2 * _SEGMENT_LEAST} is the least")

    @property
    def journal(self) -> JournalLimits:
        """The journal that stays within them."""
        size = min(_SEGMENT_MOST, max(_SEGMENT_LEAST, self.bytes_max // _SEGMENTS)) // SECTOR * SECTOR
        return JournalLimits(
            segment_bytes=size,
            record_bytes_max=size // 2,
            group_bytes_max=max(size // 4, SECTOR),
            disk_bytes_max=self.bytes_max,
        )
