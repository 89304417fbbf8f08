"""What flows: samples in columns, and the gaps between them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self, TypeAlias

Scalar: TypeAlias = bool | int | float | str | bytes | None
Value: TypeAlias = Scalar | Sequence["Value"] | Mapping[str, "Value"]
"""A scalar, or an array or structure of them, as the device gave it. NaN and infinities are values."""

Cursor: TypeAlias = str
"""A source's own mark for "everything up to here"; opaque to everyone else."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading: a row view of a batch, for people and tests. Hot code keeps to the columns."""

    tag: str
    """Full name: ``line3/press1/temperature``."""
    value: Value
    quality: int
    """OPC UA StatusCode; see `plantgate.sdk.quality`."""
    time: int | None
    """The device's own time, nanoseconds since 1970 UTC; None where the device gave none. Never ours."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch for which values are, or may be, missing: the loss is named, never silent."""

    tags: tuple[str, ...]
    """The tags it concerns; equal circumstances share one record."""
    since: int | None
    """Source time (ns UTC) of the last value known good before it; None if there was none."""
    until: int | None
    """Source time (ns UTC) of the first value after it; None while unknown."""
    cause: str
    """One of a few words an operator can act on: ``session lost``, ``queue overflow``, ``outbox full``, …"""
    lost: int | None
    """How many samples of these tags are missing for good; None if that cannot be known."""
    recovered: int = 0
    """How many samples of the stretch were recovered (republished, read from history) and follow as data."""


@dataclass(slots=True)
class Batch:
    """Samples that travel, are stored and are acknowledged together, as parallel columns of equal length.

    Gaps come before the samples: they speak of what lies between the previous batch and this one.
    """

    tags: list[str]
    values: list[Value]
    qualities: list[int]
    times: list[int | None]
    cursor: Cursor = ""
    gaps: tuple[Gap, ...] = ()
    received: int = 0
    """When the gateway received the batch (ns UTC), for measuring delay and skew; not a source time."""
    origin: str = ""
    """The outbox that numbered the samples; empty before they were in one."""
    position: int = 0
    """Number of the first sample in its origin: sample i is ``position + i``, whichever batch it comes in.

    A consumer drops repeats, and sees that nothing is missing, by these numbers alone.
    """

    def __len__(self) -> int:
        return len(self.tags)

    def __iter__(self) -> Iterator[Sample]:
        return map(Sample, self.tags, self.values, self.qualities, self.times)

    @classmethod
    def of(cls, samples: Iterable[Sample], *, cursor: Cursor = "", gaps: tuple[Gap, ...] = ()) -> Self:
        """Columns from rows."""
        batch = cls.empty(cursor=cursor, gaps=gaps)
        for sample in samples:
            batch.tags.append(sample.tag)
            batch.values.append(sample.value)
            batch.qualities.append(sample.quality)
            batch.times.append(sample.time)
        return batch

    @classmethod
    def empty(cls, *, cursor: Cursor = "", gaps: tuple[Gap, ...] = ()) -> Self:
        """A batch without samples; it can still carry gaps and a cursor."""
        return cls([], [], [], [], cursor=cursor, gaps=gaps)

    def extend(self, other: "Batch") -> None:
        """Append another batch's columns and take over its cursor; the gaps of both stand first."""
        self.tags += other.tags
        self.values += other.values
        self.qualities += other.qualities
        self.times += other.times
        self.gaps += other.gaps
        self.cursor = other.cursor


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a survey: what was asked of a peer and what it would grant."""

    subject: str
    """The tag, node, topic or limit it is about."""
    wanted: str
    granted: str
    fine: bool = True
    """False where the operator should act."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What a peer said when asked, without changing anything."""

    findings: tuple[Finding, ...] = field(default=())

    @property
    def fine(self) -> bool:
        """True when nothing needs the operator."""
        return all(finding.fine for finding in self.findings)
