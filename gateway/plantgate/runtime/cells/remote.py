"""A connector that lives in a cell, as the gateway sees it: a connector."""

from contextlib import AbstractAsyncContextManager

from plantgate.runtime.cells.cell import Cell
from plantgate.runtime.cells.orders import Orders
from plantgate.sdk import Connector, Context, Settings, Sink, Source


class Remote(Connector[Settings]):
    """Sessions opened here are opened there; what they raise there, they raise here."""

    def __init__(self, settings: Settings, context: Context, cell: Cell, orders: Orders) -> None:
        super().__init__(settings, context)
        self._cell = cell
        self._use = cell.hire(orders, context.standing)

    def source(self) -> AbstractAsyncContextManager[Source]:
        """A session that reads."""
        return self._cell.session(self._use, writes=False)

    def sink(self) -> AbstractAsyncContextManager[Sink]:
        """A session that writes."""
        return self._cell.session(self._use, writes=True)

    def leave(self) -> None:
        """Its flow has ended: the cell need not keep it."""
        self._cell.dismiss(self._use)
