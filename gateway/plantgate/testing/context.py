"""A context to lend a connector in a test, and the log it writes."""

from dataclasses import dataclass, field
from pathlib import Path

from plantgate.sdk import Clock, Context, Standing
from plantgate.testing.clock import WallClock


@dataclass(slots=True)
class RecordedLog:
    """A `plantgate.sdk.Log` that keeps what it is told."""

    lines: list[tuple[str, str, dict[str, object]]] = field(default_factory=list)
    """Level, event, facts; oldest first."""

    def info(self, event: str, **facts: object) -> None:
        self.lines.append(("info", event, facts))

    def warning(self, event: str, **facts: object) -> None:
        self.lines.append(("warning", event, facts))

    def error(self, event: str, **facts: object) -> None:
        self.lines.append(("error", event, facts))


def lent(folder: Path, *, connection: str = "device", clock: Clock | None = None) -> Context:
    """What the host would lend: private and site folder below `folder`, simulated wall clock, a log to look into.

    Two contexts lent for the same connection below the same folder are one connector before and after a restart.
    """
    private, site = folder / "use" / connection, folder / "site"
    private.mkdir(parents=True, exist_ok=True)
    site.mkdir(parents=True, exist_ok=True)
    log = RecordedLog()
    return Context(connection, private, site, WallClock() if clock is None else clock, log, Standing(log))
