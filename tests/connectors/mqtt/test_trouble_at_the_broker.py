"""A broker in trouble: its disk is full, or thousands of its clients die at once and all have left a will.

With real wills of real connections, on Mosquitto: `tests/integration/test_mqtt_trouble.py`.
"""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from plantgate.sdk import Unavailable
from plantgate.sdk.quality import GOOD, UNCERTAIN_LAST_USABLE
from plantgate.testing.mqtt_broker import Broker
from plantgate.testing.mqtt_fields import NO_ANSWER, Reason
from plantgate.testing.mqtt_packets import Message
from plantgate.testing.simloop import running
from tests.connectors.mqtt.given import batch, eventually, mqtt, with_broker
from tests.connectors.mqtt.test_sink import positions

WILLS = 5_000
_PATIENCE_SECONDS = 5.0


@pytest.mark.simulated(seeds=3)
@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_a_broker_whose_disk_is_full_is_waited_for_and_then_gets_everything_in_order(
    tmp_path: Path, version: str
) -> None:
    """First it says so (which MQTT 3.1.1 cannot), then it only stays silent, then it has room again."""

    async def body(broker: Broker) -> None:
        came: list[Message] = []
        broker.received = came.append
        accepted = 0
        reasons: list[str] = []
        longest = 0.0
        connector = mqtt(tmp_path, version=version, publish={"acknowledge_seconds": _PATIENCE_SECONDS})

        async def deliver() -> None:
            nonlocal accepted, longest
            while accepted < 600:
                asked = running().elapsed
                try:
                    async with connector.sink() as sink:
                        while accepted < 600:
                            asked = running().elapsed
                            await sink.accept(batch(*range(20), position=accepted))
                            accepted += 20
                            await asyncio.sleep(1)
                except Unavailable as error:
                    longest = max(longest, running().elapsed - asked)
                    reasons.append(str(error))
                    await asyncio.sleep(max(0.5, error.retry_after_seconds or 0))

        delivering = asyncio.create_task(deliver())
        await asyncio.sleep(5.5)
        for trouble in (Reason.QUOTA_EXCEEDED, NO_ANSWER):
            before = accepted
            broker.answer = lambda message, code=trouble: code  # type: ignore[misc]  # the code as it is in this round
            await asyncio.sleep(300)
            assert accepted == before == len(positions(came)), "nothing counts as delivered that was not confirmed"
            broker.answer = None
            await eventually(lambda before=before: accepted >= before + 40)  # type: ignore[misc]
        await delivering
        assert list(dict.fromkeys(positions(came))) == list(range(600))
        assert longest < 2 * _PATIENCE_SECONDS + 10, "no attempt hangs"
        assert any("confirmed nothing for 5 s (is its disk full?)" in reason for reason in reasons)
        if version == "5":
            assert any("a quota is exceeded" in reason for reason in reasons)

    await with_broker(body)


@pytest.mark.simulated(seeds=1)
@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_the_wills_of_five_thousand_clients_at_once_all_arrive_in_bounded_memory(
    tmp_path: Path, version: str
) -> None:
    async def body(broker: Broker) -> None:
        subscribe = [{"topic": "machines/{number}/state", "tag": "machine{number}", "payload": "text"}]
        buffer = 65_536
        connector = mqtt(tmp_path / "in", version=version, subscribe=subscribe, buffer_bytes_max=buffer)
        other = mqtt(tmp_path / "out", version=version)
        async with connector.source() as source, other.sink() as sink:
            for number in range(WILLS):
                broker.publish(f"machines/{number}/state", b"offline", qos=1, retain=True)
            for number in range(60):  # nobody reads; the other flow goes on
                asked = running().elapsed
                await sink.accept(batch(number, position=number))
                assert running().elapsed - asked < 1
                await asyncio.sleep(1)
            held = source._held_bytes  # type: ignore[attr-defined]  # the bound itself
            assert 0 < held < buffer + 256 * 1024
            assert broker.waiting(connector.client_id("source")) == WILLS, "not one is acknowledged that is not safe"
            seen: Counter[str] = Counter()
            while len(seen) < WILLS:
                got = await source.read()
                assert set(zip(got.values, got.qualities, strict=True)) == {("offline", GOOD)}
                seen.update(got.tags)
                await source.ack(got.cursor)
            assert set(seen) == {f"machine{number}" for number in range(WILLS)}
            assert set(seen.values()) == {1}
            await eventually(lambda: broker.waiting(connector.client_id("source")) == 0)
        late = mqtt(tmp_path / "late", version=version, subscribe=subscribe, buffer_bytes_max=buffer)
        async with late.source() as source:  # who comes later gets what is kept, marked
            kept: set[str] = set()
            while len(kept) < WILLS:
                got = await source.read()
                assert set(got.qualities) == {UNCERTAIN_LAST_USABLE}
                kept.update(got.tags)
                await source.ack(got.cursor)

    await with_broker(body)
