"""How long to wait before trying again."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Doubles from `first_seconds` to `most_seconds`; jitter keeps a plant from knocking in step."""

    first_seconds: float = 0.5
    most_seconds: float = 30.0
    jitter: float = 0.2
    """Share of the pause that is random, 0..1."""

    def delay(self, attempt: int) -> float:
        """Seconds to wait after failed attempt number `attempt` (0 is the first)."""
        pause = min(self.most_seconds, self.first_seconds * 2.0 ** min(attempt, 32))
        return pause * (1.0 - self.jitter * random.random())  # noqa: S311  spreads load, guards no secret
