"""How a connection stands; says so in the log once when it goes and once when it returns."""

import time
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol


class Log(Protocol):
    """What the host lends for logging: structlog's bound loggers fit."""

    def info(self, event: str, **facts: object) -> object: ...
    def warning(self, event: str, **facts: object) -> object: ...
    def error(self, event: str, **facts: object) -> object: ...


class State(Enum):
    """Where a connection is in its life."""

    STARTING = "starting"
    UP = "up"
    AWAY = "away"
    STOPPED = "stopped"


@dataclass(slots=True)
class Standing:
    """Kept by the connector, shown by status page and metrics."""

    log: Log
    state: State = State.STARTING
    reason: str = ""
    """Why it is away, in a sentence."""
    changed: float = field(default_factory=lambda: time.monotonic())
    """Monotonic seconds of the last change of state."""
    desired: int = 0
    """Tags the plant file asks for."""
    monitored: int = 0
    """Tags the device has agreed to give."""
    live: int = 0
    """Tags that have given at least one value in this session."""
    counters: dict[str, int] = field(default_factory=dict)
    """Anything else worth counting, by snake_case name: ``republished``, ``history_reads``, …"""

    def up(self, **facts: object) -> None:
        """It is there; logged when it was not."""
        if self.state is not State.UP:
            self._turn(State.UP, "")
            self.log.info("connected", **facts)

    def away(self, reason: str) -> None:
        """It is not there; logged when it was, or when nobody knew yet. A new reason alone is not news."""
        if self.state is not State.AWAY:
            self._turn(State.AWAY, reason)
            self.log.warning("away, trying again until it returns", reason=reason)
        else:
            self.reason = reason

    def stopped(self) -> None:
        """Closed on purpose."""
        self._turn(State.STOPPED, "")

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter."""
        self.counters[name] = self.counters.get(name, 0) + by

    def _turn(self, state: State, reason: str) -> None:
        self.state, self.reason, self.changed = state, reason, time.monotonic()
