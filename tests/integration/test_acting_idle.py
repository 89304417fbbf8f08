"""Servers and connections lost while nothing is written, as the gateway keeps its sessions: the next command works."""

import asyncio
import json
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from plantgate.control.hand import Hand
from plantgate.flow.stop import Stop
from plantgate.runtime.flowline import RECONNECT
from plantgate.runtime.supervisor import keep_running
from plantgate.sdk import Command, Connector, Deadline, Standing, State, SystemClock, Unavailable
from plantgate.testing.context import RecordedLog, lent
from plantgate_connectors.opcua import OpcUa, OpcUaSettings
from tests.integration.test_modbus_libmodbus import connector as modbus
from tests.integration.test_mqtt_acting import connector, field
from tests.integration.test_sparkplug_acting import commanding
from tests.integration.test_sparkplug_tahu import metric
from tests.peers.asyncua_server import NAME, NAMESPACE, AsyncuaServer, asyncua_server
from tests.peers.modbus_slave import modbus_slave
from tests.peers.mosquitto import free_port, mosquitto
from tests.peers.mqtt_device import mqtt_device
from tests.peers.proxy import Proxy, proxy
from tests.peers.require import require
from tests.peers.sparkplug_node import sparkplug_node

pytestmark = pytest.mark.integration


@dataclass
class Far:
    """Somebody else's server, with a proxy before it."""

    tag: str
    connector: Connector[Any]
    line: Proxy
    end: Callable[[], Awaitable[object]]
    begin: Callable[[], Awaitable[object]]
    """Returns when what is commanded is back as well."""
    done: Callable[[], Awaitable[list[float]]]
    """What was commanded since the server began."""


Made: TypeAlias = Callable[[Path], AbstractAsyncContextManager[Far]]


@asynccontextmanager
async def by_mqtt(folder: Path) -> AsyncIterator[Far]:
    """Mosquitto, and a device on paho-mqtt."""
    require("mosquitto")
    async with (
        mosquitto(folder=folder / "broker") as broker,
        mqtt_device(broker, "oven", {"v": 0.0}) as device,
        proxy(broker.host, broker.port) as line,
    ):

        async def begin() -> None:
            await device.stop()
            await broker.start()
            await device.come()

        async def done() -> list[float]:
            return [told["v"] for told in device.commands()]

        way = {"host": line.host, "port": line.port, "keep_alive_seconds": 2}
        told = field("v", answer={"value": "/status", "accepted": ["ok"]})  # a PUBACK is the broker's word alone
        ours = connector(folder / "ours", broker, told, **way)
        yield Far("v", ours, line, broker.kill, begin, done)


@asynccontextmanager
async def by_sparkplug(folder: Path) -> AsyncIterator[Far]:
    """Mosquitto, and Eclipse Tahu's edge node."""
    require("mosquitto", "sparkplug-node")
    async with (
        mosquitto(folder=folder / "broker") as broker,
        sparkplug_node(broker) as node,
        proxy(broker.host, broker.port) as line,
    ):

        async def begin() -> None:
            before = connects()
            await broker.start()
            while connects() == before:  # noqa: ASYNC110  another process has no event
                await asyncio.sleep(0.02)

        def connects() -> int:
            return sum(said["event"] == "connect" for said in node.events)

        async def done() -> list[float]:
            return [float(value) for _, value in await node.commanded()]

        speed = metric("speed", "Double", 1.5, alias=7, timestamp=time.time_ns() // 1_000_000)
        await node.birth({"metrics": []}, {"press": {"metrics": [speed]}})
        way: dict[str, Any] = {"host": line.host, "port": line.port, "keep_alive_seconds": 2}
        ours = commanding(folder / "ours", broker, "speed", commands={"fresh_seconds": 0.5}, **way)
        yield Far("speed", ours, line, broker.kill, begin, done)


@asynccontextmanager
async def by_opcua(folder: Path) -> AsyncIterator[Far]:
    """asyncua's server, in a process of its own."""
    port = free_port()
    async with AsyncExitStack() as servers, proxy("127.0.0.1", port) as line:
        server: AsyncuaServer

        async def begin() -> None:
            nonlocal server
            server = await servers.enter_async_context(asyncua_server(folder, port))

        async def done() -> list[float]:
            return await server.values()

        await begin()
        written = {
            "url": f"opc.tcp://{line.host}:{line.port}/plant",
            "security": {"policy": "None"},
            "tags": [{"node": f"nsu={NAMESPACE};s={NAME}", "tag": NAME}],
            "request_timeout_seconds": 2,
            "session_timeout_seconds": 3,
        }
        settings = OpcUaSettings.model_validate_json(json.dumps(written))
        ours = OpcUa(settings, lent(folder / "ours", clock=SystemClock()))
        yield Far(NAME, ours, line, lambda: server.child.kill(), begin, done)


@asynccontextmanager
async def by_modbus(folder: Path) -> AsyncIterator[Far]:
    """libmodbus's slave, reached without the proxy: what counts as away is that nobody takes the call."""
    require("modbus-slave")
    async with modbus_slave() as slave, proxy(slave.host, slave.port) as line:

        async def done() -> list[float]:
            return [struct.unpack(">f", struct.pack(">2H", *words))[0] for _, *words in await slave.writes(7)]

        speed = {"tag": "speed", "address": 20, "type": "float32"}
        devices = [{"name": "press", "unit": 7, "tags": [speed]}]
        ours = modbus(folder / "ours", host=slave.host, port=slave.port, devices=devices)
        yield Far("speed", ours, line, slave.kill, slave.start, done)


@dataclass
class Kept:
    """The session for writing, as the gateway keeps it."""

    far: Far
    hand: Hand
    standing: Standing
    log: RecordedLog
    sessions: int = 0

    def up(self) -> None:
        self.sessions += 1
        self.standing.up()

    async def write(self, value: float) -> None:
        async with self.hand.busy:
            await self.hand.write(Command("entry-7", self.far.tag, value, Deadline.after(10.0)), 20.0)

    async def until(self, state: State) -> None:
        while self.standing.state is not state:  # noqa: ASYNC110  it has no event
            await asyncio.sleep(0.01)

    async def session(self, number: int) -> None:
        """Until there is that one, counted from 1."""
        while self.sessions < number:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await self.hand.there()


@asynccontextmanager
async def kept(far: Far) -> AsyncIterator[Kept]:
    log, stop = RecordedLog(), Stop()
    standing = Standing(log)
    hand = Hand("plc", far.connector.actuator, lambda: now.up())
    now = Kept(far, hand, standing, log)
    keeping = asyncio.create_task(keep_running(hand.session, stop=stop, backoff=RECONNECT, standing=standing, log=log))
    try:
        await hand.there()
        yield now
    finally:
        stop.set()
        await keeping


def play(made: Made, folder: Path, body: Callable[[Kept], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(120), made(folder) as far, kept(far) as now:
            await body(now)

    asyncio.run(bounded())


PLANTS = pytest.mark.parametrize("made", [by_mqtt, by_sparkplug, by_opcua])


@pytest.mark.parametrize("made", [by_mqtt, by_sparkplug, by_opcua, by_modbus])
def test_a_server_restarted_while_nothing_is_written_is_reached_by_the_next_command(made: Made, tmp_path: Path) -> None:
    async def body(now: Kept) -> None:
        await now.far.end()
        await now.until(State.AWAY)
        with pytest.raises(Unavailable, match="there is no session for writing"):
            await now.write(1.0)
        await now.far.begin()
        await now.session(2)
        await now.write(2.0)
        assert await now.far.done() == [2.0], "what was refused must not be sent when the server is back"
        assert now.standing.state is State.UP
        told = [(event, facts.get("reason", "")) for _, event, facts in now.log.lines]
        assert [event for event, _ in told] == ["connected", "away, trying again until it returns", "connected"]
        assert told[1][1], "why it is away is not said"

    play(made, tmp_path, body)


@PLANTS
def test_a_connection_reset_while_nothing_is_written_is_opened_again(made: Made, tmp_path: Path) -> None:
    async def body(now: Kept) -> None:
        await now.write(1.0)
        for number in (2, 3):
            assert now.far.line.reset() == 1
            await now.session(number)
            await now.write(float(number))
        assert await now.far.done() == [1.0, 2.0, 3.0]

    play(made, tmp_path, body)


@PLANTS
def test_a_line_on_which_bytes_vanish_is_noticed_by_asking(made: Made, tmp_path: Path) -> None:
    """Nothing is reset here: neither side is told that the cable is out."""

    async def body(now: Kept) -> None:
        now.far.line.cut()
        await now.until(State.AWAY)
        with pytest.raises(Unavailable, match="there is no session for writing"):
            await now.write(1.0)
        now.far.line.mend()
        await now.session(2)
        await now.write(2.0)
        assert await now.far.done() == [2.0]

    play(made, tmp_path, body)
