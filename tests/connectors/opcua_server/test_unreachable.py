"""Clients whose network fails in an unusual way are only their own trouble."""

import asyncio
import contextlib
from pathlib import Path

from plantgate.testing.clock import WallClock
from plantgate.testing.simloop import running, simulate
from tests.connectors.opcua_server.serving import OPEN, numbers, served
from tests.connectors.opcua_server.test_hostile import value
from tests.connectors.opcua_server.wire import HOST, PORT, Wire


def test_clients_that_become_unreachable_do_not_end_the_server(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path, OPEN, clock=WallClock(), port=PORT, host=HOST) as server:
            await server.show(*numbers("line/a", [1.0]))
            lost = [await Wire.logged_in() for _ in range(3)]
            running().network.lose(HOST)
            for wire in lost:
                with contextlib.suppress(OSError):
                    await wire.writer.wait_closed()
            await asyncio.sleep(5.0)
            again = await Wire.logged_in()
            assert await value(again) == 1.0
            await again.close()
            assert server.log == []

    simulate(main)
