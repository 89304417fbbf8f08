"""What goes wrong in the demo, when, and what it says while it does."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final


class Trouble(Enum):
    """What the demo can do to the gateway."""

    BROKER = "broker"
    CABLE = "cable"
    BOTH = "both"
    DROPPED = "dropped"
    GATEWAY = "gateway"


@dataclass(frozen=True, slots=True)
class Act:
    """One trouble, and the calm before it."""

    trouble: Trouble
    calm_seconds: float
    lasts_seconds: float
    coming: str
    """Said before it, after "In N s"."""
    during: str
    """Said while it lasts."""


_ORDER: Final = (
    (Trouble.BROKER, 1.0),
    (Trouble.CABLE, 1.0),
    (Trouble.GATEWAY, 0.15),
    (Trouble.BOTH, 1.25),
    (Trouble.DROPPED, 0.0),
    (Trouble.BROKER, 1.5),
    (Trouble.CABLE, 0.4),
)
_COMING: Final = {
    Trouble.BROKER: "the broker is switched off",
    Trouble.CABLE: "the cable to PLC and meter is pulled",
    Trouble.BOTH: "broker and machines go away at the same time",
    Trouble.DROPPED: "the broker throws everyone out",
    Trouble.GATEWAY: "the gateway is killed without warning",
}
_DURING: Final = {
    Trouble.BROKER: "The broker is off. The machine goes on; its values are safe on the gateway's disk.",
    Trouble.CABLE: (
        "The cable to PLC and meter is pulled. The PLC's values wait in its own queue; the meter has none, and the "
        "polls it missed will be named in a gap record."
    ),
    Trouble.BOTH: "Broker and machines are away. What came before is on disk; what comes now waits in the PLC.",
    Trouble.DROPPED: "The broker has thrown everyone out. What it had not confirmed is sent again.",
    Trouble.GATEWAY: "The gateway was killed (SIGKILL) and starts again, from what is on its disk.",
}
CALM: Final = "All is connected."
MENDED: Final = "Mended. The gateway finds out by itself, and catches up."
DRAINING: Final = "No more troubles: the machine has stopped, the last values are on their way."
DRAIN_SECONDS: Final = 10.0
"""Kept free at the end of a demo that ends by itself."""


def acts(calm_seconds: float, trouble_seconds: float) -> Iterator[Act]:
    """For ever, in the same order; the first calm is a little longer, so that there is something to see first."""
    for number, (trouble, share) in enumerate(itertools.cycle(_ORDER)):
        calm = calm_seconds * (1.2 if number == 0 else 1.0)
        yield Act(trouble, calm, max(0.3, trouble_seconds * share), _COMING[trouble], _DURING[trouble])


def pace(seconds: float | None) -> tuple[float, float]:
    """Seconds of calm and of trouble: unhurried, or so that a short demo still shows broker and PLC being cut."""
    if seconds is None or seconds >= 90:
        return 12.0, 8.0
    share = max(0.25, (seconds - DRAIN_SECONDS) / 52.0)
    return 12.0 * min(1.0, share), 8.0 * min(1.0, share)
