"""The Kafka connector against Apache Kafka, read back by aiokafka's own consumer."""

import asyncio
import random
from collections.abc import Coroutine
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk import Gap, Rejected, SystemClock, Unavailable
from tests.connectors.kafka.given import batch, deliver, kafka, why
from tests.peers.certificates import Authority
from tests.peers.kafka import Kafka, Written
from tests.peers.kafka import kafka as broker_of
from tests.peers.kafka_setup import Tls
from tests.peers.require import require

pytestmark = pytest.mark.integration


def run(body: Coroutine[Any, Any, None], seconds: float = 150.0) -> None:
    """Run it, but not for ever."""
    require("kafka")

    async def bounded() -> None:
        async with asyncio.timeout(seconds):
            await body

    asyncio.run(bounded())


def in_order(written: list[Written]) -> None:
    """Samples of each tag stand in the order of their numbers."""
    newest: dict[str, int] = {}
    for sample in written:
        assert sample.position > newest.get(sample.tag, -1), f"{sample.tag} is out of order at {sample.position}"
        newest[sample.tag] = sample.position


def test_value_quality_time_number_and_key_arrive_where_java_would_put_them(tmp_path: Path) -> None:
    async def body() -> None:
        async with broker_of(folder=tmp_path / "broker") as broker:
            await broker.create_topic("plain", 3)
            await broker.create_topic("typed", 3)
            one = batch(20)
            one.gaps = (Gap(("line/t1",), None, None, "session lost", 3),)
            await deliver(kafka(tmp_path, broker.bootstrap, publish={"topic": "plain"}), one)
            written = await broker.written("plain")
            assert sorted((w.position, w.tag, w.value, w.code, w.origin) for w in written) == [
                (number, f"line/t{number % 5}", float(number), 0, "outbox-1") for number in range(20)
            ]
            records = await broker.records("plain")
            gaps = [record for record in records if record.value and b'"gap"' in record.value]
            assert [record.key for record in gaps] == [b"line/t1"]
            assert gaps[0].partition == {w.partition for w in written if w.tag == "line/t1"}.pop()
            assert {record.timestamp for record in records if record not in gaps} == {
                1_767_225_600_000 + number for number in range(20)
            }
            theirs = await broker.partitions_by_key("plain", [b"line/t%d" % number for number in range(5)])
            assert {record.key: record.partition for record in records} == theirs

            for each, compression in (("tag", "gzip"), ("batch", "none"), ("value", "gzip")):
                publish = {"topic": "typed", "each": each, "headers": "type", "compression": compression}
                await deliver(kafka(tmp_path / each, broker.bootstrap, publish=publish), one)
            headers = {record.headers for record in await broker.records("typed")}
            assert headers == {
                (("content-type", b"application/json"), ("schema", f"plantgate.{each}/1".encode()))
                for each in ("value", "tag", "batch")
            }

    run(body())


@pytest.mark.parametrize("each", ["value", "tag"])
def test_nothing_is_lost_or_there_twice_while_broker_and_gateway_are_killed(tmp_path: Path, each: str) -> None:
    """The gateway is killed by taking its session away in the middle and giving an older batch again, as an outbox does
    whose last confirmations had not reached the disk."""

    async def body() -> None:
        async with broker_of(folder=tmp_path / "broker") as broker:
            await broker.create_topic("samples", 3)
            luck = random.Random(each)
            publish = {"topic": "samples", "each": each, "acknowledge_seconds": 3}
            accepted = 0
            ended: list[str] = []
            over = asyncio.Event()

            async def gateway() -> None:
                nonlocal accepted
                while not over.is_set():
                    if accepted > 100:
                        accepted -= luck.choice((0, 0, 25, 75))
                    try:
                        async with (
                            asyncio.timeout(luck.uniform(0.1, 6.0)),
                            kafka(tmp_path, broker.bootstrap, publish=publish, request_seconds=2).sink() as sink,
                        ):
                            while not over.is_set():
                                await sink.accept(batch(25, position=accepted))
                                accepted += 25
                            return
                    except (Unavailable, TimeoutError) as error:
                        ended.append(f"at {accepted}: {error}")
                        await asyncio.sleep(0.05)

            delivering = asyncio.create_task(gateway())
            for _ in range(3):
                await asyncio.sleep(luck.uniform(0.5, 2.0))
                if luck.random() < 0.3:
                    broker.child.freeze()
                    await asyncio.sleep(4.0)
                    broker.child.thaw()
                    await asyncio.sleep(1.0)
                await broker.kill()
                await broker.start()
            try:
                async with asyncio.timeout(60):
                    while accepted < 300:  # noqa: ASYNC110  however slow the machine is
                        await asyncio.sleep(0.1)
            except TimeoutError:
                pytest.fail(f"delivered {accepted} only: {ended}")
            over.set()
            await delivering
            await _all_there_once(broker, each, accepted)

    run(body())


async def _all_there_once(broker: Kafka, each: str, accepted: int) -> None:
    if each == "value":
        written = await broker.written("samples")
        in_order(written)
        numbers = [sample.position for sample in written]
    else:
        numbers = []
        newest: dict[str, int] = {}
        for tag, positions in await broker.columns("samples"):
            assert all(a < b for a, b in pairwise([newest.get(tag, -1), *positions])), f"{tag} is out of order"
            newest[tag] = positions[-1]
            numbers += positions
    assert set(range(accepted)) <= set(numbers), "accepted, and not there"
    assert len(numbers) == len(set(numbers)), "there twice"


def test_with_repeats_allowed_the_same_story_leaves_repeats(tmp_path: Path) -> None:
    """The mutation of the test above: without the look back, what was in doubt is there twice."""

    async def body() -> None:
        async with broker_of(folder=tmp_path / "broker") as broker:
            for repeats, twice in (("avoid", False), ("allow", True)):
                await broker.create_topic(repeats, 2)
                publish = {"topic": repeats, "repeats": repeats}
                crashed = kafka(tmp_path / repeats, broker.bootstrap, publish=publish).sink()
                sink = await crashed.__aenter__()
                await sink.accept(batch(50))
                await sink.accept(batch(50, position=50))
                await crashed.__aexit__(None, None, None)
                note = tmp_path / repeats / "use" / "device" / "topic.json"
                if note.exists():  # as a crash leaves it
                    note.write_text(note.read_text().replace('"clean":true', '"clean":false'))
                await deliver(
                    kafka(tmp_path / repeats, broker.bootstrap, publish=publish),
                    batch(100, position=50),
                )
                numbers = [sample.position for sample in await broker.written(repeats)]
                assert set(numbers) == set(range(150))
                assert (len(numbers) > 150) is twice

    run(body())


def test_a_value_too_large_for_the_topic_is_set_aside_and_the_rest_is_delivered_in_order(tmp_path: Path) -> None:
    async def body() -> None:
        async with broker_of(folder=tmp_path / "broker") as broker:
            await broker.create_topic("small", 1, {"max.message.bytes": "20000"})
            one = batch(300, tags=1)
            one.values[100] = "x" * 30_000
            with pytest.raises(
                Rejected, match=r"line/t0 of 30\d\d\d bytes: the record batch is larger than the topic's"
            ):
                await deliver(kafka(tmp_path, broker.bootstrap, publish={"topic": "small"}), one)
            written = await broker.written("small")
            in_order(written)
            assert [sample.position for sample in written] == [n for n in range(300) if n != 100]
            one.values[100] = "x" * 2_000_000
            with pytest.raises(
                Rejected, match=r"makes a record of 2000\d\d\d bytes, publish.batch_bytes_max is 1000000"
            ):
                await deliver(kafka(tmp_path, broker.bootstrap, publish={"topic": "small"}), one)

    run(body())


def test_a_topic_that_is_not_there_is_said_and_a_deleted_one_is_noticed(tmp_path: Path) -> None:
    async def body() -> None:
        async with broker_of(folder=tmp_path / "broker") as broker:
            connector = kafka(tmp_path, broker.bootstrap, publish={"topic": "later", "acknowledge_seconds": 5})
            for _ in range(2):
                assert "topic later: is not there; create it" in await why(connector, batch(1))
            await broker.create_topic("later")
            async with connector.sink() as sink:
                await sink.accept(batch(10))
                await broker.delete_topic("later")
                with pytest.raises(Unavailable, match="topic later: is not there"):
                    await sink.accept(batch(10, position=10))
            await broker.create_topic("later")
            await deliver(connector, batch(10, position=10))
            assert len(await broker.written("later")) == 10

    run(body())


def test_a_timestamp_the_topic_does_not_take_is_replaced_and_the_source_time_stays_in_the_record(
    tmp_path: Path,
) -> None:
    async def body() -> None:
        async with broker_of(folder=tmp_path / "broker") as broker:
            await broker.create_topic("strict", 1, {"message.timestamp.before.max.ms": "3600000"})
            one = batch(10)
            connector = kafka(tmp_path, broker.bootstrap, clock=SystemClock(), publish={"topic": "strict"})
            await deliver(connector, one)
            assert connector.context.standing.counters["timestamps_replaced"] == 10
            assert (await broker.written("strict"))[0].time == "2026-01-01T00:00:00.000000000Z"

    run(body())


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
def test_tls_and_a_password_let_us_in_and_a_wrong_one_is_said(tmp_path: Path, mechanism: str) -> None:
    async def body() -> None:
        authority = Authority(tmp_path / "ca")
        issued = authority.issue("broker", hosts=["127.0.0.1"])
        tls = Tls(authority.certificate, issued.certificate, issued.key)
        (tmp_path / "right").write_text("s3cret\n")
        (tmp_path / "wrong").write_text("guess\n")
        client = _client(mechanism, authority.certificate)
        users = {"line3": "s3cret"}
        async with broker_of(
            folder=tmp_path / "broker", users=users, mechanism=mechanism, tls=tls, client=client
        ) as broker:
            await broker.create_topic("safe", 2)

            def ours(password: str, **more: Any) -> Any:
                sasl = {"mechanism": mechanism, "username": "line3", "password": f"${{file:{tmp_path / password}}}"}
                guarded = {"tls": {"ca_file": str(authority.certificate)}, "sasl": sasl, **more}
                return kafka(tmp_path, broker.bootstrap, publish={"topic": "safe"}, **guarded)

            await deliver(ours("right"), batch(10))
            assert len(await broker.written("safe")) == 10
            assert "wrong user name or password" in await why(ours("wrong"), batch(1))
            assert "certificate we do not trust" in await why(ours("right", tls={}), batch(1))
            assert "does it want TLS" in await why(ours("right", tls=None), batch(1))

    run(body())


def _client(mechanism: str, authority: Path) -> dict[str, Any]:
    from aiokafka.helpers import create_ssl_context

    return {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": mechanism,
        "sasl_plain_username": "line3",
        "sasl_plain_password": "s3cret",
        "ssl_context": create_ssl_context(cafile=str(authority)),
    }
