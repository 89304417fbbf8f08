"""What a host application makes of edge nodes that behave, and of those that do not."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk import Gap, Sample, Source, Unavailable
from plantgate.sdk.quality import BAD, BAD_DECODING, GOOD, UNCERTAIN, UNCERTAIN_LAST_USABLE
from plantgate.testing.simloop import running
from plantgate_connectors.sparkplug import Sparkplug
from plantgate_connectors.sparkplug.order import HELD_MOST
from plantgate_connectors.sparkplug.quality import UNCERTAIN_NO_COMMUNICATION
from tests.connectors.mqtt.given import eventually
from tests.connectors.sparkplug.fake_node import BOOLEAN, INT32, INT64, STRING, FakeNode
from tests.connectors.sparkplug.given import HOST, Twin, edge_node, sparkplug, twin
from tests.peers.sparkplug_proto import Payload

pytestmark = pytest.mark.simulated(seeds=2)

T0 = 1_767_225_600_000
STATE = "spBv1.0/STATE/scada"
NCMD = "spBv1.0/plant/NCMD/line"


@dataclass
class Host:
    """A host application, reading all the time."""

    device: Twin
    connector: Sparkplug
    node: FakeNode
    samples: list[Sample] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)

    async def settle(self, seconds: float = 0.2) -> None:
        """Until all that was sent is read."""
        await asyncio.sleep(seconds)

    def taken(self) -> list[tuple[str, Any, int]]:
        """(tag, value, quality) of what came since the last call."""
        found = [(sample.tag, sample.value, sample.quality) for sample in self.samples]
        self.samples.clear()
        return found

    def count(self, name: str) -> int:
        """A counter."""
        return self.connector.context.standing.counters.get(name, 0)

    def requests(self) -> int:
        """How often a birth was asked for."""
        return sum(message.topic == NCMD for message in self.device.came)

    async def read(self, source: Source) -> None:
        """For as long as the session lasts."""
        while True:
            batch = await source.read()
            self.samples += batch
            self.gaps += batch.gaps
            await source.ack(batch.cursor)


@asynccontextmanager
async def hosting(folder: Path, **subscribe: Any) -> AsyncIterator[Host]:
    """A session of it, beside an edge node that has not said anything yet."""
    async with twin() as device:
        connector = sparkplug(folder, subscribe={"host_id": "scada", **subscribe})
        host = Host(device, connector, FakeNode(device.broker))
        async with connector.source() as source:
            reading = asyncio.create_task(host.read(source))
            try:
                yield host
            finally:
                reading.cancel()
                await asyncio.wait([reading])


async def test_births_and_data_become_samples_of_announced_tags(tmp_path: Path) -> None:
    async with hosting(tmp_path) as host:
        node = host.node
        node.has("speed", value=1.5)
        node.has("temperature", device="press", datatype=INT32, value=-5)
        node.birth()
        node.data(("speed", 2.5), ("speed", 3.5), time=T0 + 1)
        node.data(("temperature", -6), device="press")
        await host.settle()
        assert {sample.time for sample in host.samples} == {T0 * 1_000_000, (T0 + 1) * 1_000_000}
        assert host.taken() == [
            ("plant/line/speed", 1.5, GOOD),
            ("plant/line/press/temperature", -5, GOOD),
            ("plant/line/speed", 2.5, GOOD),
            ("plant/line/speed", 3.5, GOOD),
            ("plant/line/press/temperature", -6, GOOD),
        ]
        assert host.gaps == []
        assert host.requests() == 0


async def test_a_rebirth_that_repeats_what_was_said_adds_nothing(tmp_path: Path) -> None:
    async with hosting(tmp_path) as host:
        host.node.has("speed", value=1.5)
        host.node.birth()
        host.node.birth()
        await host.settle()
        assert host.taken() == [("plant/line/speed", 1.5, GOOD)]


async def test_data_before_birth_is_named_and_a_birth_is_asked_for(tmp_path: Path) -> None:
    async with hosting(tmp_path) as host:
        node = host.node
        node.has("speed", value=1.5)
        node.seq = 7
        node.data(("speed", 2.5))
        node.data(("speed", 3.5))
        await host.settle(2)
        assert host.taken() == []
        assert [(gap.tags, gap.cause) for gap in host.gaps] == [
            (("plant/line/#",), "data before its birth certificate")
        ]
        assert host.requests() == 1
        asked = Payload.FromString(next(m.payload for m in host.device.came if m.topic == NCMD))
        assert [(m.name, m.datatype, m.boolean_value) for m in asked.metrics] == [("Node Control/Rebirth", 11, True)]
        assert not asked.HasField("seq")
        node.birth()
        node.data(("speed", 4.5))
        await host.settle()
        assert host.taken() == [("plant/line/speed", 1.5, GOOD), ("plant/line/speed", 4.5, GOOD)]


async def test_data_of_a_device_before_its_birth_is_named(tmp_path: Path) -> None:
    async with hosting(tmp_path) as host:
        node = host.node
        node.has("t", device="press", value=1.5)
        node.nbirth()
        node.data(("t", 2.5), device="press")
        await host.settle(2)
        assert host.taken() == []
        assert [gap.cause for gap in host.gaps] == ["data before its birth certificate"]
        assert host.requests() == 1


async def test_early_messages_wait_for_a_late_one(tmp_path: Path) -> None:
    async with hosting(tmp_path) as host:
        node = host.node
        node.has("speed", value=0.5)
        node.birth()
        for seq, value in ((2, 2.5), (3, 3.5), (1, 1.5), (4, 4.5)):
            node.seq = seq - 1
            node.data(("speed", value))
        await host.settle()
        assert [value for _, value, _ in host.taken()] == [0.5, 1.5, 2.5, 3.5, 4.5]
        await host.settle(10)
        assert host.gaps == []
        assert host.requests() == 0
        assert host.count("early_messages") == 2


async def test_a_message_that_never_comes_is_a_gap_doubt_and_a_rebirth(tmp_path: Path) -> None:
    async with hosting(tmp_path) as host:
        node = host.node
        node.has("speed", value=0.5)
        node.birth()
        node.data(("speed", 1.5))
        node.seq += 1
        node.data(("speed", 3.5))
        await host.settle(1)
        assert [value for _, value, _ in host.taken()] == [0.5, 1.5]
        await host.settle(3)
        assert host.taken() == [("plant/line/speed", 3.5, UNCERTAIN)]
        assert [(gap.tags, gap.since, gap.cause) for gap in host.gaps] == [
            (("plant/line/speed",), T0 * 1_000_000, "messages missing")
        ]
        assert host.requests() == 1
        node.birth()
        node.data(("speed", 4.5))
        await host.settle()
        assert host.taken()[-1] == ("plant/line/speed", 4.5, GOOD)
        assert len(host.gaps) == 1


async def test_the_number_goes_from_255_to_0_and_a_skip_there_is_seen(tmp_path: Path) -> None:
    async with hosting(tmp_path, reorder_seconds=1.0) as host:
        node = host.node
        node.has("speed", value=0.5)
        node.birth()
        for number in range(600):
            node.data(("speed", float(number)))
            await asyncio.sleep(0.001)
        await host.settle(2)
        assert [value for _, value, _ in host.taken()] == [0.5, *map(float, range(600))]
        assert host.gaps == []
        node.seq = 255
        node.birth()
        node.seq = 254
        node.data(("speed", 1.25))  # 255 after 0: far ahead is far behind
        node.data(("speed", 2.25))  # 0
        node.seq += 1  # 1 is skipped
        node.data(("speed", 3.25))  # 2
        await host.settle(3)
        assert [(value, quality) for _, value, quality in host.taken()][-3:] == [
            (1.25, UNCERTAIN),
            (2.25, UNCERTAIN),
            (3.25, UNCERTAIN),
        ]
        assert [gap.cause for gap in host.gaps] == ["messages missing"]


async def test_more_missing_than_can_be_waited_for_is_given_up_at_once(tmp_path: Path) -> None:
    async with hosting(tmp_path, reorder_seconds=600.0) as host:
        node = host.node
        node.has("speed", value=0.5)
        node.birth()
        node.seq += 1
        for number in range(HELD_MOST + 10):
            node.data(("speed", float(number)))
        await host.settle()
        values = [value for _, value, _ in host.taken()]
        assert values == [0.5, *map(float, range(HELD_MOST + 10))]
        assert len(host.gaps) == 1


async def test_a_death_makes_last_values_stale_once(tmp_path: Path) -> None:
    async with hosting(tmp_path) as host:
        node = host.node
        node.has("speed", value=1.5)
        node.has("t", device="press", value=2.5)
        node.birth()
        await host.settle()
        host.samples.clear()
        for _ in range(3):
            node.death()
        await host.settle()
        assert {sample.time for sample in host.samples} == {None}  # of when it died the plant says nothing
        assert host.taken() == [
            ("plant/line/speed", 1.5, UNCERTAIN_NO_COMMUNICATION),
            ("plant/line/press/t", 2.5, UNCERTAIN_NO_COMMUNICATION),
        ]
        assert host.count("deaths_of_other_lives") == 2
        node.bdseq += 1
        node.birth()
        await host.settle()
        assert host.taken() == [("plant/line/speed", 1.5, GOOD), ("plant/line/press/t", 2.5, GOOD)]


async def test_a_device_death_makes_its_tags_stale_at_the_time_it_says(tmp_path: Path) -> None:
    async with hosting(tmp_path) as host:
        node = host.node
        node.has("speed", value=1.5)
        node.has("t", device="press", value=2.5)
        node.birth()
        await host.settle()
        host.samples.clear()
        node.send("DDEATH", node.payload(), "press")
        await host.settle()
        assert [sample.time for sample in host.samples] == [T0 * 1_000_000]
        assert host.taken() == [("plant/line/press/t", 2.5, UNCERTAIN_NO_COMMUNICATION)]
        node.data(("speed", 3.5))
        await host.settle()
        assert host.taken() == [("plant/line/speed", 3.5, GOOD)]
        assert host.gaps == []


async def test_the_late_death_of_an_earlier_life_is_passed_over(tmp_path: Path) -> None:
    async with hosting(tmp_path) as host:
        node = host.node
        node.has("speed", value=1.5)
        node.birth()
        node.bdseq = 1
        node.birth()
        node.death(bdseq=0)
        node.data(("speed", 2.5))
        await host.settle()
        assert [value for _, value, _ in host.taken()] == [1.5, 2.5]
        assert host.count("deaths_of_other_lives") == 1
        assert host.gaps == []


async def test_a_birth_after_a_death_of_the_same_number_is_taken(tmp_path: Path) -> None:
    """Some edge nodes never count their connections."""
    async with hosting(tmp_path) as host:
        node = host.node
        node.has("speed", value=1.5)
        node.birth()
        node.death()
        node.birth()
        node.data(("speed", 2.5))
        await host.settle()
        assert host.taken()[-2:] == [("plant/line/speed", 1.5, GOOD), ("plant/line/speed", 2.5, GOOD)]


async def test_aliases_that_are_unknown_or_announced_twice_never_become_a_tag(tmp_path: Path) -> None:
    async with hosting(tmp_path) as host:
        node = host.node
        birth = node.payload(0)
        for name, alias in (("a", 1), ("b", 1), ("c", 2)):
            birth.metrics.add(name=name, alias=alias, datatype=10, timestamp=T0, double_value=0.5)
        node.send("NBIRTH", birth)
        for alias in (1, 99):
            data = node.payload()
            for _ in range(20):  # enough to be read as a run
                data.metrics.add(alias=alias, timestamp=T0, double_value=9.5)
            node.send("NDATA", data)
        await host.settle(2)
        assert [(tag, value) for tag, value, _ in host.taken()] == [(f"plant/line/{name}", 0.5) for name in "abc"]
        assert host.count("unknown_metrics") == 40
        assert [gap.cause for gap in host.gaps] == ["a metric that was not announced"]
        assert host.requests() == 1


async def test_an_alias_of_another_device_is_not_announced_here(tmp_path: Path) -> None:
    async with hosting(tmp_path) as host:
        node = host.node
        node.has("t", device="press", value=1.5)
        node.has("t", device="oven", value=2.5)
        node.birth()
        data = node.payload()
        data.metrics.add(alias=2, timestamp=T0, double_value=9.5)
        node.send("DDATA", data, "press")
        await host.settle(2)
        assert [value for _, value, _ in host.taken()] == [1.5, 2.5]
        assert host.count("unknown_metrics") == 1


async def test_values_that_are_not_of_their_type_are_bad_and_the_next_is_right(tmp_path: Path) -> None:
    async with hosting(tmp_path) as host:
        node = host.node
        node.has("flag", datatype=BOOLEAN, value=True)
        node.has("small", datatype=1, value=1)
        node.has("name", datatype=STRING, value="x")
        node.has("list", datatype=25, value=b"")
        node.has("bits", datatype=32, value=b"\0\0\0\0")
        node.has("odd", datatype=99)
        node.has("table", datatype=16)
        node.birth()
        await host.settle()
        host.samples.clear()
        data = node.payload()
        data.metrics.add(alias=1, timestamp=T0, double_value=1.0)
        data.metrics.add(alias=2, timestamp=T0, int_value=300)
        data.metrics.add(alias=3, timestamp=T0, long_value=7)
        data.metrics.add(alias=4, timestamp=T0, bytes_value=b"1234567")
        data.metrics.add(alias=5, timestamp=T0, bytes_value=b"\xff\xff\xff\xff\x01")
        data.metrics.add(alias=6, timestamp=T0, int_value=1)
        table = data.metrics.add(alias=7, timestamp=T0)
        table.dataset_value.num_of_columns = 2**40
        table.dataset_value.columns.append("a")
        table.dataset_value.types.append(3)
        data.metrics.add(alias=1, timestamp=T0)
        node.send("NDATA", data)
        node.data(("flag", False), ("small", -1 & 0xFF))
        await host.settle()
        taken = host.taken()
        assert {(value, quality) for _, value, quality in taken[:-2]} == {(None, BAD_DECODING)}
        assert len(taken) == 10
        assert taken[-2:] == [("plant/line/flag", False, GOOD), ("plant/line/small", -1, GOOD)]
        assert host.count("undecodable") == 8


async def test_what_is_no_payload_costs_a_gap_and_not_the_session(tmp_path: Path) -> None:
    async with hosting(tmp_path) as host:
        node = host.node
        node.has("speed", value=1.5)
        node.birth()
        for rubbish in (b"\x12\xff\xff\xff\xff\x0f", b"{}", b"\x12\x05\x4a\x03\x0a\x01a", b"\xff" * 20):
            node.payload()
            node.send("NDATA", rubbish)
        node.send("NBIRTH", b"\x12\x7f")
        node.send("NDEATH", b"\x12\x7f")
        node.data(("speed", 2.5))
        await host.settle(2)
        assert host.count("undecodable") == 6
        assert len(host.gaps) == 1
        node.birth()
        node.data(("speed", 3.5))
        await host.settle()
        assert host.taken()[-1] == ("plant/line/speed", 3.5, GOOD)


async def test_topics_of_no_sense_and_retained_messages_are_counted(tmp_path: Path) -> None:
    async with hosting(tmp_path) as host:
        broker, node = host.device.broker, host.node
        node.has("speed", value=1.5)
        for topic in (
            "spBv1.0/plant",
            "spBv1.0/plant/NDATA",
            "spBv1.0/plant/DDATA/line",
            "spBv1.0/plant/NDATA/line/press",
            "spBv1.0/plant/XDATA/line",
            "spBv1.0/plant/NDATA/",
            "spBv1.0/plant/DDATA/line/press/more",
        ):
            broker.publish(topic, b"")
        await host.settle()
        assert host.count("unroutable") == 7
    async with twin() as device:  # a broker that kept a birth, against the specification
        node = FakeNode(device.broker)
        node.has("speed", value=1.5)
        birth = node.payload(0)
        node.announce(birth, None)
        node.send("NBIRTH", birth, retain=True)
        connector = sparkplug(tmp_path, subscribe={"host_id": "scada"}, version="3.1.1")
        async with connector.source():
            await asyncio.sleep(1)
            assert connector.context.standing.counters["retained_ignored"] == 1


async def test_a_storm_of_unknown_edge_nodes_is_asked_with_jitter_and_a_cap(tmp_path: Path) -> None:
    async with hosting(tmp_path) as host:
        nodes = [FakeNode(host.device.broker, edge_node=f"n{number}", seq=3) for number in range(200)]
        for node in nodes:
            node.has("t")
            node.data(("t", 1.5))
        began = running().elapsed
        asked: list[float] = []
        before = host.device.broker.received

        def heard(message: Any) -> None:
            if "/NCMD/" in message.topic:
                asked.append(running().elapsed - began)
            if before is not None:
                before(message)

        host.device.broker.received = heard
        await asyncio.sleep(30)
        first = asked[:200]
        assert len(first) == 200
        assert all(sum(at <= moment < at + 1.0 for moment in first) <= 22 for at in range(10))
        assert first[-1] > 9.0


async def test_a_storm_of_wills_makes_every_tag_stale_once(tmp_path: Path) -> None:
    async with hosting(tmp_path) as host:
        nodes = [FakeNode(host.device.broker, edge_node=f"n{number}") for number in range(300)]
        for node in nodes:
            node.has(*(f"t{number}" for number in range(20)), value=1.5)
            node.birth()
        await host.settle(2)
        assert len(host.taken()) == 6_000
        for _ in range(3):
            for node in nodes:
                node.death()
        await host.settle(2)
        stale = host.taken()
        assert len(stale) == len({tag for tag, _, _ in stale}) == 6_000
        assert {(value, quality) for _, value, quality in stale} == {(1.5, UNCERTAIN_NO_COMMUNICATION)}
        assert host.requests() == 0
        assert host.gaps == []


async def test_an_edge_node_that_never_answers_is_asked_ever_more_seldom(tmp_path: Path) -> None:
    async with hosting(tmp_path, rebirth_seconds=10.0) as host:
        host.node.has("speed")
        host.node.seq = 3
        for _ in range(3600):
            host.node.data(("speed", 1.5))
            await asyncio.sleep(1)
        assert 14 <= host.requests() <= 20  # 10, 20, 40, 80, 160, then every 300 s
        assert len(host.gaps) == 1


async def test_a_host_that_may_not_ask_does_not(tmp_path: Path) -> None:
    async with hosting(tmp_path, request_rebirth=False) as host:
        host.node.has("speed")
        host.node.seq = 3
        host.node.data(("speed", 1.5))
        await host.settle(60)
        assert host.requests() == 0
        assert len(host.gaps) == 1


async def test_state_is_said_after_subscribing_and_taken_back_when_we_leave(tmp_path: Path) -> None:
    async with twin() as device:
        connector = sparkplug(tmp_path, subscribe={"host_id": "scada"})
        async with connector.source():
            said = [message for message in device.came if message.topic == STATE]
            assert [(message.qos, message.retain) for message in said] == [(1, True)]
            online = json.loads(said[0].payload)
            assert online["online"] is True
        await eventually(lambda: len([m for m in device.came if m.topic == STATE]) == 2)
        offline = json.loads(device.broker.retained()[STATE])
        assert offline["online"] is False
        assert offline["timestamp"] >= online["timestamp"]
        assert device.broker.counters["wills"] == 0

        async def vanish() -> None:
            async with connector.source():
                running().network.reset(HOST)
                await asyncio.sleep(60)

        with pytest.raises(Unavailable):
            await vanish()
        birth = json.loads([m for m in device.came if m.topic == STATE][-1].payload)
        will = json.loads(device.broker.retained()[STATE])
        assert will == {"online": False, "timestamp": birth["timestamp"]}


async def test_said_to_be_offline_the_host_says_that_it_is_not(tmp_path: Path) -> None:
    async with hosting(tmp_path) as host:
        (birth,) = [message for message in host.device.came if message.topic == STATE]
        await host.settle(2)
        for _ in range(50):  # somebody insists
            host.device.broker.publish(STATE, b'{"online": false, "timestamp": 1}', retain=True)
            await asyncio.sleep(0.1)
        await host.settle(2)
        said = [message for message in host.device.came if message.topic == STATE]
        assert 4 <= len(said) <= 8  # at once, and then once a second
        assert {message.payload for message in said} == {birth.payload}
        assert host.device.broker.retained()[STATE] == birth.payload


async def test_after_an_absence_a_gap_comes_before_anything_else_until_it_is_safe(tmp_path: Path) -> None:
    async with twin() as device:
        node = FakeNode(device.broker)
        node.has("speed", value=1.5)
        connector = sparkplug(tmp_path, subscribe={"host_id": "scada"})
        async with connector.source() as source:
            node.birth()
            batch = await source.read()
            await source.ack(batch.cursor)
        node.data(("speed", 2.5))
        for attempt in range(2):  # not acknowledged: told again
            async with connector.source() as source:
                batch = await source.read()
                assert [(gap.tags, gap.cause) for gap in batch.gaps] == [
                    (("plant/line/speed",), "the host application was away")
                ]
                if attempt:
                    node.obey()
                    node.data(("speed", 3.5))  # of the old life: nobody knows what its alias means now
                    await asyncio.sleep(3)
                    batch = await source.read()
                    assert list(zip(batch.tags, batch.values, strict=True)) == [("plant/line/speed", 1.5)]
        async with sparkplug(tmp_path, subscribe={"host_id": "scada"}).source() as source:  # after a restart
            batch = await source.read()
            assert [(gap.tags, gap.cause) for gap in batch.gaps] == [
                (("spBv1.0/+/#",), "the host application was away")
            ]


async def test_a_gap_begins_before_what_was_read_and_did_not_become_safe(tmp_path: Path) -> None:
    async with twin() as device:
        node = FakeNode(device.broker)
        node.has("speed", value=1.5)
        connector = sparkplug(tmp_path, subscribe={"host_id": "scada"})
        async with connector.source() as source:
            node.birth()
            batch = await source.read()
            await source.ack(batch.cursor)
            safe = batch.received
            await asyncio.sleep(60)
            node.data(("speed", 2.5))
            lost = await source.read()
            assert lost.values == [2.5]
        async with connector.source() as source:
            (gap,) = (await source.read()).gaps
        assert gap.since == safe < lost.received


async def test_a_plantgate_edge_node_is_read_exactly_and_its_repeats_are_dropped(tmp_path: Path) -> None:
    async with hosting(tmp_path / "host", tag="{device}/{metric}", node_tag="{metric}") as host:
        from tests.connectors.sparkplug.test_edge import batch

        given = batch(("press/a", 1.5), ("press/b", 2), ("press/a", 3.5), ("oven", True), ("press/c", [1, "x"]))
        given.qualities = [GOOD, BAD, UNCERTAIN_LAST_USABLE, 0x8031_0000, GOOD]
        given.times[0] = (given.times[0] or 0) + 999
        given.times[3] = None
        given.gaps = (Gap(("press/a", "oven"), 1_767_225_600_123_456_789, None, "session lost", 7, 2),)
        connector = edge_node(tmp_path / "edge")
        for _ in range(2):
            async with connector.sink() as sink:
                await sink.accept(given)
                await sink.accept(given)
        await host.settle(3)
        order = [0, 1, 2, 4, 3]  # device by device
        wanted = [list(given)[index] for index in order]
        assert [sample for sample in host.samples if sample.quality != UNCERTAIN_NO_COMMUNICATION][:5] == wanted
        assert host.count("repeats") == 15
        assert host.gaps[0] == given.gaps[0]


async def test_a_message_over_the_limit_is_named(tmp_path: Path) -> None:
    async with twin() as device:
        connector = sparkplug(tmp_path, subscribe={"host_id": "scada"}, message_bytes_max=1000)
        node = FakeNode(device.broker)
        node.has("text", datatype=STRING, value="x" * 2000)
        async with connector.source() as source:
            node.birth()
            batch = await source.read()
            assert [(gap.tags, gap.cause) for gap in batch.gaps] == [(("plant/line/#",), "message too large")]
            assert connector.context.standing.counters["oversized"] == 1


async def test_a_time_no_clock_shows_makes_a_value_uncertain(tmp_path: Path) -> None:
    async with hosting(tmp_path) as host:
        node = host.node
        node.has("speed", "count", value=1.5)
        node.birth()
        await host.settle()
        host.samples.clear()
        for time in (0, 2**63, T0 + 10 * 365 * 86_400_000):
            node.data(*(("speed", 2.5),) * 5, time=time)
        data = node.payload()
        data.metrics.add(alias=1, double_value=3.5)
        node.send("NDATA", data)
        await host.settle()
        found = [(sample.time, sample.quality) for sample in host.samples[::5]]
        assert found == [
            (0, GOOD),
            (None, UNCERTAIN),
            ((T0 + 10 * 365 * 86_400_000) * 1_000_000, UNCERTAIN),
            (None, GOOD),
        ]


async def test_only_the_named_groups_are_read(tmp_path: Path) -> None:
    async with hosting(tmp_path, groups=["plant", "other"]) as host:
        for group in ("plant", "other", "third"):
            node = FakeNode(host.device.broker, group=group)
            node.has("speed", datatype=INT64, value=1)
            node.birth()
        await host.settle()
        assert [tag for tag, _, _ in host.taken()] == ["plant/line/speed", "other/line/speed"]
