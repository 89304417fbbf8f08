"""What is in a topic becomes samples, gaps and counters; nothing else, nothing twice once it is acknowledged."""

import asyncio
import struct
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk import Batch, Gap, Source, Unavailable
from plantgate.sdk.quality import BAD_DECODING, BAD_NO_DATA, GOOD, UNCERTAIN
from tests.connectors.kafka.given import batch, deliver, kafka
from tests.connectors.kafka.test_records import record_batch
from tests.connectors.kafka.twin import twin

pytestmark = pytest.mark.simulated
SERVER = "broker:9092"


def reader(folder: Path, **subscribe: Any) -> Any:
    """A connector that reads `plant`."""
    return kafka(folder, SERVER, group="g", subscribe=[{"topic": "plant", **subscribe}], request_seconds=5)


async def take(source: Source, count: int, *, ack: bool = True) -> Batch:
    """Read until that many samples and gaps have come."""
    whole = Batch.empty()
    async with asyncio.timeout(120):
        while len(whole) + len(whole.gaps) < count:
            got = await source.read()
            whole.extend(got)
            if ack:
                await source.ack(got.cursor)
    return whole


async def test_keys_become_tags_and_what_has_no_tag_is_counted_and_passed_over(tmp_path: Path) -> None:
    async with twin() as broker:
        broker.make("plant")
        connector = reader(tmp_path, key="{line}/{rest#}", tag="hall/{line}:{rest}")
        for key in (b"l1/a/b", b"nothing", None, b"\xff/x", b"l\n/x", b"x" * 2000 + b"/y", b"l2/z"):
            broker.put("plant", b"1", key=key)
        async with connector.source() as source:
            got = await take(source, 2)
        assert got.tags == ["hall/l1:a/b", "hall/l2:z"]
        assert connector.context.standing.counters["unroutable"] == 5


async def test_poison_is_a_bad_sample_and_a_tombstone_is_a_value_that_is_gone(tmp_path: Path) -> None:
    async with twin() as broker:
        broker.make("plant")
        broker.put("plant", b"1.5", b"NaN?", None, b"1_0", b"9" * 500, b"2", key=b"t")
        connector = reader(tmp_path)
        async with connector.source() as source:
            got = await take(source, 6)
        assert got.values == [1.5, None, None, None, None, 2]
        assert got.qualities == [GOOD, BAD_DECODING, BAD_NO_DATA, BAD_DECODING, BAD_DECODING, GOOD]
        counters = connector.context.standing.counters
        assert (counters["undecodable"], counters["tombstones"]) == (3, 1)
        assert len([line for line in connector.context.log.lines if line[0] == "warning"]) == 1
        assert broker.unread("plant") == 0


async def test_times_and_qualities_are_the_records_or_none_or_doubted(tmp_path: Path) -> None:
    async with twin() as broker:
        broker.make("plant")
        broker.put("plant", b'{"v":1,"t":1767225600000,"q":"bad"}', b'{"v":2,"q":true}', key=b"t")
        async with reader(tmp_path, payload="json", value="/v", time="/t", quality="/q").source() as source:
            got = await take(source, 2)
        assert got.times == [1_767_225_600_000_000_000, None]
        assert got.qualities == [0x8000_0000, UNCERTAIN]
        broker.put("plant", b"3", key=b"t")
        async with reader(tmp_path, record_time="source").source() as source:
            assert (await take(source, 1)).times == [1_700_000_000_000_000_000]


@pytest.mark.parametrize("each", ["value", "tag", "batch"])
async def test_what_plantgate_wrote_is_read_as_it_was(tmp_path: Path, each: str) -> None:
    async with twin() as broker:
        broker.make("plant")
        one = batch(30)
        one.values[3], one.qualities[4], one.times[5] = float("inf"), 0x8034_0000, None
        one.gaps = (Gap(("line/t1", "line/t2"), None, 5, "session lost", 7),)
        await deliver(kafka(tmp_path, SERVER, publish={"topic": "plant", "each": each, "compression": "gzip"}), one)
        async with reader(tmp_path, payload="plantgate").source() as source:
            got = await take(source, 31)
        assert got.gaps == one.gaps
        by_tag = lambda row: row.tag  # noqa: E731  twice the same line
        assert sorted(got, key=by_tag) == sorted(one, key=by_tag)


async def test_records_deleted_before_we_read_them_are_a_gap_with_their_number(tmp_path: Path) -> None:
    async with twin() as broker:
        broker.make("plant")
        for number in range(10):
            broker.put("plant", b"%d" % number, key=b"t")
        connector = reader(tmp_path)
        async with connector.source() as source:
            assert (await take(source, 10)).values == list(range(10))
        for number in range(10, 20):
            broker.put("plant", b"%d" % number, key=b"t")
        broker.topics["plant"][0].forget(16)
        async with connector.source() as source:
            got = await take(source, 5, ack=False)
        async with connector.source() as source:  # not acknowledged: said again
            again = await take(source, 5)
        assert got.values == again.values == [16, 17, 18, 19]
        assert got.gaps == again.gaps == (Gap(("plant/0",), None, None, "records deleted before we read them", 6),)


async def test_records_deleted_while_we_read_are_a_gap_too(tmp_path: Path) -> None:
    async with twin() as broker:
        broker.make("plant")
        async with reader(tmp_path).source() as source:
            broker.put("plant", b"0", key=b"t")
            await take(source, 1)
            for number in range(1, 6):
                broker.put("plant", b"%d" % number, key=b"t")
            broker.topics["plant"][0].forget(4)
            got = await take(source, 3)
        assert got.values == [4, 5]
        assert got.gaps[0].lost == 3


async def test_a_topic_made_anew_is_read_from_its_beginning_with_a_gap(tmp_path: Path) -> None:
    async with twin() as broker:
        broker.make("plant")
        broker.put("plant", b"1", b"2", key=b"t")
        connector = reader(tmp_path)
        async with connector.source() as source:
            await take(source, 2)
            del broker.topics["plant"]
            with pytest.raises(Unavailable, match="topic plant: is not there"):
                await source.read()
        broker.make("plant")
        broker.put("plant", b"3", key=b"t")
        async with connector.source() as source:
            got = await take(source, 2)
        assert got.values == [3]
        assert (got.gaps[0].cause, got.gaps[0].lost) == ("topic made anew", None)


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[:16] + b"\x01" + raw[17:],
        lambda raw: raw[:16] + b"\x07" + raw[17:],
        lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]),
        lambda raw: raw[:21] + struct.pack(">h", 6) + raw[23:],
    ],
    ids=["old format", "unknown format", "wrong checksum", "unknown compression"],
)
async def test_a_record_batch_that_cannot_be_read_is_a_gap_and_the_next_one_is_read(
    tmp_path: Path, damage: Any
) -> None:
    async with twin() as broker:
        broker.make("plant")
        broker.topics["plant"][0].keep(damage(record_batch(b"1")), 1)
        broker.put("plant", b"2", key=b"t")
        connector = reader(tmp_path)
        async with connector.source() as source:
            got = await take(source, 2)
        assert got.values == [2]
        assert (got.gaps[0].cause, got.gaps[0].lost) == ("records unreadable", 1)
        assert connector.context.standing.counters["unreadable"] == 1


async def test_a_record_of_more_than_a_megabyte_is_read(tmp_path: Path) -> None:
    async with twin() as broker:
        broker.make("plant")
        broker.topics["plant"][0].append(record_batch(b"x" * 1_040_000))
        async with reader(tmp_path, payload="text").source() as source:
            assert len(str((await take(source, 1)).values[0])) == 1_040_000


async def test_an_election_while_reading_loses_nothing(tmp_path: Path) -> None:
    async with twin() as broker:
        broker.make("plant", 2)
        refusals = iter([6, 5, 74])
        broker.answers[1] = lambda topic, partition: next(refusals, None) if partition == 1 else None
        async with reader(tmp_path).source() as source:
            for number in range(20):
                broker.put("plant", b"%d" % number, key=b"t%d" % (number % 2), partition=number % 2)
            got = await take(source, 20)
        assert [value for tag, value in zip(got.tags, got.values, strict=True) if tag == "t1"] == list(range(1, 20, 2))


async def test_a_coordinator_that_moves_is_found_again(tmp_path: Path) -> None:
    async with twin() as broker:
        broker.make("plant")
        broker.put("plant", b"1", key=b"t")
        refusals = iter([16, 14, 15])
        broker.answers[8] = lambda topic, partition: next(refusals, None)
        async with reader(tmp_path).source() as source:
            await take(source, 1)
        assert broker.unread("plant") == 0


async def test_a_position_that_cannot_be_told_ends_the_session_and_comes_again(tmp_path: Path) -> None:
    async with twin() as broker:
        broker.make("plant")
        broker.put("plant", b"1", key=b"t")
        broker.answers[8] = lambda topic, partition: 25
        connector = reader(tmp_path)
        async with connector.source() as source:
            got = await source.read()
            with pytest.raises(Unavailable, match="group g"):
                await source.ack(got.cursor)
        broker.answers.clear()
        async with connector.source() as source:
            assert (await take(source, 1)).values == [1]


async def test_only_the_partitions_asked_for_are_read(tmp_path: Path) -> None:
    async with twin() as broker:
        broker.make("plant", 3)
        for partition in range(3):
            broker.put("plant", b"%d" % partition, key=b"t", partition=partition)
        async with reader(tmp_path, partitions=[1]).source() as source:
            assert (await take(source, 1)).values == [1]
        with pytest.raises(Unavailable, match="has no partition 7"):
            async with reader(tmp_path, partitions=[7]).source():
                pass


async def test_a_broker_that_says_there_is_more_and_gives_half_a_batch_is_given_up(tmp_path: Path) -> None:
    async with twin() as broker:
        broker.make("plant")
        broker.topics["plant"][0].keep(record_batch(b"1" * 100)[:80], 1)
        with pytest.raises(Unavailable, match="less than a batch"):
            async with reader(tmp_path).source() as source:
                await source.read()
