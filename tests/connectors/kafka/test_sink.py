"""What is written is there once and in order, whatever the broker does."""

import asyncio
import json
import random
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk import Rejected, Unavailable
from plantgate.testing.process import Process
from plantgate_connectors.kafka import Kafka
from tests.connectors.kafka.given import batch, deliver, kafka, logged, why
from tests.connectors.kafka.twin import OUT_OF_ORDER, Twin, twin

pytestmark = pytest.mark.simulated
SERVER = "broker:9092"


def positions(broker: Twin, topic: str = "plant") -> list[int]:
    """Numbers of the samples in a topic, partition by partition."""
    return [json.loads(record.value)["position"] for record in broker.records(topic)]


def note(folder: Path) -> Path:
    """What the connector keeps about the topic."""
    return folder / "use" / "device" / "topic.json"


def once_and_in_order(broker: Twin, count: int) -> None:
    there = [json.loads(record.value) for record in broker.records("plant")]
    assert Counter(sample["position"] for sample in there) == Counter(range(count))
    newest: dict[str, int] = {}
    for sample in there:
        assert sample["position"] > newest.get(sample["tag"], -1)
        newest[sample["tag"]] = sample["position"]


async def test_a_batch_whose_answer_was_lost_is_sent_again_and_is_there_once(tmp_path: Path) -> None:
    async with twin() as broker:
        broker.make("plant", 3)
        async with kafka(tmp_path, SERVER, publish={"topic": "plant"}, request_seconds=2).sink() as sink:
            await sink.accept(batch(20))
            broker.deaf.add(0)
            accepting = asyncio.create_task(sink.accept(batch(20, position=20)))
            await asyncio.sleep(5.0)
            broker.deaf.clear()
            await accepting
        assert broker.produced >= 3
        once_and_in_order(broker, 40)


async def test_an_answer_that_never_comes_ends_the_session_and_the_next_one_sends_only_what_is_missing(
    tmp_path: Path,
) -> None:
    async with twin() as broker:
        broker.make("plant", 3)
        connector = kafka(tmp_path, SERVER, publish={"topic": "plant", "acknowledge_seconds": 5}, request_seconds=2)
        broker.deaf.add(0)
        assert "did not answer" in await why(connector, batch(20))
        broker.deaf.clear()
        await deliver(connector, batch(20), batch(20, position=20))
        once_and_in_order(broker, 40)
        assert connector.context.standing.counters["repeats_avoided"] == 20


@pytest.mark.parametrize("repeats", ["avoid", "allow"])
async def test_a_gateway_killed_anywhere_leaves_nothing_out_and_nothing_twice(
    tmp_path: Path, seed: object, repeats: str
) -> None:
    """`allow` is the mutation: without the look back something is there twice, in some of the seeds."""
    luck = random.Random(f"{seed}/kills")
    async with twin() as broker:
        broker.make("plant", 3)
        safe = 0

        async def gateway() -> None:
            nonlocal safe
            async with kafka(tmp_path, SERVER, publish={"topic": "plant", "repeats": repeats}).sink() as sink:
                while True:
                    await sink.accept(batch(10, position=safe))
                    safe += 10

        for _ in range(10):
            running = Process(gateway)
            await asyncio.sleep(luck.uniform(0.0, 0.05))
            running.kill()
            await asyncio.sleep(1.0)
            safe = max(0, safe - luck.choice((0, 10, 30)))  # confirmations that had not reached the outbox's disk
        there = positions(broker)
        assert set(range(safe)) <= set(there)
        if repeats == "avoid":
            assert len(there) == len(set(there))
        elif seed == 0:
            assert len(there) > len(set(there))


@pytest.mark.parametrize("killed", [False, True])
async def test_what_waits_for_a_slow_replica_cannot_be_read_back_and_is_there_once_all_the_same(
    tmp_path: Path, killed: bool
) -> None:
    """`killed` is the mutation, and the limit that the README names: a gateway started anew knows nothing of it."""
    async with twin() as broker:
        broker.make("plant", 3)

        def ours() -> Kafka:
            return kafka(tmp_path, SERVER, publish={"topic": "plant", "acknowledge_seconds": 5})

        connector = ours()
        await deliver(connector, batch(20))
        for partition in broker.topics["plant"]:
            partition.replicated = partition.end
        for _ in range(3):
            assert "fewer replicas in step" in await why(connector, batch(20, position=20))
            connector = ours() if killed else connector
        for partition in broker.topics["plant"]:
            partition.replicated = None
        await deliver(connector, batch(20, position=20), batch(20, position=40))
        if killed:
            assert len(positions(broker)) > 60
        else:
            once_and_in_order(broker, 60)


async def test_an_election_in_the_middle_of_a_batch_costs_a_pause_and_nothing_else(tmp_path: Path) -> None:
    async with twin() as broker:
        broker.make("plant", 3)
        refusals = iter([6, 5, 19, 7])
        broker.answers[0] = lambda topic, partition: next(refusals, None) if partition == 1 else None
        await deliver(kafka(tmp_path, SERVER, publish={"topic": "plant"}), batch(50), batch(50, position=50))
        once_and_in_order(broker, 100)


async def test_a_topic_that_has_just_been_made_is_waited_for(tmp_path: Path) -> None:
    async with twin() as broker:
        broker.make("plant", 3)
        refusals = iter([6, 5])
        broker.answers[2] = lambda topic, partition: next(refusals, None) if partition == 2 else None
        await deliver(kafka(tmp_path, SERVER, publish={"topic": "plant"}), batch(50))
        once_and_in_order(broker, 50)


async def test_a_value_too_large_is_set_aside_and_what_was_to_follow_it_keeps_its_place(tmp_path: Path) -> None:
    async with twin() as broker:
        broker.make("plant", 1)
        broker.batch_bytes_max = 4_000
        one = batch(40, tags=1)
        one.values[3] = "x" * 5_000
        with pytest.raises(Rejected, match=r"larger than the topic.s max\.message\.bytes"):
            await deliver(kafka(tmp_path, SERVER, publish={"topic": "plant", "batch_bytes_max": 6_000}), one)
        assert positions(broker) == [number for number in range(40) if number != 3]


async def test_a_session_that_could_not_begin_leaves_the_doubt_of_the_one_before(tmp_path: Path) -> None:
    async with twin() as broker:
        broker.make("plant", 3)
        publish = {"topic": "plant", "acknowledge_seconds": 5}
        broker.deaf.add(0)
        await why(kafka(tmp_path, SERVER, publish=publish, request_seconds=2), batch(20))
        broker.deaf.clear()
        for api in (3, 22, 2):
            broker.answers[api] = lambda topic, partition: 29
            await why(kafka(tmp_path, SERVER, publish=publish), batch(20))
            broker.answers.clear()
        await deliver(kafka(tmp_path, SERVER, publish=publish), batch(20))
        once_and_in_order(broker, 20)


async def test_a_broker_that_has_forgotten_our_number_ends_the_session_and_nothing_is_lost(tmp_path: Path) -> None:
    async with twin() as broker:
        broker.make("plant", 3)
        connector = kafka(tmp_path, SERVER, publish={"topic": "plant"})
        script = iter([OUT_OF_ORDER])
        broker.answers[0] = lambda topic, partition: next(script, None)
        assert "misses records of ours" in await why(connector, batch(20))
        await deliver(connector, batch(20))
        once_and_in_order(broker, 20)


async def test_asking_for_a_topic_never_makes_it(tmp_path: Path) -> None:
    async with twin() as broker:
        assert "topic plant: is not there; create it" in await why(
            kafka(tmp_path, SERVER, publish={"topic": "plant"}), batch(1)
        )
        assert not broker.would_make_topics


async def test_a_topic_we_may_not_write_to_is_waited_for_and_not_set_aside(tmp_path: Path) -> None:
    async with twin() as broker:
        broker.make("plant", 1)
        broker.answers[0] = lambda topic, partition: 29
        connector = kafka(tmp_path, SERVER, publish={"topic": "plant"})
        assert "the cluster's access list must allow it" in await why(connector, batch(1))


@pytest.mark.parametrize(
    "raw",
    [struct.pack(">i", 2**31 - 1), struct.pack(">i", -1), struct.pack(">i", 2) + b"\0\0", struct.pack(">ii", 4, 77)],
)
async def test_an_answer_of_impossible_length_is_a_broker_given_up(tmp_path: Path, raw: bytes) -> None:
    async with twin() as broker:
        broker.make("plant", 1)
        broker.raw_answer = raw
        assert "broker:9092" in await why(kafka(tmp_path, SERVER, publish={"topic": "plant"}), batch(1))


@pytest.mark.parametrize("damage", ["", "{", '{"topic":"other","ends":{},"clean":true}'])
async def test_a_damaged_note_makes_the_topic_be_read_back(tmp_path: Path, damage: str) -> None:
    async with twin() as broker:
        broker.make("plant", 3)
        connector = kafka(tmp_path, SERVER, publish={"topic": "plant"})
        await deliver(connector, batch(20))
        note(tmp_path).write_text(damage)
        again = kafka(tmp_path, SERVER, publish={"topic": "plant"})
        await deliver(again, batch(30))
        once_and_in_order(broker, 30)
        if "topic" not in damage:
            assert logged(again.context)[0].startswith("note on what was sent is damaged")


async def test_after_a_clean_end_nothing_is_read_back(tmp_path: Path) -> None:
    async with twin() as broker:
        broker.make("plant", 3)
        await deliver(kafka(tmp_path, SERVER, publish={"topic": "plant"}), batch(20))
        broker.answers[1] = lambda topic, partition: 29  # would be said if it were read
        await deliver(kafka(tmp_path, SERVER, publish={"topic": "plant"}), batch(20, position=20))
        once_and_in_order(broker, 40)


async def test_reading_back_that_is_not_allowed_is_said(tmp_path: Path) -> None:
    async with twin() as broker:
        broker.make("plant", 1)
        broker.deaf.add(0)
        connector = kafka(tmp_path, SERVER, publish={"topic": "plant", "acknowledge_seconds": 2})
        await why(connector, batch(1))
        broker.deaf.clear()
        broker.answers[1] = lambda topic, partition: 29
        assert "reading back the end of topic plant: may not be used by us" in await why(connector, batch(1))


async def test_records_of_others_in_the_topic_do_not_confuse_the_look_back(tmp_path: Path) -> None:
    async with twin() as broker:
        broker.make("plant", 1)
        connector = kafka(tmp_path, SERVER, publish={"topic": "plant"})
        await deliver(connector, batch(5000, tags=3), batch(10, position=5000, origin="another"))
        note(tmp_path).write_text("")
        await deliver(connector, batch(5010, tags=3))
        ours = [json.loads(record.value) for record in broker.records("plant")]
        assert Counter(sample["position"] for sample in ours if sample["origin"] == "outbox-1") == Counter(range(5010))


@pytest.mark.parametrize("each", ["tag", "batch"])
async def test_columns_too_large_for_a_record_are_split(tmp_path: Path, each: str) -> None:
    async with twin() as broker:
        broker.make("plant", 1)
        one = batch(400, tags=2)
        await deliver(kafka(tmp_path, SERVER, publish={"topic": "plant", "each": each, "batch_bytes_max": 4096}), one)
        found: list[Any] = [json.loads(record.value) for record in broker.records("plant")]
        assert len(found) > 4
        assert sorted(number for record in found for number in record["positions"]) == list(range(400))


async def test_a_dead_cluster_is_unavailable_in_time_and_names_every_server(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"one:1 cannot be reached.*two:2|two:2 cannot be reached.*one:1"):
        async with asyncio.timeout(30), kafka(tmp_path, "one:1", servers=["one:1", "two:2"]).sink():
            pass
