"""The OPC UA source: a session, what it watches, and the batches that come of it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from asyncua import ua

from plantgate.sdk import Batch, Context, Unavailable
from plantgate_connectors.opcua.addressing import resolve
from plantgate_connectors.opcua.alarms import Alarms
from plantgate_connectors.opcua.assembly import Assembly
from plantgate_connectors.opcua.continuity import Continuity
from plantgate_connectors.opcua.failures import explain
from plantgate_connectors.opcua.inbox import Inbox
from plantgate_connectors.opcua.ladder import go_on
from plantgate_connectors.opcua.memory import Memory
from plantgate_connectors.opcua.mend import Mender
from plantgate_connectors.opcua.protection import Policy
from plantgate_connectors.opcua.publish import Publisher
from plantgate_connectors.opcua.reconcile import Reconciler
from plantgate_connectors.opcua.session import connect
from plantgate_connectors.opcua.settings import OpcUaSettings
from plantgate_connectors.opcua.values import Values
from plantgate_connectors.opcua.watch import watch


class OpcUaSource:
    """Gives what has arrived, merged, in order; what is not acknowledged the server keeps, or we do."""

    def __init__(
        self, continuity: Continuity, inbox: Inbox, publisher: Publisher, values: Values, assembly: Assembly
    ) -> None:
        self._continuity = continuity
        self._inbox = inbox
        self._publisher = publisher
        self._values = values
        self._assembly = assembly

    async def read(self) -> Batch:
        """Everything that is ready, up to a few thousand samples. Raises `Unavailable` when the session has ended."""
        again = self._continuity.unacknowledged.give_again()
        if again is not None:
            return again
        while True:
            self._inbox.wake.clear()
            batch = self._assembly.next()
            if batch is not None:
                self._publisher.top_up()
                return batch
            if self._values.definitions.unlearned:
                await self._values.definitions.learn()
                continue
            failure = self._inbox.failure
            if isinstance(failure, OSError | ua.UaError):
                raise unavailable(self._continuity.context, failure) from failure
            if failure is not None:
                raise failure
            await self._inbox.wake.wait()

    async def ack(self, cursor: str) -> None:
        """Kept at once; the server is told with the next publish request."""
        self._continuity.accepted(cursor)


@asynccontextmanager
async def opcua_source(settings: OpcUaSettings, context: Context, memory: Memory) -> AsyncIterator[OpcUaSource]:
    """Connect and watch; entering raises `Unavailable` if the server cannot be had."""
    continuity = memory.continuity()
    session = await connect(settings, context, continuity.resume)
    ended_by_us = False
    failure: Exception | None = None
    try:
        await continuity.keep_session(session.resume())
        inbox = Inbox(continuity, context)
        values = Values(session)
        alarms = Alarms(session, values)
        resolution = await resolve(session, settings)
        continuity.items.want(resolution)
        for problem in resolution.problems:
            context.log.warning("cannot be had as things are", problem=str(problem))
        publisher = Publisher(session.client, inbox, outstanding=settings.publish_requests, clock=context.clock)
        await go_on(session, continuity, inbox)
        await continuity.keep_items()  # from here on what is accepted is kept, also where nothing is to be created
        if continuity.subscriptions:
            publisher.start()
        await alarms.adopt(continuity.items)
        reconciler = Reconciler(session, settings, continuity, inbox, publisher, alarms, resolution)
        assembly = Assembly(settings, continuity, inbox, values, alarms)
        mender = Mender(session, settings, continuity, inbox, values.plain)
        context.standing.desired, context.standing.live = resolution.desired, 0
        await reconciler.begin()
        context.standing.up(server=session.limits.server, security=session.security)
        async with asyncio.TaskGroup() as group:
            services = (
                session.keep,
                reconciler.run,
                mender.run,
                partial(watch, session, continuity, inbox, publisher),
            )
            tasks = [group.create_task(_serve(service, inbox)) for service in services]
            try:
                yield OpcUaSource(continuity, inbox, publisher, values, assembly)
            except Exception as error:  # noqa: BLE001  raised again below: here the group would wrap it
                failure = error
            finally:
                publisher.pause()
                for task in tasks:
                    task.cancel()
        ended_by_us = inbox.failure is None
        if failure is not None:
            raise failure
    finally:
        continuity.remember()
        continuity.unacknowledged.session_over()
        if ended_by_us and _transferable(settings):
            await session.close(delete_subscriptions=False)
            continuity.forget_session()
        else:
            session.abandon()


def _transferable(settings: OpcUaSettings) -> bool:
    """Whether another session may take the subscriptions over: an anonymous user on an open channel may not (OPC
    10000-4, 5.14.7), so that its session is left standing to be picked up instead."""
    return settings.user is not None or settings.security.policy is not Policy.NONE


async def _serve(service: Callable[[], Coroutine[Any, Any, None]], inbox: Inbox) -> None:
    """A service's end is told to the reader, which is who can do something about it."""
    try:
        await service()
    except Unavailable as error:
        inbox.ended(error)
    except Exception as error:  # noqa: BLE001  raised again by the reader, in the flow's own session
        inbox.ended(error)


def unavailable(context: Context, error: Exception) -> Unavailable:
    """What ended a session, as an instruction."""
    sentence, pause = explain(error)
    return Unavailable(f"{context.connection}: {sentence}", retry_after_seconds=pause)
