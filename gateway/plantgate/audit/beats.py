"""What a log's heartbeats say: for how long it was silent, and whether its clock went back."""

from datetime import datetime
from typing import Final

SILENT_SECONDS: Final = 180.0
"""Three heartbeats that did not come."""


class Beats:
    """Heartbeats in their order."""

    def __init__(self) -> None:
        self._last: datetime | None = None
        self._silences: list[tuple[float, datetime, datetime]] = []
        self._back = 0

    def take(self, time: str) -> None:
        """The next one's time, RFC 3339."""
        try:
            now = datetime.fromisoformat(time)
        except ValueError:
            return
        if self._last is not None and now.tzinfo is not None:
            seconds = (now - self._last).total_seconds()
            if seconds > SILENT_SECONDS:
                self._silences.append((seconds, self._last, now))
            self._back += seconds < 0
        self._last = now if now.tzinfo is not None else self._last

    def said(self) -> list[str]:
        """A sentence each; none where there is nothing to say."""
        told = []
        if self._silences:
            _, begin, end = max(self._silences)
            told.append(
                f"no heartbeat for more than {SILENT_SECONDS:.0f} s, {len(self._silences)} times, the longest from "
                f"{_moment(begin)} to {_moment(end)}: the gateway was off then, or its log took nothing"
            )
        if self._back:
            told.append(f"the gateway's clock went back between heartbeats, {self._back} times")
        return told


def _moment(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
