"""Setpoints that stand for a while: at the end, and after a restart, the fallback is written, through every guard."""

import asyncio
import math

from plantgate.control.book import LEASE_RULE, Limits
from plantgate.control.gate import Gate
from plantgate.control.guard import GRID, same
from plantgate.control.proposal import Answer, Proposal, Standing
from plantgate.control.record import GATEWAY
from plantgate.control.typed import exact
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
        self._changed = asyncio.Event()

    def stand(self, limits: Limits) -> None:
        """A leased tag was written: it stands for its whole time from now."""
        if (lease := limits.settings.lease) is not None:
            self._ends[limits.tag] = asyncio.get_running_loop().time() + lease.seconds
            self._changed.set()

    def renew(self, tag: str) -> bool:
        """Whoever set it is still there; False where nothing stands that could be renewed."""
        left, limits = self.left(tag), self._gate.book.limits.get(tag)
        if left is None or left <= 0 or limits is None:
            return False
        self.stand(limits)
        return True

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
                if await stop.unless(lambda tag=tag: self._fall_back(tag)):  # type: ignore[misc]
                    self._ends.pop(tag, None)
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
        answer = await self._write(limits, _towards(fallback, has, limits))
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


def _towards(fallback: Setpoint, has: Setpoint, limits: Limits) -> Setpoint:
    """The fallback, or as far towards it as one step may go."""
    step = limits.settings.step_max
    if step is None or isinstance(fallback, bool | str) or isinstance(has, bool | str):
        return fallback
    if abs(fallback - has) <= step:
        return fallback
    moved = has + step if fallback > has else has - step
    if (grid := limits.settings.resolution) is not None:
        steps = moved / grid
        moved = (math.floor(steps + GRID) if fallback > has else math.ceil(steps - GRID)) * grid
    return int(moved) if isinstance(fallback, int) else float(moved)
