"""A server while a flow is open: the parts, put together."""

import asyncio
import importlib.metadata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from plantgate.sdk import Batch, Context, Rejected
from plantgate_connectors.opcua_server.browsing import CONTINUED_MAX, Browsing
from plantgate_connectors.opcua_server.channel import Terms
from plantgate_connectors.opcua_server.door import Door, application_uri
from plantgate_connectors.opcua_server.endpoints import Endpoints, modes
from plantgate_connectors.opcua_server.kept import Kept
from plantgate_connectors.opcua_server.listener import Listener
from plantgate_connectors.opcua_server.monitored import Meter
from plantgate_connectors.opcua_server.publishing import Publishing
from plantgate_connectors.opcua_server.reading import Reading
from plantgate_connectors.opcua_server.services import Services
from plantgate_connectors.opcua_server.sessions import Sessions
from plantgate_connectors.opcua_server.settings import OpcUaServerSettings
from plantgate_connectors.opcua_server.space import Space
from plantgate_connectors.opcua_server.standard import Facts
from plantgate_connectors.opcua_server.suites import NONE_URI, SUITES
from plantgate_connectors.opcua_server.tree import FOLDERS_URI, TAGS_URI, Tree
from plantgate_connectors.opcua_server.users import Users

_COUNT_SECONDS: Final = 5.0


class OpcUaServerSink:
    """Takes batches into the address space; clients see them from there."""

    def __init__(self, space: Space, context: Context, meter: Meter) -> None:
        self._space = space
        self._context = context
        self.meter = meter
        """What waits for clients."""

    async def accept(self, batch: Batch) -> None:
        """Returns when the address space holds the values, and so every subscription that wants them.

        What cannot be shown is named in `Rejected`; the rest of its batch is shown all the same. Gaps are not shown.
        """
        refused = self._space.accept(batch, self._context.clock.now())
        if refused:
            more = f" (and {len(refused) - 1} more like it)" if len(refused) > 1 else ""
            raise Rejected(f"{self._context.connection}: {refused[0]}{more}")


@asynccontextmanager
async def opcua_server(settings: OpcUaServerSettings, context: Context, space: Space) -> AsyncIterator[OpcUaServerSink]:
    """Serve `space` while the context is. Entering listens, or raises `Unavailable`."""
    door = Door(settings, context)
    identity = await door.prepare()
    uri = application_uri(settings, context)
    limits, clock = settings.limits, context.clock.now
    terms = Terms(identity, modes(settings), door.admit, limits.message_bytes_max, limits.chunks_max)
    users = Users(settings.login, context, door, terms)
    endpoints = Endpoints(settings, identity, uri)
    endpoints.tokens = {suite.uri: users.policies(suite) for suite in SUITES}
    endpoints.tokens[NONE_URI] = users.policies(SUITES[-1])
    kept = Kept(context.folder, context.log)
    await kept.restore(space)
    for tag in settings.tags:
        space.known(tag)
    facts = Facts(
        application_uri=uri, namespaces=("http://opcfoundation.org/UA/", uri, TAGS_URI, FOLDERS_URI),
        version=importlib.metadata.version("plantgate"), started=clock(), now=clock,
        operations_max=limits.operations_max, continuation_points_max=CONTINUED_MAX,
    )  # fmt: skip
    tree = Tree(space, facts, root=settings.root)
    publishing = Publishing(limits, clock)
    sessions = Sessions(limits, context, terms, endpoints, users)
    sessions.evicted = lambda session: publishing.closed(session, delete=True)
    services = Services(
        sessions, publishing, Reading(tree, publishing, limits, clock), Browsing(tree), endpoints,
        clock=clock, operations_max=limits.operations_max,
    )  # fmt: skip
    listener = Listener(settings, context, terms, sessions, publishing, services)
    await listener.bind()
    try:
        async with asyncio.TaskGroup() as group:
            await listener.serve(group)
            tasks = (
                group.create_task(_keep(kept, space, settings.keep_seconds)),
                group.create_task(_count(context, space, listener)),
            )
            context.standing.up(port=settings.port, application_uri=uri)
            yield OpcUaServerSink(space, context, publishing.meter)
            for task in tasks:
                task.cancel()
            listener.stop()
    except BaseExceptionGroup as several:
        error = several.exceptions[-1]  # the flow's own, where it has one: what befalls a client is told, not raised
        raise error from error.__cause__
    finally:
        listener.stop()
        publishing.close()
        await kept.save(space)


async def _keep(kept: Kept, space: Space, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        await kept.save(space)


async def _count(context: Context, space: Space, listener: Listener) -> None:
    """For status and metrics: tags, those that a client watches, and what there has been since the start."""
    standing = context.standing
    while True:
        standing.live = len(space.slots)
        standing.monitored = sum(1 for slot in space.slots.values() if slot.watchers)
        standing.counters.update(
            clients=listener.accepted,
            sessions=listener.sessions.created,
            subscriptions=listener.publishing.created,
            repeats=space.repeats,
            retyped=space.retyped,
        )
        await asyncio.sleep(_COUNT_SECONDS)
