"""The Sparkplug connector against Eclipse Mosquitto, recorded by its own client and read by Google's protobuf."""

import asyncio
import json
import random
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

import pytest

from plantgate.sdk import Batch, Gap, Unavailable
from plantgate.sdk.quality import GOOD
from plantgate_connectors.sparkplug import Sparkplug, SparkplugSettings
from tests.connectors.mqtt.given import T0, batch, context
from tests.peers.mosquitto import Mosquitto, mosquitto
from tests.peers.recorder import recorder
from tests.peers.require import require
from tests.peers.sparkplug_recording import Recording

pytestmark = pytest.mark.integration
VERSIONS = pytest.mark.parametrize("version", ["5", "3.1.1"])
KEEPING: Final = ("max_inflight_messages 0", "queue_qos0_messages true")
"""Without the second, what is published while the recorder is away is nobody's: Sparkplug's data is QoS 0."""


def run(body: Coroutine[Any, Any, None], seconds: float = 60.0) -> None:
    """Run it, but not for ever."""
    require("mosquitto")

    async def bounded() -> None:
        async with asyncio.timeout(seconds):
            await body

    asyncio.run(bounded())


def sparkplug(folder: Path, broker: Mosquitto, **written: Any) -> Sparkplug:
    """A connector for this broker."""
    settings = {"host": broker.host, "port": broker.port, **written}
    return Sparkplug(SparkplugSettings.model_validate_json(json.dumps(settings)), context(folder))


EDGE: Final = {"group": "plant", "edge_node": "line"}


@VERSIONS
def test_nothing_accepted_is_lost_while_the_broker_is_killed(tmp_path: Path, version: str) -> None:
    async def body() -> None:
        async with (
            mosquitto(folder=tmp_path / "broker", settings=KEEPING) as broker,
            recorder(broker, "spBv1.0/#", folder=tmp_path / "recorded") as recorded,
        ):
            connector = sparkplug(tmp_path / "c", broker, version=version, publish=EDGE)
            accepted = 0
            killing = True

            async def deliver() -> None:
                nonlocal accepted
                while killing:
                    try:
                        async with connector.sink() as sink:
                            while killing:
                                await sink.accept(batch(*range(20), position=accepted))
                                accepted += 20
                                await asyncio.sleep(0.002)
                    except Unavailable:
                        await asyncio.sleep(0.05)

            delivering = asyncio.create_task(deliver())
            for _ in range(5):
                await asyncio.sleep(random.uniform(0.2, 0.5))
                await broker.kill()
                await broker.start()
                await recorded.caught_up()
            killing = False
            await delivering
            await recorded.caught_up()
            recording = Recording()
            rows = [row for message in recorded.messages() for row in recording.take(message.topic, message.payload)]
            assert recording.births >= 5
            assert recording.objections == []
            assert accepted > 100
            assert {row.origin for row in rows} == {"outbox"}
            came = [row.number for row in rows if row.number is not None]
            assert set(range(accepted)) <= set(came)
            first_seen = list(dict.fromkeys(came))
            assert first_seen == sorted(first_seen)

    (tmp_path / "broker").mkdir()
    (tmp_path / "recorded").mkdir()
    run(body())


@VERSIONS
def test_between_two_plantgates_nothing_goes_missing_unnamed_while_the_broker_is_killed(
    tmp_path: Path, version: str
) -> None:
    async def body() -> None:
        subscribe = {"host_id": "scada", "tag": "{device}/{metric}", "node_tag": "{metric}", "rebirth_seconds": 1.0}
        async with mosquitto(folder=tmp_path / "broker") as broker:
            edge = sparkplug(tmp_path / "edge", broker, version=version, publish={**EDGE, "primary_host": "scada"})
            host = sparkplug(tmp_path / "host", broker, version=version, subscribe=subscribe)
            accepted = 0
            came: list[tuple[object, int]] = []
            gaps: list[Gap] = []
            going = True

            async def deliver() -> None:
                nonlocal accepted
                while going:
                    try:
                        async with edge.sink() as sink:
                            while going:
                                given = batch(*map(float, range(accepted, accepted + 20)), position=accepted)
                                await sink.accept(given)
                                accepted += 20
                                await asyncio.sleep(0.005)
                    except Unavailable:
                        await asyncio.sleep(0.05)

            async def read() -> None:
                while True:
                    try:
                        async with host.source() as source:
                            while True:
                                got = await source.read()
                                came.extend(zip(got.values, got.qualities, strict=True))
                                gaps.extend(got.gaps)
                                await source.ack(got.cursor)
                    except Unavailable:
                        await asyncio.sleep(0.05)

            async with asyncio.TaskGroup() as group:
                reading = group.create_task(read())
                delivering = group.create_task(deliver())
                for _ in range(3):
                    await asyncio.sleep(random.uniform(0.7, 1.2))
                    await broker.kill()
                    await broker.start()
                await asyncio.sleep(3)
                going = False
                await delivering
                await asyncio.sleep(1)
                reading.cancel()
            values = [value for value, quality in came if quality == GOOD]
            missing = set(map(float, range(accepted))) - set(values)
            assert accepted > 100
            assert len(gaps) >= 3
            assert all(gap.cause for gap in gaps)
            assert len(missing) < accepted / 2
            # What is missing was confirmed by a broker that was killed before it had told us: of each life the tail.
            assert len(_stretches(missing)) <= 3
            first_seen = list(dict.fromkeys(values))
            assert first_seen == sorted(first_seen)  # type: ignore[type-var]  # they are floats

    (tmp_path / "broker").mkdir()
    run(body())


def _stretches(numbers: set[float]) -> list[float]:
    """Where runs of missing numbers begin."""
    return [number for number in sorted(numbers) if number - 1 not in numbers]


def test_a_confirming_message_that_is_forbidden_is_a_sentence(tmp_path: Path) -> None:
    """Mosquitto drops a forbidden message of QoS 0 without a word; what is refused with one is told."""

    async def body() -> None:
        rules = tmp_path / "acl"
        rules.write_text("topic readwrite spBv1.0/plant/#\n")
        rules.chmod(0o644)
        async with mosquitto(folder=tmp_path / "broker", settings=(f"acl_file {rules}",)) as broker:
            with pytest.raises(Unavailable, match=r"not authorised .* choose another publish\.confirm_topic"):
                async with sparkplug(tmp_path / "c", broker, publish=EDGE).sink():
                    pass
            allowed = {**EDGE, "confirm_topic": "spBv1.0x/{connection}"}
            rules.write_text("topic readwrite spBv1.0/plant/#\ntopic write spBv1.0x/#\n")
            await broker.kill()
            await broker.start()
            async with sparkplug(tmp_path / "c", broker, publish=allowed).sink() as sink:
                await sink.accept(batch(1.5, 2.5))

    (tmp_path / "broker").mkdir()
    run(body())


def test_a_hundred_thousand_metrics_are_announced_and_read(tmp_path: Path) -> None:
    async def body() -> None:
        subscribe = {"host_id": "scada", "tag": "{device}/{metric}", "node_tag": "{metric}"}
        async with mosquitto(folder=tmp_path / "broker") as broker:
            edge = sparkplug(tmp_path / "edge", broker, publish={**EDGE, "primary_host": "scada"})
            async with sparkplug(tmp_path / "host", broker, subscribe=subscribe).source() as source:
                async with edge.sink() as sink:
                    tags = [f"device{number % 20}/area/metric{number}" for number in range(100_000)]
                    given = Batch(tags, [float(number) for number in range(100_000)], [0] * 100_000, [T0] * 100_000)
                    accepting = asyncio.create_task(sink.accept(given))
                    seen: set[str] = set()
                    while len(seen) < 100_000:
                        got = await source.read()
                        assert got.gaps == ()
                        seen.update(got.tags)
                        await source.ack(got.cursor)
                    await accepting
                assert seen == set(tags)

    (tmp_path / "broker").mkdir()
    run(body(), 120)
