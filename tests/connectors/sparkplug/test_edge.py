"""What an edge node says, in which order, and what it does when asked."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk import Batch, Gap, Rejected, Sample, Unavailable
from plantgate.sdk.quality import BAD_DECODING, UNCERTAIN_LAST_USABLE
from plantgate.testing.clock import WallClock
from plantgate.testing.mqtt_packets import Message
from plantgate.testing.simloop import STARTS_AT, running
from plantgate_connectors.sparkplug.quality import BAD_WAITING
from tests.connectors.mqtt.given import eventually
from tests.connectors.sparkplug.given import HOST, Twin, edge_node, twin
from tests.peers.sparkplug_proto import Payload
from tests.peers.sparkplug_recording import Recording

pytestmark = pytest.mark.simulated(seeds=2)

NCMD = "spBv1.0/plant/NCMD/line"
STATE = "spBv1.0/STATE/scada"
VERSIONS = pytest.mark.parametrize("version", ["5", "3.1.1"])


def wall() -> int:
    """The simulated wall clock, ns UTC."""
    return WallClock().now()


def batch(*samples: tuple[str, Any], position: int = 0, received: int | None = None) -> Batch:
    """(tag, value) pairs a millisecond apart; received now unless said otherwise."""
    given = Batch.of(
        Sample(tag, value, 0, STARTS_AT + (position + index) * 1_000_000) for index, (tag, value) in enumerate(samples)
    )
    given.origin, given.position = "outbox", position
    given.received = wall() if received is None else received
    return given


def decoded(message: Message) -> Any:
    """A payload by Google's protobuf."""
    return Payload.FromString(message.payload)


def metrics(message: Message) -> dict[str, Any]:
    """By name."""
    return {metric.name: metric for metric in decoded(message).metrics}


def of_kind(device: Twin, *kinds: str) -> list[Message]:
    """The messages of these kinds."""
    return [
        message
        for message in device.came
        if message.topic.split("/")[0] == "spBv1.0" and message.topic.split("/")[2] in kinds
    ]


def rebirth(name: str = "Node Control/Rebirth", value: bool = True) -> bytes:
    """A command."""
    payload = Payload(timestamp=1)
    payload.metrics.add(name=name, datatype=11, boolean_value=value)
    return bytes(payload.SerializeToString())


async def with_twin(body: Callable[[Twin], Awaitable[None]], **options: Any) -> None:
    """Beside a broker twin."""
    async with twin(**options) as device:
        await body(device)


@VERSIONS
async def test_a_session_goes_from_birth_over_data_to_death(tmp_path: Path, version: str) -> None:
    async def body(device: Twin) -> None:
        async with edge_node(tmp_path, version=version).sink() as sink:
            assert device.kinds() == ["NBIRTH"]
            await sink.accept(batch(("press/t", 1.5), ("press/t", 2.5), ("alone", 7)))
            assert device.kinds() == ["NBIRTH", "NBIRTH", "DBIRTH press", "NDATA", "DDATA press", "NDATA"]
            await sink.accept(batch(("press/t", 3.5), position=3))
            assert device.kinds()[6:] == ["DDATA press"]
        await eventually(lambda: device.kinds()[-1] == "NDEATH")
        await asyncio.sleep(1)
        assert device.broker.counters["wills"] == (1 if version == "5" else 0)  # as either version has it
        sparkplug = [message for message in device.came if message.topic.startswith("spBv1.0/")]
        assert [decoded(message).seq for message in sparkplug[:-1]] == [0, 0, 1, 2, 3, 4, 5]
        assert not decoded(sparkplug[-1]).HasField("seq")
        assert {(message.qos, message.retain) for message in sparkplug[:-1]} == {(0, False)}
        assert all(decoded(message).timestamp for message in sparkplug[:-1])
        assert [(row.tag, row.value, row.number) for row in device.rows()] == [
            ("press/t", 1.5, 0),
            ("press/t", 2.5, 1),
            ("alone", 7, 2),
            ("press/t", 3.5, 3),
        ]

    await with_twin(body)


async def test_a_birth_announces_every_metric_with_name_alias_type_time_and_last_value(tmp_path: Path) -> None:
    async def body(device: Twin) -> None:
        async with edge_node(tmp_path).sink() as sink:
            await sink.accept(batch(("press/t", 1.5), ("press/n", 7), ("alone", "a")))
            device.broker.publish(NCMD, rebirth())
            await eventually(lambda: len(of_kind(device, "NBIRTH")) == 3)
            node, press = (metrics(message) for message in of_kind(device, "NBIRTH", "DBIRTH")[-2:])
            assert (node["bdSeq"].datatype, node["bdSeq"].long_value) == (4, 0)
            asked = node["Node Control/Rebirth"]
            assert (asked.datatype, asked.boolean_value, asked.HasField("alias")) == (11, False, False)
            assert (node["alone"].datatype, node["alone"].string_value) == (12, "a")
            assert (press["t"].datatype, press["t"].double_value) == (10, 1.5)
            assert (press["n"].datatype, press["n"].long_value) == (4, 7)
            assert press["t"].timestamp == STARTS_AT // 1_000_000
            assert all(metric.HasField("timestamp") for found in (node, press) for metric in found.values())
            aliases = [metric.alias for found in (node, press) for metric in found.values() if metric.HasField("alias")]
            assert len(set(aliases)) == len(aliases) == 3

    await with_twin(body)


async def test_data_carries_the_alias_and_neither_name_nor_type(tmp_path: Path) -> None:
    async def body(device: Twin) -> None:
        async with edge_node(tmp_path).sink() as sink:
            await sink.accept(batch(("press/t", 1.5)))
            (message,) = of_kind(device, "DDATA")
            (sample,) = (metric for metric in decoded(message).metrics if metric.HasField("alias"))
            assert not sample.HasField("name")
            assert not sample.HasField("datatype")
            assert sample.HasField("timestamp")

    await with_twin(body)


async def test_bdseq_counts_connections_over_restarts_and_round_again(tmp_path: Path) -> None:
    async def body(device: Twin) -> None:
        seen = []
        for _ in range(258):
            async with edge_node(tmp_path).sink():  # each another process: only the folder is left
                birth = metrics(of_kind(device, "NBIRTH")[-1])
            await eventually(lambda: bool(of_kind(device, "NDEATH")))
            death = metrics(of_kind(device, "NDEATH")[-1])
            assert death["bdSeq"].long_value == birth["bdSeq"].long_value
            seen.append(birth["bdSeq"].long_value)
            device.came.clear()
        assert seen == [*range(256), 0, 1]

    await with_twin(body)


@pytest.mark.parametrize("fault", ["reset", "drop"])
async def test_vanishing_makes_the_broker_say_the_death_of_this_birth(tmp_path: Path, fault: str) -> None:
    async def body(device: Twin) -> None:
        heard: list[Message] = []
        connector = edge_node(tmp_path)

        async def vanish() -> None:
            async with connector.sink():
                device.broker.route = lambda message: heard.append(message) or 1  # type: ignore[method-assign,func-returns-value]  # wills go this way
                running().network.reset(HOST) if fault == "reset" else device.broker.drop_connections()
                await asyncio.sleep(60)

        with pytest.raises(Unavailable):
            await vanish()
        wills = [message for message in heard if message.topic == "spBv1.0/plant/NDEATH/line"]
        assert [(message.qos, message.retain) for message in wills] == [(1, False)]
        assert metrics(wills[0])["bdSeq"].long_value == 0
        assert len(decoded(wills[0]).metrics) == 1

    await with_twin(body)


async def test_a_rebirth_is_a_whole_birth_with_the_same_bdseq(tmp_path: Path) -> None:
    async def body(device: Twin) -> None:
        async with edge_node(tmp_path).sink() as sink:
            await sink.accept(batch(("press/t", 1.5), ("oven/t", 2.5)))
            before = len(device.kinds())
            device.broker.publish(NCMD, rebirth())
            await eventually(lambda: len(device.kinds()) == before + 3)
            assert device.kinds()[before:] == ["NBIRTH", "DBIRTH press", "DBIRTH oven"]
            assert {metrics(message)["bdSeq"].long_value for message in of_kind(device, "NBIRTH")} == {0}
            await sink.accept(batch(("oven/t", 3.5), position=2))
            device.rows()  # numbered as they should be

    await with_twin(body)


async def test_a_storm_of_rebirth_requests_is_answered_once_a_second(tmp_path: Path) -> None:
    async def body(device: Twin) -> None:
        async with edge_node(tmp_path).sink():
            before = len(of_kind(device, "NBIRTH"))
            for _ in range(1_000):
                device.broker.publish(NCMD, rebirth())
                await asyncio.sleep(0.01)
            await asyncio.sleep(2)
            assert 9 <= len(of_kind(device, "NBIRTH")) - before <= 12

    await with_twin(body)


async def test_other_commands_retained_ones_and_rubbish_are_not_obeyed(tmp_path: Path) -> None:
    async def body(device: Twin) -> None:
        connector = edge_node(tmp_path)
        async with connector.sink():
            device.broker.publish(NCMD, rebirth("Node Control/Reboot"))
            device.broker.publish(NCMD, rebirth(value=False))
            device.broker.publish(NCMD, b"\x12\xff\xff\xff")
            device.broker.publish(NCMD, rebirth(), retain=True)
            await asyncio.sleep(5)
        async with connector.sink():  # the broker still has the retained one
            await asyncio.sleep(5)
        counters = connector.context.standing.counters
        assert counters["commands_refused"] == 2
        assert counters["undecodable"] == 1
        assert counters["births"] == 3  # the one rebirth was asked for while we listened
        assert len(of_kind(device, "NBIRTH")) == 3

    await with_twin(body)


async def test_commands_to_machines_are_logged_once_and_nothing_else_comes_of_them(tmp_path: Path) -> None:
    async def body(device: Twin) -> None:
        connector = edge_node(tmp_path)
        async with connector.sink() as sink:
            await sink.accept(batch(("press/t", 1.5)))
            before = len(device.came)
            for _ in range(10):
                device.broker.publish(NCMD, rebirth("t"))
                device.broker.publish(NCMD.replace("NCMD", "DCMD") + "/press", rebirth("t"))
            await asyncio.sleep(5)
            assert len(device.came) == before
        told = [said for said in connector.context.log.lines if "not obeyed" in said[1]]  # type: ignore[attr-defined]  # RecordedLog
        assert len(told) == 1
        assert connector.context.standing.counters["commands_refused"] == 10, "it does not listen to DCMD at all"

    await with_twin(body)


async def test_what_waited_is_historical_and_a_birth_follows_it(tmp_path: Path) -> None:
    async def body(device: Twin) -> None:
        early = wall() - 5_000_000_000
        async with edge_node(tmp_path).sink() as sink:
            await sink.accept(batch(("press/t", 1.5), received=early))
            await sink.accept(batch(("press/t", 2.5), position=1, received=early))
            births = len(of_kind(device, "NBIRTH"))
            await sink.accept(batch(("press/t", 3.5), position=2))
            assert [(row.value, row.historical) for row in device.rows()] == [(1.5, True), (2.5, True), (3.5, False)]
            assert len(of_kind(device, "NBIRTH")) == births + 1
            assert metrics(of_kind(device, "DBIRTH")[-1])["t"].double_value == 2.5  # the live value, until 3.5 came

    await with_twin(body)


async def test_when_nothing_live_follows_a_replay_the_last_values_are_announced_all_the_same(tmp_path: Path) -> None:
    async def body(device: Twin) -> None:
        async with edge_node(tmp_path).sink() as sink:
            await sink.accept(batch(("press/t", 1.5), received=wall() - 5_000_000_000))
            births = len(of_kind(device, "NBIRTH"))
            await asyncio.sleep(10)
            assert len(of_kind(device, "NBIRTH")) == births + 1
            assert metrics(of_kind(device, "DBIRTH")[-1])["t"].double_value == 1.5

    await with_twin(body)


async def test_a_batch_whose_confirmation_is_lost_comes_again_as_historical(tmp_path: Path) -> None:
    async def body(device: Twin) -> None:
        connector = edge_node(tmp_path)
        given = batch()

        async def deliver() -> None:
            async with connector.sink() as sink:
                given.extend(batch(("press/t", 1.5)))
                given.received = wall()
                device.broker.answer = lambda message: None if message.topic.startswith("plantgate/") else 0
                await sink.accept(given)

        with pytest.raises(Unavailable):
            await deliver()
        device.broker.answer = None
        await asyncio.sleep(1)
        async with connector.sink() as sink:
            await sink.accept(given)
        assert [(row.value, row.number, row.historical) for row in device.rows()] == [
            (1.5, 0, False),
            (1.5, 0, True),
        ]

    await with_twin(body)


async def test_data_that_was_only_sent_is_not_accepted(tmp_path: Path) -> None:

    async def body(device: Twin) -> None:
        async with edge_node(tmp_path).sink() as sink:
            await sink.accept(batch(("press/t", 1.5)))
            running().network.hold(HOST)
            accepting = asyncio.create_task(sink.accept(batch(("press/t", 2.5), position=1)))
            await asyncio.sleep(5)
            assert not accepting.done()
            running().network.heal(HOST)
            await accepting

    await with_twin(body)


async def test_quality_and_time_go_along_exactly(tmp_path: Path) -> None:
    async def body(device: Twin) -> None:
        given = batch(("press/a", 1.5), ("press/b", 2.5), ("press/c", 3.5), ("press/d", None))
        given.qualities[1:] = [UNCERTAIN_LAST_USABLE, 0x8031_0000, BAD_DECODING]
        given.times = [STARTS_AT + 123_456_789, STARTS_AT, None, STARTS_AT + 1]
        async with edge_node(tmp_path).sink() as sink:
            await sink.accept(given)
        assert device.samples() == list(given)
        (message,) = of_kind(device, "DDATA")
        found = [
            dict(zip(metric.properties.keys, metric.properties.values, strict=True))
            for metric in decoded(message).metrics
            if metric.HasField("alias")
        ]
        assert [properties["Quality"].int_value for properties in found if "Quality" in properties] == [500, 0, 0]
        assert {properties["Quality"].type for properties in found if "Quality" in properties} == {3}

    await with_twin(body)


async def test_without_exact_time_a_source_time_is_whole_milliseconds(tmp_path: Path) -> None:
    async def body(device: Twin) -> None:
        given = batch(("press/a", 1.5))
        given.times = [STARTS_AT + 123_456_789]
        async with edge_node(tmp_path, publish={"exact_time": False}).sink() as sink:
            await sink.accept(given)
        assert [sample.time for sample in device.samples()] == [STARTS_AT + 123_000_000]

    await with_twin(body)


async def test_a_tag_never_seen_and_a_tag_of_another_type_are_announced_first(tmp_path: Path) -> None:
    async def body(device: Twin) -> None:
        async with edge_node(tmp_path).sink() as sink:
            for position, value in enumerate((None, 1, 2.5, 3, "four", 5.0, [6], True)):
                await sink.accept(batch(("press/t", value), position=position))
            types = [metrics(message)["t"].datatype for message in of_kind(device, "DBIRTH")]
            assert types == [12, 4, 10, 14]  # String without value, Int64, Double, Text with JSON
            assert [row.value for row in device.rows()] == [None, 1, 2.5, 3, "four", 5.0, [6], True]

    await with_twin(body)


async def test_metrics_announced_before_a_restart_are_announced_after_it_without_value(tmp_path: Path) -> None:
    async def body(device: Twin) -> None:
        async with edge_node(tmp_path).sink() as sink:
            await sink.accept(batch(("press/t", 1.5)))
        device.came.clear()
        async with edge_node(tmp_path).sink():
            assert device.kinds() == ["NBIRTH", "DBIRTH press"]
            metric = metrics(of_kind(device, "DBIRTH")[0])["t"]
            assert (metric.datatype, metric.is_null) == (10, True)
            properties = dict(zip(metric.properties.keys, metric.properties.values, strict=True))
            assert properties["Quality"].int_value == 500
            assert properties["StatusCode"].long_value == BAD_WAITING

    await with_twin(body)


async def test_a_damaged_list_of_metrics_or_number_is_begun_anew(tmp_path: Path) -> None:
    async def body(device: Twin) -> None:
        connector = edge_node(tmp_path)
        (connector.context.folder / "metrics.json").write_bytes(b'[{"tag": 7')
        (connector.context.folder / "bdseq").write_bytes(b"\xff\xfe")
        async with connector.sink() as sink:
            await sink.accept(batch(("press/t", 1.5)))
        assert [row.value for row in device.rows()] == [1.5]

    await with_twin(body)


async def test_gaps_and_their_place_go_along_as_json(tmp_path: Path) -> None:
    async def body(device: Twin) -> None:
        given = batch(("press/t", 1.5), position=7)
        given.gaps = (Gap(("press/t",), STARTS_AT, None, "session lost", 3),)
        async with edge_node(tmp_path).sink() as sink:
            await sink.accept(given)
        recording = Recording()
        for message in device.came:
            recording.take(message.topic, message.payload)
        (gap,) = recording.gaps
        assert (gap["tags"], gap["cause"], gap["lost"]) == (["press/t"], "session lost", 3)
        silent = edge_node(tmp_path / "silent", publish={"gaps": False, "numbers": False})
        device.came.clear()
        async with silent.sink() as sink:
            await sink.accept(given)
        assert device.kinds()[:4] == ["NBIRTH", "NBIRTH", "DBIRTH press", "DDATA press"]
        assert [row.number for row in device.rows()] == [None]

    await with_twin(body)


async def test_a_batch_over_the_limit_is_split_and_a_value_over_it_is_rejected(tmp_path: Path) -> None:
    async def body(device: Twin) -> None:
        async with edge_node(tmp_path).sink() as sink:
            await sink.accept(batch(*((f"press/t{index % 7}", f"{index:0100}") for index in range(100))))
            assert len(of_kind(device, "DDATA")) > 2
            assert [row.number for row in device.rows()] == [*range(100)]
            with pytest.raises(Rejected, match=r"a value of press/t1 makes a message of \d+ bytes, the most is"):
                await sink.accept(batch(("press/t0", "a"), ("press/t1", "x" * 6000), position=100))
            await sink.accept(batch(("press/t0", "b"), position=102))
            assert [row.number for row in device.rows()][-2:] == [100, 102]

    await with_twin(body, packet_bytes_max=5_000)


async def test_a_birth_that_is_too_large_goes_without_values_or_says_what_to_do(tmp_path: Path) -> None:
    async def body(device: Twin) -> None:
        async with edge_node(tmp_path).sink() as sink:
            for index in range(8):
                await sink.accept(batch((f"press/t{index}", "x" * 1_000), position=index))
            assert metrics(of_kind(device, "DBIRTH")[-1])["t0"].is_null
            with pytest.raises(
                Unavailable, match=r"the DBIRTH of press with its 128 metrics takes .* publish.device_levels"
            ):
                await sink.accept(batch(*((f"press/{index}", 1) for index in range(120)), position=8))

    await with_twin(body, packet_bytes_max=6_000)


async def test_tags_are_placed_on_devices_and_never_two_on_one_metric(tmp_path: Path) -> None:
    async def body(device: Twin) -> None:
        tags = ["a/b/c", "a/b", "a", "a//b", "/a", "a/+/c", "x+/y", "bdSeq", "a/bdSeq", "plantgate/position", "", "é/ü"]
        for levels in (0, 1, 2):
            device.came.clear()
            publish = {"device_levels": levels}
            async with edge_node(tmp_path / str(levels), publish=publish).sink() as sink:
                await sink.accept(batch(*((tag, tag) for tag in tags)))
            births = of_kind(device, "NBIRTH", "DBIRTH")[1:]
            names = [(message.topic, name) for message in births for name in metrics(message)]
            assert len(names) == len(set(names))
            rows = [
                row
                for recording in [Recording(device_levels=levels)]
                for message in device.came
                for row in recording.take(message.topic, message.payload)
            ]
            assert {row.value for row in rows} == set(tags)

    await with_twin(body)


# The primary host.


async def test_with_a_primary_host_nothing_is_born_before_it_is_online(tmp_path: Path) -> None:
    async def body(device: Twin) -> None:
        connector = edge_node(tmp_path, publish={"primary_host": "scada"}, connect_seconds=5)
        with pytest.raises(Unavailable, match="the primary host 'scada' is not online; nothing is published until"):
            async with connector.sink():
                pass
        device.broker.publish(STATE, json.dumps({"online": False, "timestamp": 10}).encode(), retain=True)
        device.broker.publish(
            "spBv1.0/STATE/other", json.dumps({"online": True, "timestamp": 99}).encode(), retain=True
        )
        with pytest.raises(Unavailable, match="not online"):
            async with connector.sink():
                pass
        assert of_kind(device, "NBIRTH") == []
        device.broker.publish(STATE, json.dumps({"online": True, "timestamp": 11}).encode(), retain=True)
        async with connector.sink() as sink:
            await sink.accept(batch(("press/t", 1.5)))
        assert device.kinds()[0] == "NBIRTH"

    await with_twin(body)


async def test_when_the_primary_host_goes_offline_the_edge_node_dies_and_waits(tmp_path: Path) -> None:
    async def body(device: Twin) -> None:
        device.broker.publish(STATE, json.dumps({"online": True, "timestamp": 100}).encode(), retain=True)
        connector = edge_node(tmp_path, publish={"primary_host": "scada"}, connect_seconds=5)

        async def idle() -> None:
            async with connector.sink():
                for rubbish in (b"OFFLINE", b"{}", b'{"online": "no", "timestamp": 1e99}', b"\xff"):
                    device.broker.publish(STATE, rubbish)
                device.broker.publish(STATE, json.dumps({"online": False, "timestamp": 99}).encode())  # older: ignored
                await asyncio.sleep(10)
                assert of_kind(device, "NDEATH") == []
                device.broker.publish(STATE, json.dumps({"online": False, "timestamp": 100}).encode(), retain=True)
                await asyncio.sleep(60)

        with pytest.raises(Unavailable, match="the primary host 'scada' has gone offline"):
            await idle()
        await eventually(lambda: bool(of_kind(device, "NDEATH")))
        assert connector.context.standing.counters["old_states_ignored"] == 1
        with pytest.raises(Unavailable, match="not online"):
            async with connector.sink():
                pass

    await with_twin(body)


async def test_a_refused_confirmation_says_what_to_do_and_a_busy_broker_is_waited_for(tmp_path: Path) -> None:
    async def body(device: Twin) -> None:
        connector = edge_node(tmp_path)
        device.broker.answer = lambda message: 0x87 if message.topic.startswith("plantgate/") else 0
        with pytest.raises(Unavailable, match=r"not authorised .* or choose another publish.confirm_topic"):
            async with connector.sink():
                pass
        device.broker.answer = None
        async with connector.sink() as sink:
            await sink.accept(batch(("press/t", 1.5)))
            device.broker.answer = lambda message: 0x97 if message.topic.startswith("plantgate/") else 0
            with pytest.raises(Unavailable, match="quota"):
                await sink.accept(batch(("press/t", 2.5), position=1))
            device.broker.answer = None
            await sink.accept(batch(("press/t", 2.5), position=1))

    await with_twin(body)


async def test_cancelled_between_learning_a_tag_and_its_birth_the_birth_still_comes_first(tmp_path: Path) -> None:
    async def body(device: Twin) -> None:
        async with edge_node(tmp_path).sink() as sink:
            running().network.hold(HOST)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await sink.accept(batch(("press/t", 1.5)))
            running().network.heal(HOST)
            await sink.accept(batch(("press/t", 1.5)))
            assert {row.number for row in device.rows()} == {0}

    await with_twin(body)
