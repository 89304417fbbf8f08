"""Who keeps proposing what may not be is sent into the shadow: still judged and on record, and not written any more."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from plantgate.audit.entry import Who
from plantgate.control.proposal import Answer, Standing
from plantgate.control.record import GATEWAY
from plantgate.control.settings import ShadowSettings
from plantgate.sdk import GatewayError, Log

_BEYOND: Final = frozenset({"known", "class", "type", "unit", "range", "resolution", "step", "rate"})
"""Guards whose objection is the proposer's own doing. A door that is open, a machine that is stopped or busy, a rule
that does not hold now are not, and a pace that is held back is an ordinary throttle."""
_KINDS: Final = ("model", "system")
"""People are told what was wrong, and learn."""
_SOURCES_MAX: Final = 100
"""Remembered at a time; of more, the one whose last refusal is oldest is forgotten."""
_ID_MAX: Final = 64


def source(who: Who) -> str:
    """Name of the switch by which this proposer is stopped: ``model:oven-control``; empty for people and ourselves."""
    return f"{who.kind}:{who.id[:_ID_MAX]}" if who.kind in _KINDS else ""


def is_source(name: str) -> bool:
    """Whether it is the name of such a switch."""
    kind, _, who = name.partition(":")
    return kind in _KINDS and 0 < len(who) <= _ID_MAX and who.isprintable()


class Shadow:
    """Counts for each proposer how often lately it went beyond its limits, or left a machine in doubt."""

    def __init__(self, settings: ShadowSettings, stop: Callable[[str, Who, str], Awaitable[None]], log: Log) -> None:
        """`stop` throws a switch and puts that on record."""
        self._settings, self._stop, self._log = settings, stop, log
        self._refused: dict[str, deque[float]] = {}

    async def note(self, who: Who, answer: Answer) -> None:
        """How one of its proposals ended. With one too many its switch is thrown, until people arm it again."""
        name = source(who)
        if not name or not _its_own_doing(answer):
            return
        now = asyncio.get_running_loop().time()
        times = self._refused.pop(name, deque())
        self._refused[name] = times
        times.append(now)
        while times[0] <= now - self._settings.within_seconds:
            times.popleft()
        if len(self._refused) > _SOURCES_MAX:
            del self._refused[next(iter(self._refused))]
        if len(times) < self._settings.refusals:
            return
        del self._refused[name]
        reason = (
            f"in the shadow: {len(times)} proposals beyond its limits, or left in doubt,"
            f" within {self._settings.within_seconds:g} s; the last: {answer.reason}"
        )[:500]
        self._log.error("a proposer is sent into the shadow: its writes are judged, and not made", source=name)
        try:
            await self._stop(name, GATEWAY, reason)
        except (GatewayError, OSError) as error:  # the switch counts all the same
            self._log.error("a proposer in the shadow could not be put on record", source=name, reason=str(error))


def _its_own_doing(answer: Answer) -> bool:
    beyond = any(not check.passed and check.guard in _BEYOND for check in answer.checks)
    return answer.standing is Standing.UNKNOWN or (answer.standing is Standing.DENIED and beyond)
