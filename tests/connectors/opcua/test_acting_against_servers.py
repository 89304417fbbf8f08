"""Writing by OPC UA to servers of others: node-opcua, and asyncua's in a process that can be frozen."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk import Command, Deadline, OutcomeUnknown, Rejected, Setpoint, SystemClock, Unavailable
from plantgate.testing.context import lent
from plantgate_connectors.opcua import OpcUa
from tests.connectors.opcua.plant_given import settings
from tests.connectors.opcua.test_against_node_opcua import against, pinned
from tests.peers.asyncua_server import NAME, NAMESPACE, asyncua_server
from tests.peers.opcua_server import NodeOpcua, Settings, Variable
from tests.peers.proxy import proxy

pytestmark = pytest.mark.integration

PLANT = "urn:plantgate:tests:plant"
TYPES: dict[str, Setpoint] = {
    "Boolean": True, "SByte": -128, "Byte": 255, "Int16": -32_768, "UInt16": 65_535, "Int32": -(2**31),
    "UInt32": 2**32 - 1, "Int64": -(2**53) + 1, "UInt64": 2**53 - 1, "Float": 21.1, "Double": 0.1, "String": "süß",
}  # fmt: skip


def opcua(folder: Path, url: str, *nodes: str, namespace: str = PLANT, **given: Any) -> OpcUa:
    tags = [{"node": f"nsu={namespace};s={node}", "tag": node} for node in nodes]
    quick = {"request_timeout_seconds": 2, "connect_timeout_seconds": 10}
    chosen = settings(url, tags=tags, **(quick | given))
    return OpcUa(chosen, lent(folder / "gateway", connection="press3", clock=SystemClock()))


def command(tag: str, value: Setpoint, seconds: float = 10.0, *, audit: str = "0001") -> Command:
    return Command(audit, tag, value, Deadline.after(seconds))


def test_every_type_arrives_signed_and_encrypted_and_is_read_back(tmp_path: Path) -> None:
    async def use(server: NodeOpcua) -> None:
        await server.create("plant", *(Variable(name=kind, type=kind, writable=True) for kind in TYPES))
        nodes = [f"plant/{kind}" for kind in TYPES]
        ours = opcua(tmp_path, server.url, *nodes, security={"policy": "best", "server_thumbprint": pinned(server)})
        async with ours.actuator() as actuator:
            for number, (kind, value) in enumerate(TYPES.items()):
                await actuator.write(command(f"plant/{kind}", value, audit=f"entry-{number}"))
                there = await actuator.read(f"plant/{kind}", Deadline.after(5.0))
                held = pytest.approx(value, rel=1e-7) if kind == "Float" else value
                assert (there.value, there.quality) == (held, 0)
                assert there.time is not None
        asked = await server.writes()
        assert [each.type for each in asked] == list(TYPES)
        assert [each.audit for each in asked] == [f"entry-{number}" for number in range(len(TYPES))]
        assert {each.attribute for each in asked} == {13}
        assert not any(each.timed for each in asked)

    against(tmp_path, Settings(), use)


def test_what_the_server_refuses_is_rejected_and_what_it_cannot_say_is_unknown(tmp_path: Path) -> None:
    async def use(server: NodeOpcua) -> None:
        await server.create(
            "plant",
            Variable(name="fixed", value=1.0),
            Variable(name="speed", value=1.0, writable=True),
            Variable(name="whole", type="Int16", value=1, writable=True),
        )
        names = ("plant/fixed", "plant/speed", "plant/whole", "plant/gone")
        ours = opcua(tmp_path, server.url, *names, security={"policy": "None"})
        async with ours.actuator() as actuator:
            for tag, value, word in (
                ("plant/fixed", 2.0, "NotWritable|AccessDenied"),
                ("plant/speed", 2, "holds Double"),
                ("plant/whole", 2.0, "holds Int16"),
                ("plant/whole", 40_000, "room for"),
                ("plant/gone", 2.0, "BadNodeIdUnknown"),
            ):
                with pytest.raises(Rejected, match=word):
                    await actuator.write(command(tag, value))
            with pytest.raises(Rejected):
                await actuator.read("plant/gone", Deadline.after(5.0))
            await server.refuse("Write", "BadUserAccessDenied")
            with pytest.raises(Rejected, match="BadUserAccessDenied"):
                await actuator.write(command("plant/speed", 2.0))
            await server.refuse("Write", "BadTimeout")
            with pytest.raises(OutcomeUnknown, match="BadTimeout"):
                await actuator.write(command("plant/speed", 2.0))
            with pytest.raises(Unavailable, match="open another session"):
                await actuator.write(command("plant/speed", 2.0))
        assert [value for value, _, _ in await server.read("plant/speed")] == [1.0]

    against(tmp_path, Settings(), use)


def test_answers_lost_on_the_way_are_unknown_outcomes_and_each_was_written_once(tmp_path: Path) -> None:
    async def use(server: NodeOpcua) -> None:
        await server.create("plant", Variable(name="speed", value=0.0, writable=True))
        async with proxy("127.0.0.1", server.port) as between:
            url = f"opc.tcp://127.0.0.1:{between.port}"
            ours = opcua(tmp_path, url, "plant/speed", security={"policy": "None"})
            for number in (1, 2):
                async with ours.actuator() as actuator:
                    await actuator.write(command("plant/speed", float(-number)))  # the node's type is known from here
                    between.slowness.latency_seconds = 0.3  # its answer is still under way when the server has it
                    writing = asyncio.create_task(actuator.write(command("plant/speed", float(number))))
                    while len(await server.writes()) < 2 * number:  # noqa: ASYNC110  another process has no event
                        await asyncio.sleep(0.01)
                    between.lose_answers()
                    with pytest.raises(OutcomeUnknown):
                        await writing
                between.mend()
            await asyncio.sleep(1.0)
            assert len(await server.writes()) == 4
            assert [value for value, _, _ in await server.read("plant/speed")] == [2.0]

    against(tmp_path, Settings(), use)


def test_a_server_frozen_when_it_was_written_to_does_it_once_when_it_goes_on(tmp_path: Path) -> None:
    async def run() -> None:
        async with asyncua_server(tmp_path) as server:
            url = f"opc.tcp://127.0.0.1:{server.port}"
            ours = opcua(tmp_path, url, NAME, namespace=NAMESPACE, security={"policy": "None"})
            async with ours.actuator() as actuator:
                await actuator.write(command(NAME, 1.0))
                await server.freeze_at_the_next_write()
                with pytest.raises(OutcomeUnknown, match="no answer in time"):
                    await actuator.write(command(NAME, 2.0))
                with pytest.raises(Unavailable):
                    await actuator.read(NAME, Deadline.after(1.0))
                server.child.thaw()
                while await server.written() < 2:  # noqa: ASYNC110  another process has no event
                    await asyncio.sleep(0.01)
            async with ours.actuator() as actuator:
                assert (await actuator.read(NAME, Deadline.after(5.0))).value == 2.0
            await asyncio.sleep(1.0)
            assert await server.written() == 2

    asyncio.run(run())
