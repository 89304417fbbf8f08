"""The Kafka connector reading from Apache Kafka what aiokafka's own producer wrote."""

import asyncio
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from plantgate.sdk import Batch, Unavailable
from tests.connectors.kafka.given import batch, deliver, kafka
from tests.integration.test_kafka_sink import run
from tests.peers.kafka import Kafka
from tests.peers.kafka import kafka as broker_of

pytestmark = pytest.mark.integration


async def produce(broker: Kafka, topic: str, numbers: range, **options: Any) -> None:
    """A record for each number, keyed by one of three tags."""
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap, acks="all", **options)
    await producer.start()
    try:
        for number in numbers:
            await producer.send(topic, b"%d" % number, key=b"line/t%d" % (number % 3))
        await producer.flush()
    finally:
        await producer.stop()


async def take(connector: Any, count: int, *, ack: bool = True) -> Batch:
    """Read until that many samples and gaps have come, over as many sessions as it takes."""
    whole = Batch.empty()
    while len(whole) + len(whole.gaps) < count:
        try:
            async with connector.source() as source:
                while len(whole) + len(whole.gaps) < count:
                    got = await source.read()
                    whole.extend(got)
                    if ack:
                        await source.ack(got.cursor)
        except Unavailable:
            await asyncio.sleep(0.1)
    return whole


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_everything_is_read_in_order_while_the_broker_is_killed_and_acknowledged_once(
    tmp_path: Path, compression: str | None
) -> None:
    async def body() -> None:
        async with broker_of(folder=tmp_path / "broker") as broker:
            await broker.create_topic("plant", 3)
            connector = kafka(tmp_path, broker.bootstrap, group="g", subscribe=[{"topic": "plant"}], request_seconds=3)
            reading = asyncio.create_task(take(connector, 2000))
            await produce(broker, "plant", range(1000), compression_type=compression)
            await broker.kill()
            await broker.start()
            await produce(broker, "plant", range(1000, 2000), compression_type=compression)
            got = await reading
            by_tag: defaultdict[str, list[Any]] = defaultdict(list)
            for sample in got:
                by_tag[sample.tag].append(sample.value)
            first_seen = {tag: list(dict.fromkeys(values)) for tag, values in by_tag.items()}
            if sum(map(len, first_seen.values())) < 2000:  # a repeat was among the 2,000
                for sample in await take(connector, 2000 - sum(map(len, first_seen.values()))):
                    first_seen[sample.tag].append(sample.value)
            assert {tag: list(range(number, 2000, 3)) for number, tag in enumerate(sorted(by_tag))} == first_seen

            await produce(broker, "plant", range(2000, 2003))
            again = await take(kafka(tmp_path / "new", broker.bootstrap, group="g", subscribe=[{"topic": "plant"}]), 3)
            assert set(again.values) == {2000, 2001, 2002}

    run(body())


def test_deleted_records_are_a_gap_of_exactly_their_number_and_a_topic_made_anew_is_read_from_its_beginning(
    tmp_path: Path,
) -> None:
    async def body() -> None:
        async with broker_of(folder=tmp_path / "broker") as broker:
            await broker.create_topic("plant")
            connector = kafka(tmp_path, broker.bootstrap, group="g", subscribe=[{"topic": "plant"}])
            await produce(broker, "plant", range(10))
            await take(connector, 10)
            await produce(broker, "plant", range(10, 30))
            await broker.delete_records("plant", 0, before=25)
            got = await take(connector, 6)
            assert got.values == [25, 26, 27, 28, 29]
            assert [(gap.cause, gap.lost) for gap in got.gaps] == [("records deleted before we read them", 15)]
            await broker.delete_topic("plant")
            await broker.create_topic("plant")
            await produce(broker, "plant", range(3))
            got = await take(connector, 3)  # Apache Kafka forgets a group's position together with the topic
            assert got.values == [0, 1, 2]

    run(body())


def test_records_of_a_transaction_that_was_given_up_are_not_read(tmp_path: Path) -> None:
    async def body() -> None:
        async with broker_of(folder=tmp_path / "broker") as broker:
            await broker.create_topic("plant")
            producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap, transactional_id="t")
            await producer.start()
            await producer.begin_transaction()
            await producer.send_and_wait("plant", b"666", key=b"t")
            await producer.abort_transaction()
            await producer.begin_transaction()
            await producer.send_and_wait("plant", b"1", key=b"t")
            await producer.commit_transaction()
            await producer.stop()
            got = await take(kafka(tmp_path, broker.bootstrap, group="g", subscribe=[{"topic": "plant"}]), 1)
            assert got.values == [1]

    run(body())


def test_what_one_gateway_writes_another_reads_and_a_survey_tells_what_there_is(tmp_path: Path) -> None:
    async def body() -> None:
        async with broker_of(folder=tmp_path / "broker") as broker:
            await broker.create_topic("plant", 2, {"max.message.bytes": "500000"})
            writer = kafka(tmp_path, broker.bootstrap, publish={"topic": "plant"})
            await deliver(writer, batch(100))
            subscribe = [{"topic": "plant", "payload": "plantgate"}]
            got = await take(kafka(tmp_path, broker.bootstrap, group="g", subscribe=subscribe), 100)
            assert {(s.tag, s.value, s.time) for s in got} == {(s.tag, s.value, s.time) for s in batch(100)}

            found = {finding.subject: finding for finding in (await writer.survey()).findings}
            assert found["broker 1"].granted == "connected"
            assert found["plant"].granted == "2 partitions"
            assert found["plant: max.message.bytes"].granted == "500000"
            assert not found["plant: max.message.bytes"].fine
            missing = await kafka(tmp_path, broker.bootstrap, publish={"topic": "nowhere"}).survey()
            assert not missing.fine
            assert "is not there" in missing.findings[-1].granted

    run(body())
