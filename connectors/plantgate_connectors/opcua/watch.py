"""Notices a subscription that has gone silent: connected, and nothing comes, is the failure nobody sees."""

import asyncio
from typing import Final

from asyncua import ua
from asyncua.ua.uaerrors import UaStatusCodeError

from plantgate.sdk import Unavailable
from plantgate_connectors.opcua.continuity import Continuity
from plantgate_connectors.opcua.failures import translated
from plantgate_connectors.opcua.inbox import Inbox
from plantgate_connectors.opcua.publish import Publisher
from plantgate_connectors.opcua.session import Session
from plantgate_connectors.opcua.subscription import Subscription

SILENT_INTERVALS: Final = 3
"""Keep-alives missed before something is done."""
_LOOK_SECONDS: Final = 1.0
_HOLD_SHARE: Final = 1 / 3
"""Of its lifetime: how often a subscription is told that we live, while we ask it for nothing."""


async def watch(session: Session, continuity: Continuity, inbox: Inbox, publisher: Publisher) -> None:
    """Never returns; raises `Unavailable` if nothing comes although the server answers."""
    loop = asyncio.get_running_loop()
    renewed = loop.time()
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        now = loop.time()
        publisher.top_up()
        subscriptions = list(continuity.subscriptions.values())
        if not publisher.outstanding and not inbox.room():
            # Held back: nothing is asked, so nothing can come, and the server's lifetime counter runs.
            for subscription in subscriptions:
                subscription.heard = now
            least = min((each.lifetime_seconds for each in subscriptions), default=0.0)
            if subscriptions and now - renewed >= least * _HOLD_SHARE:
                renewed = now
                await _tell(session, inbox, subscriptions)
            continue
        for subscription in subscriptions:
            silent = now - subscription.heard
            if silent > SILENT_INTERVALS * subscription.keepalive_seconds + 2 * _LOOK_SECONDS:
                await _rouse(session, continuity, inbox, subscription, silent)


async def _rouse(
    session: Session, continuity: Continuity, inbox: Inbox, subscription: Subscription, silent: float
) -> None:
    context = session.context
    context.standing.count("silent_subscriptions")
    await _tell(session, inbox, [subscription])
    if continuity.subscriptions.get(subscription.id) is not subscription:
        return
    # The server says it has it. Going on with it, here or in another session, would go on with the silence.
    context.log.warning("a subscription brings nothing, making a new one", silent_seconds=round(silent))
    inbox.unknown.setdefault(subscription.id, [])
    inbox.lost(subscription, "subscription silent")
    if context.standing.counters["silent_subscriptions"] % SILENT_INTERVALS == 0:
        continuity.forget_session()
        raise Unavailable(
            f"{context.connection}: connected, but subscription {subscription.id} has brought neither data nor"
            f" keep-alive for {silent:.0f} s; opening a new session"
        )


async def _tell(session: Session, inbox: Inbox, subscriptions: list[Subscription]) -> None:
    """Renews their lifetime; the server says which of them it no longer has."""
    parameters = ua.SetPublishingModeParameters()
    parameters.PublishingEnabled = True
    parameters.SubscriptionIds = [ua.UInt32(each.id) for each in subscriptions]
    with translated(session.context, "reach a subscription"):
        try:
            results = await session.client.uaclient.session.set_publishing_mode(parameters)
        except UaStatusCodeError:
            results = [ua.StatusCode(ua.UInt32(ua.StatusCodes.BadSubscriptionIdInvalid)) for _ in subscriptions]
    for subscription, result in zip(subscriptions, results, strict=False):
        if not result.is_good():
            inbox.lost(subscription, "subscription lost")
