"""How the gateway stands, in one value: what `plantgate status`, the metrics and the live view are made from."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class UseStatus:
    """One use of a connection by a flow."""

    flow: str
    role: str
    """``source`` or ``sink``."""
    state: str
    """``starting``, ``up``, ``away`` or ``stopped``."""
    reason: str
    since_seconds: float
    """How long it has been in this state."""
    desired: int
    monitored: int
    live: int
    counters: dict[str, int]


@dataclass(frozen=True, slots=True)
class ConnectionStatus:
    """A configured connection and its uses."""

    type: str
    uses: tuple[UseStatus, ...]


@dataclass(frozen=True, slots=True)
class DestinationStatus:
    """The loss balance of one flow towards one destination, in samples, over the life of its outbox."""

    accepted: int
    delivered: int
    queued: int
    dropped: int
    set_aside: int
    """Of those delivered: refused by the destination and written to the dead-letter file."""
    difference: int
    """accepted - delivered - queued - dropped, each counted where it happens. Anything but 0 is a bug."""
    rate_out: float
    """Samples a second, over the last seconds."""
    behind_seconds: float
    """Age of the oldest batch not yet delivered; 0 when there is none."""


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    """The disk a flow uses and may use."""

    bytes: int
    bytes_max: int


@dataclass(frozen=True, slots=True)
class FlowStatus:
    """One flow."""

    sources: tuple[str, ...]
    accepted: int
    """Samples accepted since this process started."""
    rate_in: float
    gaps: int
    """Gap records accepted from the sources since this process started."""
    lost: int
    """Samples those records name as lost for good (unknown counts as 0; see the records)."""
    destinations: dict[str, DestinationStatus]
    outbox: OutboxStatus


@dataclass(frozen=True, slots=True)
class CellStatus:
    """One cell: a process with some of the connections."""

    connections: tuple[str, ...]
    state: str
    """``starting``, ``up``, ``away`` (ended, and waiting to be started again) or ``stopped``."""
    reason: str
    """How it ended last, while it is away."""
    since_seconds: float
    pid: int
    """0 while there is no process."""
    restarts: int
    stalls: int
    """Restarts because it stood still."""
    rss_bytes: int
    cpu_seconds: float
    """Over all its lives."""


@dataclass(frozen=True, slots=True)
class LoopStatus:
    """One closed loop, since the process started."""

    frames: int
    unreadable: int
    late: int
    """Pictures whose answer or write came too late, and was not made."""
    decided: int
    """Pictures for which a rule held."""
    done: int
    """Of those the ones whose write was made and read back."""
    bins: list[int]
    """From picture to outcome, of those done: how many took up to 5, 10, 20, 30, 40, 60, 80, 100, 120, 200, 500 ms,
    and longer."""


@dataclass(frozen=True, slots=True)
class DeedsStatus:
    """The audit log, and acting on machines."""

    entries: int
    """Durable entries of the log."""
    published: int
    """Of those the ones under a signed checkpoint."""
    answers: dict[str, int]
    """Proposals by how they ended: ``done``, ``denied``, ``late``, ``failed``, ``unknown``, ``waiting``."""
    stopped: dict[str, str]
    """Why, by what is stopped: ``everything``, a tag, a connection, a cell, a model."""
    held: int
    """Writes of which it is not known whether they happened."""
    waiting: int
    """Writes that wait for people."""
    clock: str
    """Why the clock is not trusted; empty while it is."""
    loops: dict[str, LoopStatus] = field(default_factory=dict)
    """Closed loops, by name."""


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """Everything."""

    plant: str
    version: str
    started: str
    now: str
    ready: bool
    """True once every flow has been started and none has failed to open its outbox."""
    stalls: int
    """Times the event loop stood still."""
    problem: str
    """What an operator must act on (a plant file that was not applied, say); empty when there is nothing."""
    connections: dict[str, ConnectionStatus]
    flows: dict[str, FlowStatus]
    cells: dict[str, CellStatus] = field(default_factory=dict)
    deeds: DeedsStatus | None = None
    """None without an audit log."""
