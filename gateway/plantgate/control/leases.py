"""Setpoints that stand for a while: at the end, and after a restart, the fallback is written, through every guard."""

import asyncio
import math

from plantgate.control.book import LEASE_RULE, Limits
from plantgate.control.gate import Gate
from plantgate.control.guard import GRID, same
from plantgate.control.pace import Pace
from plantgate.control.proposal import Answer, Proposal, Standing
from plantgate.control.record import GATEWAY
from plantgate.control.typed import exact, vector, vector_text
from plantgate.flow.stop import Stop
from plantgate.sdk import Deadline, GatewayError, Log, Setpoint

_READ_SECONDS = 5.0
_AGAIN_SECONDS = 1.0
"""Between two tries to fall back, and between two steps on the way."""


class Leases:
    """When each leased tag falls back; times are on the loop's clock."""

    def __init__(self, gate: Gate, log: Log) -> None:
        self._gate, self._log = gate, log
        self._ends: dict[str, float] = {}
        self._told: dict[str, str] = {}
        self._ending: set[str] = set()
        """Tags whose lease has ended, and whose fallback is on its way."""
        self._changed = asyncio.Event()

    def begin(self, limits: Limits, rule: str) -> bool:
        """Before a leased tag is written: whatever becomes of the write, something ends it. True if it began here."""
        if limits.settings.lease is None or rule == LEASE_RULE or limits.tag in self._ends:
            return False
        self.stand(limits, rule)
        return True

    def withdraw(self, tag: str) -> None:
        """Nothing was written after all."""
        self._ends.pop(tag, None)

    def stand(self, limits: Limits, rule: str) -> None:
        """A leased tag was written: it stands for its whole time from now."""
        if (lease := limits.settings.lease) is not None and rule != LEASE_RULE:
            self._ends[limits.tag] = asyncio.get_running_loop().time() + lease.seconds
            self._changed.set()

    def renew(self, tag: str) -> bool:
        """Whoever set it is still there; False where nothing stands that could be renewed."""
        if not self.stands(tag):
            return False
        self.stand(self._gate.book.limits[tag], "")
        return True

    def stands(self, tag: str) -> bool:
        """Whether its lease can still be renewed."""
        left = self.left(tag)
        return left is not None and left > 0 and tag in self._gate.book.limits and tag not in self._ending

    def left(self, tag: str) -> float | None:
        """Seconds that it still stands; None where nothing stands."""
        end = self._ends.get(tag)
        return None if end is None else end - asyncio.get_running_loop().time()

    def expire(self, tag: str) -> None:
        """It ends now: whoever kept it alive is gone."""
        self._ends[tag] = asyncio.get_running_loop().time()
        self._changed.set()

    async def keep(self, stop: Stop) -> None:
        """Write the fallback of each lease that ends. Returns when asked to stop: what stands is ended by the start."""
        while not stop.is_set():
            self._changed.clear()
            now = asyncio.get_running_loop().time()
            for tag in [tag for tag, end in self._ends.items() if end <= now]:
                end = self._ends[tag]
                self._ending.add(tag)
                there = await stop.unless(lambda tag=tag: self._fall_back(tag))  # type: ignore[misc]
                if self._ends.get(tag) != end:  # written anew meanwhile: that stands for its own time
                    self._ending.discard(tag)
                elif there:
                    self._ending.discard(tag)
                    del self._ends[tag]
                else:
                    self._ends[tag] = asyncio.get_running_loop().time() + _AGAIN_SECONDS
            await stop.unless(self._wait)

    async def _wait(self) -> None:
        until = min(self._ends.values(), default=None)
        try:
            async with asyncio.timeout_at(until):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _fall_back(self, tag: str) -> bool:
        """One step towards the fallback; True once it is there, or there is no lease any more."""
        limits = self._gate.book.limits.get(tag)
        if limits is None or limits.settings.lease is None:
            return True
        fallback = exact(limits.settings.lease.fallback, limits.settings.data_type)
        try:
            seen = await self._gate.hands[limits.settings.connection].read(tag, Deadline.after(_READ_SECONDS))
            has = exact(seen.value, limits.settings.data_type)
        except (GatewayError, ValueError) as error:
            return self._tell(tag, f"cannot be read: {error}")
        if same(fallback, has, limits):
            return self._done(tag)
        answer = await self._write(limits, _towards(fallback, has, limits, self._gate.pace))
        if answer.standing is not Standing.DONE:
            return self._tell(tag, answer.reason)
        reached = answer.seen is not None and same(fallback, answer.seen, limits)
        return self._done(tag) if reached else False

    async def _write(self, limits: Limits, value: Setpoint) -> Answer:
        return await self._gate.act(
            Proposal(
                tag=limits.tag,
                value=value,
                unit=limits.settings.unit,
                rule=LEASE_RULE,
                who=GATEWAY,
                deadline=Deadline.after(_READ_SECONDS),
            )
        )

    def _tell(self, tag: str, reason: str) -> bool:
        """Once for each reason: an alarm that comes every second is not read."""
        if self._told.get(tag) != reason:
            self._told[tag] = reason
            self._log.error("a lease has ended, and the fallback is not written; trying again", tag=tag, reason=reason)
        return False

    def _done(self, tag: str) -> bool:
        self._told.pop(tag, None)
        self._log.info("a lease has ended: the machine has the fallback", tag=tag)
        return True


def _towards(fallback: Setpoint, has: Setpoint, limits: Limits, pace: Pace) -> Setpoint:
    """The fallback, or as far towards it as one step, and what is left of the minute's way, may go."""
    settings = limits.settings
    step = math.inf if settings.step_max is None else settings.step_max
    if settings.change_max_per_minute is not None:
        now = asyncio.get_running_loop().time()
        step = min(step, max(0.0, settings.change_max_per_minute - pace.distance(limits.tag, now)))
    if isinstance(fallback, str) and isinstance(has, str):
        goal, place = vector(fallback), vector(has)
        if goal is None or place is None or len(goal) != len(place):
            return fallback
        return str(vector_text([_step(one, other, step) for one, other in zip(goal, place, strict=True)]))
    if isinstance(fallback, bool | str) or isinstance(has, bool | str):
        return fallback
    if abs(fallback - has) <= step:
        return fallback
    moved = _step(fallback, has, step)
    if (grid := settings.resolution) is not None:
        steps = moved / grid
        moved = (math.floor(steps + GRID) if fallback > has else math.ceil(steps - GRID)) * grid
    if isinstance(fallback, int):
        return math.floor(moved) if fallback > has else math.ceil(moved)
    return float(moved)


def _step(goal: float, place: float, step: float) -> float:
    if abs(goal - place) <= step:
        return float(goal)
    return place + step if goal > place else place - step
