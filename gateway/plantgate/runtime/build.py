"""From the plant file to the parts that run; knows every room, and only `gateway` and the command line know it."""

from pathlib import Path

import structlog

from plantgate.config.model import Plant
from plantgate.flow.stop import Stop
from plantgate.observe.tap import Tap
from plantgate.observe.tracing import Span
from plantgate.runtime.flowline import FlowLine, Use
from plantgate.sdk import Clock, Context, Standing, SystemClock
from plantgate.store.outbox import Outbox


def context_for(plant: Plant, connection: str, flow: str, *, clock: Clock | None = None) -> Context:
    """What one use of a connection by one flow is lent; makes its folders."""
    log = structlog.get_logger().bind(connection=connection, flow=flow)
    folder = plant.store.folder / "connections" / connection / flow
    folder.mkdir(parents=True, exist_ok=True)
    return Context(
        connection=connection,
        folder=folder,
        site_folder=plant.store.folder,
        clock=clock or SystemClock(),
        log=log,
        standing=Standing(log),
    )


def use_of(plant: Plant, connection: str, flow: str, clock: Clock) -> Use:
    """The connector itself, built but not opened."""
    entry = plant.connections[connection]
    context = context_for(plant, connection, flow, clock=clock)
    return Use(connection, entry.connector(entry.settings, context), context)
