"""What became of a write that nobody answered for: the machine is asked, and the write is never sent again."""

import asyncio
from collections.abc import Mapping
from enum import Enum
from functools import partial

from plantgate.audit.entry import Entry, Result
from plantgate.control.apart import same
from plantgate.control.book import Limits
from plantgate.control.gate import Gate
from plantgate.control.record import Record
from plantgate.control.typed import exact, read_back, written
from plantgate.flow.stop import Stop
from plantgate.sdk import Backoff, Deadline, GatewayError, Log, Sample, Setpoint, Severity, severity

_LOOKS = 3
"""How often the machine must say the same before it is believed that nothing happened."""
_READ_SECONDS = 5.0
_AGAIN = Backoff(first_seconds=0.5, most_seconds=15.0)


class Finding(Enum):
    """What the machine's own value says about a write."""

    APPLIED = "it happened"
    NOT_APPLIED = "it did not happen"
    CONTRADICTED = "the machine has neither the old value nor the new"


def judged(before: Setpoint | None, after: Setpoint, has: Setpoint, limits: Limits) -> Finding:
    """One look at the machine."""
    if same(after, has, limits):
        return Finding.APPLIED
    if before is not None and same(before, has, limits):
        return Finding.NOT_APPLIED
    return Finding.CONTRADICTED


async def reconcile(gate: Gate, record: Record, log: Log, stop: Stop) -> None:
    """Ask each machine about its held intents until they are known; then wait for the next. Returns when asked to stop.

    No machine that is away or slow keeps another one held.
    """
    async with asyncio.TaskGroup() as group:
        for connection in gate.hands:
            group.create_task(_ask_one(gate, record, log, gate.held[connection], stop))


async def _ask_one(gate: Gate, record: Record, log: Log, held: Mapping[str, Entry], stop: Stop) -> None:
    attempt = 0
    while not stop.is_set():
        gate.doubt.clear()
        for intent in tuple(held.values()):
            await stop.unless(partial(_settle, gate, record, log, intent))
        if held:
            await stop.sleep(_AGAIN.delay(attempt))
            attempt += 1
        else:
            attempt = 0
            await stop.unless(gate.doubt.wait)


async def _settle(gate: Gate, record: Record, log: Log, intent: Entry) -> None:
    """Once through; an intent that cannot be settled now stays held."""
    assert intent.target is not None
    limits = gate.book.limits.get(intent.target.address)
    hand = gate.hands.get(intent.target.connection)
    if limits is None or hand is None or intent.after is None:
        return  # the plant file no longer says how to ask; `plantgate control settle` lets a person say what happened
    try:
        async with asyncio.timeout(_READ_SECONDS):
            await hand.there()
        async with hand.busy:
            finding, seen = await _ask(gate, intent, limits)
            await _put_on_record(record, intent, finding, seen, limits)
    except (GatewayError, TimeoutError, ValueError) as error:
        log.warning("still not known whether a write happened", entry=intent.id, reason=str(error) or "no session")
        return
    gate.settle(intent)
    log.info("it is known now what became of a write", entry=intent.id, found=finding.value)


async def _ask(gate: Gate, intent: Entry, limits: Limits) -> tuple[Finding, Sample]:
    """The write may still be on its way, in a frozen machine's buffer: only time tells that it is not."""
    assert intent.after is not None
    assert intent.target is not None
    data_type = limits.settings.data_type
    after = read_back(intent.after.value, data_type)
    before = None if intent.before is None else read_back(intent.before.value, data_type)
    hand = gate.hands[intent.target.connection]
    look = 0
    while True:
        seen = await hand.read(limits.tag, Deadline.after(_READ_SECONDS))
        if severity(seen.quality) is not Severity.GOOD:
            raise ValueError(f"{limits.tag}: the machine's own value is not Good")
        finding = judged(before, after, exact(seen.value, data_type), limits)
        look += 1
        if finding is Finding.APPLIED or look == _LOOKS:
            return finding, seen
        await asyncio.sleep(limits.settings.read_back.settle_seconds / (_LOOKS - 1))


async def _put_on_record(record: Record, intent: Entry, finding: Finding, seen: Sample, limits: Limits) -> None:
    result = Result.OK if finding is Finding.APPLIED else Result.FAILED
    note = f"asked afterwards: {finding.value}"
    if finding is Finding.CONTRADICTED and isinstance(seen.value, bool | int | float | str):
        note += f" ({written(seen.value)})"
    await record.outcome(intent, result, note, seen, limits)
