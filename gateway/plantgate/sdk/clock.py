"""The one module that asks what time it is."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time, for records and logs; budgets and timeouts use the event loop's monotonic time."""

    def now(self) -> int:
        """Nanoseconds since 1970 UTC."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> int:
        """Nanoseconds since 1970 UTC."""
        return time.time_ns()


def iso(nanoseconds: int | None) -> str | None:
    """RFC 3339 text in UTC for a time in ns; exact to the nanosecond; None stays None.

    Years outside 1..9999 cannot be written and come back as None.
    """
    if nanoseconds is None:
        return None
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    try:
        whole = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return None
    if fraction == 0:
        return f"{whole}Z"
    return f"{whole}.{fraction:09d}".rstrip("0") + "Z"
