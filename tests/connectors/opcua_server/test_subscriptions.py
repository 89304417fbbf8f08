"""Subscriptions as OPC 10000-4, 5.14 has them: keep-alives, lifetimes, repeats, take-overs, limits."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua
from asyncua.ua.uaerrors import (
    BadMessageNotAvailable,
    BadNoSubscription,
    BadResponseTooLarge,
    BadTooManyOperations,
    BadTooManyPublishRequests,
    UaStatusCodeError,
)

from plantgate.sdk import Sample
from plantgate.testing.clock import WallClock
from plantgate.testing.simloop import simulate
from plantgate_connectors.opcua_server.sessions import may_take_over
from plantgate_connectors.opcua_server.sink import OpcUaServerSink
from tests.connectors.opcua_server.serving import NOW, OPEN, Served, numbers, served
from tests.connectors.opcua_server.wire import HOST, PORT, Ended, Wire

A = ua.NodeId("line/a", 2)


def simulated(folder: Path, use: Callable[[Served], Awaitable[None]], **limits: Any) -> None:
    async def main() -> None:
        async with served(folder, {**OPEN, "limits": limits}, clock=WallClock(), port=PORT, host=HOST) as server:
            await server.show(*numbers("line/a", [1.0]))
            await use(server)
            await asyncio.sleep(1.0)

    simulate(main)


async def subscribed(wire: Wire, *, queue: int = 10, life: int = 30, beats: int = 5, node: ua.NodeId = A) -> int:
    create = ua.CreateSubscriptionRequest()
    create.Parameters.RequestedPublishingInterval = 100.0
    create.Parameters.RequestedLifetimeCount = ua.UInt32(life)
    create.Parameters.RequestedMaxKeepAliveCount = ua.UInt32(beats)
    create.Parameters.PublishingEnabled = True
    made = await wire.ask(create, ua.CreateSubscriptionResponse)
    number = int(made.Parameters.SubscriptionId)
    items = ua.CreateMonitoredItemsRequest()
    items.Parameters.SubscriptionId = ua.UInt32(number)
    items.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Both
    item = ua.MonitoredItemCreateRequest()
    item.ItemToMonitor = ua.ReadValueId(NodeId=node, AttributeId=ua.AttributeIds.Value)
    item.MonitoringMode = ua.MonitoringMode.Reporting
    item.RequestedParameters.ClientHandle = ua.UInt32(7)
    item.RequestedParameters.QueueSize = ua.UInt32(queue)
    item.RequestedParameters.DiscardOldest = True
    items.Parameters.ItemsToCreate = [item]
    results = (await wire.ask(items, ua.CreateMonitoredItemsResponse)).Results
    results[0].StatusCode.check()
    return number


async def published(wire: Wire, *acknowledged: tuple[int, int]) -> ua.PublishResult:
    request = ua.PublishRequest()
    request.Parameters.SubscriptionAcknowledgements = [
        ua.SubscriptionAcknowledgement(ua.UInt32(number), ua.UInt32(sequence)) for number, sequence in acknowledged
    ]
    async with asyncio.timeout(60.0):
        return (await wire.ask(request, ua.PublishResponse)).Parameters


def told(result: ua.PublishResult) -> list[object]:
    found = []
    for part in result.NotificationMessage.NotificationData:
        assert isinstance(part, ua.DataChangeNotification)
        found += [each.Value.Value.Value for each in part.MonitoredItems]
    return found


def test_news_come_at_the_interval_and_silence_is_told(tmp_path: Path) -> None:
    async def use(server: Served) -> None:
        wire = await Wire.logged_in()
        await subscribed(wire)
        loop = asyncio.get_running_loop()
        first = await published(wire)
        assert told(first) == [1.0]
        started = loop.time()
        quiet = await published(wire)
        assert told(quiet) == []
        assert quiet.NotificationMessage.SequenceNumber == first.NotificationMessage.SequenceNumber + 1
        assert 0.4 < loop.time() - started < 0.7
        await server.show(*numbers("line/a", [2.0, 3.0], NOW + 10**9))
        assert told(await published(wire)) == [2.0, 3.0]
        await wire.close()

    simulated(tmp_path, use)


def test_a_message_is_had_again_until_it_is_acknowledged(tmp_path: Path) -> None:
    async def use(server: Served) -> None:
        wire = await Wire.logged_in()
        number = await subscribed(wire)
        first = await published(wire)
        sequence = int(first.NotificationMessage.SequenceNumber)
        again = ua.RepublishRequest()
        again.Parameters.SubscriptionId = ua.UInt32(number)
        again.Parameters.RetransmitSequenceNumber = ua.UInt32(sequence)
        republished = await wire.ask(again, ua.RepublishResponse)
        assert republished.NotificationMessage == first.NotificationMessage
        await server.show(*numbers("line/a", [2.0], NOW + 10**9))
        second = await published(wire, (number, sequence), (number, 99), (77, 1))
        assert [each.name for each in second.Results] == [
            "Good",
            "BadSequenceNumberUnknown",
            "BadSubscriptionIdInvalid",
        ]
        with pytest.raises(BadMessageNotAvailable):
            await wire.ask(again, ua.RepublishResponse)
        await wire.close()

    simulated(tmp_path, use)


def test_without_a_certificate_nobody_takes_over_a_subscription(tmp_path: Path) -> None:
    async def use(server: Served) -> None:
        wire = await Wire.logged_in()
        number = await subscribed(wire)
        wire.writer.transport.abort()
        other = await Wire.logged_in()
        transfer = ua.TransferSubscriptionsRequest()
        transfer.Parameters.SubscriptionIds = [ua.UInt32(number)]
        answer = await other.ask(transfer, ua.TransferSubscriptionsResponse)
        assert answer.Parameters.Results[0].StatusCode.name == "BadUserAccessDenied"
        await other.close()

    simulated(tmp_path, use)


def test_a_subscription_nobody_asks_for_ends_with_its_lifetime(tmp_path: Path) -> None:
    async def use(server: Served) -> None:
        wire = await Wire.logged_in()
        await subscribed(wire, life=30)
        await asyncio.sleep(2.5)
        await published(wire)
        await asyncio.sleep(4.0)
        with pytest.raises(BadNoSubscription):
            await published(wire)
        assert server.connector.space.slots["line/a"].watchers == []
        await wire.close()

    simulated(tmp_path, use)


def test_a_session_that_falls_silent_is_closed_with_all_it_has(tmp_path: Path) -> None:
    async def use(server: Served) -> None:
        wire = await Wire.opened()
        await wire.log_in(timeout_ms=5000.0)
        await subscribed(wire, life=100_000)
        await asyncio.sleep(8.0)
        assert server.connector.space.slots["line/a"].watchers == []
        with pytest.raises((UaStatusCodeError, Ended)):
            await published(wire)
        await wire.close()

    simulated(tmp_path, use)


def test_too_many_publish_requests_cost_the_oldest(tmp_path: Path) -> None:
    async def use(server: Served) -> None:
        wire = await Wire.logged_in()
        await subscribed(wire)
        await published(wire)
        for _ in range(51):
            wire.send(ua.PublishRequest())
        with pytest.raises(BadTooManyPublishRequests):
            await wire.answer(ua.PublishResponse)
        await wire.close()

    simulated(tmp_path, use)


def test_what_is_asked_for_at_once_is_bounded(tmp_path: Path) -> None:
    async def use(server: Served) -> None:
        wire = await Wire.logged_in()
        request = ua.ReadRequest()
        one = ua.ReadValueId(NodeId=A, AttributeId=ua.AttributeIds.Value)
        request.Parameters.NodesToRead = [one] * 51
        with pytest.raises(BadTooManyOperations):
            await wire.ask(request, ua.ReadResponse)
        await wire.close()

    simulated(tmp_path, use, operations_max=50)


def test_monitored_items_beyond_the_limit_are_refused_one_by_one(tmp_path: Path) -> None:
    async def use(server: Served) -> None:
        wire = await Wire.logged_in()
        for _ in range(3):
            await subscribed(wire)
        with pytest.raises(UaStatusCodeError, match="BadTooManyMonitoredItems"):
            await subscribed(wire)
        with pytest.raises(UaStatusCodeError, match="BadTooManySubscriptions"):
            await subscribed(wire)
        await wire.close()

    simulated(tmp_path, use, monitored_items_max=3, subscriptions_max=4)


def test_an_answer_longer_than_the_client_takes_is_refused_and_a_value_too_long_is_named(tmp_path: Path) -> None:
    async def use(server: Served) -> None:
        await server.show(Sample("line/long", "x" * 200_000, 0, NOW))
        wire = await Wire.logged_in(message=100_000)
        request = ua.ReadRequest()
        long = ua.NodeId("line/long", 2)
        request.Parameters.NodesToRead = [ua.ReadValueId(NodeId=long, AttributeId=ua.AttributeIds.Value)]
        with pytest.raises(BadResponseTooLarge):
            await wire.ask(request, ua.ReadResponse)
        await subscribed(wire, node=long)
        result = await published(wire)
        (part,) = result.NotificationMessage.NotificationData
        (item,) = part.MonitoredItems
        assert item.Value.StatusCode.name == "BadEncodingLimitsExceeded"
        assert item.Value.Value.Value is None
        await wire.close()

    simulated(tmp_path, use)


def test_queues_of_all_clients_together_are_bounded(tmp_path: Path) -> None:
    async def use(server: Served) -> None:
        wire = await Wire.logged_in()
        await subscribed(wire, queue=1000, life=10_000)
        for second in range(200):
            await server.show(Sample("line/a", f"{second} " * 3_000, 0, NOW + second * 10**9))
        await asyncio.sleep(6.0)
        assert isinstance(server.sink, OpcUaServerSink)
        assert server.sink.meter.held < 150_000
        result = await published(wire)
        (part,) = result.NotificationMessage.NotificationData
        assert part.MonitoredItems[0].Value.StatusCode.value & 0x480 == 0x480
        await wire.close()

    simulated(tmp_path, use, queued_bytes_max=100_000)


def test_keys_that_have_run_out_are_refused_and_renewed_ones_taken(tmp_path: Path) -> None:
    async def use(server: Served) -> None:
        wire = await Wire.opened()
        await wire.open(renew=True, lifetime_ms=5000)
        await wire.log_in()
        old = wire.token
        for _ in range(4):
            await asyncio.sleep(4.0)
            await wire.open(renew=True, lifetime_ms=5000)
            await subscribed(wire)
        assert wire.token > old
        await asyncio.sleep(7.0)
        with pytest.raises(Ended):
            await subscribed(wire)
        await wire.close()

    simulated(tmp_path, use)


def test_after_a_renewal_the_old_keys_count_until_the_new_ones_are_used(tmp_path: Path) -> None:
    async def use(server: Served) -> None:
        wire = await Wire.logged_in()
        old = wire.token
        await wire.open(renew=True)
        new, wire.token = wire.token, old
        await subscribed(wire)
        wire.token = new
        await subscribed(wire)
        wire.token = old
        with pytest.raises(Ended):
            await subscribed(wire)
        await wire.close()

    simulated(tmp_path, use)


def test_only_the_same_user_of_the_same_client_takes_over_a_subscription() -> None:
    owner = ("user hmi", b"certificate")
    assert may_take_over("user hmi", b"certificate", owner)
    assert not may_take_over("user other", b"certificate", owner)
    assert not may_take_over("user hmi", b"another", owner)
    assert not may_take_over("anonymous", b"", ("anonymous", b""))
