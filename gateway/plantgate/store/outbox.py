"""The durable queue between a flow's two halves: an `Accept` on one side, a `Source` for each destination on the other.

A batch is stored once, however many destinations there are; each has a cursor of its own. For every destination, always:

    accepted = delivered + queued + dropped

Each of the four is counted where it happens: accepted by what was appended, queued by the weights stored with the records,
delivered by the batches confirmed, dropped by the samples found in what was dropped. Every dropped sample is also named to
the destination, in a gap before the next data; gaps and counters survive a restart.
"""

import asyncio
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Self

from plantgate.sdk.clock import Clock, SystemClock
from plantgate.sdk.errors import Rejected, Unavailable
from plantgate.sdk.sample import Batch
from plantgate.store.backlog import lost_between, shrink, too_old
from plantgate.store.codec import encode, halves
from plantgate.store.cursor import CursorFile, Saved
from plantgate.store.delivery import Delivery
from plantgate.store.destination import Destination
from plantgate.store.disk import Disk, Lock, OsDisk
from plantgate.store.journal import Journal
from plantgate.store.limits import Join, Limits, WhenFull
from plantgate.store.record import Position
from plantgate.store.restore import Restored, begin_destination, restore
from plantgate.store.segment import no_space
from plantgate.store.writer import DiskFull, Item, JournalFailed

_SAVE_SECONDS: Final = 0.2
"""How long a confirmation may wait to become durable: what a crash can cause to be given again."""
_AGE_LOOKS: Final = 20
"""How often in the life of a record its age is looked at."""


@dataclass(frozen=True, slots=True)
class Balance:
    """The loss balance towards one destination, in samples, since it joined."""

    accepted: int
    delivered: int
    queued: int
    dropped: int
    behind_seconds: float
    """Age of the oldest batch that is not confirmed."""

    @property
    def difference(self) -> int:
        """Must be 0."""
        return self.accepted - self.delivered - self.queued - self.dropped
