"""Commands to edge nodes: what goes out, and when nothing does."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk import Deadline, Rejected, Unavailable
from plantgate.testing.mqtt_fields import Property
from plantgate.testing.simloop import running
from tests.connectors.sparkplug.given import sparkplug
from tests.connectors.sparkplug.obedient_node import OWN, SPEED, command, commanding, commands, machine, reads
from tests.connectors.sparkplug.story import decoded

pytestmark = pytest.mark.simulated(seeds=3)


# What goes out.


@pytest.mark.parametrize("version", ["5", "3.1.1"])
@pytest.mark.parametrize("by", ["name", "alias"])
async def test_a_command_is_one_message_to_one_metric(tmp_path: Path, version: str, by: str) -> None:
    ours = commanding(tmp_path, SPEED, OWN, each={"by": by}, version=version)
    async with machine(SPEED, OWN) as plant, ours.actuator() as actuator:
        await actuator.write(command("press/speed", 2.5))
        await actuator.write(command("mode", 3.5))
        first, second = commands(plant.twin)
        assert (first.topic, second.topic) == ("spBv1.0/plant/DCMD/line/press", "spBv1.0/plant/NCMD/line")
        assert [(m.qos, m.retain) for m in (first, second)] == [(0, False)] * 2
        payload = decoded(first)
        assert payload.HasField("timestamp")
        assert not payload.HasField("seq")
        [metric] = payload.metrics
        assert metric.double_value == 2.5
        assert (metric.HasField("name"), metric.HasField("alias")) == (by == "name", by == "alias")
        assert (metric.name, metric.alias) == (("speed", 0) if by == "name" else ("", 1))
        assert not metric.HasField("datatype")
        assert plant.node.done == [(SPEED, 2.5), (OWN, 3.5)]


async def test_a_command_goes_by_name_unless_told_otherwise_and_where_no_alias_means_it(tmp_path: Path) -> None:
    async with machine(SPEED, OWN) as plant:
        async with commanding(tmp_path / "a", SPEED, commands={"datatypes": True}).actuator() as one:
            await one.write(command("press/speed", 2.5))
        plant.node.metrics[OWN] = (1, 10, 0.5)  # an alias that two metrics have
        plant.node.report = lambda node, where, value: node.birth()
        async with commanding(tmp_path / "b", SPEED, each={"by": "alias"}).actuator() as other:
            await other.write(command("press/speed", 4.5))
        named, ambiguous = (decoded(message).metrics[0] for message in commands(plant.twin))
        assert (named.name, named.HasField("alias"), named.datatype) == ("speed", False, 10)
        assert (ambiguous.name, ambiguous.HasField("alias"), ambiguous.datatype) == ("speed", False, 0)


async def test_a_broker_of_mqtt_5_is_told_when_to_forget_a_command(tmp_path: Path) -> None:
    async with machine(SPEED) as plant, commanding(tmp_path, SPEED).actuator() as actuator:
        await actuator.write(command("press/speed", 2.5, seconds=8.9))
        [message] = commands(plant.twin)
        assert message.properties[Property.MESSAGE_EXPIRY] in (6, 7)


TYPES = [
    (1, -7, "int_value"),
    (2, -300, "int_value"),
    (3, -(2**31), "int_value"),
    (4, -(2**63), "long_value"),
    (5, 200, "int_value"),
    (6, 60_000, "int_value"),
    (8, 2**64 - 1, "long_value"),
    (9, 21.1, "float_value"),
    (10, 0.1, "double_value"),
    (11, True, "boolean_value"),
    (12, "Läuft", "string_value"),
]


@pytest.mark.parametrize(("datatype", "value", "written"), TYPES)
async def test_every_type_goes_out_as_announced(tmp_path: Path, datatype: int, value: Any, written: str) -> None:
    async with machine() as plant:
        plant.node.has("x", device="press", datatype=datatype)
        plant.node.birth()
        plant.node.report = lambda node, where, came: node.data(("x", value), device="press")
        async with commanding(tmp_path, ("press", "x")).actuator() as actuator:
            await actuator.write(command("press/x", value))
        [metric] = decoded(commands(plant.twin)[0]).metrics
        assert metric.WhichOneof("value") == written


@pytest.mark.parametrize("written", ["int_value", "long_value"])
async def test_a_number_goes_into_the_field_in_which_the_edge_node_writes_it(tmp_path: Path, written: str) -> None:
    """Tahu has UInt32 in the 64-bit field and reads null where it stands in the other; others have it there."""
    async with machine(SPEED) as plant:
        plant.node.has("x", device="press", datatype=7)

        def announce(payload: Any, device: str | None) -> None:
            if device:
                setattr(payload.metrics.add(name="x", alias=9, datatype=7, timestamp=1), written, 4_000_000_000)

        plant.node.announce = announce  # type: ignore[method-assign]  # of this one
        plant.node.metrics["press", "x"] = (9, 7, 0)
        plant.node.birth()
        async with commanding(tmp_path, ("press", "x")).actuator() as actuator:
            await actuator.write(command("press/x", 3_000_000_000))
        [metric] = decoded(commands(plant.twin)[0]).metrics
        assert (metric.WhichOneof("value"), getattr(metric, written)) == (written, 3_000_000_000)


@pytest.mark.parametrize(
    ("datatype", "field", "has", "fits", "lost"),
    [
        (4, "int_value", 5, 2**31 - 1, (2**31, 2**32 + 7, -7)),
        (8, "int_value", 5, 2**32 - 1, (2**32, 2**40 + 7)),
        (10, "float_value", 0.5, 2.5, (0.1, 16_777_217.0, 1e300)),
    ],
)
async def test_what_the_field_of_the_edge_node_cannot_hold_is_rejected_and_not_cut(
    tmp_path: Path, datatype: int, field: str, has: float, fits: float, lost: tuple[float, ...]
) -> None:
    """It writes a number of 64 bits in a field of 32, and would look for ours there."""
    async with machine(SPEED) as plant:

        def announce(payload: Any, device: str | None) -> None:
            if device:
                setattr(payload.metrics.add(name="x", alias=9, datatype=datatype, timestamp=1), field, has)

        def report(node: Any, where: Any, value: Any) -> None:
            payload = node.payload()
            setattr(payload.metrics.add(alias=9, timestamp=1), field, value)
            node.send("DDATA", payload, "press")

        plant.node.announce = announce  # type: ignore[method-assign]  # of this one
        plant.node.report = report
        plant.node.metrics["press", "x"] = (9, datatype, has)
        plant.node.birth()
        async with commanding(tmp_path, ("press", "x")).actuator() as actuator:
            for value in lost:
                with pytest.raises(Rejected, match="32 bits"):
                    await actuator.write(command("press/x", value))
            await actuator.write(command("press/x", fits))
        assert [value for _, value in plant.node.done] == [fits]
        [metric] = decoded(commands(plant.twin)[0]).metrics
        assert metric.WhichOneof("value") == field


async def test_a_session_for_commands_says_no_state_and_leaves_that_of_the_source_alone(tmp_path: Path) -> None:
    async with machine(SPEED) as plant:
        wills = []
        admit = plant.twin.broker.admit

        def admitted(connect: Any, connection: Any) -> Any:
            wills.append(connect.will)
            return admit(connect, connection)

        plant.twin.broker.admit = admitted  # type: ignore[method-assign]  # of this one
        async with sparkplug(tmp_path / "source", subscribe={"host_id": "scada"}).source():
            async with commanding(tmp_path / "actuator", SPEED).actuator() as actuator:
                await actuator.write(command("press/speed", 2.5))
            await asyncio.sleep(5.0)
            states = [m.payload for m in plant.twin.came if "/STATE/" in m.topic]
            assert [b"true" in said for said in states] == [True]
        assert [will is None for will in wills] == [False, True]


# When nothing goes out.


@pytest.mark.parametrize(
    ("datatype", "value", "words"),
    [
        (10, 5, "announces DOUBLE"),
        (3, 5.0, "announces INT32"),
        (3, True, "announces INT32"),
        (11, 1, "announces BOOLEAN"),
        (12, 1.5, "announces STRING"),
        (1, 128, "room for -128 to 127"),
        (7, -1, "room for 0 to 4294967295"),
        (9, 16777217.0, "a Float would hold 16777216.0"),
        (9, 1e39, "does not fit a Float"),
        (10, float("nan"), "no finite number"),
        (12, "\ud800", "UTF-8"),
        (13, 5, "type DATETIME, which is not written"),
        (14, "x", "type TEXT, which is not written"),
        (99, 5, "type 99, which is not written"),
    ],
)
async def test_a_value_that_is_not_of_the_announced_type_is_rejected(
    tmp_path: Path, datatype: int, value: Any, words: str
) -> None:
    async with machine() as plant:
        plant.node.has("x", device="press", datatype=datatype)
        async with commanding(tmp_path, ("press", "x")).actuator() as actuator:
            with pytest.raises(Rejected, match=words):
                await actuator.write(command("press/x", value))
        assert commands(plant.twin) == []


async def test_a_metric_that_is_not_announced_or_read_only_is_rejected(tmp_path: Path) -> None:
    async with machine(SPEED) as plant:
        connector = commanding(tmp_path, SPEED, ("press", "ghost"), OWN)
        async with connector.actuator() as actuator:
            for tag in ("press/ghost", "mode"):
                with pytest.raises(Rejected, match="announces no metric"):
                    await actuator.write(command(tag, 2.5))
                with pytest.raises(Rejected, match="announces no metric"):
                    await actuator.read(tag, Deadline.after(5.0))
            plant.node.read_only = True
            plant.node.birth()
            await asyncio.sleep(0.1)
            with pytest.raises(Rejected, match="read-only"):
                await actuator.write(command("press/speed", 2.5))
            assert await reads(actuator, "press/speed") == 0.5
        assert commands(plant.twin) == []


async def test_a_dead_edge_node_or_device_is_not_commanded_until_it_is_born(tmp_path: Path) -> None:
    async with machine(SPEED, OWN) as plant, commanding(tmp_path, SPEED, OWN).actuator() as actuator:
        assert await reads(actuator, "press/speed") == 0.5
        plant.node.send("DDEATH", plant.node.payload(), "press")
        await asyncio.sleep(0.1)
        started = running().elapsed
        with pytest.raises(Unavailable, match="device 'press' of edge node plant/line is dead"):
            await actuator.write(command("press/speed", 2.5))
        with pytest.raises(Unavailable, match="is dead"):
            await actuator.read("press/speed", Deadline.after(5.0))
        assert running().elapsed - started < 1.0, "it need not be waited for"
        await actuator.write(command("mode", 2.5))
        plant.node.dbirth("press")
        await asyncio.sleep(0.1)
        await actuator.write(command("press/speed", 2.5))
        plant.node.death()
        await asyncio.sleep(0.1)
        for tag in ("press/speed", "mode"):
            with pytest.raises(Unavailable, match="is dead"):
                await actuator.write(command(tag, 3.5))
        assert len(commands(plant.twin)) == 2
        plant.node.death(bdseq=7)
        plant.node.bdseq = 8
        plant.node.birth()
        plant.node.death(bdseq=0)  # the late will of the life before
        await asyncio.sleep(0.1)
        await actuator.write(command("press/speed", 4.5))


async def test_an_edge_node_that_was_never_heard_is_asked_now_and_then_and_not_commanded(tmp_path: Path) -> None:
    async with machine(SPEED) as plant:
        plant.node.mute = True
        connector = commanding(tmp_path, SPEED)
        for _ in range(10):  # each session of its own
            async with connector.actuator() as actuator:
                with pytest.raises(Unavailable, match="no birth certificate has been heard; nothing was sent"):
                    await actuator.write(command("press/speed", 2.5, seconds=1.0))
                with pytest.raises(Unavailable, match="has said nothing of it in time"):
                    await actuator.read("press/speed", Deadline.after(1.0))
        assert commands(plant.twin) == []
        assert 3 <= plant.node.asked <= 5, "20 seconds, and once in five"


@pytest.mark.parametrize("trouble", ["lost", "rubbish", "unknown alias", "too large"])
async def test_after_a_message_that_was_missed_only_a_new_birth_is_believed(tmp_path: Path, trouble: str) -> None:
    async with machine(SPEED, OWN) as plant:
        connector = commanding(tmp_path, SPEED, message_bytes_max="1KiB", commands={"fresh_seconds": 30.0})
        async with connector.actuator() as actuator:
            assert await reads(actuator, "press/speed") == 0.5
            plant.node.mute = True
            match trouble:
                case "lost":
                    plant.node.payload()
                case "rubbish":
                    plant.node.send("NDATA", b"\x12\xff\xff\xff")
                case "unknown alias":
                    plant.node.say(OWN, 1.5, alias=77)
                case "too large":
                    plant.node.send("NDATA", b"\x12" * 2000)
            plant.node.metrics[SPEED] = (1, 10, 7.5)
            plant.node.data(("speed", 7.5), device="press")
            await asyncio.sleep(0.1)
            with pytest.raises(Unavailable, match="has said nothing of it in time"):
                await actuator.read("press/speed", Deadline.after(2.0))
            with pytest.raises(Unavailable, match="missed or could not be read"):
                await actuator.write(command("press/speed", 2.5, seconds=2.0))
            plant.node.mute = False
            assert await reads(actuator, "press/speed", 60.0) == 7.5
            await actuator.write(command("press/speed", 2.5))
        assert plant.node.done == [(SPEED, 2.5)]


async def test_a_command_that_was_recalled_while_it_waited_is_not_sent(tmp_path: Path) -> None:
    async with machine(SPEED) as plant:
        plant.node.mute = True
        stopped: list[str] = []
        async with commanding(tmp_path, SPEED).actuator() as actuator:
            waiting = asyncio.create_task(
                actuator.write(command("press/speed", 2.5, recalled=lambda: "".join(stopped)))
            )
            await asyncio.sleep(1.0)
            stopped.append("somebody stopped it")
            plant.node.birth()
            with pytest.raises(Unavailable, match="somebody stopped it; nothing was sent"):
                await waiting
        assert commands(plant.twin) == []
