"""All cells of a plant: started and ended as the plan changes, without touching those that stay."""

from collections.abc import Callable

from plantgate.config.model import Plant
from plantgate.observe.status import CellStatus
from plantgate.runtime.cells.cell import Cell
from plantgate.runtime.cells.child import Spawn
from plantgate.runtime.cells.messages import NewsLine
from plantgate.runtime.cells.orders import Orders, packed_plan
from plantgate.runtime.cells.remote import Remote
from plantgate.runtime.supervisor import Phase, Supervisor
from plantgate.sdk import Context, Log


class Cells:
    """Cells by name, and connections by cell."""

    def __init__(self, supervisor: Supervisor, spawn: Spawn, *, log: Log, news: Callable[[NewsLine], None]) -> None:
        self._supervisor, self._spawn, self._log, self._news = supervisor, spawn, log, news
        self._cells: dict[str, Cell] = {}
        self._where: dict[str, Cell] = {}

    async def apply(self, plant: Plant) -> None:
        """End the cells that are gone and start new ones; the flows that are touched have been ended.

        One through which machines are written to stays until the next start, as all does that acts.
        """
        gone = tuple(name for name, cell in self._cells.items() if name not in plant.cells and not cell.hired)
        await self._supervisor.end(tuple(map(_service, gone)))
        for name in gone:
            del self._cells[name]
        for name, settings in plant.cells.items():
            if (cell := self._cells.get(name)) is not None:
                cell.change(settings)
                continue
            cell = Cell(name, settings, spawn=self._spawn, log=self._log, news=self._news)
            self._cells[name] = cell
            self._supervisor.start(_service(name), Phase.CELLS, cell.keep)
        self._where = {
            connection: self._cells[name]
            for name, settings in plant.cells.items()
            for connection in settings.connections
        }

    def remote(self, plant: Plant, context: Context, flow: str) -> Remote | None:
        """The connector of this use in its cell; None if its connection is in none."""
        if (cell := self._where.get(context.connection)) is None:
            return None
        entry = plant.connections[context.connection]
        plan = packed_plan(entry.connector, entry.settings)
        orders = Orders(context.connection, flow, str(context.folder), str(context.site_folder), plan)
        return Remote(entry.settings, context, cell, orders)

    @property
    def troubles(self) -> tuple[str, ...]:
        """What an operator must look at, a sentence each."""
        return tuple(filter(None, (cell.trouble for cell in self._cells.values())))

    def status(self) -> dict[str, CellStatus]:
        """How each stands now."""
        return {name: cell.status() for name, cell in self._cells.items()}

    async def close(self) -> None:
        """End them all."""
        await self._supervisor.end(tuple(map(_service, self._cells)))


def _service(cell: str) -> str:
    return f"cell {cell}"
