"""Which data packages are missing: told by the controller's clock, which counts seconds since it was switched on."""

import math
from dataclasses import dataclass
from typing import Final

from plantgate.sdk import Gap

_RUNS_APART_SECONDS: Final = 2.0
_RUNS_APART_SHARE: Final = 0.01
"""The controller's clock and ours may differ so much over a pause, before the controller must have started anew."""
_EARLY: Final = 1e-6

Mark = tuple[float, float]
"""The controller's seconds and ours (monotonic), of one package."""


@dataclass(slots=True)
class Continuity:
    """Outlives the sessions. Packages are never sent again, so what is missing is missing for good."""

    period_seconds: float
    resumed: bool
    """An earlier run of the gateway read this robot."""
    _last: Mark | None = None
    _cause: str = ""
    _dropped: int = 0
    _parted: bool = False

    def session_lost(self) -> None:
        """What does not come until the next package was lost with the connection."""
        self._cause, self._parted = self._cause or "session lost", True

    def dropped(self) -> None:
        """A package came and was not kept, since the outbox is slow."""
        self._cause = self._cause or "outbox slow"
        self._dropped += 1

    def arrived(self, controller: float, ours: float, tags: tuple[str, ...]) -> tuple[Gap, ...]:
        """A package is kept: what is missing before it. Source times are unknown, as robots give none."""
        last, self._last = self._last, (controller, ours)
        cause, self._cause = self._cause, ""
        dropped, self._dropped = self._dropped, 0
        parted, self._parted = self._parted, False
        if last is None:
            resumed, self.resumed = self.resumed, False
            return (Gap(tags, None, None, "gateway stopped", None),) if resumed else ()
        passed, here = controller - last[0], ours - last[1]
        if passed < -_EARLY or (parted and _apart(passed, here)):
            return (Gap(tags, None, None, "controller restarted", None),)
        missing = max(math.floor(passed / self.period_seconds + 0.5) - 1, dropped)
        if missing <= 0:
            return ()
        return (Gap(tags, None, None, cause or "packages skipped", missing * len(tags)),)


def _apart(passed: float, here: float) -> bool:
    """Packages can wait on their way, but not for long; within one connection nobody starts anew."""
    return abs(passed - here) > _RUNS_APART_SECONDS + _RUNS_APART_SHARE * max(here, 0.0)
