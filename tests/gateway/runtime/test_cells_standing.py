"""How a connection in a cell stands is what its connector says, whoever ended the session before."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from plantgate.config.model import CellSettings
from plantgate.flow.pump import pump
from plantgate.flow.stop import Stop
from plantgate.runtime.cells.cell import Cell
from plantgate.runtime.cells.orders import Orders, packed_plan
from plantgate.runtime.cells.remote import Remote
from plantgate.runtime.supervisor import keep_running
from plantgate.sdk import (
    Backoff,
    Batch,
    Connector,
    Context,
    Cursor,
    Sample,
    Settings,
    Source,
    Standing,
    State,
    Unavailable,
)
from plantgate.testing.clock import WallClock
from plantgate.testing.context import RecordedLog
from tests.gateway.runtime.celled import Nothing, Nursery


class Ticking(Connector[Nothing]):
    """A value each second."""

    Settings: ClassVar[type[Settings]] = Nothing

    @asynccontextmanager
    async def source(self) -> AsyncIterator[Source]:
        self.context.standing.up()
        yield self

    async def read(self) -> Batch:
        await asyncio.sleep(1.0)
        return Batch.of([Sample("a", 1, 0, None)], cursor="1")

    async def ack(self, cursor: Cursor) -> None:
        """Nothing is kept."""


@pytest.mark.simulated(seeds=2)
async def test_it_is_up_again_after_the_outbox_had_ended_a_session() -> None:
    log, stop, closing = RecordedLog(), Stop(), Stop()
    standing = Standing(log)
    settings = CellSettings.model_validate({"connections": ["device"]})
    cell = Cell("plant", settings, spawn=Nursery().spawn, log=log, news=lambda line: None)
    keeping = asyncio.create_task(cell.keep(closing))
    orders = Orders("device", "telemetry", "/a", "/b", packed_plan(Ticking, Nothing()))
    context = Context("device", Path("/a"), Path("/b"), WallClock(), log, standing)
    remote = Remote(Nothing(), context, cell, orders)
    seen: list[State] = []

    async def accept(_: Batch) -> None:
        seen.append(standing.state)
        if len(seen) == 3:
            raise Unavailable("the outbox is full")

    async def session(stop: Stop) -> None:
        async with remote.source() as source:
            await pump(source, accept, stop=stop)

    flow = asyncio.create_task(
        keep_running(session, stop=stop, backoff=Backoff(), standing=standing, log=log), name="flow"
    )
    await asyncio.sleep(10.0)
    stop.set()
    await flow
    closing.set()
    await keeping
    assert len(seen) > 5
    assert set(seen) == {State.UP}
