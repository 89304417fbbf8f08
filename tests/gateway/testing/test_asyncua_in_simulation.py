"""Rung 2c: an unmodified OPC UA client and server that others wrote, talking through the simulated network.

Below rung 2a (a real wire): the bytes are theirs, the wire and the clock are ours.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asyncua.client.client import Client
from asyncua.server.server import Server

from plantgate.testing.simloop import running, simulate

URL = "opc.tcp://plc:4840/"


@asynccontextmanager
async def _plc() -> AsyncIterator[tuple[Server, Any]]:
    server = Server()
    await server.init()
    server.set_endpoint(URL)
    namespace = await server.register_namespace("urn:press")
    temperature = await server.nodes.objects.add_variable(namespace, "temperature", 0.0)
    async with server:
        yield server, temperature


class _Seen:
    def __init__(self) -> None:
        self.values: list[float] = []

    def datachange_notification(self, node: object, value: float, data: object) -> None:
        self.values.append(value)


async def _a_shift() -> tuple[list[float], str]:
    async with _plc() as (_, temperature):
        seen = _Seen()
        async with Client(URL, timeout=4) as client:
            subscription = await client.create_subscription(100, seen)
            await subscription.subscribe_data_change(client.get_node(temperature.nodeid))
            for value in range(1, 5):
                await asyncio.sleep(15)
                await temperature.write_value(float(value))
            await asyncio.sleep(1)
            await subscription.delete()

        async with Client(URL, timeout=4) as client:
            running().network.cut("plc")
            asked = running().elapsed
            with pytest.raises(TimeoutError):
                await client.get_node(temperature.nodeid).read_value()
            assert running().elapsed == pytest.approx(asked + 4)
            running().network.heal("plc")
            async with Client(URL, timeout=4) as another:
                assert await another.get_node(temperature.nodeid).read_value() == 4.0
            running().network.reset("plc")
    return seen.values, running().fingerprint()


def test_a_subscription_and_a_cut_repeat_exactly_in_another_process() -> None:
    """In another process, because asyncua numbers its sessions from counters that live as long as the process."""

    def shift(hash_seed: str) -> "subprocess.Popen[str]":
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, __file__]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    with shift("1") as one, shift("2") as two:
        outputs = [one.communicate(timeout=120)[0], two.communicate(timeout=120)[0]]
    assert outputs[0].startswith("[0.0, 1.0, 2.0, 3.0, 4.0]")
    assert outputs[1] == outputs[0]


if __name__ == "__main__":
    print(*simulate(_a_shift, seed=1))  # noqa: T201  read by the test above
