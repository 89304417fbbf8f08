"""A connector that lives in a cell, as the gateway sees it: a connector."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from plantgate.runtime.cells.acting import CelledActuator
from plantgate.runtime.cells.cell import Cell
from plantgate.runtime.cells.messages import Role
from plantgate.runtime.cells.orders import Orders
from plantgate.sdk import Actuator, Camera, Connector, Context, GatewayError, Settings, Sink, Source


class Remote(Connector[Settings]):
    """Sessions opened here are opened there; what they raise there, they raise here."""

    def __init__(self, settings: Settings, context: Context, cell: Cell, orders: Orders) -> None:
        super().__init__(settings, context)
        self._cell = cell
        self._use = cell.hire(orders, context.standing)

    def source(self) -> AbstractAsyncContextManager[Source]:
        """A session that reads."""
        return self._cell.session(self._use, Role.SOURCE)

    def sink(self) -> AbstractAsyncContextManager[Sink]:
        """A session that writes."""
        return self._cell.session(self._use, Role.SINK)

    @asynccontextmanager
    async def actuator(self) -> AsyncIterator[Actuator]:
        """A session that acts on the machine. The block ends with `Unavailable` once the session is over there.

        A source and a sink find that out by asking; nobody may ask an actuator for hours.
        """
        async with self._cell.session(self._use, Role.ACTUATOR) as session, _while_it_lasts(session.over):
            yield CelledActuator(session)

    def camera(self) -> AbstractAsyncContextManager[Camera]:
        """A session that gives pictures: one at a time crosses the border, as bytes, when it is asked for."""
        return self._cell.session(self._use, Role.CAMERA)

    def leave(self) -> None:
        """Its flow has ended: the cell need not keep it."""
        self._cell.dismiss(self._use)


@asynccontextmanager
async def _while_it_lasts(over: asyncio.Future[GatewayError]) -> AsyncIterator[None]:
    """Raises what `over` brings in the midst of the block."""
    block, inside = asyncio.timeout(None), True

    def end(_: asyncio.Future[GatewayError]) -> None:
        if inside:
            block.reschedule(0.0)

    try:
        async with block:
            over.add_done_callback(end)
            try:
                yield
            finally:
                inside = False
                over.remove_done_callback(end)
    except TimeoutError:
        if block.expired():
            raise over.result() from None
        raise
