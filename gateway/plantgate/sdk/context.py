"""What the host lends a connector."""

from dataclasses import dataclass
from pathlib import Path

from plantgate.sdk.clock import Clock
from plantgate.sdk.standing import Log, Standing


@dataclass(frozen=True, slots=True)
class Context:
    """One use of one connection by one flow."""

    connection: str
    """The connection's name in the plant file; belongs in every message."""
    folder: Path
    """Private to this use and kept across restarts: session tokens, positions. Made before it is lent."""
    site_folder: Path
    """Shared by all connections of the gateway: certificates live below it."""
    clock: Clock
    log: Log
    standing: Standing
