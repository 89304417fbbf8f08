"""What the two halves of a cell say to each other.

The gateway's half asks, one call at a time for each session, and the cell's half answers; nothing comes unasked but
beats and standings. So a cell can give no more than it is asked for, and what it holds unasked is its own.
"""

from enum import Enum
from typing import TypeAlias

import msgspec

from plantgate.runtime.cells.orders import Orders
from plantgate.sdk import Setpoint, State

Fact: TypeAlias = str | int | float | bool
NewsLine: TypeAlias = dict[str, Fact]


class Role(Enum):
    """What a session is opened as."""

    SOURCE = "source"
    SINK = "sink"
    ACTUATOR = "actuator"
    CAMERA = "camera"


class Parcel(msgspec.Struct, array_like=True, gc=False):
    """A batch on its way: the outbox's encoding, and what that leaves out."""

    content: bytes
    cursor: str
    origin: str
    position: int


# What the gateway's half says.


class Build(msgspec.Struct, array_like=True, tag="build"):
    """Make this use of a connection ready to be opened."""

    use: int
    orders: Orders


class Drop(msgspec.Struct, array_like=True, tag="drop"):
    """Forget a use; its sessions have ended."""

    use: int


class Open(msgspec.Struct, array_like=True, tag="open"):
    """Open a session. Answered by `Done`."""

    session: int
    use: int
    role: Role


class Read(msgspec.Struct, array_like=True, tag="read"):
    """Acknowledge, if there is something to, and read the next batch. Answered by `Given`."""

    session: int
    acknowledge: str | None


class Take(msgspec.Struct, array_like=True, tag="take"):
    """Accept a batch. Answered by `Done`."""

    session: int
    parcel: Parcel


class Write(msgspec.Struct, array_like=True, tag="write"):
    """Send this command to the machine, once, if it may still be sent. Answered by `Done`."""

    session: int
    command: str
    tag: str
    value: Setpoint
    """True, 1 and 1.0 are three values here, and arrive as what they were."""
    deadline: float
    """Monotonic seconds, which all processes of a machine share: time that the message lies in the socket of a cell
    that stands still is time that has passed."""


class Recall(msgspec.Struct, array_like=True, tag="recall"):
    """The command that is under way must not be sent any more, if it has not been. Not answered."""

    session: int
    reason: str


class Ask(msgspec.Struct, array_like=True, tag="ask"):
    """Ask the machine what it has for this tag. Answered by `Given`."""

    session: int
    tag: str
    deadline: float
    """Monotonic seconds."""


class Look(msgspec.Struct, array_like=True, tag="look"):
    """Give the next picture. Answered by `Shown`."""

    session: int


class Close(msgspec.Struct, array_like=True, tag="close"):
    """Acknowledge, if there is something to, and end the session, giving up a read. Answered by `Closed`."""

    session: int
    acknowledge: str | None


class Cut(msgspec.Struct, array_like=True, tag="cut"):
    """End the session at once, whatever is under way. Not answered."""

    session: int


# What the cell's half says.


class Done(msgspec.Struct, array_like=True, tag="done"):
    """The call has returned."""

    session: int


class Given(msgspec.Struct, array_like=True, tag="given"):
    """What was read."""

    session: int
    parcel: Parcel
    whole: bool
    """False for a piece that more of the same batch follows; only the last one's cursor can be acknowledged."""


class Shown(msgspec.Struct, array_like=True, tag="shown"):
    """One picture: `plantgate.sdk.Frame`."""

    session: int
    name: str
    shape: tuple[int, ...]
    pixels: bytes
    at: float
    """Monotonic seconds."""
    time: int | None
    context: dict[str, str]


class Raised(msgspec.Struct, array_like=True, tag="raised"):
    """The call has raised."""

    session: int
    verdict: str
    """``unavailable``, ``rejected``, ``unknown`` or ``exhausted``."""
    message: str
    retry_after_seconds: float | None
    ended: bool
    """True if that was the end of the session."""


class Closed(msgspec.Struct, array_like=True, tag="closed"):
    """The session has ended as asked."""

    session: int


class Stood(msgspec.Struct, array_like=True, tag="stood"):
    """How a use stands: `plantgate.sdk.Standing` without its log."""

    use: int
    state: State
    reason: str
    changed: float
    """Monotonic seconds, which all processes of a machine share."""
    desired: int
    monitored: int
    live: int
    counters: dict[str, int]


class Beat(msgspec.Struct, array_like=True, tag="beat"):
    """The loop turns; and the log lines since the last one, for the live view."""

    news: list[NewsLine]


Asked: TypeAlias = Build | Drop | Open | Read | Take | Write | Recall | Ask | Look | Close | Cut
Answered: TypeAlias = Done | Given | Shown | Raised | Closed | Stood | Beat
