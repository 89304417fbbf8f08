"""What has come from the server and has not been read yet, in the order in which it is to be given."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from plantgate.sdk import Gap, Value
from plantgate_connectors.opcua.decode import Columns
from plantgate_connectors.opcua.envelope import Envelope

_OVERHEAD_BYTES: Final = 700
"""Of the objects around a message, which matter where messages are small."""
BYTES_MAX: Final = 8 * 2**20
"""Undecoded bytes held; beyond it the server is asked for nothing more. The most that can come on top is what is asked
for already: the outstanding requests times the largest message."""


class Unknown:
    """In place of a value that a former process gave."""


UNKNOWN: Final = Unknown()

Last: TypeAlias = tuple[int | None, Value | Unknown, int]
"""Source time, value and quality of the last sample given for an item."""


@dataclass(slots=True)
class Arrival:
    """A message with values, not decoded yet."""

    envelope: Envelope
    received: int
    """Ns UTC by our clock."""


@dataclass(slots=True)
class Hole:
    """Messages of a subscription that are missing and can be asked for again."""

    subscription: int
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
    whole: int | None = None
    """Nothing is missing: this many values follow that were fetched again."""


@dataclass(slots=True)
class Block:
    """Values and gaps ready to be given."""

    columns: Columns = field(default_factory=Columns)
    gaps: list[Gap] = field(default_factory=list)
    marks: list[tuple[int, int]] = field(default_factory=list)
    """Messages (subscription, sequence number) that are acknowledged with it."""
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

    def pop(self) -> Entry:
        """Take the front."""
        entry = self._entries.popleft()
        self.bytes -= _size(entry)
        return entry

    def put_back(self, *entries: Entry) -> None:
        """Put these before all others, in this order."""
        self._entries.extendleft(reversed(entries))
        self.bytes += sum(map(_size, entries))

    def put_second(self, entry: Entry) -> None:
        """Put it right behind the front."""
        self._entries.insert(1, entry)
        self.bytes += _size(entry)

    def replace(self, entry: Entry, *others: Entry) -> None:
        """Put these in its place."""
        place = next(index for index, each in enumerate(self._entries) if each is entry)
        self._entries.rotate(-place)
        self.pop()
        self.put_back(*others)
        self._entries.rotate(place)


def _size(entry: Entry) -> int:
    return len(entry.envelope.body) + _OVERHEAD_BYTES if isinstance(entry, Arrival) else 0
