"""What is asked for and what the server grants become equal, within its limits, whatever it refuses first."""

import asyncio
from pathlib import Path

import pytest
from asyncua import ua

from plantgate.sdk import Sample
from plantgate.testing.simloop import STARTS_AT
from plantgate_connectors.opcua.settings import OpcUaSettings
from tests.connectors.opcua.follower import following
from tests.connectors.opcua.plant_given import settings
from tests.connectors.opcua.plc import NAMESPACE, URL, plc

pytestmark = pytest.mark.simulated(seeds=2)

TAGS = tuple(f"line1/t{number:03}" for number in range(60))


def watched(tags: tuple[str, ...] = TAGS, **given: object) -> OpcUaSettings:
    chosen: dict[str, object] = {
        "security": {"policy": "None"},
        "publishing_interval_ms": 100,
        "sampling_interval_ms": 0,
        "keepalive_seconds": 2,
        "tags": [{"node": f"nsu={NAMESPACE};s={tag}", "tag": tag} for tag in tags],
    }
    return settings(URL, **(chosen | given))


async def test_items_are_created_in_calls_of_the_size_the_limits_say(tmp_path: Path) -> None:
    chosen = watched(limits={"operations_per_call_max": 25})
    async with plc(TAGS) as device, following(chosen, tmp_path) as seen:
        await seen.until(lambda: seen.context.standing.monitored == len(TAGS), "all monitored")
        assert device.calls == [25, 25, 10]


async def test_a_server_that_takes_fewer_than_it_says_is_asked_in_smaller_calls(tmp_path: Path) -> None:
    async with plc(TAGS) as device:
        device.items_per_call_max = 8
        async with following(watched(), tmp_path) as seen:
            await seen.until(lambda: seen.context.standing.monitored == len(TAGS), "all monitored")
            assert max(device.calls[-5:]) <= 8
            assert len(device.calls) < 20


async def test_a_limit_of_items_per_subscription_leads_to_more_subscriptions(tmp_path: Path) -> None:
    async with plc(TAGS) as device:
        device.items_per_subscription_max = 25
        async with following(watched(), tmp_path) as seen:
            await seen.until(lambda: seen.context.standing.live == len(TAGS), "all live")
            assert len(device.subscriptions) == 3
            await device.show(*(Sample(tag, 7.5, 0, STARTS_AT) for tag in TAGS))
            for tag in TAGS:
                await seen.until_value(tag, 7.5)
            await device.end_sessions()
            await device.show(*(Sample(tag, 8.5, 0, STARTS_AT + 9_000) for tag in TAGS))
            for tag in TAGS:
                await seen.until_value(tag, 8.5)


async def test_a_server_that_is_full_is_asked_again_and_what_it_took_flows(tmp_path: Path) -> None:
    async with plc(TAGS) as device:
        device.items_per_subscription_max = 0
        async with following(watched(), tmp_path) as seen:
            await asyncio.sleep(120)
            assert seen.context.standing.monitored == 0
            assert seen.context.standing.desired == len(TAGS)
            assert len(device.subscriptions) <= 1, "subscriptions pile up"
            device.items_per_subscription_max = None
            await seen.until(lambda: seen.context.standing.live == len(TAGS), "all live")


async def test_a_refused_deadband_is_given_up_before_the_tag_is(tmp_path: Path) -> None:
    async with plc(TAGS[:3]) as device:
        device.takes_filters = False
        async with following(watched(TAGS[:3], deadband=0.5), tmp_path) as seen:
            await seen.until(lambda: seen.context.standing.live == 3, "all live")
            assert seen.context.standing.counters["filters_refused"] == 3


async def test_a_refused_trigger_is_given_up_too(tmp_path: Path) -> None:
    async with plc(TAGS[:3]) as device:
        device.takes_filters = False
        chosen = watched(TAGS[:3], deadband=0.5, trigger="status_value_timestamp")
        async with following(chosen, tmp_path) as seen:
            await seen.until(lambda: seen.context.standing.live == 3, "all live")
            assert seen.context.standing.counters["filters_refused"] == 6


async def test_a_whole_call_refused_is_tried_again(tmp_path: Path) -> None:
    async with plc(TAGS) as device:
        device.refuse("create_monitored_items", ua.StatusCodes.BadOutOfMemory, times=3)
        async with following(watched(), tmp_path) as seen:
            await seen.until(lambda: seen.context.standing.live == len(TAGS), "all live")
            assert seen.sessions == 1


async def test_tags_taken_out_of_the_plant_file_are_no_longer_monitored_and_others_go_on(tmp_path: Path) -> None:
    async with plc(TAGS[:4]) as device:
        async with following(watched(TAGS[:3]), tmp_path) as seen:
            await seen.until(lambda: seen.context.standing.live == 3, "all live")
        [before] = device.subscriptions
        async with following(watched(TAGS[1:4]), tmp_path) as seen:
            await seen.until(lambda: seen.context.standing.monitored == 3, "all monitored")
            assert list(device.subscriptions) == [before], "the subscription was not taken over"
            await device.show(*(Sample(tag, 7.5, 0, STARTS_AT) for tag in TAGS[:4]))
            for tag in TAGS[1:4]:
                await seen.until_value(tag, 7.5)
            assert 7.5 not in seen.values(TAGS[0])


async def test_missing_tags_are_told_once_and_so_is_their_return(tmp_path: Path) -> None:
    async with plc(TAGS[:3], without=TAGS[:1]) as device, following(watched(TAGS[:3]), tmp_path) as seen:
        await asyncio.sleep(300)
        await device.add(TAGS[0])
        await seen.until(lambda: seen.context.standing.monitored == 3, "all monitored")
        assert seen.log.count("tags are not monitored yet; asking again until they are") == 1
        assert seen.log.count("all tags are monitored") == 1
