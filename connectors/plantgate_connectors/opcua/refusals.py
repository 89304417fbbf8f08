"""What a server may refuse, what that means, and when to ask again."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from asyncua import ua

from plantgate.sdk import Backoff

RETRY: Final = Backoff(first_seconds=1.0, most_seconds=30.0)
GONE: Final = Backoff(first_seconds=1.0, most_seconds=300.0)
"""Before an item is made anew whose node was reported gone: some servers say so of nodes that are there."""

_CODES: Final = ua.StatusCodes
FILTER_REFUSED: Final = frozenset(
    {
        _CODES.BadFilterNotAllowed,
        _CODES.BadMonitoredItemFilterInvalid,
        _CODES.BadMonitoredItemFilterUnsupported,
        _CODES.BadDeadbandFilterInvalid,
        _CODES.BadEventFilterInvalid,
        _CODES.BadFilterOperatorUnsupported,
    }
)
TOO_MUCH_AT_ONCE: Final = frozenset(
    {
        _CODES.BadTooManyOperations,
        _CODES.BadEncodingLimitsExceeded,
        _CODES.BadRequestTooLarge,
        _CODES.BadResponseTooLarge,
    }
)
ENDED: Final = frozenset(
    {
        _CODES.BadSessionIdInvalid,
        _CODES.BadSessionClosed,
        _CODES.BadSessionNotActivated,
        _CODES.BadSecureChannelIdInvalid,
        _CODES.BadSecureChannelClosed,
        _CODES.BadConnectionClosed,
        _CODES.BadServerHalted,
        _CODES.BadShutdown,
    }
)
"""Not a refusal of what was asked: the session is over."""
FULL: Final = _CODES.BadTooManyMonitoredItems
NO_SUBSCRIPTION: Final = _CODES.BadSubscriptionIdInvalid


@dataclass(slots=True)
class Refusals:
    """When to ask again, by handle."""

    due: dict[int, float] = field(default_factory=dict)
    times: Counter[int] = field(default_factory=Counter)
    why: dict[int, str] = field(default_factory=dict)

    def refused(self, handle: int, why: str, now: float) -> None:
        self.due[handle] = now + RETRY.delay(self.times[handle])
        self.times[handle] += 1
        self.why[handle] = why

    def granted(self, handle: int) -> None:
        if handle in self.due:
            del self.due[handle], self.times[handle], self.why[handle]
