"""Keeps what the server monitors equal to what was asked for, for as long as the session lives.

Trying once is how tags go missing for ever: a server refuses a subscription while it starts, a node appears when the
controller has loaded its program, a limit is met. Everything refused is asked for again, less and less often.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

from asyncua import ua
from asyncua.ua.uaerrors import UaStatusCodeError

from plantgate.sdk import Context, Unavailable
from plantgate_connectors.opcua.addressing import Resolution, resolve_again
from plantgate_connectors.opcua.alarms import Alarms
from plantgate_connectors.opcua.continuity import Continuity
from plantgate_connectors.opcua.failures import status_name, translated
from plantgate_connectors.opcua.filters import data_change_filter
from plantgate_connectors.opcua.inbox import Inbox
from plantgate_connectors.opcua.limits import batches
from plantgate_connectors.opcua.publish import Publisher
from plantgate_connectors.opcua.refusals import (
    ENDED,
    FILTER_REFUSED,
    FULL,
    GONE,
    NO_SUBSCRIPTION,
    RETRY,
    TOO_MUCH_AT_ONCE,
    Refusals,
)
from plantgate_connectors.opcua.session import Session
from plantgate_connectors.opcua.settings import OpcUaSettings
from plantgate_connectors.opcua.subscribe import Refused, subscribe
from plantgate_connectors.opcua.subscription import Subscription

LOOK_AGAIN_SECONDS: Final = 30.0
"""Between two looks for what patterns find and for namespaces that were not there."""
SAY_AGAIN_SECONDS: Final = 600.0
"""Between two lines about tags that are missing, while some are."""


class Reconciler:
    """One for each session. Run it; it returns never and raises `Unavailable` when the session is gone."""

    def __init__(
        self,
        session: Session,
        settings: OpcUaSettings,
        continuity: Continuity,
        inbox: Inbox,
        publisher: Publisher,
        alarms: Alarms,
        resolution: Resolution,
    ) -> None:
        self._session = session
        self._settings = settings
        self._continuity = continuity
        self._context: Context = session.context
        self._inbox = inbox
        self._publisher = publisher
        self._events = alarms
        self._resolution = resolution
        self._refusals = Refusals()
        self._plainer: Counter[int] = Counter()
        """How much of its filter an item had to give up: 1 the deadband, 2 all of it."""
        self._gone: Counter[int] = Counter()
        """How often an item reported that its node is gone."""
        self._subscription_refused = 0
        self._batch = session.limits.monitored_items_per_call
        self._said = -1
        self._said_at = 0.0
        self._looked = asyncio.get_running_loop().time()
        self._wait_seconds = 0.0

    async def begin(self) -> None:
        """Ask for everything once, so that whoever opens a session can count on what the server grants at once."""
        self._inbox.reconcile.clear()
        await self._drop_foreign()
        self._wait_seconds = await self._ask()
        await self._events.refresh(self._continuity.items)
        self._say()

    async def run(self) -> None:
        """Wait until something changes or is due, and ask again."""
        while True:
            wait = self._wait_seconds
            try:
                async with asyncio.timeout(wait):
                    await self._inbox.reconcile.wait()
            except TimeoutError:
                pass
            now = asyncio.get_running_loop().time()
            if now - self._looked >= LOOK_AGAIN_SECONDS and (self._settings.browse or self._resolution.waiting):
                self._looked = now
                self._resolution = await resolve_again(self._session, self._settings, self._resolution)
                self._continuity.items.want(self._resolution)
            await self.begin()

    async def _ask(self) -> float:
        """One pass; returns how long nothing is due."""
        loop = asyncio.get_running_loop()
        items = self._continuity.items
        vanished, self._inbox.vanished = self._inbox.vanished, set()
        surplus = [*items.surplus(), *(handle for handle in vanished if items.ids[handle])]
        if surplus:
            await self._delete(surplus)
        refusals = self._refusals
        missing = [handle for handle in items.missing() if refusals.due.get(handle, 0.0) <= loop.time()]
        if missing or not self._continuity.subscriptions:
            await self._continuity.keep_items()
            self._inbox.creating = True
            granted = await self._create(missing)
            self._inbox.creating = False
            if not granted:
                return RETRY.delay(self._subscription_refused - 1)
            await self._continuity.keep_items()
        elif surplus:
            await self._continuity.keep_items()
        waiting = self._settings.browse or self._resolution.waiting
        next_due = min(refusals.due.values(), default=math.inf) - loop.time()
        return max(0.05, min(next_due, LOOK_AGAIN_SECONDS if waiting else 3600.0))

    async def _create(self, handles: Sequence[int]) -> bool:
        """Put these into subscriptions; False if the server refuses a subscription."""
        left = list(handles)
        while left or not self._continuity.subscriptions:
            subscription = next((each for each in self._continuity.subscriptions.values() if not each.full), None)
            fresh = subscription is None
            if subscription is None:
                subscription = await self._subscribe()
            if subscription is None:
                return False
            self._publisher.start()
            if not left:
                return True
            before = len(left)
            left = await self._fill(subscription, left)
            if left and len(left) == before and fresh:
                await self._unsubscribe(subscription)
                now = asyncio.get_running_loop().time()
                for handle in left:
                    self._refusals.refused(handle, "the server monitors no more items", now)
                return True
        return True

    async def _subscribe(self) -> Subscription | None:
        """A new subscription; None if the server refuses one."""
        try:
            subscription = await subscribe(self._session, self._settings)
        except Refused as refusal:
            self._subscription_refused += 1
            if self._subscription_refused == 1:
                self._context.log.warning("the server refuses a subscription; asking again", status=str(refusal))
            self._context.standing.count("subscriptions_refused")
            return None
        if self._subscription_refused:
            self._context.log.info("the server granted a subscription")
        self._subscription_refused = 0
        self._inbox.adopt(subscription)
        return subscription

    async def _fill(self, subscription: Subscription, handles: list[int]) -> list[int]:
        """Create these items in it; returns what found no room. Other refusals are noted to be tried again."""
        start = 0
        while start < len(handles):
            some = handles[start : start + self._batch]
            try:
                results = await self._request(subscription.id, some)
            except UaStatusCodeError as error:
                if error.code in TOO_MUCH_AT_ONCE and self._batch > 1:
                    self._batch = max(1, len(some) // 2)
                    continue
                if error.code == NO_SUBSCRIPTION:
                    self._inbox.lost(subscription, "subscription lost")
                    return []
                if error.code == FULL:
                    subscription.full = True
                    return handles[start:]
                self._refuse(some, status_name(error.code))
                start += len(some)
                continue
            if len(results) != len(some):
                raise Unavailable(
                    f"{self._context.connection}: asked for {len(some)} monitored items, the server answers for"
                    f" {len(results)}; opening a new session"
                )
            no_room = self._note(subscription, some, results)
            start += len(some)
            if no_room:
                subscription.full = True
                return no_room + handles[start:]
        return []

    async def _request(self, subscription: int, handles: Sequence[int]) -> Sequence[ua.MonitoredItemCreateResult]:
        parameters = ua.CreateMonitoredItemsParameters()
        parameters.SubscriptionId = ua.UInt32(subscription)
        parameters.TimestampsToReturn = ua.TimestampsToReturn.Source
        parameters.ItemsToCreate = [await self._item(handle) for handle in handles]
        with translated(self._context, "create monitored items"):
            try:
                return await self._session.client.uaclient.session.create_monitored_items(parameters)
            except UaStatusCodeError as error:
                if error.code in ENDED:
                    raise
                refusal = error
        raise refusal

    async def _item(self, handle: int) -> ua.MonitoredItemCreateRequest:
        items = self._continuity.items
        request = ua.MonitoredItemCreateRequest()
        request.ItemToMonitor.NodeId = items.nodes[handle]
        request.MonitoringMode = ua.MonitoringMode.Reporting
        wanted = request.RequestedParameters
        wanted.ClientHandle = ua.UInt32(handle)
        event = items.events.get(handle)
        if event is not None:
            request.ItemToMonitor.AttributeId = ua.AttributeIds.EventNotifier
            wanted.QueueSize = ua.UInt32(self._settings.queue_size)
            plan = await self._events.plan(handle, event)
            wanted.Filter = plan.without_where() if self._plainer[handle] else plan.filter
            return request
        options = items.options[handle]
        assert options is not None
        request.ItemToMonitor.AttributeId = ua.AttributeIds.Value
        wanted.SamplingInterval = ua.Double(options.sampling_ms)
        wanted.QueueSize = ua.UInt32(options.queue_size)
        wanted.DiscardOldest = options.discard_oldest
        chosen = data_change_filter(options, self._plainer[handle] if self._plainer else 0)
        if chosen is not None:
            wanted.Filter = chosen
        return request

    def _note(
        self, subscription: Subscription, handles: Sequence[int], results: Sequence[ua.MonitoredItemCreateResult]
    ) -> list[int]:
        items, now = self._continuity.items, asyncio.get_running_loop().time()
        no_room = []
        for handle, result in zip(handles, results, strict=True):
            code = result.StatusCode.value
            if not code & 0x8000_0000:
                items.settle(handle, int(result.MonitoredItemId), subscription.id)
                self._refusals.granted(handle)
                self._events.made(handle)
                self._revised(handle, result)
            elif code == FULL:
                no_room.append(handle)
            elif code in FILTER_REFUSED and self._plainer[handle] < (1 if handle in items.events else 2):
                self._plainer[handle] += 1
                self._refusals.due[handle] = now
                self._refusals.times[handle] = 0
                self._refusals.why[handle] = status_name(code)
                self._context.standing.count("filters_refused")
            else:
                self._refusals.refused(handle, status_name(code), now)
        return no_room

    def _revised(self, handle: int, result: ua.MonitoredItemCreateResult) -> None:
        options = self._continuity.items.options[handle]
        if options is not None:
            if result.RevisedQueueSize < options.queue_size:
                self._context.standing.count("queues_shortened")
            if result.RevisedSamplingInterval > options.sampling_ms:
                self._context.standing.count("sampling_slowed")

    def _refuse(self, handles: Sequence[int], why: str) -> None:
        now = asyncio.get_running_loop().time()
        for handle in handles:
            self._refusals.refused(handle, why, now)

    async def _delete(self, handles: Sequence[int]) -> None:
        items = self._continuity.items
        homes = {
            home: [handle for handle in handles if items.homes[handle] == home]
            for home in {items.homes[handle] for handle in handles}
        }
        for home, members in homes.items():
            for some in batches(members, self._batch):
                parameters = ua.DeleteMonitoredItemsParameters()
                parameters.SubscriptionId = ua.UInt32(home)
                parameters.MonitoredItemIds = [ua.UInt32(items.ids[handle]) for handle in some]
                with translated(self._context, "delete monitored items"):
                    try:
                        await self._session.client.uaclient.session.delete_monitored_items(parameters)
                    except UaStatusCodeError as error:
                        self._context.log.info("monitored items not deleted", status=status_name(error.code))
                items.unsettle(some)
        now = asyncio.get_running_loop().time()
        for handle in handles:
            if handle in items.wanted:
                self._refusals.refused(handle, "the node is gone", now + GONE.delay(self._gone[handle]))
                self._gone[handle] += 1
                self._continuity.last.expect_present([handle])

    async def _unsubscribe(self, subscription: Subscription) -> None:
        self._continuity.bury(subscription)
        await self._delete_subscriptions([subscription.id])

    async def _drop_foreign(self) -> None:
        """Left behind by a process whose notes are gone: nobody would ever read or acknowledge them."""
        foreign = sorted(self._inbox.unknown)
        self._inbox.unknown.clear()
        if foreign:
            self._context.log.info("deleting subscriptions that nobody knows any more", count=len(foreign))
            await self._delete_subscriptions(foreign)

    async def _delete_subscriptions(self, ids: Sequence[int]) -> None:
        with translated(self._context, "delete subscriptions"):
            try:
                await self._session.client.uaclient.session.delete_subscriptions(list(ids))
            except UaStatusCodeError as error:
                self._context.log.info("subscriptions not deleted", status=status_name(error.code))

    def _say(self) -> None:
        standing, items = self._context.standing, self._continuity.items
        standing.desired = self._resolution.desired
        standing.monitored = items.monitored
        missing = standing.desired - standing.monitored
        if missing == self._said:
            return
        now = asyncio.get_running_loop().time()
        if self._said > 0 and missing and now - self._said_at < SAY_AGAIN_SECONDS:
            return
        self._said, self._said_at = missing, now
        if missing:
            reasons = Counter(self._refusals.why[handle] for handle in self._refusals.due if not items.ids[handle])
            first = [items.tags[handle] for handle in sorted(self._refusals.due)[:3]] or self._resolution.waiting[:3]
            self._context.log.warning(
                "tags are not monitored yet; asking again until they are",
                missing=missing,
                reasons=", ".join(f"{count} {why}" for why, count in reasons.most_common(3))
                or "their namespace is not there",
                first=first,
            )
        else:
            self._context.log.info("all tags are monitored", tags=standing.monitored)
