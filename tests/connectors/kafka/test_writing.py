"""What is written quickly is what is written slowly: values of records, where they go, and the request for them."""

import json
import random
from typing import Any

import pytest
from aiokafka.protocol.produce import ProduceRequest

from plantgate.sdk import Batch, Value
from plantgate.sdk.quality import BAD, GOOD
from plantgate_connectors.kafka.partitioner import Keys, Partitioner, key_of, partition_of
from plantgate_connectors.kafka.payloads import Writer
from plantgate_connectors.kafka.producer import HEAD_BYTES, RECORD_OVERHEAD_BYTES, Record, lots_of
from plantgate_connectors.kafka.requests import Produce
from plantgate_connectors.kafka.spread import Spread
from plantgate_connectors.payloads.words import TimeFormat

NOW = 1_767_225_600_000_000_000
VALUES: list[Value] = [
    1.5,
    -0.0,
    float("nan"),
    7,
    2**63,
    True,
    None,
    'a\n"b"\r',
    "läuft\u2028",
    b"\n",
    [1, "\n"],
    {"a\n": None},
]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("time", list(TimeFormat))
def test_the_samples_of_a_batch_are_written_as_each_would_be_alone(seed: int, time: TimeFormat) -> None:
    luck = random.Random(f"each/{seed}")
    count = luck.choice((0, 1, 2, 50))
    batch = Batch(
        [luck.choice(("line/press", "käse\n/x", 'a"b', "half \ud800")) for _ in range(count)],
        [luck.choice(VALUES if seed % 2 else VALUES[:2]) for _ in range(count)],
        [luck.choice((GOOD, BAD, 0x8031_0000)) for _ in range(count)],
        [luck.choice((None, -1, 0, NOW, NOW + luck.randrange(10**12))) for _ in range(count)],
        origin="out\nbox",
        position=luck.choice((0, 99, 2**40)),
    )
    writer = Writer(time)
    together = writer.each(batch)
    assert len(together) == count
    for place, written in enumerate(together):
        some = slice(place, place + 1)
        alone = Batch(batch.tags[some], batch.values[some], batch.qualities[some], batch.times[some])
        alone.origin, alone.position = batch.origin, batch.position + place
        assert writer.each(alone) == [written]
        read = json.loads(written)
        assert (read["origin"], read["position"], read["code"]) == (
            batch.origin,
            batch.position + place,
            batch.qualities[place],
        )
        assert set(read) == {"origin", "position", "tag", "value", "quality", "code", "time"}


@pytest.mark.parametrize("version", range(8))
def test_the_request_is_laid_out_as_the_library_lays_it_out(version: int) -> None:
    luck = random.Random(f"produce/{version}")
    (struct,) = [each for each in ProduceRequest._CLASSES if version == each.API_VERSION]
    for _ in range(50):
        topics: list[tuple[str, list[tuple[int, bytes]]]] = [
            (
                luck.choice(("plant", "käse", "x" * 249)),
                [(luck.randrange(2**31), luck.randbytes(luck.choice((0, 1, 300)))) for _ in range(luck.randrange(4))],
            )
            for _ in range(luck.randrange(4))
        ]
        milliseconds = luck.randrange(2**31)
        theirs: Any = ProduceRequest(None, -1, milliseconds, topics)
        assert Produce(milliseconds, topics).build(struct).encode() == theirs.build(struct).encode()


def test_a_batch_goes_where_each_of_its_tags_would_go_alone_whatever_was_asked_before() -> None:
    luck = random.Random("spread")
    spread = Spread(Partitioner(5), Keys())
    for _ in range(300):
        tags = ["first", *(f"line/{luck.randrange(40)}" for _ in range(luck.choice((0, 3, 3, 20))))]
        ways = spread.of(tags)
        assert ways.keys == [key_of(tag) for tag in tags]
        assert sorted(place for places in ways.places.values() for place in places) == list(range(len(tags)))
        for partition, places in ways.places.items():
            assert list(places) == sorted(places)
            assert {partition_of(key_of(tags[place]), 5) for place in places} == {partition}
        tags[-1] = "changed later"  # what was asked about must not change what is remembered
        assert ways.tags != tags


@pytest.mark.parametrize("judged_here", [True, False])
def test_records_are_shared_out_in_order_and_only_what_fits_nowhere_is_left_out(judged_here: bool) -> None:
    luck = random.Random(f"lots/{judged_here}")
    most = 2_000
    for _ in range(100):
        records: list[Record] = [
            (b"k" * luck.randrange(9), luck.randbytes(luck.choice((1, 300, 1_800, 2_500))), number, "tag")
            for number in range(luck.randrange(12))
        ]
        refused: list[Record] = []
        lots = lots_of("t", 0, records, most, 10, refused.append if judged_here else None)

        def size(some: Any) -> int:
            return HEAD_BYTES + sum(len(key) + len(value) + RECORD_OVERHEAD_BYTES + 10 for key, value, _, _ in some)

        assert all(lot.records for lot in lots)
        assert all(size(lot.records) <= most or len(lot.records) == 1 for lot in lots)
        too_large = [record for record in records if size([record]) > most]
        assert refused == (too_large if judged_here else [])
        sent = [record for lot in lots for record in lot.records]
        assert sent == [record for record in records if not judged_here or record not in too_large]
