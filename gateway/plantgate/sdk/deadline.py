"""A point in monotonic time after which an answer is no longer wanted."""

import asyncio
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Deadline:
    """Handed down a chain of calls, so that all of them share one budget."""

    at: float
    """On the running loop's clock, seconds."""

    @classmethod
    def after(cls, seconds: float) -> Self:
        """A deadline this many seconds from now."""
        return cls(asyncio.get_running_loop().time() + seconds)

    def left(self) -> float:
        """Seconds left; negative once passed."""
        return self.at - asyncio.get_running_loop().time()

    def passed(self) -> bool:
        """True once it is too late."""
        return self.left() <= 0

    def timeout(self) -> asyncio.Timeout:
        """``async with deadline.timeout():`` raises `TimeoutError` when it passes."""
        return asyncio.timeout_at(self.at)
