"""What the broker gives is read, repeated until it is safe, and what is missing is named."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk import Gap, Sample, Source, Unavailable
from plantgate.sdk.quality import BAD_DECODING, GOOD, UNCERTAIN, UNCERTAIN_LAST_USABLE
from plantgate.testing.mqtt_broker import Broker
from plantgate.testing.simloop import running
from tests.connectors.mqtt.given import HOST, eventually, mqtt, read_values, with_broker
from tests.connectors.mqtt.given import batch as a_batch

pytestmark = pytest.mark.simulated(seeds=2)

NUMBERS: list[dict[str, Any]] = [{"topic": "plant/{line}/temp", "tag": "{line}/temp"}]
VERSIONS = pytest.mark.parametrize("version", ["5", "3.1.1"])


async def nothing_more(source: Source, *, but: list[object] | None = None) -> None:
    """For a second nothing comes, or no values but these."""
    try:
        async with asyncio.timeout(1):
            while True:
                batch = await source.read()
                assert batch.values == but
                await source.ack(batch.cursor)
    except TimeoutError:
        return


@VERSIONS
async def test_messages_become_samples_of_named_tags(tmp_path: Path, version: str) -> None:
    async def body(broker: Broker) -> None:
        subscribe = [*NUMBERS, {"topic": "exact", "payload": "text"}, {"topic": "m/#", "payload": "fields"}]
        connector = mqtt(tmp_path, version=version, subscribe=subscribe)
        async with connector.source() as source:
            broker.publish("plant/3/temp", b"20.5", qos=1)
            broker.publish("exact", b"on")
            broker.publish("m/x", b'{"a":1,"b":2}', qos=1)
            broker.publish("plant/3/pressure", b"1", qos=1)
            samples: list[Sample] = []
            while len(samples) < 4:
                batch = await source.read()
                samples += list(batch)
                assert batch.received
                await source.ack(batch.cursor)
            assert samples == [
                Sample("3/temp", 20.5, GOOD, None),
                Sample("exact", "on", GOOD, None),
                Sample("m/x/a", 1, GOOD, None),
                Sample("m/x/b", 2, GOOD, None),
            ]
            standing = connector.context.standing
            assert (standing.desired, standing.monitored, standing.live) == (3, 3, 3)

    await with_broker(body)


@VERSIONS
async def test_what_was_not_acknowledged_comes_again_and_what_was_does_not(tmp_path: Path, version: str) -> None:
    async def body(broker: Broker) -> None:
        connector = mqtt(tmp_path, version=version, subscribe=NUMBERS)
        async with connector.source() as source:
            for value in range(3):
                broker.publish("plant/3/temp", b"%d" % value, qos=1)
                batch = await source.read()
                assert batch.values == [value]
                if value < 2:
                    await source.ack(batch.cursor)
            await asyncio.sleep(1)
            assert broker.waiting(connector.client_id("source")) == 1
        broker.publish("plant/3/temp", b"3", qos=1)
        async with connector.source() as source:
            assert await read_values(source, 2) == [2, 3]
            await eventually(lambda: broker.waiting(connector.client_id("source")) == 0)

    await with_broker(body)


async def test_a_batch_is_acknowledged_with_those_before_it_and_not_with_those_after(tmp_path: Path) -> None:
    async def body(broker: Broker) -> None:
        connector = mqtt(tmp_path, subscribe=NUMBERS)
        async with connector.source() as source:
            cursors = []
            for value in range(4):
                broker.publish("plant/3/temp", b"%d" % value, qos=1)
                cursors.append((await source.read()).cursor)
            await source.ack(cursors[1])
            await asyncio.sleep(1)
        async with connector.source() as source:
            assert await read_values(source, 2) == [2, 3]

    await with_broker(body)


@VERSIONS
@pytest.mark.simulated(seeds=15)
async def test_order_is_kept_and_nothing_lost_while_the_line_breaks(tmp_path: Path, version: str, seed: int) -> None:
    async def body(broker: Broker) -> None:
        connector = mqtt(tmp_path / str(seed), version=version, subscribe=NUMBERS, keep_alive_seconds=5, receive_max=7)
        network, random = running().network, running().random("faults")
        network.link(HOST).split = 0.3
        done = asyncio.Event()
        safe: list[object] = []
        gaps: list[Gap] = []

        async def publish() -> None:
            await eventually(lambda: bool(broker.client_ids()))
            for value in range(200):
                broker.publish(f"plant/{value % 3}/temp", b"%d" % value, qos=1)
                await asyncio.sleep(0.05)

        async def spoil() -> None:
            while not done.is_set():
                await asyncio.sleep(random.uniform(0.05, 2))
                random.choice([broker.drop_connections, lambda: network.cut(HOST), lambda: network.reset(HOST)])()
                await asyncio.sleep(random.uniform(0.01, 2))
                network.heal(HOST)

        async def read() -> None:
            while not set(range(200)) <= set(safe):
                try:
                    async with connector.source() as source:
                        while not set(range(200)) <= set(safe):
                            batch = await source.read()
                            await asyncio.sleep(random.uniform(0, 0.2))  # the outbox is writing
                            safe.extend(batch.values)
                            gaps.extend(batch.gaps)
                            await source.ack(batch.cursor)
                except Unavailable:
                    await asyncio.sleep(0.3)
            done.set()

        async with asyncio.TaskGroup() as group:
            for task in (publish, spoil, read):
                group.create_task(task())
        assert gaps == []
        for line in range(3):
            first_seen = list(dict.fromkeys(value for value in safe if int(str(value)) % 3 == line))
            assert first_seen == sorted(first_seen, key=lambda value: int(str(value)))

    await with_broker(body)


@VERSIONS
async def test_a_session_the_broker_has_forgotten_is_a_gap_that_is_told_until_it_is_safe(
    tmp_path: Path, version: str
) -> None:
    async def body(broker: Broker) -> None:
        connector = mqtt(tmp_path, version=version, subscribe=NUMBERS)

        async def read_until_the_crash() -> None:
            async with connector.source() as source:
                broker.publish("plant/3/temp", b"1", qos=1)
                assert await read_values(source, 1) == [1]
                await broker.crash(keep=False)
                await asyncio.sleep(60)

        with pytest.raises(Unavailable):
            await read_until_the_crash()
        await broker.listen(HOST, 1883)
        async with connector.source() as source:
            batch = await source.read()
            (gap,) = batch.gaps
            assert (gap.tags, gap.cause, gap.lost) == (("3/temp",), "the broker kept no session", None)
            assert gap.since is not None
            assert gap.until is not None
            assert gap.since < gap.until
            # not acknowledged: the next session tells it again, and it survives a restart of the process
        reborn = mqtt(tmp_path, version=version, subscribe=NUMBERS)
        async with reborn.source() as source:
            batch = await source.read()
            assert batch.gaps == (Gap(("plant/{line}/temp",), gap.since, gap.until, gap.cause, None),)
            await source.ack(batch.cursor)
            broker.publish("plant/3/temp", b"2", qos=1)
            batch = await source.read()  # subscribed anew
            assert (batch.values, batch.gaps) == ([2], ())
            await source.ack(batch.cursor)
            await asyncio.sleep(1)
        async with reborn.source() as source:
            await nothing_more(source)

    await with_broker(body)


async def test_a_first_session_and_a_kept_session_are_no_gap(tmp_path: Path) -> None:
    async def body(broker: Broker) -> None:
        connector = mqtt(tmp_path, subscribe=NUMBERS)
        for value in range(3):
            async with connector.source() as source:
                broker.publish("plant/3/temp", b"%d" % value, qos=1)
                batch = await source.read()
                assert (batch.values, batch.gaps) == ([value], ())
                await source.ack(batch.cursor)
                await asyncio.sleep(1)

    await with_broker(body)


async def test_being_away_at_qos_0_is_a_gap(tmp_path: Path) -> None:
    async def body(broker: Broker) -> None:
        connector = mqtt(tmp_path, subscribe=[{**NUMBERS[0], "qos": 0}])
        async with connector.source() as source:
            broker.publish("plant/3/temp", b"1", qos=1)
            assert await read_values(source, 1) == [1]
        async with connector.source() as source:
            batch = await source.read()
            assert [gap.cause for gap in batch.gaps] == ["away, subscribed with QoS 0"]

    await with_broker(body)


async def test_a_gap_begins_before_what_was_read_and_did_not_become_safe(tmp_path: Path) -> None:
    async def body(broker: Broker) -> None:
        connector = mqtt(tmp_path, subscribe=[{**NUMBERS[0], "qos": 0}])
        async with connector.source() as source:
            broker.publish("plant/3/temp", b"1", qos=1)
            safe = await source.read()
            await source.ack(safe.cursor)
            await asyncio.sleep(60)
            broker.publish("plant/3/temp", b"2", qos=1)
            lost = await source.read()
        async with connector.source() as source:
            (gap,) = (await source.read()).gaps
            assert gap.since is not None
            assert safe.received <= gap.since < lost.received

    await with_broker(body)


async def test_a_damaged_record_of_subscriptions_is_a_gap_and_no_stop(tmp_path: Path) -> None:
    async def body(broker: Broker) -> None:
        (tmp_path / "subscriptions.json").write_bytes(b"\x00\x00")
        async with mqtt(tmp_path, subscribe=NUMBERS).source() as source:
            batch = await source.read()
            assert [gap.cause for gap in batch.gaps] == ["record of subscriptions damaged"]

    await with_broker(body)


async def test_what_is_no_longer_wanted_is_unsubscribed(tmp_path: Path) -> None:
    async def body(broker: Broker) -> None:
        async with mqtt(tmp_path, subscribe=[*NUMBERS, {"topic": "old"}]).source():
            assert broker.publish("old", b"1", qos=1) == 1
        async with mqtt(tmp_path, subscribe=[*NUMBERS, {"topic": "new"}]).source() as source:
            assert broker.publish("old", b"1", qos=1) == 0
            assert broker.publish("new", b"2", qos=1) == 1
            batch = await source.read()  # the old topic's last message, which nobody wants any more, is passed over
            assert batch.values == [2]

    await with_broker(body)


@VERSIONS
async def test_kept_messages_are_used_or_ignored_and_come_once(tmp_path: Path, version: str) -> None:
    async def body(broker: Broker) -> None:
        broker.publish("plant/3/temp", b"1", qos=1, retain=True)
        broker.publish("other", b"9", qos=1, retain=True)
        subscribe = [*NUMBERS, {"topic": "other", "retained": "ignore"}]
        connector = mqtt(tmp_path, version=version, subscribe=subscribe)
        async with connector.source() as source:
            batch = await source.read()
            assert list(batch) == [Sample("3/temp", 1, UNCERTAIN_LAST_USABLE, None)]
            await source.ack(batch.cursor)
            await nothing_more(source)
            assert broker.waiting(connector.client_id("source")) == 0
        async with connector.source() as source:
            broker.publish("plant/3/temp", b"2", qos=1)
            batch = await source.read()
            assert list(batch) == [Sample("3/temp", 2, GOOD, None)]

    await with_broker(body)


async def test_poison_is_a_bad_sample_counted_logged_once_and_acknowledged(tmp_path: Path) -> None:
    async def body(broker: Broker) -> None:
        broker.publish("plant/3/temp", b"\x00\xff poison", qos=1, retain=True)
        connector = mqtt(tmp_path, subscribe=NUMBERS)
        for _ in range(3):
            async with connector.source() as source:
                broker.publish("plant/3/temp", b"more poison", qos=1)
                batch = await source.read()
                assert set(batch.qualities) == {BAD_DECODING}
                await source.ack(batch.cursor)
                await nothing_more(source, but=[None])
        assert broker.waiting(connector.client_id("source")) == 0
        standing = connector.context.standing
        assert standing.counters["undecodable"] == 4
        told = [facts for level, _, facts in standing.log.said if level == "warning"]  # type: ignore[attr-defined]  # our own log
        assert [facts["topic"] for facts in told] == ["plant/3/temp"]

    await with_broker(body)


async def test_a_message_over_the_limit_goes_by_named_and_acknowledged(tmp_path: Path) -> None:
    async def body(broker: Broker) -> None:
        connector = mqtt(tmp_path, subscribe=NUMBERS, message_bytes_max=4096)
        async with connector.source() as source:
            broker.publish("plant/3/temp", b"x" * 50_000, qos=1)
            broker.publish("plant/3/temp", b"5", qos=1)
            gaps: tuple[Gap, ...] = ()
            values: list[object] = []
            while not values:
                batch = await source.read()
                gaps += batch.gaps
                values += batch.values
                await source.ack(batch.cursor)
            assert gaps == (Gap(("3/temp",), None, None, "message too large", 1),)
            assert values == [5]
            await eventually(lambda: broker.waiting(connector.client_id("source")) == 0)
            assert connector.context.standing.counters["oversized"] == 1

    await with_broker(body)


@VERSIONS
async def test_memory_is_bounded_while_nobody_reads(tmp_path: Path, version: str) -> None:
    async def body(broker: Broker) -> None:
        connector = mqtt(
            tmp_path, version=version, subscribe=[{"topic": "t", "payload": "text"}], buffer_bytes_max=100_000
        )
        async with connector.source() as source:
            for _ in range(100):
                broker.publish("t", b"x" * 20_000, qos=1)
            await asyncio.sleep(20)
            held = source._held_bytes  # type: ignore[attr-defined]  # the bound itself
            assert held < 100_000 + 256 * 1024
            values = await read_values(source, 100)
            assert len(values) == 100
            await eventually(lambda: broker.waiting(connector.client_id("source")) == 0)

    await with_broker(body)


async def test_a_relayed_batch_is_what_it_was(tmp_path: Path) -> None:
    async def body(broker: Broker) -> None:
        subscribe = [{"topic": "plantgate/#", "payload": "plantgate"}]
        there = mqtt(tmp_path / "there", subscribe=subscribe)
        async with there.source() as source, mqtt(tmp_path / "here").sink() as sink:
            given = a_batch(1, float("inf"), "word", None)
            given.gaps = (Gap(("x",), 5, 6, "queue overflow", 3),)
            await sink.accept(given)
            gaps: tuple[Gap, ...] = ()
            samples: list[Sample] = []
            while len(samples) < 4:
                came = await source.read()
                gaps += came.gaps
                samples += list(came)
                await source.ack(came.cursor)
            assert samples == list(given)
            assert gaps == given.gaps

    await with_broker(body)


async def test_a_clock_an_hour_ahead_is_a_quality_problem(tmp_path: Path) -> None:
    async def body(broker: Broker) -> None:
        subscribe = [{"topic": "t", "payload": "json", "value": "/v", "time": "/t"}]
        connector = mqtt(tmp_path, subscribe=subscribe)
        async with connector.source() as source:
            broker.publish("t", json.dumps({"v": 1, "t": "2099-01-01T00:00:00Z"}).encode(), qos=1)
            batch = await source.read()
            assert batch.qualities == [UNCERTAIN]
            assert batch.times == [4_070_908_800_000_000_000]
            assert connector.context.standing.counters["clocks_ahead"] == 1

    await with_broker(body)


async def test_cancelling_a_read_loses_nothing(tmp_path: Path) -> None:
    async def body(broker: Broker) -> None:
        async with mqtt(tmp_path, subscribe=NUMBERS).source() as source:
            got: list[object] = []
            for value in range(40):
                broker.publish("plant/3/temp", b"%d" % value, qos=1)
                try:
                    async with asyncio.timeout(0.001):
                        batch = await source.read()
                except TimeoutError:
                    continue
                got += batch.values
                await source.ack(batch.cursor)
            got += await read_values(source, 40 - len(got)) if len(got) < 40 else []
            assert got == list(range(40))

    await with_broker(body)
