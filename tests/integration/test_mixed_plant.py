"""One plant file with everything: what five kinds of machines say, six kinds of readers get, with quality and time."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate

from plantgate.cli import main
from plantgate.sdk import iso
from tests.connectors.opcua_server.serving import APPLICATION
from tests.integration.journey.gateway import Gateway
from tests.peers.certificates import self_signed
from tests.peers.http_office import Office, office
from tests.peers.kafka import Kafka, kafka
from tests.peers.modbus_slave import ModbusSlave, modbus_slave, words
from tests.peers.mosquitto import Mosquitto, free_port, mosquitto
from tests.peers.opcua_client import ClientSettings, node_opcua_client
from tests.peers.opcua_server import NodeOpcua, Variable, node_opcua
from tests.peers.recorder import Recorder, recorder
from tests.peers.require import ROOT, require
from tests.peers.sparkplug_node import SparkplugNode, sparkplug_node
from tests.peers.sparkplug_recording import Recording

PLANT = ROOT / "deploy" / "reference" / "mixed-plant" / "plant.yaml"
UNCERTAIN, SENSOR = 0x4000_0000, 0x4093_0000
"""Uncertain, and UncertainSensorNotAccurate."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Seen = dict[str, tuple[object, int, int | None]]
"""Value, StatusCode and source time (ns UTC) by tag."""


@dataclass
class Plant:
    """Everything around the gateway."""

    folder: Path
    press: NodeOpcua
    meters: ModbusSlave
    hall: Mosquitto
    cell4: SparkplugNode
    office_broker: Mosquitto
    headquarters: Kafka
    office: Office
    samples: Recorder
    network: Recorder
    bench_port: int
    scada_port: int
    gateway: Gateway

    async def say(self, at_ms: int) -> Seen:
        """Every machine says something, at this time; what that is."""
        at = at_ms * 1_000_000
        sent: Seen = {
            "hall3/press/temperature": (61.25, 0, at),
            "hall3/press/pressure": (2.5, SENSOR, at),
            "hall3/meter/power": (1234.5, 0, at),
            "hall3/meter/energy": (98.76, 0, at),
            "hall3/drives/d7/speed": (1450.5, 0, at),
            "hall3/filler/torque": (3.25, 0, at),
            "hall3/bench/insulation": (5.5, UNCERTAIN, at),
        }
        await self.press.set(
            ("press/temperature", 61.25, "Good", float(at_ms)),
            ("press/pressure", 2.5, "UncertainSensorNotAccurate", float(at_ms)),
        )
        await self.meters.set(1, {0: words("Q", at_ms), 10: words("i", 12_345), 12: words("I", 9876)})
        await self.hall.publish("drives/d7", json.dumps({"ts": at_ms, "ok": True, "now": {"speed": 1450.5}}).encode())
        torque = {"name": "torque", "type": "Double", "value": 3.25, "timestamp": at_ms}
        await self.cell4.device_data("filler", torque)
        posted = {"value": 5.5, "at": iso(at), "quality": "Uncertain"}
        await self._curl("/bench/insulation", posted)
        return sent

    async def _curl(self, path: str, body: Mapping[str, object]) -> None:
        command = ["curl", "-sS", "--fail", "--max-time", "20", "-H", "Authorization: Bearer 0123456789abcdef"]
        url = f"http://127.0.0.1:{self.bench_port}{path}"
        process = await asyncio.create_subprocess_exec(*command, "--data", json.dumps(body), url)
        assert await process.wait() == 0

    # What each reader has seen last.

    async def at_mqtt(self) -> Seen:
        seen: Seen = {}
        for message in await self.samples.caught_up():
            if message.topic == "plantgate/samples":
                seen |= _of(json.loads(message.payload)["samples"])
        return seen

    async def at_sparkplug(self) -> Seen:
        recording, seen = Recording(), dict[str, tuple[object, int, int | None]]()
        for message in await self.network.caught_up():
            for row in recording.take(message.topic, message.payload):
                seen[row.tag] = (row.value, row.code, row.time)
        return seen

    async def at_kafka(self) -> Seen:
        seen: Seen = {}
        for record in await self.headquarters.records("plantgate.samples"):
            document = json.loads(record.value or b"{}")
            if "tag" in document:
                assert record.key == document["tag"].encode()
                seen |= _of([document])
        return seen

    async def at_http(self) -> Seen:
        await self.office.caught_up()
        seen: Seen = {}
        for taken in self.office.taken:
            seen |= _of(json.loads(taken["body"]).get("samples", []))
        return seen

    async def at_files(self) -> Seen:
        seen: Seen = {}
        for file in sorted((self.folder / "archive").rglob("*.json*")):
            for line in file.read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                if "tag" in row:  # files name the quality, and give its number where it has no name
                    name, _, number = row["quality"].partition(" ")
                    code = int(number, 16) if number else {"Good": 0, "Uncertain": UNCERTAIN}[name]
                    seen |= _of([{**row, "code": code}])
        return seen

    async def at_opcua(self, tags: list[str]) -> Seen:
        own = self.folder / "client"
        given = ClientSettings(
            url=f"opc.tcp://127.0.0.1:{self.scada_port}",
            certificate=own / "scada.pem",
            key=own / "scada.key.pem",
            application_uri=APPLICATION,
            user="hmi",
            password="let me in",
        )
        async with node_opcua_client(given) as client:
            await client.connect()
            told = await client.read(*(f"ns=2;s={tag}" for tag in tags))
        return {tag: (each.value, each.code, each.source_ns) for tag, each in zip(tags, told, strict=True)}


def _of(samples: list[dict[str, Any]]) -> Seen:
    return {each["tag"]: (each["value"], each.get("code", 0), _nanoseconds(each["time"])) for each in samples}


def _nanoseconds(text: str | None) -> int | None:
    if text is None:
        return None
    whole, _, fraction = text.removesuffix("Z").partition(".")
    seconds = (datetime.fromisoformat(whole).replace(tzinfo=UTC) - _EPOCH) // timedelta(seconds=1)
    return seconds * 10**9 + int(fraction.ljust(9, "0") or 0)


@asynccontextmanager
async def mixed_plant(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Plant]:
    """Every peer, and the gateway with the plant file of the reference, its addresses filled in."""
    monkeypatch.setenv("BENCH_TOKEN", "0123456789abcdef")
    monkeypatch.setenv("HMI_PASSWORD", "let me in")
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        press = await enter(node_opcua(folder=folder / "press"))
        await press.create("press", *(Variable(name=name, type="Double") for name in ("temperature", "pressure")))
        meters = await enter(modbus_slave())
        hall = await enter(mosquitto(folder=folder / "hall"))
        settings = ("max_inflight_messages 0", "queue_qos0_messages true")
        office_broker = await enter(mosquitto(folder=folder / "office-broker", settings=settings))
        samples = await enter(recorder(office_broker, "plantgate/#", folder=folder))
        network = await enter(recorder(office_broker, "spBv1.0/#", folder=folder))
        headquarters = await enter(kafka(folder=folder / "kafka"))
        await headquarters.create_topic("plantgate.samples", 3)
        web = await enter(office(folder))
        (folder / "client").mkdir()
        client = self_signed(folder / "client", "scada", APPLICATION)
        trusted = folder / "data" / "pki-server" / "trusted"
        trusted.mkdir(parents=True)
        (trusted / "scada.pem").write_bytes(client.certificate.read_bytes())
        ports = {name: free_port() for name in ("http", "bench", "scada")}
        certificate = load_pem_x509_certificate(press.certificate.read_bytes())
        written = PLANT.read_text(encoding="utf-8")
        for before, after in (
            ("opc.tcp://10.0.3.5:4840", press.url.replace("localhost", "127.0.0.1")),
            ("0" * 64, sha256(certificate.public_bytes(Encoding.DER)).hexdigest()),
            ("host: 10.0.3.20\n    port: 502", f"host: {meters.host}\n    port: {meters.port}"),
            ("host: mqtt.hall3.local\n    port: 1883", f"host: {hall.host}\n    port: {hall.port}"),
            ("host: mqtt.office.local\n    port: 1883", f"host: {office_broker.host}\n    port: {office_broker.port}"),
            ("kafka.office.local:9092", headquarters.bootstrap),
            ("http://127.0.0.1:8470/plantgate", web.url("/in")),
            ("port: 8460", f"port: {ports['bench']}"),
            ("port: 4841", f"port: {ports['scada']}"),
            ("127.0.0.1:9480", f"127.0.0.1:{ports['http']}"),
        ):
            assert before in written, before
            written = written.replace(before, after)
        gateway = Gateway(folder / "plant.yaml", ports["http"])
        gateway.plant.write_text(written, encoding="utf-8")
        stack.push_async_callback(gateway.kill)
        await gateway.start()
        await gateway.until("everything to be up", _all_up, 60)
        cell4 = await enter(sparkplug_node(hall, group="hall3", edge_node="cell4", folder=folder))
        await cell4.birth(
            {"metrics": []}, {"filler": {"metrics": [{"name": "torque", "type": "Double", "value": 0.0}]}}
        )
        plant = Plant(
            folder, press, meters, hall, cell4, office_broker, headquarters, web, samples, network,
            ports["bench"], ports["scada"], gateway,
        )  # fmt: skip
        yield plant
        assert await gateway.stop() == 0


def _all_up(status: dict[str, Any]) -> bool:
    uses = [use for connection in status["connections"].values() for use in connection["uses"]]
    return len(uses) == 11 and all(use["state"] == "up" for use in uses)


@pytest.mark.integration
def test_value_quality_and_time_are_the_same_whichever_way_they_come_and_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("node-opcua", "modbus-slave", "mosquitto", "sparkplug-node", "kafka", "nodejs")

    async def play() -> None:
        async with mixed_plant(tmp_path, monkeypatch) as plant:
            # Now: an OPC UA server shows nothing older than what it has, and the press began with a value of now.
            sent = await plant.say(time.time_ns() // 1_000_000 + 200)
            ends = (
                plant.at_mqtt, plant.at_sparkplug, plant.at_kafka, plant.at_http, plant.at_files,
                lambda: plant.at_opcua(list(sent)),
            )  # fmt: skip
            for end in ends:
                seen: Seen = {}
                for _ in range(20):
                    seen = await end()
                    if all(seen.get(tag) == sample for tag, sample in sent.items()):
                        break
                    await asyncio.sleep(0.2)
                assert {tag: seen.get(tag) for tag in sent} == sent, getattr(end, "__name__", "at_opcua")
            status = await plant.gateway.status()
            assert status is not None
            balances = status["flows"]["telemetry"]["destinations"].values()
            assert len(balances) == 6
            assert all(each["difference"] == 0 and each["dropped"] == 0 for each in balances)

    asyncio.run(play())


def test_the_plant_file_is_sound_as_it_is_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BENCH_TOKEN", "0123456789abcdef")
    monkeypatch.setenv("HMI_PASSWORD", "let me in")
    assert main(["check", str(PLANT)]) == 0
    assert "11 connections, 1 flow" in capsys.readouterr().out
