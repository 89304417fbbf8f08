"""The Sparkplug connector and Eclipse Tahu's implementation, through Mosquitto, in both directions."""

import asyncio
import math
from pathlib import Path
from typing import Any, Final

import pytest

from plantgate.sdk import Batch, Sample, Source
from plantgate.sdk.quality import BAD, BAD_DECODING, GOOD, UNCERTAIN_LAST_USABLE
from plantgate_connectors.sparkplug.quality import UNCERTAIN_NO_COMMUNICATION
from tests.integration.test_sparkplug_mosquitto import EDGE, run, sparkplug
from tests.peers.mosquitto import mosquitto
from tests.peers.recorder import recorder
from tests.peers.require import require
from tests.peers.sparkplug_node import sparkplug_node

pytestmark = pytest.mark.integration
T0: Final = 1_767_225_600_000
"""2026-01-01T00:00:00Z, in milliseconds."""
HOST: Final = {"host_id": "scada", "rebirth_seconds": 1.0}


async def read_until(source: Source, wanted: set[str], seconds: float = 20.0) -> list[Sample]:
    """Read and acknowledge until each of these tags has come."""
    found: list[Sample] = []
    async with asyncio.timeout(seconds):
        while not wanted <= {sample.tag for sample in found}:
            batch = await source.read()
            found += batch
            await source.ack(batch.cursor)
    return found


def metric(name: str, kind: str, value: Any, **more: Any) -> dict[str, Any]:
    """As sparkplug-payload wants it."""
    return {"name": name, "type": kind, "value": value, "timestamp": T0, **more}


def test_every_type_of_tahus_edge_node_is_read(tmp_path: Path) -> None:
    require("mosquitto", "sparkplug-node")
    metrics = [
        metric("int8", "Int8", -8),
        metric("int16", "Int16", -16_000),
        metric("int32", "Int32", -2_000_000_000),
        metric("int64", "Int64", -4_000_000_000),
        metric("uint8", "UInt8", 200),
        metric("uint16", "UInt16", 60_000),
        metric("uint32", "UInt32", 4_000_000_000),
        metric("uint64", "UInt64", 9_007_199_254_740_991),
        metric("float", "Float", 0.5),
        metric("double", "Double", 61.2),
        metric("boolean", "Boolean", True),
        metric("string", "String", "läuft"),
        metric("time", "DateTime", T0 + 123),
        metric("text", "Text", "line\none"),
        metric("uuid", "UUID", "0d1b4a1c-37a5-4c54-9ab0-6f5b0b5c8a10"),
        metric("bytes", "Bytes", {"hex": "00ff10"}),
        metric("nothing", "Int32", None),
        metric(
            "table",
            "DataSet",
            {"numOfColumns": 2, "columns": ["a", "b"], "types": ["Int32", "String"], "rows": [[1, "x"], [2, "y"]]},
        ),
        metric("udt", "Template", {"isDefinition": True, "metrics": [metric("speed", "Double", 0.0)]}),
        metric(
            "motor",
            "Template",
            {"isDefinition": False, "templateRef": "udt", "metrics": [metric("speed", "Double", 1450.5)]},
        ),
        metric("stale", "Double", 1.0, properties={"Quality": {"type": "Int32", "value": 500}}),
        metric("bad", "Double", 2.0, properties={"Quality": {"type": "Int32", "value": 0}}),
    ]
    wanted = {
        "int8": -8,
        "int16": -16_000,
        "int32": -2_000_000_000,
        "int64": -4_000_000_000,
        "uint8": 200,
        "uint16": 60_000,
        "uint32": 4_000_000_000,
        "uint64": 9_007_199_254_740_991,
        "float": 0.5,
        "double": 61.2,
        "boolean": True,
        "string": "läuft",
        "time": "2026-01-01T00:00:00.123Z",
        "text": "line\none",
        "uuid": "0d1b4a1c-37a5-4c54-9ab0-6f5b0b5c8a10",
        "bytes": b"\x00\xff\x10",
        "nothing": None,
        "table": {"columns": ["a", "b"], "rows": [[1, "x"], [2, "y"]]},
        "motor/speed": 1450.5,
        "stale": 1.0,
        "bad": 2.0,
    }

    async def body() -> None:
        async with (
            mosquitto(folder=tmp_path / "broker") as broker,
            sparkplug(tmp_path / "c", broker, subscribe=HOST).source() as source,
            sparkplug_node(broker) as node,
        ):
            await node.birth({"metrics": metrics})
            found = {
                sample.tag.removeprefix("plant/line/"): sample
                for sample in await read_until(source, {"plant/line/bad", "plant/line/motor/speed"})
            }
            assert {tag: sample.value for tag, sample in found.items()} == wanted
            assert {sample.time for sample in found.values()} == {T0 * 1_000_000}
            qualities = {tag: sample.quality for tag, sample in found.items() if sample.quality != GOOD}
            assert qualities == {"stale": UNCERTAIN_LAST_USABLE, "bad": BAD}

    run(body())


def test_data_deaths_and_births_of_tahus_edge_node_are_followed(tmp_path: Path) -> None:
    require("mosquitto", "sparkplug-node")

    async def body() -> None:
        async with (
            mosquitto(folder=tmp_path / "broker") as broker,
            recorder(broker, "spBv1.0/plant/DBIRTH/#", folder=tmp_path) as recorded,
        ):
            connector = sparkplug(tmp_path / "c", broker, subscribe=HOST)
            standing = connector.context.standing
            async with sparkplug_node(broker) as node:
                births = {"metrics": [metric("speed", "Double", 1.0, alias=1)]}
                devices = {"press": {"metrics": [metric("temperature", "Int32", -5, alias=2)]}}
                await node.birth(births, devices)
                while not await recorded.caught_up():
                    pass
                # We come late: nobody keeps births for us, so we must ask, and for that hear something first.
                async with connector.source() as source:
                    await node.node_data(metric("speed", "Double", 2.0, alias=1))
                    found = await read_until(source, {"plant/line/speed", "plant/line/press/temperature"})
                    assert standing.counters["before_birth"] == 1
                    assert standing.counters["rebirths_requested"] == 1
                    assert await node.commanded() == [], "it was asked for its birth, and nothing else"
                    assert [event["event"] for event in node.events].count("ncmd") == 1
                    await node.device_data("press", metric("temperature", "Int32", -6, alias=2))
                    await node.node_data(metric("speed", "Double", 3.0, alias=1))
                    found = await read_until(source, {"plant/line/speed", "plant/line/press/temperature"})
                    assert [(sample.value, sample.quality) for sample in found] == [(-6, GOOD), (3.0, GOOD)]
                    await node.device_death("press")
                    (dead,) = await read_until(source, {"plant/line/press/temperature"})
                    assert (dead.value, dead.quality) == (-6, UNCERTAIN_NO_COMMUNICATION)
                    await node.child.kill()  # the broker tells
                    (dead,) = await read_until(source, {"plant/line/speed"}, 30)
                    assert (dead.value, dead.quality, dead.time) == (3.0, UNCERTAIN_NO_COMMUNICATION, None)
                    assert standing.counters["edge_nodes_died"] == 1

    run(body())


def test_tahu_reads_what_our_edge_node_publishes(tmp_path: Path) -> None:
    require("mosquitto", "sparkplug-node")
    values: list[Any] = [61.25, -7, 2**63, True, "läuft", b"\x00\xff", math.nan, None]
    names = ["double", "int", "large", "flag", "text", "bytes", "nan", "double"]
    batch = Batch(
        [f"press/{name}" for name in names],
        values,
        [GOOD, GOOD, GOOD, GOOD, GOOD, GOOD, GOOD, BAD_DECODING],
        [T0 * 1_000_000 + index * 1_000_000 for index in range(len(values))],
        origin="outbox",
        position=40,
    )

    async def body() -> None:
        async with (
            mosquitto(folder=tmp_path / "broker") as broker,
            recorder(broker, "spBv1.0/#", folder=tmp_path) as recorded,
            sparkplug_node() as tahu,
        ):
            async with sparkplug(tmp_path / "c", broker, publish=EDGE).sink() as sink:
                await sink.accept(batch)
            messages = await recorded.caught_up()
            kinds = [message.topic.split("/")[2] for message in messages]
            assert kinds[:4] == ["NBIRTH", "NBIRTH", "DBIRTH", "NDATA"]
            birth = await tahu.decode(messages[1].payload)
            assert birth["seq"] == "0"
            assert {m["name"]: (m.get("type"), m["value"]) for m in birth["metrics"]}.items() >= {
                "bdSeq": ("Int64", "0"),
                "Node Control/Rebirth": ("Boolean", False),
            }.items()
            device = await tahu.decode(messages[2].payload)
            announced = {m["name"]: m for m in device["metrics"] if "alias" in m}
            assert {name: m["type"] for name, m in announced.items()} == {
                "double": "Double",
                "int": "Int64",
                "large": "UInt64",
                "flag": "Boolean",
                "text": "String",
                "bytes": "Bytes",
                "nan": "Double",
            }
            numbers = {"Int64": 4, "UInt64": 8, "Double": 10, "Boolean": 11, "String": 12, "Bytes": 17}
            types = {int(m["alias"]): numbers[m["type"]] for m in announced.values()}
            data = await tahu.decode(messages[kinds.index("DDATA")].payload, types)
            aliases = {m["alias"]: name for name, m in announced.items()}
            read = [(aliases[m["alias"]], m["value"]) for m in data["metrics"] if "alias" in m]
            assert read == [
                ("double", 61.25),
                ("int", "-7"),
                ("large", str(2**63)),
                ("flag", True),
                ("text", "läuft"),
                ("bytes", "00ff"),
                ("nan", "NaN"),
                ("double", None),
            ]
            properties = data["metrics"][-1]["properties"]
            assert properties["Quality"] == {"type": "Int32", "value": 0}
            assert properties["StatusCode"] == {"type": "Int64", "value": str(BAD_DECODING)}
            assert kinds[-2:] == ["NDEATH", "NDEATH"]  # said by us, and by the broker as MQTT 5 has it
            death = await tahu.decode(messages[-1].payload)
            assert [(m["name"], m["value"]) for m in death["metrics"]] == [("bdSeq", "0")]

    run(body())
