"""Whether the gateway's clock can be trusted: wall time must go as monotonic time goes."""

import asyncio
from typing import Final

from plantgate.sdk import Clock

STEP_MAX_SECONDS: Final = 2.0


class Steady:
    """Once the wall clock has stepped it is not trusted until people arm the gateway again."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._reference = self._offset()
        self._stepped: float | None = None

    def objection(self) -> str:
        """Why not, in a sentence; empty while it can."""
        if self._stepped is None:
            step = self._offset() - self._reference
            if abs(step) <= STEP_MAX_SECONDS:
                return ""
            self._stepped = step
        return f"the clock was set by {self._stepped:+.1f} s; look at it, and arm the gateway again"

    def trust(self) -> None:
        """People have looked: it is right as it is now."""
        self._reference, self._stepped = self._offset(), None

    def _offset(self) -> float:
        """Seconds between wall and monotonic time."""
        return self._clock.now() / 1e9 - asyncio.get_running_loop().time()
