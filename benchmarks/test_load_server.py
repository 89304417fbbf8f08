"""The load of the benchmark loses nothing itself; needs `scripts/peers --bench`: run it as `pytest benchmarks`."""

import asyncio
from typing import Any

from asyncua import Client, ua

from benchmarks.peers.load_server import load_server
from tests.integration.test_peers import until
from tests.peers.require import require


def test_the_load_server_reports_every_write_to_who_asks_for_every_change() -> None:
    require("load-server")

    async def run() -> None:
        heard: dict[int, list[float]] = {}

        class Counting:
            def datachange_notification(self, node: Any, value: float, _change: object) -> None:
                heard.setdefault(hash(node.nodeid), []).append(value)

        async with load_server(tags=200, hz=20) as load, Client(load.url) as client:
            subscription = await client.create_subscription(100, Counting())
            nodes = [client.get_node(each) for each in load.node_ids()]
            await subscription.subscribe_data_change(nodes, queuesize=100, sampling_interval=ua.Double(0))
            await until(lambda: len(heard) == 200)
            await load.go()
            await asyncio.sleep(1)
            written = (await load.hold()).written
            await until(lambda: sum(map(len, heard.values())) == written + 200)
            late = await load.count()
        assert written > 1_000
        assert late.written == late.owed == written
        assert all(values == [float(number) for number in range(len(values))] for values in heard.values())

    asyncio.run(run())
