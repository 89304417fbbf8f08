"""Prometheus metrics, made from the status at the moment they are asked for: counting costs nothing in between."""

import itertools
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from plantgate.observe.status import DeedsStatus, GatewayStatus

_FLOW = ("flow", "destination")
_USE = ("connection", "flow", "role")


class _StatusCollector(Collector):
    def __init__(self, status: Callable[[], GatewayStatus]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        status = self._status()
        yield InfoMetricFamily("plantgate", "The gateway.", value={"plant": status.plant, "version": status.version})
        yield GaugeMetricFamily("plantgate_ready", "1 once every flow runs.", value=int(status.ready))
        yield CounterMetricFamily("plantgate_loop_stalls", "Times the event loop stood still.", value=status.stalls)
        yield from _flows(status)
        yield from _connections(status)
        yield from _cells(status)
        if status.deeds is not None:
            yield from _deeds(status.deeds)

    def describe(self) -> list[Metric]:
        return []


def _flows(status: GatewayStatus) -> Iterator[Metric]:
    accepted = CounterMetricFamily(
        "plantgate_flow_accepted_samples", "Samples accepted into the outbox by this process.", labels=["flow"]
    )
    gaps = CounterMetricFamily("plantgate_flow_gaps", "Gap records received from sources.", labels=["flow"])
    lost = CounterMetricFamily("plantgate_flow_lost_samples", "Samples named lost in gap records.", labels=["flow"])
    used = GaugeMetricFamily("plantgate_outbox_bytes", "Disk used by the outbox.", labels=["flow"])
    allowed = GaugeMetricFamily("plantgate_outbox_bytes_max", "Disk the outbox may use.", labels=["flow"])
    balance: list[tuple[CounterMetricFamily | GaugeMetricFamily, str]] = [
        (
            CounterMetricFamily(
                "plantgate_destination_accepted_samples", "In: owed to this destination.", labels=_FLOW
            ),
            "accepted",
        ),
        (CounterMetricFamily("plantgate_destination_delivered_samples", "Confirmed by it.", labels=_FLOW), "delivered"),
        (
            GaugeMetricFamily("plantgate_destination_queued_samples", "Safe on disk, on the way.", labels=_FLOW),
            "queued",
        ),
        (
            CounterMetricFamily(
                "plantgate_destination_dropped_samples", "Dropped by a limit, named in a gap.", labels=_FLOW
            ),
            "dropped",
        ),
        (
            CounterMetricFamily(
                "plantgate_destination_set_aside_samples", "Refused, in the dead-letter file.", labels=_FLOW
            ),
            "set_aside",
        ),
        (
            GaugeMetricFamily(
                "plantgate_destination_balance_difference",
                "in - delivered - queued - dropped; must be 0.",
                labels=_FLOW,
            ),
            "difference",
        ),
        (
            GaugeMetricFamily(
                "plantgate_destination_behind_seconds", "Age of the oldest undelivered batch.", labels=_FLOW
            ),
            "behind_seconds",
        ),
    ]
    for name, flow in status.flows.items():
        accepted.add_metric([name], flow.accepted)
        gaps.add_metric([name], flow.gaps)
        lost.add_metric([name], flow.lost)
        used.add_metric([name], flow.outbox.bytes)
        allowed.add_metric([name], flow.outbox.bytes_max)
        for destination, figures in flow.destinations.items():
            for family, field in balance:
                family.add_metric([name, destination], getattr(figures, field))
    yield from (accepted, gaps, lost, used, allowed)
    yield from (family for family, _ in balance)


def _connections(status: GatewayStatus) -> Iterator[Metric]:
    up = GaugeMetricFamily("plantgate_connection_up", "1 while the session stands.", labels=_USE)
    tags = [
        (GaugeMetricFamily(f"plantgate_connection_tags_{kind}", help_text, labels=_USE), kind)
        for kind, help_text in (
            ("desired", "Tags the plant file asks for."),
            ("monitored", "Tags the device has agreed to give."),
            ("live", "Tags that have given a value in this session."),
        )
    ]
    events = CounterMetricFamily(
        "plantgate_connection_events", "What the connector counts, by name.", labels=[*_USE, "event"]
    )
    for name, connection in status.connections.items():
        for use in connection.uses:
            labels = [name, use.flow, use.role]
            up.add_metric(labels, int(use.state == "up"))
            for family, kind in tags:
                family.add_metric(labels, getattr(use, kind))
            for event, count in use.counters.items():
                events.add_metric([*labels, event], count)
    yield up
    yield from (family for family, _ in tags)
    yield events


def _cells(status: GatewayStatus) -> Iterator[Metric]:
    up = GaugeMetricFamily("plantgate_cell_up", "1 while the cell's process runs and answers.", labels=["cell"])
    rest: list[tuple[CounterMetricFamily | GaugeMetricFamily, str]] = [
        (
            CounterMetricFamily("plantgate_cell_restarts", "Times it was lost and started again.", labels=["cell"]),
            "restarts",
        ),
        (CounterMetricFamily("plantgate_cell_stalls", "Of those: it had stood still.", labels=["cell"]), "stalls"),
        (GaugeMetricFamily("plantgate_cell_rss_bytes", "Memory its process takes.", labels=["cell"]), "rss_bytes"),
        (
            CounterMetricFamily("plantgate_cell_cpu_seconds", "Processor time of all its processes.", labels=["cell"]),
            "cpu_seconds",
        ),
    ]
    for name, cell in status.cells.items():
        up.add_metric([name], int(cell.state == "up"))
        for family, field in rest:
            family.add_metric([name], getattr(cell, field))
    yield up
    yield from (family for family, _ in rest)


def _deeds(deeds: DeedsStatus) -> Iterator[Metric]:
    from plantgate.control.loop import BOUNDS_MS  # late: only those who act pay for it

    yield CounterMetricFamily("plantgate_audit_entries", "Durable entries of the audit log.", value=deeds.entries)
    yield GaugeMetricFamily(
        "plantgate_audit_unpublished", "Entries under no signed checkpoint yet.", value=deeds.entries - deeds.published
    )
    writes = CounterMetricFamily("plantgate_writes", "Proposed writes, by how they ended.", labels=["standing"])
    for standing, count in deeds.answers.items():
        writes.add_metric([standing], count)
    yield writes
    loops = CounterMetricFamily("plantgate_loop_frames", "Pictures, by what came of them.", labels=["loop", "came"])
    took = HistogramMetricFamily("plantgate_loop_seconds", "From picture to outcome on record.", labels=["loop"])
    for name, loop in deeds.loops.items():
        for came in ("frames", "unreadable", "late", "decided", "done"):
            loops.add_metric([name, came], getattr(loop, came))
        sums = list(itertools.accumulate(loop.bins))
        bounds = [*(f"{bound / 1000:g}" for bound in BOUNDS_MS), "+Inf"]
        took.add_metric([name], list(zip(bounds, sums, strict=True)), sum_value=None)
    yield from (loops, took)
    yield GaugeMetricFamily("plantgate_writes_held", "Writes that may have happened.", value=deeds.held)
    yield GaugeMetricFamily("plantgate_writes_waiting", "Writes that wait for people.", value=deeds.waiting)
    stopped = GaugeMetricFamily("plantgate_stopped", "1 while nothing of it is written.", labels=["what"])
    for what in sorted({"everything", *deeds.stopped}):
        stopped.add_metric([what], int(what in deeds.stopped))
    yield stopped


def metrics_of(status: Callable[[], GatewayStatus]) -> Callable[[], bytes]:
    """A function that renders the metrics in the Prometheus text format, version 0.0.4."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_StatusCollector(status))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return lambda: generate_latest(registry)
