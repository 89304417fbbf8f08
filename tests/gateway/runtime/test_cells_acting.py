"""Writing to a machine from a cell, whatever ends the cell and whenever: never twice, nor too late, nor untrue."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest

from plantgate.runtime.cells import link
from plantgate.runtime.cells.hosted import HostedSession, Order
from plantgate.runtime.cells.link import Session
from plantgate.runtime.cells.messages import Ask, Done, Given, Raised, Write
from plantgate.runtime.cells.remote import Remote
from plantgate.sdk import Actuator, Batch, Command, Deadline, OutcomeUnknown, Sample
from plantgate.testing.simloop import simulate
from tests.gateway.runtime.celled_acting import CelledActing
from tests.journeys.acting import OVEN, Acted, act

TRIES = 60
"""Seeds within which a mutation must have been found out."""


@pytest.mark.simulated(seeds=60)
async def test_no_write_is_made_twice_or_without_a_rule_or_too_late_and_none_stays_open() -> None:
    acted = await act(CelledActing)
    assert (acted.twice(), acted.unruled(), acted.late(), acted.open()) == (0, 0, 0, 0)
    assert acted.untrue() == []
    assert acted.machine.values[OVEN] == 20.0, "what was leased has fallen back"


def test_cells_end_before_and_after_they_have_written_in_these_journeys() -> None:
    before = CelledActing.harms.copy()
    for seed in range(20):
        simulate(partial(act, CelledActing), seed=seed, seconds_max=3600)
    met = CelledActing.harms - before
    assert all(met[when] > 1 for when in ("told to write", "written", "at any moment", "stood still")), met


def found(figure: Callable[[Acted], object]) -> bool:
    """Whether the mutation shows in that figure within some seeds."""
    return any(figure(simulate(partial(act, CelledActing), seed=seed, seconds_max=3600)) for seed in range(TRIES))


def test_writing_again_in_the_next_life_of_a_cell_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Remote.actuator

    class Retrying:
        def __init__(self, remote: Remote, first: Actuator) -> None:
            self._remote, self._first = remote, first

        async def write(self, command: Command) -> None:
            try:
                await self._first.write(command)
            except OutcomeUnknown:
                async with opened(self._remote) as second:
                    await second.write(Command(command.id, command.tag, command.value, Deadline.after(1.0)))

        async def read(self, tag: str, deadline: Deadline) -> Sample:
            return await self._first.read(tag, deadline)

    @asynccontextmanager
    async def actuator(self: Remote) -> AsyncIterator[Actuator]:
        async with opened(self) as first:
            yield Retrying(self, first)

    monkeypatch.setattr(Remote, "actuator", actuator)
    assert found(Acted.twice)


def test_calling_the_end_of_a_cell_a_write_that_was_not_sent_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def hopeful(end: Raised) -> Raised:
        return end

    monkeypatch.setattr(link, "_unknown", hopeful)
    assert found(Acted.untrue)


def test_a_deadline_that_stands_still_with_the_cell_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    call, acted = Session.call, HostedSession._acted

    async def what_is_left(self: Session, message: Write | Ask) -> Batch | None:
        message.deadline -= asyncio.get_running_loop().time()
        return await call(self, message)

    async def from_now_on(self: HostedSession, actuator: Actuator, order: Order) -> Done | Given:
        assert isinstance(order, Write | Ask)
        order.deadline += asyncio.get_running_loop().time()
        return await acted(self, actuator, order)

    monkeypatch.setattr(Session, "call", what_is_left)
    monkeypatch.setattr(HostedSession, "_acted", from_now_on)
    assert found(Acted.late)
