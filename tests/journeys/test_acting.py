"""Writes to a machine, over crashes, lost replies, frozen machines and clock steps: never twice, unruled or late."""

import asyncio
from collections.abc import Callable
from functools import partial

import pytest

from plantgate.audit.entry import Entry
from plantgate.control.acting import Acting
from plantgate.control.book import LEASE_RULE, Limits
from plantgate.control.hand import Hand
from plantgate.control.leases import Leases
from plantgate.control.proposal import Answer, Standing
from plantgate.control.record import Ledger
from plantgate.sdk import Command, Deadline, GatewayError, OutcomeUnknown, Setpoint
from plantgate.testing.simloop import simulate
from tests.journeys.acting import OVEN, Acted, Gateway, Quiet, Witnessing, act
from tests.journeys.machine import Machine

TRIES = 30
"""Seeds within which a mutation must have been found out."""


@pytest.mark.simulated(seeds=60)
async def test_no_write_is_made_twice_or_without_a_rule_or_too_late_and_none_stays_open() -> None:
    acted = await act()
    assert (acted.twice(), acted.unruled(), acted.late(), acted.open()) == (0, 0, 0, 0)
    assert acted.untrue() == []
    assert acted.machine.values[OVEN] == 20.0, "what was leased has fallen back"


def found(figure: Callable[[Acted], int], living: Callable[..., Gateway]) -> bool:
    """Whether the mutation shows in that figure within some seeds."""
    return any(figure(simulate(partial(act, living), seed=seed, seconds_max=3600)) for seed in range(TRIES))


def test_writing_again_after_a_lost_reply_would_be_found() -> None:
    class Retrying(Hand):
        async def write(self, command: Command, confirm_seconds: float) -> None:
            try:
                await super().write(command, confirm_seconds)
            except OutcomeUnknown:
                self._broken.clear()
                await super().write(command, confirm_seconds)

    assert found(Acted.twice, partial(Gateway, hand=Retrying))


def test_writing_before_the_intent_is_durable_would_be_found() -> None:
    class Hasty:
        def __init__(self, log: Ledger, machine: Machine) -> None:
            self._ledger = Witnessing(log, machine)
            self._under_way: set[asyncio.Task[int]] = set()

        async def append(self, entry: Entry) -> int:
            task = asyncio.ensure_future(self._ledger.append(entry))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
            return 0

        async def append_in_emergency(self, entry: Entry) -> int | None:
            return await self.append(entry)

    assert found(Acted.unruled, partial(Gateway, ledger=Hasty))


def test_a_fallback_past_the_guards_would_be_found() -> None:
    class Unguarded(Leases):
        def __init__(self, acting: Acting) -> None:
            super().__init__(acting.gate, Quiet())
            self._acting = acting

        async def _write(self, limits: Limits, value: Setpoint) -> Answer:
            command = Command(f"fallback by {LEASE_RULE}", limits.tag, value, Deadline.after(5))
            try:
                await self._acting.gate.hands["plc"].write(command, 1.0)
            except GatewayError as error:
                return Answer(standing=Standing.FAILED, reason=str(error))
            return Answer(standing=Standing.DONE, seen=value)

    def unguarded(acting: Acting) -> None:
        standing = acting.leases
        acting.leases = Unguarded(acting)
        acting.gate.dispatch.leases = acting.leases
        if standing.left("line3/oven/setpoint") is not None:
            acting.leases.expire("line3/oven/setpoint")

    assert found(Acted.unruled, partial(Gateway, began=unguarded))


def test_sending_after_the_deadline_would_be_found() -> None:
    class Patient(Hand):
        async def write(self, command: Command, confirm_seconds: float) -> None:
            await asyncio.sleep(0.03)
            late = Command(command.id, command.tag, command.value, Deadline(command.deadline.at + 1.0))
            await super().write(late, confirm_seconds)

    assert found(Acted.late, partial(Gateway, hand=Patient))
