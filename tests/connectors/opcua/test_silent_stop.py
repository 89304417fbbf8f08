"""Connected, and nothing comes: the ways in which open gateways are known to fall silent, and this one does not."""

import asyncio
import gc
from collections.abc import Sequence
from pathlib import Path

import pytest
from asyncua import ua

from plantgate.sdk import Sample
from plantgate.testing.context import RecordedLog
from plantgate.testing.simloop import STARTS_AT, running
from tests.connectors.opcua.follower import Follower, following
from tests.connectors.opcua.plc import HOST, NAMESPACE, Plc, plc
from tests.connectors.opcua.plc_given import TAGS, watched

pytestmark = pytest.mark.simulated(seeds=3)


def reading(number: int, tags: Sequence[str] = TAGS) -> list[Sample]:
    return [Sample(tag, float(number), 0, STARTS_AT + number * 1_000_000) for tag in tags]


async def all_flow(device: Plc, seen: Follower, number: int, tags: Sequence[str] = TAGS) -> None:
    """A new value of every tag arrives."""
    await device.show(*reading(number, tags))
    for tag in tags:
        await seen.until_value(tag, float(number))


async def test_value_quality_and_time_are_the_devices_own(tmp_path: Path) -> None:
    async with plc(TAGS) as device, following(watched(), tmp_path) as seen:
        shown = [
            Sample("line1/a", 1.5, 0x40900000, STARTS_AT + 7_000),
            Sample("line1/b", None, 0x808C0000, STARTS_AT + 9_000),
            Sample("line1/c", -0.25, 0, STARTS_AT),
        ]
        await device.show(*shown)
        await seen.until(lambda: set(shown) <= set(seen.samples), "all samples")


async def test_a_refused_subscription_is_asked_for_until_it_is_granted(tmp_path: Path) -> None:
    async with plc(TAGS) as device, following(watched(), tmp_path) as seen:
        await all_flow(device, seen, 1)
        device.refuse("create_subscription", ua.StatusCodes.BadTooManySubscriptions, times=5)
        device.refuse("transfer_subscriptions", ua.StatusCodes.BadServiceUnsupported)
        await device.end_sessions()
        await all_flow(device, seen, 2)
        assert seen.context.standing.counters["subscriptions_refused"] == 5
        assert seen.context.standing.monitored == len(TAGS)
        assert seen.log.count("the server refuses a subscription; asking again") == 1


async def test_a_node_that_appears_late_is_monitored_when_it_does(tmp_path: Path) -> None:
    async with plc(TAGS, without=["line1/b"]) as device, following(watched(), tmp_path) as seen:
        await all_flow(device, seen, 1, ("line1/a", "line1/c"))
        standing = seen.context.standing
        assert (standing.desired, standing.monitored) == (3, 2)
        await asyncio.sleep(600)
        await device.add("line1/b")
        await all_flow(device, seen, 2)
        assert standing.monitored == standing.live == 3
        assert seen.sessions == 1


async def test_a_node_deleted_and_made_again_is_monitored_again(tmp_path: Path) -> None:
    async with plc(TAGS) as device, following(watched(), tmp_path) as seen:
        await all_flow(device, seen, 1)
        await device.report_gone("line1/b")
        await device.remove("line1/b")
        await asyncio.sleep(120)
        await all_flow(device, seen, 2, ("line1/a", "line1/c"))
        await device.add("line1/b")
        await all_flow(device, seen, 3)


async def test_a_server_back_with_another_namespace_order_gives_the_right_tags(tmp_path: Path) -> None:
    async with plc(TAGS) as device, following(watched(), tmp_path) as seen:
        await all_flow(device, seen, 1)
        before = device.index
        await device.end()
        await asyncio.sleep(20)
        await device.begin(before=("urn:other", "urn:another"))
        assert device.index != before
        await device.show(*(Sample(tag, 10.0 + place, 0, STARTS_AT + 9_000) for place, tag in enumerate(TAGS)))
        for place, tag in enumerate(TAGS):
            await seen.until_value(tag, 10.0 + place)


async def test_a_namespace_that_comes_late_is_found(tmp_path: Path) -> None:
    other = {"node": "nsu=urn:late;s=x", "tag": "late"}
    chosen = watched(tags=[{"node": f"nsu={NAMESPACE};s=line1/a", "tag": "line1/a"}, other])
    async with plc(TAGS) as device, following(chosen, tmp_path) as seen:
        await all_flow(device, seen, 1, ("line1/a",))
        assert seen.context.standing.desired == 2
        await device.add_elsewhere("urn:late", "x", 7.5)
        await seen.until_value("late", 7.5)
        assert seen.sessions == 1


async def test_too_many_publish_requests_slow_it_and_never_stop_it(tmp_path: Path) -> None:
    async with plc(TAGS) as device, following(watched(), tmp_path) as seen:
        await all_flow(device, seen, 1)
        device.refuse("publish", ua.StatusCodes.BadTooManyPublishRequests, times=6)
        for number in range(2, 12):
            await all_flow(device, seen, number)
            await asyncio.sleep(7)
        assert seen.sessions == 1


async def test_too_many_publish_requests_for_minutes_end_some_time(tmp_path: Path) -> None:
    async with plc(TAGS) as device, following(watched(), tmp_path) as seen:
        await all_flow(device, seen, 1)
        device.refuse("publish", ua.StatusCodes.BadTooManyPublishRequests, times=200)
        await all_flow(device, seen, 2)


async def test_a_session_timeout_of_one_second_is_kept(tmp_path: Path) -> None:
    async with plc(TAGS) as device:
        device.iserver.min_session_timeout_ms = device.iserver.max_session_timeout_ms = 1000.0
        async with following(watched(keepalive_seconds=60), tmp_path) as seen:
            await all_flow(device, seen, 1)
            await asyncio.sleep(600)
            await all_flow(device, seen, 2)
            assert seen.sessions == 1


async def test_a_publishing_interval_of_a_minute_where_a_tenth_of_a_second_was_asked_is_said_and_lived_with(
    tmp_path: Path,
) -> None:
    async with plc(TAGS) as device:
        device.publishing_ms_least = 60_000.0
        async with following(watched(), tmp_path) as seen:
            for number in range(1, 4):
                await all_flow(device, seen, number)
            [subscription] = device.subscriptions.values()
            assert subscription.data.RevisedMaxKeepAliveCount == 1, "silent no longer than one of its intervals"
            assert subscription.data.RevisedLifetimeCount == 60, "an hour, counted in minutes"
            await asyncio.sleep(3600)
            await all_flow(device, seen, 4)
            assert list(device.subscriptions.values()) == [subscription], "an hour without news is no silence"
            standing = seen.context.standing
            assert seen.sessions == 1
            assert "silent_subscriptions" not in standing.counters
            assert standing.counters["publishing_slowed"] == 1
            assert seen.gaps == []
            log = seen.context.log
            assert isinstance(log, RecordedLog)
            [facts] = [facts for _, event, facts in log.lines if "less often than asked" in event]
            assert facts == {"asked_ms": 100.0, "granted_ms": 60_000.0}
            device.mute_subscriptions()
            await asyncio.sleep(600)
            assert standing.counters["silent_subscriptions"] == 1, "and one that does fall silent is noticed"
            await all_flow(device, seen, 5)


async def test_published_once_a_minute_a_gap_waits_for_the_first_value_and_so_knows_its_end(tmp_path: Path) -> None:
    async with plc(TAGS) as device:
        device.publishing_ms_least = 60_000.0
        async with following(watched(), tmp_path) as seen:
            await all_flow(device, seen, 1)
            device.refuse("transfer_subscriptions", ua.StatusCodes.BadServiceUnsupported)
            await device.end_sessions()
            await all_flow(device, seen, 2)
            assert seen.sessions == 2
            [gap] = seen.gaps
            assert set(gap.tags) == set(TAGS)
            assert (gap.since, gap.until) == (STARTS_AT + 1_000_000, STARTS_AT + 2_000_000)


async def test_a_subscription_the_server_forgot_without_a_word_is_made_again(tmp_path: Path) -> None:
    async with plc(TAGS) as device, following(watched(), tmp_path) as seen:
        await all_flow(device, seen, 1)
        await device.forget_subscriptions()
        await device.show(*reading(2))
        await asyncio.sleep(30)
        await all_flow(device, seen, 3)
        assert any(gap.cause == "subscription lost" for gap in seen.gaps)
        assert {2.0, 3.0} & set(seen.values("line1/a"))


async def test_a_subscription_that_brings_nothing_is_replaced(tmp_path: Path) -> None:
    async with plc(TAGS) as device, following(watched(), tmp_path) as seen:
        await all_flow(device, seen, 1)
        device.mute_subscriptions()
        await asyncio.sleep(30)
        await all_flow(device, seen, 2)
        assert seen.context.standing.counters["silent_subscriptions"] == 1
        assert len(device.subscriptions) == 1


async def test_a_server_that_restarts_often_is_followed_each_time(tmp_path: Path) -> None:
    async with plc(TAGS) as device, following(watched(), tmp_path) as seen:
        for number in range(1, 8):
            await all_flow(device, seen, number)
            await device.end()
            await asyncio.sleep(number * 5)
            await device.begin()
        await all_flow(device, seen, 99)
        gaps = [gap for gap in seen.gaps if "line1/a" in gap.tags]
        assert len(gaps) >= 7
        assert all(gap.lost is None for gap in gaps), "nobody can know what happened at a server that was off"


@pytest.mark.simulated(seeds=1)
async def test_a_controller_off_for_sixty_hours_costs_no_memory_and_comes_back(tmp_path: Path) -> None:
    async with plc(TAGS) as device, following(watched(), tmp_path, keep=False) as seen:
        await device.show(*reading(1))
        await seen.until(lambda: seen.count >= len(TAGS), "first values")
        await device.end()
        running().network.refuse(HOST)
        await asyncio.sleep(10 * 3600)
        running().network.dialled.clear()
        early = _objects()
        await asyncio.sleep(50 * 3600)
        running().network.dialled.clear()  # the simulation's own list of attempts
        assert _objects() - early < 100, "some 6,000 attempts have left something behind"
        running().network.heal(HOST)
        await device.begin()
        await device.show(*reading(2))
        before = seen.count
        await seen.until(lambda: seen.count >= before + len(TAGS), "values after the weekend")
        assert seen.context.standing.monitored == len(TAGS)


def _objects() -> int:
    """How many containers are alive. Bytes would tell less: tables of weak sets grow and shrink by their own rules."""
    gc.collect()
    return len(gc.get_objects())
