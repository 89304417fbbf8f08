"""What has come from the server and has not been read yet, in the order in which it is to be given."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from plantgate.sdk import Gap, Value
from plantgate_connectors.opcua.decode import Columns
from plantgate_connectors.opcua.envelope import Envelope
from plantgate_connectors.opcua.last_values import Last
from plantgate_connectors.opcua.subscription import Mark, Subscription

_OVERHEAD_BYTES: Final = 700
"""Of the objects around a message, which matter where messages are small."""
BYTES_MAX: Final = 8 * 2**20
"""Undecoded bytes held; beyond it the server is asked for nothing more. The most that can come on top is what is asked
for already: the outstanding requests times the largest message."""


@dataclass(slots=True)
class Arrival:
    """A message with values, not decoded yet."""

    envelope: Envelope
    subscription: Subscription
    received: int
    """Ns UTC by our clock."""


@dataclass(slots=True)
class Hole:
    """Messages of a subscription that are missing and can be asked for again."""

    subscription: Subscription
    handles: list[int]
    """The items it may be about."""
    sequences: list[int]
    cause: str | None = None
    """Why, where it is an interruption to be recorded even if everything is recovered."""
    beyond: bool = False
    """More is missing than the server can have kept."""


@dataclass(slots=True)
class Interruption:
    """Items for which something is, or may be, missing here; mended once everything before it has been given."""

    handles: list[int]
    cause: str
    until: dict[int, Last] = field(default_factory=dict)
    """The first value after it, by handle, where it is known already."""
    refresh: bool = False
    """The items go on being monitored: their present values must be read, since a lost change is not sent again."""
    present: dict[int, tuple[int | None, Value, int]] = field(default_factory=dict)
    """Present values (time, value, quality) that were read and are given last."""
    recovered: dict[int, int] = field(default_factory=dict)
    """Values fetched from history so far, by handle."""
    until_seconds: float | None = None
    """When to stop looking into history, on the loop's clock; None before it was begun."""
    fetched: int | None = None
    """Not None where nothing is missing: so many values follow that were fetched again."""


@dataclass(slots=True)
class Block:
    """Values and gaps ready to be given."""

    columns: Columns = field(default_factory=Columns)
    gaps: list[Gap] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    """Messages that are acknowledged with it."""
    received: int = 0
    mended: bool = False
    """Fetched to fill a gap: what comes after it may hold some of it once more."""


Entry: TypeAlias = Arrival | Hole | Interruption | Block


class Backlog:
    """A queue that knows its bytes."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    @property
    def front(self) -> Entry | None:
        """What is to be given next."""
        return self._entries[0] if self._entries else None

    @property
    def full(self) -> bool:
        """Whether to ask for nothing more."""
        return self.bytes >= BYTES_MAX

    def push(self, entry: Entry) -> None:
        """Put last."""
        self._entries.append(entry)
        self.bytes += _size(entry)

    def __getitem__(self, place: int) -> Entry:
        return self._entries[place]

    def drop(self, count: int) -> None:
        """Take so many from the front: they have been given."""
        for _ in range(count):
            self.bytes -= _size(self._entries.popleft())

    def replace(self, entry: Entry, *others: Entry) -> None:
        """Put these in its place."""
        place = next(index for index, each in enumerate(self._entries) if each is entry)
        self._entries.rotate(-place)
        self.drop(1)
        self._entries.extendleft(reversed(others))
        self._entries.rotate(place)
        self.bytes += sum(map(_size, others))


def _size(entry: Entry) -> int:
    return len(entry.envelope.body) + _OVERHEAD_BYTES if isinstance(entry, Arrival) else 0
