"""Where something was lost on the way, what can be had is fetched, and what cannot be had is named."""

import asyncio
from pathlib import Path

import pytest
from asyncua import ua

from plantgate.sdk import Sample
from plantgate.testing.simloop import STARTS_AT, running
from tests.connectors.opcua.follower import Follower, following
from tests.connectors.opcua.plc import HOST, Plc, plc
from tests.connectors.opcua.plc_given import TAGS, watched

pytestmark = pytest.mark.simulated(seeds=3)


def sample(tag: str, number: int) -> Sample:
    return Sample(tag, float(number), 0, STARTS_AT + number * 1_000_000)


async def lose_one_message(device: Plc, seen: Follower, *, available: bool) -> None:
    """A message with new values is sent into a dead connection; only ``line1/c`` changes afterwards."""
    await device.show(*(sample(tag, 1) for tag in TAGS))
    for tag in TAGS:
        await seen.until_value(tag, 1.0)
    running().network.cut(HOST)
    await device.show(*(sample(tag, 2) for tag in TAGS))
    await asyncio.sleep(1.0)
    if not available:
        device.refuse("republish", ua.StatusCodes.BadMessageNotAvailable, times=100)
    running().network.reset(HOST)
    running().network.heal(HOST)
    await device.show(sample("line1/c", 3))
    await seen.until_value("line1/c", 3.0)


async def test_a_message_lost_on_the_wire_is_fetched_again(tmp_path: Path) -> None:
    async with plc(TAGS) as device, following(watched(), tmp_path) as seen:
        await lose_one_message(device, seen, available=True)
        assert [seen.values(tag)[-2:] for tag in TAGS] == [[1.0, 2.0], [1.0, 2.0], [2.0, 3.0]]
        assert [(gap.cause, gap.lost, gap.recovered > 0) for gap in seen.gaps] == [("connection lost", 0, True)]


async def test_a_message_that_is_gone_is_named_and_the_present_values_are_read(tmp_path: Path) -> None:
    """A change in a lost message is not reported twice: without a look, the last value would be wrong for ever."""
    async with plc(TAGS) as device, following(watched(), tmp_path) as seen:
        await lose_one_message(device, seen, available=False)
        await seen.until_value("line1/a", 2.0)
        await seen.until_value("line1/b", 2.0)
        named = {tag for gap in seen.gaps for tag in gap.tags}
        assert named == set(TAGS)
        assert {gap.lost for gap in seen.gaps} == {None}
        for tag in TAGS:
            times = [each.time for each in seen.samples if each.tag == tag and each.time is not None]
            assert times == sorted(set(times))


async def test_what_did_not_change_in_an_outage_is_no_gap(tmp_path: Path) -> None:
    async with plc(TAGS) as device, following(watched(), tmp_path) as seen:
        await device.show(*(sample(tag, 1) for tag in TAGS))
        await seen.until_value("line1/c", 1.0)
        await device.forget_subscriptions()
        await device.show(sample("line1/c", 2))
        await seen.until_value("line1/c", 2.0)
        await asyncio.sleep(10)
        assert [gap.tags for gap in seen.gaps] == [("line1/c",)]
        assert [each for each in seen.samples if each.value == 1.0].count(sample("line1/a", 1)) == 1


async def test_a_crash_of_the_gateway_is_a_gap_only_where_something_may_be_missing(tmp_path: Path) -> None:
    async with plc(TAGS) as device:
        async with following(watched(), tmp_path) as seen:
            await device.show(*(sample(tag, 1) for tag in TAGS))
            await seen.until_value("line1/c", 1.0)
            await asyncio.sleep(5)
        await device.end()
        await device.begin()
        await device.show(sample("line1/a", 1), sample("line1/b", 1), sample("line1/c", 9))
        async with following(watched(), tmp_path) as seen:
            await seen.until_value("line1/c", 9.0)
            await asyncio.sleep(10)
            assert {tag for gap in seen.gaps for tag in gap.tags} == {"line1/c"}
            assert {gap.cause for gap in seen.gaps} == {"gateway restarted"}


async def test_a_malformed_message_costs_a_gap_and_not_the_session(tmp_path: Path) -> None:
    async with plc(TAGS) as device, following(watched(), tmp_path) as seen:
        await device.show(*(sample(tag, 1) for tag in TAGS))
        await seen.until_value("line1/c", 1.0)
        device.corrupt_next_notification()
        await device.show(*(sample(tag, 2) for tag in TAGS))
        await seen.until_value("line1/a", 2.0)
        await device.show(*(sample(tag, 3) for tag in TAGS))
        await seen.until_value("line1/c", 3.0)
        assert seen.sessions == 1
        assert seen.context.standing.counters["malformed_messages"] >= 1
        assert {"malformed notification", "notifications lost"} & {gap.cause for gap in seen.gaps}


async def test_each_of_several_crashes_goes_on_where_the_one_before_was_accepted(tmp_path: Path) -> None:
    """It once kept positions only where items were created, so that the second restart fetched everything again."""
    async with plc(TAGS) as device:
        number = 0
        for _ in range(4):
            async with following(watched(), tmp_path) as seen:
                for _ in range(5):
                    number += 1
                    await device.show(*(sample(tag, number) for tag in TAGS))
                    await seen.until_value("line1/c", float(number))
                assert seen.context.standing.counters.get("republished_messages", 0) == 0
                assert seen.values("line1/a") == sorted(set(seen.values("line1/a")))
                assert {gap.lost for gap in seen.gaps} <= {0}
