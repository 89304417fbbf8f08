"""Commands to Eclipse Tahu's edge node through Mosquitto: done once, reported, lost, and what a broker keeps."""

import asyncio
from pathlib import Path
from typing import Any, Final

import pytest

from plantgate.sdk import Actuator, Command, Deadline, OutcomeUnknown, Rejected, Unavailable
from plantgate_connectors.sparkplug import Sparkplug
from tests.integration.test_sparkplug_mosquitto import VERSIONS, run, sparkplug
from tests.integration.test_sparkplug_tahu import metric
from tests.peers.child import Child
from tests.peers.mosquitto import Mosquitto, mosquitto
from tests.peers.proxy import proxy
from tests.peers.recorder import recorder
from tests.peers.require import require
from tests.peers.sparkplug_node import sparkplug_node

pytestmark = pytest.mark.integration
TYPES: Final[dict[str, tuple[str, Any, Any]]] = {
    "int8": ("Int8", 0, -8),
    "int16": ("Int16", 0, -16_000),
    "int32": ("Int32", 0, -2_000_000_000),
    "int64": ("Int64", 0, -4_000_000_000),
    "uint8": ("UInt8", 0, 200),
    "uint16": ("UInt16", 0, 60_000),
    "uint32": ("UInt32", 0, 2_000_000_000),
    "uint64": ("UInt64", 0, 9_007_199_254_740_991),
    "float": ("Float", 0.5, 21.5),
    "double": ("Double", 0.5, 61.2),
    "boolean": ("Boolean", False, True),
    "string": ("String", "steht", "läuft"),
}
"""Type, value of the birth, value that is written."""
SPEED: Final = {"press": {"metrics": [metric("speed", "Double", 1.5, alias=7)]}}


def commanding(folder: Path, broker: Any, *names: str, device: str | None = "press", **written: Any) -> Sparkplug:
    """May write to these metrics of `plant/line`; Tahu wants the type in each message."""
    where = {"group": "plant", "edge_node": "line"} | ({"device": device} if device else {})
    metrics = [{"tag": name, **where, "metric": name, "by": written.pop("by", "alias")} for name in names]
    subscribe = {"host_id": "scada", "tag": "{metric}", "node_tag": "{metric}"}
    commands = {"metrics": metrics, "datatypes": True, "answer_seconds": 2.0, **written.pop("commands", {})}
    return sparkplug(folder, broker, subscribe=subscribe, commands=commands, **written)


def command(tag: str, value: Any, seconds: float = 10.0) -> Command:
    return Command("1", tag, value, Deadline.after(seconds))


async def reads(actuator: Actuator, tag: str, seconds: float = 15.0) -> Any:
    return (await actuator.read(tag, Deadline.after(seconds))).value


@VERSIONS
@pytest.mark.parametrize("device", ["press", None])
def test_every_type_is_written_and_reported(tmp_path: Path, version: str, device: str | None) -> None:
    require("sparkplug-node")
    metrics = [metric(name, kind, first, alias=number) for number, (name, (kind, first, _)) in enumerate(TYPES.items())]

    async def body() -> None:
        async with mosquitto(folder=tmp_path / "broker") as broker, sparkplug_node(broker) as node:
            own, devices = ([], {"press": {"metrics": metrics}}) if device else (metrics, {})
            await node.birth({"metrics": own}, devices)
            ours = commanding(tmp_path / "c", broker, *TYPES, device=device, version=version)
            async with ours.actuator() as actuator:
                for name, (_, first, value) in TYPES.items():
                    assert await reads(actuator, name) == first
                    await actuator.write(command(name, value))
                    assert await reads(actuator, name) == value
            aliases = [str(number) for number, _ in enumerate(TYPES)]
            assert [called for called, _ in await node.commanded()] == aliases, "each once, by its alias"
            # Tahu itself tells what it read: 64-bit numbers as text
            assert [str(value) for _, value in await node.commanded()] == [str(value) for _, _, value in TYPES.values()]

    run(body())


def test_what_the_edge_node_does_not_say_is_asked_for(tmp_path: Path) -> None:
    require("sparkplug-node")

    async def body() -> None:
        async with mosquitto(folder=tmp_path / "broker") as broker, sparkplug_node(broker) as node:
            await node.birth({"metrics": []}, SPEED)
            await node.report("asked")
            ours = commanding(tmp_path / "c", broker, "speed", by="name", commands={"fresh_seconds": 0.5})
            async with ours.actuator() as actuator:
                await actuator.write(command("speed", 2.5))
                assert await reads(actuator, "speed") == 2.5
            assert await node.commanded() == [("speed", 2.5)]

    run(body())


def test_what_is_not_announced_or_of_another_type_is_not_sent(tmp_path: Path) -> None:
    require("sparkplug-node")

    async def body() -> None:
        async with (
            mosquitto(folder=tmp_path / "broker") as broker,
            recorder(broker, "spBv1.0/plant/DCMD/#", folder=tmp_path) as recorded,
            sparkplug_node(broker) as node,
        ):
            locked = {"readOnly": {"type": "Boolean", "value": True}}
            fixed = metric("fixed", "Double", 1.5, alias=8, properties=locked)
            await node.birth({"metrics": []}, {"press": {"metrics": [*SPEED["press"]["metrics"], fixed]}})
            async with commanding(tmp_path / "c", broker, "speed", "fixed", "ghost").actuator() as actuator:
                for tag, value, words in (
                    ("speed", 3, "DOUBLE"),
                    ("fixed", 2.5, "read-only"),
                    ("ghost", 2.5, "no metric"),
                ):
                    with pytest.raises(Rejected, match=words):
                        await actuator.write(command(tag, value))
            assert await recorded.caught_up() == []
            assert await node.commanded() == []

    run(body())


def test_a_dead_edge_node_is_sent_nothing_and_one_that_returns_is_commanded(tmp_path: Path) -> None:
    require("sparkplug-node")

    async def body() -> None:
        async with (
            mosquitto(folder=tmp_path / "broker") as broker,
            recorder(broker, "spBv1.0/plant/DCMD/#", folder=tmp_path) as recorded,
            commanding(tmp_path / "c", broker, "speed").actuator() as actuator,
        ):
            async with sparkplug_node(broker) as node:
                await node.birth({"metrics": []}, SPEED)
                assert await reads(actuator, "speed") == 1.5
            with pytest.raises(Unavailable, match="is dead"):  # killed: the broker tells
                await _until_dead(actuator)
            with pytest.raises(Unavailable, match="is dead"):
                await actuator.write(command("speed", 2.5))
            assert await recorded.caught_up() == []
            async with sparkplug_node(broker) as node:
                await node.birth({"metrics": []}, SPEED)
                while True:
                    try:
                        await actuator.write(command("speed", 2.5))
                        break
                    except Unavailable:  # its birth is on the way
                        await asyncio.sleep(0.05)
                assert await node.commanded() == [("7", 2.5)]

    run(body())


async def _until_dead(actuator: Actuator) -> None:
    while True:
        await reads(actuator, "speed")
        await asyncio.sleep(0.05)


def test_an_edge_node_frozen_when_it_was_commanded_does_it_once_when_it_goes_on(tmp_path: Path) -> None:
    require("sparkplug-node")

    async def body() -> None:
        async with mosquitto(folder=tmp_path / "broker") as broker, sparkplug_node(broker) as node:
            await node.birth({"metrics": []}, SPEED)
            ours = commanding(tmp_path / "c", broker, "speed")
            async with ours.actuator() as actuator:
                assert await reads(actuator, "speed") == 1.5
                node.child.freeze()
                with pytest.raises(OutcomeUnknown, match=r"did not report 2\.5"):
                    await actuator.write(command("speed", 2.5))
            async with ours.actuator() as actuator:
                with pytest.raises(Unavailable):
                    await reads(actuator, "speed", 2.0)
                node.child.thaw()
                # A birth that was asked for before the command comes before it.
                while await reads(actuator, "speed") != 2.5:  # noqa: ASYNC110  no event of ours
                    await asyncio.sleep(0.05)
            await asyncio.sleep(1.0)
            assert await node.commanded() == [("7", 2.5)]

    run(body())


def test_answers_lost_on_the_way_are_unknown_outcomes_and_each_was_done_once(tmp_path: Path) -> None:
    require("sparkplug-node")

    async def body() -> None:
        async with (
            mosquitto(folder=tmp_path / "broker") as broker,
            sparkplug_node(broker) as node,
            proxy(broker.host, broker.port) as between,
        ):
            await node.birth({"metrics": []}, SPEED)
            ours = commanding(tmp_path / "c", between, "speed", commands={"fresh_seconds": 1.0})
            for number in range(1, 4):
                async with ours.actuator() as actuator:
                    await reads(actuator, "speed")
                    between.lose_answers()
                    with pytest.raises(OutcomeUnknown, match="the broker has not read it in time"):
                        await actuator.write(command("speed", float(number), 0.5))
                between.mend()
                async with ours.actuator() as actuator:
                    assert await reads(actuator, "speed") == float(number)
            assert await node.commanded() == [("7", 1.0), ("7", 2.0), ("7", 3.0)]

    run(body())


@VERSIONS
@pytest.mark.parametrize("keeping", [True, False])
def test_what_mosquitto_keeps_of_a_command_for_an_edge_node_that_is_away(
    tmp_path: Path, version: str, keeping: bool
) -> None:
    """An edge node with a durable session, against the specification, at a broker that keeps QoS 0 for it.

    By itself Mosquitto keeps nothing. Told to, it keeps a command of MQTT 3.1.1 for ever, and one of MQTT 5 as long as
    its deadline allowed.
    """
    require("sparkplug-node")
    settings = ("queue_qos0_messages true",) if keeping else ()

    async def body() -> None:
        async with (
            mosquitto(folder=tmp_path / "broker", settings=settings) as broker,
            sparkplug_node(broker) as node,  # reports, so that the session goes on
        ):
            await node.birth({"metrics": []}, SPEED)
            soon, later = tmp_path / "soon", tmp_path / "later"
            await asyncio.gather(*(_durable(broker, name, seconds=1) for name in (soon, later)))
            async with commanding(tmp_path / "c", broker, "speed", version=version).actuator() as actuator:
                await actuator.write(command("speed", 2.5, seconds=4.0))
                await _durable(broker, soon, seconds=1)
                await asyncio.sleep(3.5)
                await _durable(broker, later, seconds=1)
            assert len(soon.read_bytes().splitlines()) == (1 if keeping else 0)
            assert len(later.read_bytes().splitlines()) == (1 if keeping and version == "3.1.1" else 0)

    run(body())


async def _durable(broker: Mosquitto, name: Path, seconds: int) -> None:
    """Another's client with a session that the broker keeps, there for so long; what came is in the file."""
    session = ("-V", "5", "-i", name.name, "-c", "-x", "3600", "-q", "1", "-W", str(seconds))
    child = await Child.start(
        ["mosquitto_sub", *broker.arguments(), *session, "-t", "spBv1.0/plant/DCMD/line/#", "-F", "%x"],
        log=name.with_suffix(".log"),
        output=name,
    )
    await child.ended(20.0)
