"""Setpoints that stand for a while: at the end, and after a restart, the fallback is written, through every guard."""

import asyncio
import math
import re
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from typing import Final

from plantgate.audit.entry import Entry
from plantgate.control.apart import dust, same
from plantgate.control.book import LEASE_RULE, Limits
from plantgate.control.gate import Gate
from plantgate.control.guard import GRID
from plantgate.control.pace import Pace
from plantgate.control.proposal import Answer, Proposal, Standing
from plantgate.control.record import GATEWAY
from plantgate.control.typed import exact, vector, vector_text, written
from plantgate.flow.stop import Stop
from plantgate.sdk import Backoff, Deadline, GatewayError, Log, Setpoint, Severity, quality_name, severity

_READ_SECONDS: Final = 5.0
_AGAIN: Final = Backoff(first_seconds=1.0, jitter=0.0)
"""Between two steps, and between two tries that are on record: a machine may refuse for days."""
_ON_ITS_WAY: Final = ""


@dataclass(eq=False, slots=True)
class _Lease:
    """One value that was written; another is another lease. Times are on the loop's clock."""

    ends: float
    due: float
    """When the fallback is tried, next."""
    tries: int = 0
    """How often it was refused, one after the other."""
    told: str = ""
    """Why it is not written, without the numbers in it."""


class Leases:
    """When each leased tag falls back. No machine that is slow or away keeps another from its fallback."""

    def __init__(self, gate: Gate, log: Log) -> None:
        self._gate, self._log = gate, log
        self._leases: dict[str, _Lease] = {}
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """Of many tags of one machine that end at once, one after the other."""
        self._changed = asyncio.Event()

    def begin(self, limits: Limits, rule: str) -> bool:
        """Before a leased tag is written: whatever becomes of the write, something ends it. True if it began here."""
        if limits.settings.lease is None or rule == LEASE_RULE or limits.tag in self._leases:
            return False
        self.stand(limits, rule)
        return True

    def withdraw(self, tag: str) -> None:
        """Nothing was written after all."""
        self._leases.pop(tag, None)

    def stand(self, limits: Limits, rule: str) -> None:
        """A leased tag was written: it stands for its whole time from now."""
        if (lease := limits.settings.lease) is not None and rule != LEASE_RULE:
            self._until(limits.tag, asyncio.get_running_loop().time() + lease.seconds)

    def renew(self, tag: str) -> bool:
        """Whoever set it is still there; False where nothing stands that could be renewed."""
        if not self.stands(tag):
            return False
        self.stand(self._gate.book.limits[tag], "")
        return True

    def stands(self, tag: str) -> bool:
        """Whether its lease can still be renewed."""
        left = self.left(tag)
        return left is not None and left > 0

    def ended(self, tag: str) -> bool:
        """Whether it had a lease, and its time is over: only then may the fallback be written."""
        left = self.left(tag)
        return left is not None and left <= 0

    def left(self, tag: str) -> float | None:
        """Seconds that it still stands; None where nothing stands."""
        lease = self._leases.get(tag)
        return None if lease is None else lease.ends - asyncio.get_running_loop().time()

    def expire(self, tag: str) -> None:
        """It ends now: whoever kept it alive is gone."""
        self._until(tag, asyncio.get_running_loop().time())

    async def keep(self, stop: Stop) -> None:
        """Write the fallback of each lease that ends. Returns when asked to stop: what stands is ended by the start."""
        async with asyncio.TaskGroup() as group:
            while not stop.is_set():
                self._changed.clear()
                now = asyncio.get_running_loop().time()
                for tag, lease in self._leases.items():
                    if lease.due <= now:
                        lease.due = math.inf  # until this try has ended
                        group.create_task(stop.unless(partial(self._try, tag, lease)))
                await stop.unless(self._wait)

    async def _wait(self) -> None:
        until = min((lease.due for lease in self._leases.values()), default=math.inf)
        try:
            async with asyncio.timeout_at(until if until < math.inf else None):
                await self._changed.wait()
        except TimeoutError:
            return

    def _until(self, tag: str, ends: float) -> None:
        self._leases[tag] = _Lease(ends, ends)
        self._changed.set()

    async def _try(self, tag: str, lease: _Lease) -> None:
        limits = self._gate.book.limits[tag]
        async with self._turns[limits.settings.connection]:
            why = await self._reason(limits, lease) if self._leases.get(tag) is lease else ""
        if self._leases.get(tag) is not lease:
            return  # written anew meanwhile: that stands for its own time
        if why is None:
            del self._leases[tag]
            self._log.info("a lease has ended: the machine has the fallback", tag=tag)
            return
        pause = _AGAIN.delay(max(0, lease.tries - 1))
        if why == _ON_ITS_WAY:
            pause = max(pause, limits.settings.interval_seconds)
        lease.due = asyncio.get_running_loop().time() + pause
        self._changed.set()
        about = re.sub(r"\d+", "", why)  # how old something is changes, and an alarm that comes each second is not read
        if why and lease.told != about:
            lease.told = about
            self._log.error("a lease has ended, and the fallback is not written; trying again", tag=tag, reason=why)

    async def _reason(self, limits: Limits, lease: _Lease) -> str | None:
        """Why the machine does not have the fallback after one step more; None once it has."""
        settings = limits.settings
        assert settings.lease is not None, "only what has a lease in the plant file is leased"
        fallback = exact(settings.lease.fallback, settings.data_type)
        if lease.tries and (why := self._gate.objection(_proposal(limits, fallback))):
            return why  # a refusal is on record; what objects is looked at every second from then on, and not recorded
        try:
            return await self._step(limits, fallback, lease)
        except (GatewayError, ValueError) as error:
            return f"cannot be read: {error}"

    async def _step(self, limits: Limits, fallback: Setpoint, lease: _Lease) -> str | None:
        """One step towards it. None once it is there, otherwise why not, or `_ON_ITS_WAY`.

        Raises `GatewayError`, `ValueError`: nobody knows where the machine is.
        """
        seen = await self._gate.hands[limits.settings.connection].read(limits.tag, Deadline.after(_READ_SECONDS))
        if severity(seen.quality) is not Severity.GOOD:
            raise ValueError(f"the machine's own value is {quality_name(seen.quality)}")
        has = exact(seen.value, limits.settings.data_type)
        if same(fallback, has, limits):
            return None
        if (value := _towards(fallback, has, limits, self._gate.pace)) is None:
            return "not even the smallest step towards it may be made now"
        answer = await self._write(limits, value)
        if answer.standing is not Standing.DONE:
            lease.tries += 1
            return answer.reason
        lease.tries = 0
        return None if answer.seen is not None and same(fallback, answer.seen, limits) else _ON_ITS_WAY

    async def _write(self, limits: Limits, value: Setpoint) -> Answer:
        return await self._gate.act(_proposal(limits, value))


def _proposal(limits: Limits, value: Setpoint) -> Proposal:
    return Proposal(
        tag=limits.tag,
        value=value,
        unit=limits.settings.unit,
        rule=LEASE_RULE,
        who=GATEWAY,
        deadline=Deadline.after(_READ_SECONDS),
    )


def is_fallback(intent: Entry, limits: Limits) -> bool:
    """Whether it was the last step of a lease's end: what it wrote is the fallback of today."""
    lease, data_type = limits.settings.lease, limits.settings.data_type
    by_lease = intent.why is not None and intent.why.rule == LEASE_RULE
    if not by_lease or lease is None or intent.after is None:
        return False
    return intent.after.value == written(exact(lease.fallback, data_type))


def _towards(fallback: Setpoint, has: Setpoint, limits: Limits, pace: Pace) -> Setpoint | None:
    """The fallback, or as far towards it as one step, and what is left of the minute's way, may go; None for no way."""
    settings = limits.settings
    step = math.inf if settings.step_max is None else settings.step_max
    if settings.change_max_per_minute is not None:
        now = asyncio.get_running_loop().time()
        step = min(step, max(0.0, settings.change_max_per_minute - pace.distance(limits.tag, now)))
    if isinstance(fallback, str) and isinstance(has, str):
        goal, place = vector(fallback), vector(has)
        if goal is None or place is None or len(goal) != len(place):
            return fallback
        text = str(vector_text([_step(one, other, step) for one, other in zip(goal, place, strict=True)]))
        return text if step else None
    if isinstance(fallback, bool | str) or isinstance(has, bool | str):
        return fallback
    if abs(fallback - has) <= step:
        return fallback
    moved = _step(fallback, has, step)
    for grid in (settings.resolution, 1.0 if isinstance(fallback, int) else None):
        if grid is not None and math.isfinite(steps := moved / grid):
            slack = GRID + dust(moved, has, limits) / grid
            moved = (math.floor(steps + slack) if fallback > has else math.ceil(steps - slack)) * grid
    if not abs(fallback - moved) < abs(fallback - has):
        return None
    return int(moved) if isinstance(fallback, int) else moved


def _step(goal: float, place: float, step: float) -> float:
    if abs(goal - place) <= step:
        return float(goal)
    return place + step if goal > place else place - step
