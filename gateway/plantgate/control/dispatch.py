"""One write whose intent is durable: sent once, read back until the machine has it, its outcome on record."""

import asyncio
from collections.abc import Callable

from plantgate.audit.entry import Check, Entry, Result
from plantgate.control import guard
from plantgate.control.apart import distance, same
from plantgate.control.book import Limits
from plantgate.control.guard import Scene
from plantgate.control.hand import Hand
from plantgate.control.lessor import Lessor, Nobody
from plantgate.control.pace import Pace
from plantgate.control.proposal import Answer, Standing
from plantgate.control.record import Record
from plantgate.sdk import (
    Command,
    Deadline,
    GatewayError,
    Log,
    OutcomeUnknown,
    Rejected,
    Sample,
    Setpoint,
    Severity,
    Unavailable,
    severity,
)

_READ_BACK_PAUSES = (0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Seconds between one look at the machine and the next, the last for ever: quick for robots, patient for ovens."""


class Dispatch:
    """Nothing here is judged for the first time, and nothing is sent twice."""

    def __init__(self, record: Record, pace: Pace, hold: Callable[[Entry], None], log: Log) -> None:
        """`hold` is told of every intent of which it is not known what became of it."""
        self.leases: Lessor = Nobody()
        self._record, self._pace, self._hold, self._log = record, pace, hold, log

    async def write(
        self,
        hand: Hand,
        deadline: Deadline,
        limits: Limits,
        intent: Entry,
        before: Sample,
        value: Setpoint,
        scene: Callable[[], Scene],
    ) -> Answer:
        """The intent is durable: write, once, and put on record what came of it."""
        # Once more: putting the intent on record took its time.
        checks = guard.first_round(scene())
        if objections := guard.refused(checks):
            standing = standing_of(checks)
            result = Result.LATE if standing is Standing.LATE else Result.DENIED
            return await self._ended(intent, standing, result, objections)
        if deadline.passed():
            return await self._ended(intent, Standing.LATE, Result.LATE, "the deadline passed before anything was sent")
        has = before.value
        self._pace.note(
            limits.tag,
            asyncio.get_running_loop().time(),
            distance(value, has) if isinstance(has, bool | int | float | str) else 0.0,
        )
        began = self.leases.begin(limits, _rule_of(intent))
        command = Command(intent.id, limits.tag, value, deadline, lambda: guard.last_look(scene()))
        try:
            await hand.write(command, limits.settings.read_back.settle_seconds)
        except Unavailable as error:
            self._nothing_was_sent(limits, began)
            if deadline.passed():
                return await self._ended(intent, Standing.LATE, Result.LATE, str(error))
            if command.recalled():
                return await self._ended(intent, Standing.DENIED, Result.DENIED, str(error))
            return await self._ended(intent, Standing.FAILED, Result.FAILED, str(error))
        except Rejected as error:
            self._nothing_was_sent(limits, began)
            return await self._ended(intent, Standing.FAILED, Result.FAILED, str(error))
        except OutcomeUnknown as error:
            return await self._unknown(intent, str(error))
        except BaseException:
            self._hold(intent)  # the process is ending: what became of it is asked after the next start
            raise
        return await self._read_back(hand, limits, intent, value)

    def _nothing_was_sent(self, limits: Limits, began: bool) -> None:
        if began:
            self.leases.withdraw(limits.tag)

    async def _read_back(self, hand: Hand, limits: Limits, intent: Entry, value: Setpoint) -> Answer:
        """The machine has confirmed it; look until it has it."""
        settled = Deadline.after(limits.settings.read_back.settle_seconds)
        seen: Sample | None = None
        pauses = iter(_READ_BACK_PAUSES)
        pause = 0.0
        while True:
            pause = next(pauses, pause)
            if seen is not None and settled.left() <= pause:
                break
            await asyncio.sleep(pause)
            try:
                seen = await hand.read(limits.tag, settled)
            except GatewayError as error:
                if seen is not None and settled.passed():
                    break  # what it had at the last look
                return await self._unknown(intent, f"confirmed, and then not to be read back: {error}")
            if (has := _value_of(seen)) is not None and same(value, has, limits):
                self.leases.stand(limits, _rule_of(intent))
                return await self._ended(intent, Standing.DONE, Result.OK, "", seen, limits)
        return await self._ended(
            intent, Standing.FAILED, Result.FAILED, "the machine confirmed it, and has another value", seen, limits
        )

    async def _ended(
        self,
        intent: Entry,
        standing: Standing,
        result: Result,
        reason: str,
        seen: Sample | None = None,
        limits: Limits | None = None,
    ) -> Answer:
        try:
            await self._record.outcome(intent, result, reason, seen, limits)
        except (GatewayError, OSError) as error:
            # The record says that it was about to happen, and not that it did: after the next start it is asked for.
            self._hold(intent)
            self._log.error("an outcome could not be put on record", entry=intent.id, reason=str(error))
        return Answer(standing=standing, reason=reason, seen=None if seen is None else _value_of(seen))

    async def _unknown(self, intent: Entry, reason: str) -> Answer:
        self._hold(intent)
        assert intent.target is not None
        self._log.warning(
            "it is not known whether a write happened; the machine is asked, and nothing else is written to it",
            connection=intent.target.connection,
            tag=intent.target.address,
            entry=intent.id,
            reason=reason,
        )
        return await self._ended(intent, Standing.UNKNOWN, Result.UNKNOWN, reason)


def _rule_of(intent: Entry) -> str:
    return "" if intent.why is None else intent.why.rule


def standing_of(checks: tuple[Check, ...]) -> Standing:
    """Late where the deadline alone objects."""
    objecting = {check.guard for check in checks if not check.passed}
    return Standing.LATE if objecting == {"deadline"} else Standing.DENIED


def _value_of(sample: Sample) -> Setpoint | None:
    """What can be compared: a Good value of a plain type."""
    good = severity(sample.quality) is Severity.GOOD
    return sample.value if good and isinstance(sample.value, bool | int | float | str) else None
