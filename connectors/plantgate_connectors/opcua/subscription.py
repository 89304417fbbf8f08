"""One subscription at the server, as we know it."""

import random
from dataclasses import dataclass, field
from typing import TypeAlias


def nonce() -> int:
    """A number by which this one is told from any other, also of another process."""
    return random.getrandbits(63)


@dataclass(slots=True, eq=False)
class Subscription:
    """Compared by identity: another with the same id is another subscription."""

    id: int
    """The server's; used again for others after it restarts."""
    interval_seconds: float
    keepalive_seconds: float
    """The longest the server stays silent."""
    lifetime_seconds: float
    nonce: int = field(default_factory=nonce)
    received: int = 0
    """Sequence number of the last message taken in; 0 before the first."""
    full: bool = False
    """The server takes no more items into it."""
    heard: float = 0.0
    """When it was heard of last, on the loop's clock."""
    behind: int = 0
    """Messages in a row whose numbers were seen before."""
    outage: str | None = None
    """Why it was not listened to; cleared by the first message after it."""


Mark: TypeAlias = tuple[Subscription, int]
"""A message: its subscription, its sequence number."""
