"""An error on its way between the halves of a cell: its verdict and its sentence, as it was raised."""

from typing import Final

from plantgate.runtime.cells.messages import Raised
from plantgate.sdk import Exhausted, GatewayError, OutcomeUnknown, Rejected, Unavailable

_VERDICTS: Final[dict[str, type[GatewayError]]] = {
    "rejected": Rejected,
    "unknown": OutcomeUnknown,
    "exhausted": Exhausted,
}


def told(session: int, error: GatewayError, *, ended: bool) -> Raised:
    """What the cell says of it; any other than the known verdicts is `Unavailable`, as it is to whoever opens anew."""
    verdict = next((name for name, kind in _VERDICTS.items() if isinstance(error, kind)), "unavailable")
    later = error.retry_after_seconds if isinstance(error, Unavailable) else None
    return Raised(session, verdict, str(error), later, ended)


def heard(raised: Raised) -> GatewayError:
    """What the gateway raises."""
    if (verdict := _VERDICTS.get(raised.verdict)) is not None:
        return verdict(raised.message)
    return Unavailable(raised.message, retry_after_seconds=raised.retry_after_seconds)
