"""A batch is accepted when the broker has confirmed it, and not before."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk import Batch, Gap, Rejected, Unavailable
from plantgate.testing.mqtt_broker import Broker
from plantgate.testing.mqtt_packets import Message
from plantgate.testing.simloop import running
from tests.connectors.mqtt.given import HOST, T0, batch, eventually, mqtt, with_broker

pytestmark = pytest.mark.simulated(seeds=2)


def collect(broker: Broker) -> list[Message]:
    came: list[Message] = []
    broker.received = came.append
    return came


def positions(came: list[Message]) -> list[int]:
    """Numbers of the samples that came, in order."""
    return [
        body["position"] + index
        for body in (json.loads(message.payload) for message in came)
        for index in range(len(body.get("samples", [0])))
    ]


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_a_batch_arrives_as_one_message_after_its_gaps(tmp_path: Path, version: str) -> None:
    async def body(broker: Broker) -> None:
        came = collect(broker)
        async with mqtt(tmp_path, version=version).sink() as sink:
            given = batch(1, 2.5, None, position=7)
            given.gaps = (Gap(("line/t",), T0, None, "session lost", None),)
            await sink.accept(given)
            assert [message.topic for message in came] == ["plantgate/gaps", "plantgate/samples"]
            assert [message.qos for message in came] == [1, 1]
            assert positions(came[1:]) == [7, 8, 9]
            await sink.accept(Batch.empty())
            assert len(came) == 2

    await with_broker(body)


async def test_a_batch_is_not_accepted_before_the_broker_has_it(tmp_path: Path) -> None:
    async def body(broker: Broker) -> None:
        came = collect(broker)
        async with mqtt(tmp_path).sink() as sink:
            running().network.hold(HOST)
            accepting = asyncio.create_task(sink.accept(batch(1)))
            await asyncio.sleep(5)
            assert not accepting.done()
            running().network.heal(HOST)
            await accepting
            assert len(came) == 1

    await with_broker(body)


async def test_when_the_reply_is_lost_the_batch_stays_the_callers(tmp_path: Path) -> None:
    async def body(broker: Broker) -> None:
        came = collect(broker)
        broker.answer = lambda message: None
        with pytest.raises(Unavailable, match="broker"):
            async with mqtt(tmp_path).sink() as sink:
                await sink.accept(batch(1))
        broker.answer = None
        async with mqtt(tmp_path).sink() as sink:
            await sink.accept(batch(1))
        assert positions(came) == [0, 0]  # twice, and the numbers say so

    await with_broker(body)


@pytest.mark.parametrize("fault", ["reset", "cut", "crash", "drop"])
async def test_an_idle_session_that_dies_ends_its_body(tmp_path: Path, fault: str) -> None:
    async def body(broker: Broker) -> None:
        network = running().network
        began = running().elapsed

        async def idle() -> None:
            async with mqtt(tmp_path, keep_alive_seconds=10).sink():
                await asyncio.sleep(1)
                match fault:
                    case "reset":
                        network.reset(HOST)
                    case "cut":
                        network.cut(HOST)
                    case "crash":
                        await broker.crash()
                    case _:
                        broker.drop_connections()
                await asyncio.sleep(3600)

        with pytest.raises(Unavailable):
            await idle()
        assert running().elapsed - began < 30
        network.heal(HOST)

    await with_broker(body)


async def test_a_broker_that_is_silent_but_there_is_left_after_the_patience(tmp_path: Path) -> None:
    async def body(broker: Broker) -> None:
        async def deliver() -> None:
            async with mqtt(tmp_path, publish={"acknowledge_seconds": 7}, keep_alive_seconds=3600).sink() as sink:
                running().network.hold(HOST)
                await sink.accept(batch(1))

        with pytest.raises(Unavailable, match="confirmed nothing for 7 s"):
            await deliver()
        running().network.heal(HOST)

    await with_broker(body)


async def test_values_go_to_their_own_topics_within_the_window(tmp_path: Path) -> None:
    async def body(broker: Broker) -> None:
        came = collect(broker)
        publish = {"each": "value", "topic": "p/{connection}/{tag}", "in_flight": 3, "retain": True}
        async with mqtt(tmp_path, publish=publish).sink() as sink:
            given = batch(*range(50))
            given.tags = [f"line/{index}" for index in range(50)]
            await sink.accept(given)
            assert [message.topic for message in came] == [f"p/broker/line/{index}" for index in range(50)]
            assert [json.loads(message.payload)["value"] for message in came] == list(range(50))
            assert len(broker.retained()) == 50

    await with_broker(body)


async def test_bare_text_and_qos_0(tmp_path: Path) -> None:
    async def body(broker: Broker) -> None:
        came = collect(broker)
        publish = {"each": "value", "topic": "{tag}", "format": "text", "qos": 0}
        async with mqtt(tmp_path, publish=publish).sink() as sink:
            await sink.accept(batch(1.5, "on", True))
            await eventually(lambda: len(came) == 3)
            assert [(message.payload, message.qos) for message in came] == [(b"1.5", 0), (b"on", 0), (b"true", 0)]

    await with_broker(body)


async def test_an_oversized_batch_is_split_and_only_an_oversized_value_is_rejected(tmp_path: Path) -> None:
    async def body(broker: Broker) -> None:
        came = collect(broker)
        async with mqtt(tmp_path).sink() as sink:  # the twin announces its Maximum Packet Size
            await sink.accept(batch(*(f"{index:0100}" for index in range(100))))
            assert len(came) > 1
            assert positions(came) == list(range(100))
            came.clear()
            with pytest.raises(Rejected, match=r"broker: a value of line/t makes a message of \d+ bytes"):
                await sink.accept(batch(1, "x" * 5000, 3))
            assert positions(came) == [0, 2]
            await sink.accept(batch(4))

    await with_broker(body, packet_bytes_max=4096)


async def test_a_limit_the_broker_did_not_announce_is_learned_from_its_refusal(tmp_path: Path) -> None:
    async def body(broker: Broker) -> None:
        came = collect(broker)
        broker.answer = lambda message: 0x95 if len(message.payload) > 1500 else 0
        connector = mqtt(tmp_path)
        async with connector.sink() as sink:
            await sink.accept(batch(*range(100)))
            assert set(positions(came)) == set(range(100))
            sent = broker.counters["refused"]
            await sink.accept(batch(*range(100), position=100))
            assert broker.counters["refused"] == sent  # not tried again
            with pytest.raises(Rejected, match="the message is larger than it takes"):
                await sink.accept(batch("x" * 1500))
            await sink.accept(batch("x" * 1200))  # more than half the limit, and fits

    await with_broker(body)


async def test_a_broker_that_drops_the_connection_on_large_messages_does_not_stop_the_flow(tmp_path: Path) -> None:
    async def body(broker: Broker) -> None:
        came = collect(broker)
        broker.received = lambda message: came.append(message) if len(message.payload) <= 100_000 else None
        broker.answer = lambda message: None if len(message.payload) > 100_000 else 0
        connector = mqtt(tmp_path, version="3.1.1")
        given = [batch(*range(3000)), batch("x" * 200_000, position=3000), batch(1, position=3001)]
        sessions, set_aside = 0, []
        while given:
            sessions += 1
            assert sessions < 20
            try:
                async with connector.sink() as sink:
                    while given:
                        await sink.accept(given[0])
                        del given[0]
            except Rejected as error:
                set_aside.append(str(error))
                del given[0]
            except Unavailable as error:
                await asyncio.sleep(max(0.5, error.retry_after_seconds or 0))
        assert len(set_aside) == 1
        assert "sessions keep ending when it is sent" in set_aside[0]
        assert set(positions(came)) == {*range(3000), 3001}

    await with_broker(body)


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        (0x87, Rejected, "not authorised"),
        (0x90, Rejected, "topic name"),
        (0x99, Rejected, "payload format"),
        (0x97, Unavailable, "quota"),
        (0x80, Unavailable, "unspecified"),
        (0xF0, Unavailable, "0xf0"),
    ],
)
async def test_a_refusal_is_never_or_later_as_its_reason_says(
    tmp_path: Path, code: int, error: type[Exception], words: str
) -> None:
    async def body(broker: Broker) -> None:
        broker.answer = lambda message: code
        async with mqtt(tmp_path).sink() as sink:
            with pytest.raises(error, match=words):
                await sink.accept(batch(1))
            broker.answer = None
            await sink.accept(batch(1))

    await with_broker(body)


async def test_a_tag_that_cannot_be_a_topic_is_rejected_and_the_others_go(tmp_path: Path) -> None:
    async def body(broker: Broker) -> None:
        came = collect(broker)
        async with mqtt(tmp_path, publish={"each": "value", "topic": "{tag}"}).sink() as sink:
            given = batch(1, 2, 3)
            given.tags = ["a", "b/#", "c"]
            with pytest.raises(Rejected, match=r"'b/#' cannot be a topic: it contains a wildcard"):
                await sink.accept(given)
            assert [message.topic for message in came] == ["a", "c"]

    await with_broker(body)


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_online_and_offline_are_kept_at_the_broker(tmp_path: Path, version: str) -> None:
    async def body(broker: Broker) -> None:
        connector = mqtt(tmp_path, version=version, publish={"status_topic": "st/{client_id}"})
        topic = f"st/{connector.client_id('sink')}"
        async with connector.sink():
            assert broker.retained()[topic] == b"online"
        await eventually(lambda: broker.retained()[topic] == b"offline")  # we left

        async def vanish() -> None:
            async with connector.sink():
                assert broker.retained()[topic] == b"online"
                running().network.reset(HOST)
                await asyncio.sleep(60)

        with pytest.raises(Unavailable):
            await vanish()
        await eventually(lambda: broker.retained()[topic] == b"offline")  # we vanished

    await with_broker(body)


@pytest.mark.simulated(seeds=15)
async def test_nothing_accepted_is_lost_while_the_line_breaks_again_and_again(tmp_path: Path, seed: int) -> None:
    async def body(broker: Broker) -> None:
        came = collect(broker)
        connector = mqtt(tmp_path / str(seed), publish={"acknowledge_seconds": 5}, keep_alive_seconds=5)
        network, random = running().network, running().random("faults")
        network.link(HOST).split = 0.3
        done = asyncio.Event()

        async def spoil() -> None:
            while not done.is_set():
                await asyncio.sleep(random.uniform(0.01, 2))
                random.choice([broker.drop_connections, lambda: network.cut(HOST), lambda: network.reset(HOST)])()
                await asyncio.sleep(random.uniform(0.01, 2))
                network.heal(HOST)

        async def deliver() -> None:
            position, attempts = 0, 0
            while position < 300:
                try:
                    async with connector.sink() as sink:
                        while position < 300:
                            await sink.accept(batch(*range(position, position + 10), position=position))
                            position += 10
                            await asyncio.sleep(0.1)
                except Unavailable:
                    attempts += 1
                    assert attempts < 1000
                    await asyncio.sleep(0.5)
            done.set()

        async with asyncio.TaskGroup() as group:
            group.create_task(spoil())
            group.create_task(deliver())
        seen = positions(came)
        assert set(seen) == set(range(300))
        first_seen = list(dict.fromkeys(seen))
        assert first_seen == sorted(first_seen)

    await with_broker(body)


async def test_several_calls_at_once_share_the_window(tmp_path: Path) -> None:
    async def body(broker: Broker) -> None:
        came = collect(broker)
        publish = {"each": "value", "topic": "{tag}", "in_flight": 2}
        async with mqtt(tmp_path, publish=publish).sink() as sink, asyncio.TaskGroup() as group:
            for index in range(5):
                group.create_task(sink.accept(batch(*range(20), tag=f"t{index}")))
        assert len(came) == 100
        for index in range(5):
            values = [json.loads(m.payload)["value"] for m in came if m.topic == f"t{index}"]
            assert values == list(range(20))

    await with_broker(body)


async def test_a_cancelled_batch_leaves_the_sink_usable(tmp_path: Path) -> None:
    async def body(broker: Broker) -> None:
        came = collect(broker)
        async with mqtt(tmp_path, publish={"each": "value", "topic": "{tag}", "in_flight": 4}).sink() as sink:
            running().network.hold(HOST)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await sink.accept(batch(*range(20)))
            running().network.heal(HOST)
            await sink.accept(batch(*range(20)))
            values: list[Any] = [json.loads(message.payload)["value"] for message in came]
            assert values[-20:] == list(range(20))

    await with_broker(body)
