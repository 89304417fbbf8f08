"""What another plantgate wrote of samples and gaps, back to what they were."""

import math
from collections.abc import Sequence
from typing import Final

import msgspec

from plantgate.sdk import Batch, Gap, Value
from plantgate.sdk.quality import GOOD, UNCERTAIN
from plantgate_connectors.payloads.documents import Unreadable
from plantgate_connectors.payloads.quality import read_quality
from plantgate_connectors.payloads.readings import as_value
from plantgate_connectors.payloads.times import read_time
from plantgate_connectors.payloads.words import TimeUnit

UNSAYABLE: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""Texts that can only be the floats JSON cannot say."""


class RelayedGap(msgspec.Struct):
    """A gap, as JSON holds it."""

    tags: tuple[str, ...]
    cause: str
    since: str | int | None = None
    until: str | int | None = None
    lost: int | None = None
    recovered: int = 0

    def gap(self) -> Gap:
        """As it was."""
        return Gap(self.tags, relayed_time(self.since), relayed_time(self.until), self.cause, self.lost, self.recovered)


def relayed_batch(
    tags: list[str], values: Sequence[object], qualities: Sequence[object], times: Sequence[object]
) -> Batch:
    """From columns of JSON. Raises `Unreadable` where they are not equally long, or hold what nobody could."""
    if not len(tags) == len(values) == len(qualities) == len(times):
        raise Unreadable
    return Batch(tags, list(map(_value, values)), list(map(relayed_quality, qualities)), list(map(relayed_time, times)))


def relayed_quality(written: object) -> int:
    """Good where nothing is said, `UNCERTAIN` where what is said makes no sense."""
    quality = GOOD if written is None else read_quality(written)
    return UNCERTAIN if quality is None else quality


def relayed_time(written: object) -> int | None:
    """Nanoseconds since 1970 UTC, from a number of them or RFC 3339 text; None for anything else."""
    return None if written is None else read_time(written, TimeUnit.NANOSECONDS)


def _value(found: object) -> Value:
    if isinstance(found, str):
        return UNSAYABLE.get(found, found)
    return as_value(found)
