"""asyncua's server, made in milliseconds: its 7,000 standard nodes are built once a process and unpickled as used."""

import asyncio
import pickle
from pathlib import Path
from typing import Any, Final

from asyncua import Server
from asyncua.server.internal_server import InternalServer

_BUILT: Final[dict[Any, bytes]] = {}


class _Nodes(dict[Any, Any]):
    """Node data by id, a fresh copy of each standard node at its first use."""

    def __missing__(self, key: Any) -> Any:
        node = self[key] = pickle.loads(_BUILT[key])
        return node

    def get(self, key: Any, default: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            return default

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or key in _BUILT


class _QuickServer(InternalServer):
    async def load_standard_address_space(self, shelf_file: Path | None = None) -> None:
        if not _BUILT:
            await super().load_standard_address_space(shelf_file)
            _BUILT.update({key: pickle.dumps(node, protocol=5) for key, node in self.aspace._nodes.items()})
        self.aspace._nodes = _Nodes()

    async def _set_current_time_loop(self) -> None:
        # asyncua's writes the time every second: a third of all that hours of simulated time would cost.
        while not self._time_task_stop:  # noqa: ASYNC110  asyncua has no event for it
            await asyncio.sleep(1)


async def quick_server() -> Server:
    """A server with the standard address space, initialised, not started. Its CurrentTime stands still."""
    server = Server(iserver=_QuickServer())
    await server.init()
    return server
