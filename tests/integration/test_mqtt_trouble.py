"""Mosquitto in trouble: its disk full, and thousands of its clients gone at once."""

import asyncio
import struct
from contextlib import suppress
from pathlib import Path

import pytest

from plantgate.sdk.quality import GOOD
from tests.connectors.mqtt.given import batch
from tests.integration.test_mqtt_mosquitto import VERSIONS, mqtt, run
from tests.peers.mosquitto import mosquitto
from tests.peers.require import require
from tests.peers.small_disk import small_disk

pytestmark = pytest.mark.integration
WILLS = 2_000


def test_a_broker_with_a_full_disk_confirms_and_forgets_and_we_claim_no_more_than_its_word(tmp_path: Path) -> None:
    """Mosquitto 2.0 keeps confirming into memory and says so in its own log only; what it had not written is gone with
    it. No client can see that: what is counted as delivered is what it confirmed, and the README says so."""
    require("small-disk")

    async def body() -> None:
        async with (
            small_disk(tmp_path / "disk", kibibytes=128) as disk,
            mosquitto(folder=tmp_path / "broker", disk=disk) as broker,
        ):
            # A durable subscriber that is away: its messages wait in the broker, in memory and on disk.
            reader = mqtt(
                tmp_path / "reader", broker, subscribe=[{"topic": "plantgate/samples", "payload": "plantgate"}]
            )
            async with reader.source():
                pass
            writer = mqtt(tmp_path / "writer", broker, publish={"acknowledge_seconds": 5})
            accepted = 0
            async with writer.sink() as sink, asyncio.timeout(30):
                for _ in range(40):
                    given = batch(*(f"{accepted + index:08d}" * 20 for index in range(100)), position=accepted)
                    await sink.accept(given)
                    accepted += 100
            assert accepted == 4_000
            complaint = broker.log.read_text()
            assert "No space left on device" in complaint, complaint
            await broker.kill()
            await broker.start()
            came: set[str] = set()
            async with reader.source() as source:
                with suppress(TimeoutError):
                    async with asyncio.timeout(2):
                        while True:
                            got = await source.read()
                            came.update(str(value) for value in got.values)
                            await source.ack(got.cursor)
            assert len(came) < accepted, "the disk was not full: this test shows nothing"
            async with writer.sink() as sink, asyncio.timeout(10):
                await sink.accept(batch("after", position=accepted))

    run(body())


def _connect(number: int) -> bytes:
    """A 3.1.1 client whose will is kept: `machines/<number>/state` says `offline`, at QoS 1."""
    fields = [f"machine-{number}", f"machines/{number}/state", "offline"]
    payload = b"".join(struct.pack("!H", len(field)) + field.encode() for field in fields)
    rest = b"\x00\x04MQTT\x04\x2e\x00\x00" + payload
    return bytes((0x10, len(rest))) + rest


@VERSIONS
def test_two_thousand_wills_at_once_all_arrive_while_another_flow_goes_on(tmp_path: Path, version: str) -> None:
    async def body() -> None:
        async with mosquitto(folder=tmp_path / "broker") as broker:
            machines: list[asyncio.StreamWriter] = []
            for number in range(WILLS):
                reader, writer = await asyncio.open_connection(broker.host, broker.port)
                writer.write(_connect(number))
                assert await reader.readexactly(4) == b"\x20\x02\x00\x00"
                machines.append(writer)
            subscribe = [{"topic": "machines/{number}/state", "tag": "machine{number}", "payload": "text"}]
            buffer = 65_536
            connector = mqtt(tmp_path / "in", broker, version=version, subscribe=subscribe, buffer_bytes_max=buffer)
            other = mqtt(tmp_path / "out", broker, version=version)
            async with connector.source() as source, other.sink() as sink:
                for machine in machines:
                    machine.transport.abort()
                for number in range(20):
                    async with asyncio.timeout(5):
                        await sink.accept(batch(number, position=number))
                    await asyncio.sleep(0.05)
                held = source._held_bytes  # type: ignore[attr-defined]  # the bound itself
                assert 0 < held < buffer + 256 * 1024
                seen: list[str] = []
                while len(seen) < WILLS:
                    got = await source.read()
                    assert set(zip(got.values, got.qualities, strict=True)) == {("offline", GOOD)}
                    seen += got.tags
                    await source.ack(got.cursor)
                assert sorted(seen) == sorted(f"machine{number}" for number in range(WILLS))

    run(body())
