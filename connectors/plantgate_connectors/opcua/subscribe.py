"""Asks for a subscription whose silences and whose life are as long as the operator said, whatever interval it gets."""

import asyncio
from typing import Final

from asyncua import ua
from asyncua.ua.ua_binary import struct_from_binary
from asyncua.ua.uaerrors import UaStatusCodeError

from plantgate_connectors.opcua.failures import status_name, translated
from plantgate_connectors.opcua.refusals import ENDED
from plantgate_connectors.opcua.session import Session
from plantgate_connectors.opcua.settings import OpcUaSettings
from plantgate_connectors.opcua.subscription import Subscription

NOTIFICATIONS_MAX: Final = 10_000
"""Values in one message: few enough to stay far below the message limit, enough that messages are few."""
_STRETCHED: Final = 1.5
"""An interval revised by more than this share counts as another."""


class Refused(Exception):
    """The server grants no subscription now; says why."""


async def subscribe(session: Session, settings: OpcUaSettings) -> Subscription:
    """A new subscription, without items. Raises `Refused`, or `Unavailable` when the session is gone."""
    wanted = settings.publishing_interval_ms
    made = await _create(session, settings)
    interval = float(made.RevisedPublishingInterval)
    keepalives, lifetimes = int(made.RevisedMaxKeepAliveCount), int(made.RevisedLifetimeCount)
    if interval > _STRETCHED * wanted:
        _tell(session, wanted, interval)
        # Counts are in intervals: with longer ones the server would stay silent for as much longer.
        keepalives, lifetimes = await _count_anew(session, settings, made)
    return Subscription(
        int(made.SubscriptionId),
        interval / 1000,
        interval / 1000 * max(1, keepalives),
        interval / 1000 * max(1, lifetimes),
        heard=asyncio.get_running_loop().time(),
    )


def _tell(session: Session, wanted: float, granted: float) -> None:
    """Once in the life of the process; the counter goes on."""
    standing = session.context.standing
    if "publishing_slowed" not in standing.counters:
        session.context.log.warning(
            "the server publishes less often than asked; values arrive that much later, and queue_size must hold them",
            asked_ms=wanted,
            granted_ms=granted,
        )
    standing.count("publishing_slowed")


async def _create(session: Session, settings: OpcUaSettings) -> ua.CreateSubscriptionResult:
    request = ua.CreateSubscriptionRequest()
    parameters = request.Parameters
    parameters.RequestedPublishingInterval = ua.Double(settings.publishing_interval_ms)
    keepalives, lifetimes = _counts(settings, settings.publishing_interval_ms)
    parameters.RequestedMaxKeepAliveCount = ua.UInt32(keepalives)
    parameters.RequestedLifetimeCount = ua.UInt32(lifetimes)
    parameters.MaxNotificationsPerPublish = ua.UInt32(NOTIFICATIONS_MAX)
    parameters.PublishingEnabled = True
    protocol = session.client.uaclient.protocol
    with translated(session.context, "create a subscription"):
        if protocol is None:
            raise ConnectionError("the connection is closed")
        try:
            # asyncua's create_subscription would start its own publish loop.
            body = await protocol.send_request(request, settings.request_timeout_seconds)
        except UaStatusCodeError as error:
            if error.code in ENDED:
                raise
            raise Refused(status_name(error.code)) from error
        made: ua.CreateSubscriptionResult = struct_from_binary(ua.CreateSubscriptionResponse, body).Parameters
        return made


async def _count_anew(session: Session, settings: OpcUaSettings, made: ua.CreateSubscriptionResult) -> tuple[int, int]:
    parameters = ua.ModifySubscriptionParameters()
    parameters.SubscriptionId = made.SubscriptionId
    parameters.RequestedPublishingInterval = made.RevisedPublishingInterval
    keepalives, lifetimes = _counts(settings, made.RevisedPublishingInterval)
    parameters.RequestedMaxKeepAliveCount = ua.UInt32(keepalives)
    parameters.RequestedLifetimeCount = ua.UInt32(lifetimes)
    parameters.MaxNotificationsPerPublish = ua.UInt32(NOTIFICATIONS_MAX)
    with translated(session.context, "modify the subscription"):
        try:
            revised = await session.client.uaclient.session.update_subscription(parameters)
        except UaStatusCodeError as error:
            if error.code in ENDED:
                raise
            return int(made.RevisedMaxKeepAliveCount), int(made.RevisedLifetimeCount)
    return int(revised.RevisedMaxKeepAliveCount), int(revised.RevisedLifetimeCount)


def _counts(settings: OpcUaSettings, interval_ms: float) -> tuple[int, int]:
    """Keep-alive and lifetime in publishing intervals; the lifetime is thrice the other at least (OPC 10000-4)."""
    keepalives = max(1, round(settings.keepalive_seconds * 1000 / interval_ms))
    lifetimes = max(3 * keepalives, round(settings.lifetime_seconds * 1000 / interval_ms))
    return keepalives, min(lifetimes, 0xFFFF_FFFF)
