"""What a robot's state becomes: values of every package, qualities, and gaps that name what is missing."""

import asyncio
import itertools
from pathlib import Path

import pytest

from plantgate.sdk import Unavailable
from plantgate.sdk.quality import GOOD
from plantgate.testing.simloop import running
from plantgate_connectors.ur.quality import BAD_CONFIGURATION, BAD_NO_COMMUNICATION
from tests.connectors.ur.given import HOST, collect, lines, of, to_the_end, ur, watched
from tests.peers.ur_twin import robot

pytestmark = pytest.mark.simulated(seeds=3)

STATE = [
    {"field": "robot_mode", "tag": "mode"},
    {"field": "safety_status", "tag": "safety"},
    {"field": "runtime_state", "tag": "program"},
]


async def test_every_type_comes_as_it_is(tmp_path: Path) -> None:
    outputs = [
        {"field": "actual_TCP_pose", "tag": "pose", "shape": "spread"},
        {"field": "actual_q", "tag": "joints", "shape": "spread"},
        {"field": "actual_tool_accelerometer", "tag": "shake", "shape": "spread"},
        {"field": "target_TCP_pose", "tag": "target"},
        {"field": "joint_mode", "tag": "modes"},
        {"field": "actual_digital_input_bits", "tag": "bits"},
        {"field": "tool_output_mode", "tag": "tool"},
        {"field": "output_bit_register_64", "tag": "flag"},
        {"field": "output_int_register_30", "tag": "count"},
        {"field": "payload", "tag": "payload"},
        {"field": "input_double_register_47", "tag": "asked"},
    ]
    async with robot(HOST) as twin:
        twin.set("actual_TCP_pose", (0.1, -0.2, 0.3, 0.4, -0.5, 0.6))
        twin.set("actual_q", (1.0, 2.0, 3.0, 4.0, 5.0, 6.0))
        twin.set("actual_tool_accelerometer", (0.0, 0.0, -9.81))
        twin.set("target_TCP_pose", (1.0, 2.0, 3.0, 4.0, 5.0, float("inf")))
        twin.set("joint_mode", (255, 254, 253, 252, -1, 0))
        twin.set("actual_digital_input_bits", 2**64 - 1)
        twin.set("tool_output_mode", 255)
        twin.set("output_bit_register_64", True)
        twin.set("output_int_register_30", -(2**31))
        twin.set("payload", 1.25)
        async with ur(tmp_path, outputs=outputs).source() as source:
            batch = await collect(source, 1)
    got = {sample.tag: sample.value for sample in batch}
    assert [got[f"pose/{part}"] for part in ("x", "y", "z", "rx", "ry", "rz")] == [0.1, -0.2, 0.3, 0.4, -0.5, 0.6]
    assert [got[f"joints/{part}"] for part in ("base", "shoulder", "elbow", "wrist1", "wrist2", "wrist3")] == [
        *(1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    ]
    assert got["shake/z"] == -9.81
    assert got["target"] == [1.0, 2.0, 3.0, 4.0, 5.0, float("inf")]
    assert got["modes"] == [255, 254, 253, 252, -1, 0]
    assert (got["bits"], got["tool"], got["flag"], got["count"]) == (2**64 - 1, 255, True, -(2**31))
    assert (got["payload"], got["asked"]) == (1.25, 0.0)
    assert {sample.time for sample in batch} == {None}, "a robot gives no time, and none is made up"
    assert {sample.quality for sample in batch} == {GOOD}


async def test_the_controllers_seconds_are_a_tag_of_their_own(tmp_path: Path) -> None:
    async with robot(HOST), ur(tmp_path, outputs=[{"field": "timestamp", "tag": "on"}]).source() as source:
        batch = await collect(source, 10)
    seconds = [value for value, _ in of(batch, "on")]
    assert seconds == pytest.approx([seconds[0] + 0.1 * n for n in range(len(seconds))])  # type: ignore[operator]


async def test_stops_and_power_off_are_good_values_to_be_seen(tmp_path: Path) -> None:
    async with robot(HOST) as twin, ur(tmp_path, outputs=STATE).source() as source:
        await collect(source, 3)
        twin.protective_stop()
        stopped = await watched(source, 1.0)
        twin.emergency_stop()
        pressed = await watched(source, 1.0)
    assert of(stopped, "safety")[-1] == (3, GOOD)
    assert of(stopped, "program")[-1] == (4, GOOD)
    assert of(pressed, "safety")[-1] == (7, GOOD)
    assert of(pressed, "mode")[-1] == (3, GOOD)


async def test_a_lost_connection_makes_every_tag_bad_once_and_the_next_session_counts_what_is_missing(
    tmp_path: Path,
) -> None:
    async with robot(HOST) as twin:
        connector = ur(tmp_path, outputs=[{"field": "robot_mode", "tag": "mode"}, {"field": "payload", "tag": "load"}])
        async with connector.source() as source:
            await collect(source, 20)
            twin.drop()
            batch, reason = await to_the_end(source)
            assert f"{HOST}:30004" in reason
            assert of(batch, "load")[-1] == (None, BAD_NO_COMMUNICATION)
        await asyncio.sleep(5.0)
        async with connector.source() as source:
            batch = await collect(source, 2)
    [gap] = batch.gaps
    assert (gap.cause, set(gap.tags), gap.since, gap.until) == ("session lost", {"mode", "load"}, None, None)
    assert gap.lost is not None
    assert 2 * 48 <= gap.lost <= 2 * 54, "five seconds at ten a second, of two tags"


async def test_packages_that_the_controller_skips_are_a_gap_with_their_number(tmp_path: Path) -> None:
    outputs = [{"field": "timestamp", "tag": "on"}, {"field": "payload", "tag": "load"}]
    async with robot(HOST) as twin, ur(tmp_path, silence_seconds=10, outputs=outputs).source() as source:
        batch = await collect(source, 10)
        twin.freeze()
        await asyncio.sleep(2.05)
        twin.thaw()
        batch.extend(await watched(source, 2.0))
    seconds = [value for value, _ in of(batch, "on") if isinstance(value, float)]
    [jump] = [late - early for early, late in itertools.pairwise(seconds) if late - early > 0.15]
    [gap] = batch.gaps
    assert (gap.cause, gap.tags) == ("packages skipped", ("on", "load"))
    assert gap.lost == 2 * (round(jump / 0.1) - 1) == 2 * 19


async def test_nothing_is_called_missing_at_frequencies_that_do_not_divide_the_controllers(
    tmp_path: Path, seed: object
) -> None:
    frequency = {0: 30, 1: 300, 2: 7}[int(str(seed))]
    async with robot(HOST), ur(tmp_path, frequency_hz=frequency).source() as source:
        batch = await watched(source, 20.0)
    assert batch.gaps == ()
    assert len(batch) == pytest.approx(20 * frequency, rel=0.02)


async def test_a_controller_that_was_switched_off_and_on_leaves_a_gap_of_unknown_size(tmp_path: Path) -> None:
    async with robot(HOST) as twin:
        connector = ur(tmp_path)
        async with connector.source() as source:
            await collect(source, 5)
            twin.restart()
            await to_the_end(source)
        async with connector.source() as source:
            batch = await collect(source, 1)
    [gap] = batch.gaps
    assert (gap.cause, gap.lost) == ("controller restarted", None)


async def test_a_controller_that_has_been_on_for_longer_again_is_still_known_to_have_restarted(tmp_path: Path) -> None:
    async with robot(HOST) as twin:
        twin.restart()
        connector = ur(tmp_path)
        async with connector.source() as source:
            await collect(source, 5)
        await asyncio.sleep(3600.0)
        twin.restart()
        await asyncio.sleep(1800.0)
        async with connector.source() as source:
            batch = await collect(source, 1)
    [gap] = batch.gaps
    assert (gap.cause, gap.lost) == ("controller restarted", None), "an hour is missing, its clock says half of one"


async def test_a_gateway_that_was_stopped_leaves_a_gap(tmp_path: Path) -> None:
    async with robot(HOST):
        async with ur(tmp_path).source() as source:
            first = await collect(source, 3)
        async with ur(tmp_path).source() as source:
            second = await collect(source, 3)
    assert first.gaps == ()
    assert [(gap.cause, gap.lost) for gap in second.gaps] == [("gateway stopped", None)]


async def test_a_slow_outbox_costs_packages_that_are_counted_exactly(tmp_path: Path) -> None:
    async with robot(HOST) as twin:
        connector = ur(tmp_path, buffer_samples_max=20)
        async with connector.source() as source:
            await asyncio.sleep(10.0)
            before = twin.packages
            batch = await watched(source, 10.0)
            sent = twin.packages
    assert before > 90
    assert [gap.cause for gap in batch.gaps] == ["outbox slow"]
    lost = batch.gaps[0].lost
    assert lost is not None
    assert len(batch) + lost in (sent - 1, sent), "every package is there or counted; one can be under way"
    assert connector.context.standing.counters["packages_let_go"] == lost


async def test_a_field_that_the_controller_does_not_have_is_named_and_blinds_no_other(tmp_path: Path) -> None:
    outputs = [{"field": "payload", "tag": "load"}, {"field": "actual_tcp_pose", "tag": "typo"}, *STATE]
    async with robot(HOST) as twin:
        twin.absent.add("safety_status")
        connector = ur(tmp_path, outputs=outputs)
        async with connector.source() as source:
            batch = await watched(source, 1.0)
    assert of(batch, "typo") == of(batch, "safety") == [(None, BAD_CONFIGURATION)]
    assert len(of(batch, "load")) > 5
    told = {facts["field"]: facts["do"] for _, event, facts in lines(connector) if "no such field" in event}
    assert "capital letters" in str(told["actual_tcp_pose"])
    assert "5.4" in str(told["safety_status"])
    assert connector.context.standing.monitored == 3


async def test_an_older_controller_is_asked_for_no_more_than_it_can(tmp_path: Path) -> None:
    async with robot(HOST) as twin:
        twin.version = (3, 15, 8, 106339)
        connector = ur(tmp_path, frequency_hz=500)
        async with connector.source() as source:
            batch = await watched(source, 4.0)
    assert len(batch) == pytest.approx(500, abs=10)
    assert batch.gaps == ()
    assert any("slower than asked" in event for _, event, _ in lines(connector))


async def test_a_controller_without_protocol_two_is_unavailable_with_what_to_do(tmp_path: Path) -> None:
    async with robot(HOST) as twin:
        twin.protocols = (1,)
        with pytest.raises(Unavailable, match=r"PolyScope 3\.10, 5\.4"):
            async with ur(tmp_path).source():
                pass


@pytest.mark.parametrize("kind", ["V", "v", "O", "S"])
async def test_a_controller_that_does_not_answer_one_question_is_given_up(tmp_path: Path, kind: str) -> None:
    async with robot(HOST) as twin:
        twin.unanswered.add(kind)
        with pytest.raises(Unavailable, match="within 2 s"):
            async with ur(tmp_path).source():
                pass
        assert running().elapsed < 10


async def test_more_names_than_a_controller_takes_are_refused_with_what_to_do(tmp_path: Path) -> None:
    outputs = [
        {"field": f"output_{kind}_register_{number}", "tag": f"{kind}{number}"}
        for kind in ("double", "int")
        for number in range(48)
    ]
    async with robot(HOST):
        with pytest.raises(Unavailable, match="2048 bytes"):
            async with ur(tmp_path, outputs=outputs).source():
                pass


async def test_a_package_a_second_is_no_silence(tmp_path: Path) -> None:
    async with robot(HOST), ur(tmp_path, frequency_hz=1, silence_seconds=0.5).source() as source:
        batch = await watched(source, 20.0)
    assert len(batch) in (19, 20, 21)
    assert batch.gaps == ()
