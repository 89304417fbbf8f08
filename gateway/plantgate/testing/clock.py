"""A wall clock that a test sets: it jumps, and everything but the wall clock goes on as before."""

import asyncio

from plantgate.testing.event_loop import STARTS_AT, SimLoop


class WallClock:
    """A `plantgate.sdk.Clock`.

    In a simulated run it goes with simulated time, and a step is seen by ``time.time`` too, as after ``ntpd -g``.
    Elsewhere it stands still between steps.
    """

    def __init__(self, starts_at: int = STARTS_AT) -> None:
        self._standing = starts_at

    def now(self) -> int:
        """Nanoseconds since 1970 UTC."""
        loop = _simulated()
        return self._standing if loop is None else loop.wall_ns()

    def step(self, seconds: float) -> None:
        """Jump forwards, or backwards if negative. Monotonic time does not notice."""
        loop = _simulated()
        jump = round(seconds * 1e9)
        if loop is None:
            self._standing += jump
        else:
            loop.wall_offset_ns += jump

    def set(self, nanoseconds: int) -> None:
        """Jump to this time, ns since 1970 UTC."""
        loop = _simulated()
        if loop is None:
            self._standing = nanoseconds
        else:
            loop.wall_offset_ns += nanoseconds - loop.wall_ns()


def _simulated() -> SimLoop | None:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return None
    return loop if isinstance(loop, SimLoop) else None
