"""From the plant file to the parts that run; knows every room, and only `gateway` and the command line know it."""

from collections.abc import Callable

import structlog

from plantgate.config.model import Plant
from plantgate.observe.tracing import Span
from plantgate.runtime.cells.cells import Cells
from plantgate.runtime.flowline import FlowLine, Use
from plantgate.sdk import Batch, Clock, Context, Log, Standing, SystemClock
from plantgate.store.disk import Disk
from plantgate.store.limits import Limits, WhenFull
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


def use_of(plant: Plant, connection: str, flow: str, clock: Clock, cells: Cells | None) -> Use:
    """The connector itself, built but not opened; if it lives in a cell, what stands for it here."""
    entry = plant.connections[connection]
    context = context_for(plant, connection, flow, clock=clock)
    if cells is not None and (remote := cells.remote(plant, context, flow)) is not None:
        return Use(connection, remote, context)
    return Use(connection, entry.connector(entry.settings, context), context)


async def flow_line(
    plant: Plant,
    name: str,
    *,
    clock: Clock,
    see: Callable[[Batch], None],
    span: Span,
    disk: Disk | None = None,
    cells: Cells | None = None,
) -> FlowLine:
    """One flow of the plant, its outbox open, its sessions not yet begun.

    Raises `GatewayError` or `OSError` if the outbox cannot be opened.
    """
    flow = plant.flows[name]
    log = structlog.get_logger().bind(flow=name)
    limits = Limits(
        bytes_max=flow.outbox.bytes_max,
        age_max_seconds=flow.outbox.age_max_seconds,
        when_full=WhenFull(flow.outbox.when_full.value),
    )
    outbox = await Outbox.open(plant.outbox_folder(name), flow.destinations, limits=limits, clock=clock, disk=disk)
    try:
        for sentence in outbox.recovered:
            log.warning("outbox recovered", found=sentence)
        for gone in outbox.unclaimed:
            await _part_with(outbox, gone, released=gone in flow.outbox.release, log=log)
        return _line(plant, name, outbox, clock=clock, see=see, span=span, cells=cells)
    except BaseException:
        await outbox.close()
        raise


async def _part_with(outbox: Outbox, gone: str, *, released: bool, log: Log) -> None:
    """A destination that is no longer in the plant file: forgotten if nothing is queued for it, or if so told."""
    await outbox.add(gone)
    queued = outbox.balance()[gone].queued
    if released or not queued:
        await outbox.release(gone)
        log.warning("destination released", destination=gone, samples_given_up=queued)
    else:
        log.warning(
            "a destination that is no longer in the plant file still has samples queued; name it under `to` again, or "
            "under `outbox: release` to give them up",
            destination=gone,
            samples=queued,
        )


def _line(
    plant: Plant,
    name: str,
    outbox: Outbox,
    *,
    clock: Clock,
    see: Callable[[Batch], None],
    span: Span,
    cells: Cells | None,
) -> FlowLine:
    flow = plant.flows[name]
    return FlowLine(
        name,
        [use_of(plant, connection, name, clock, cells) for connection in flow.sources],
        [use_of(plant, connection, name, clock, cells) for connection in flow.destinations],
        outbox=outbox,
        see=see,
        span=span,
    )
