"""One flow, running: its outbox, and the sessions that fill and empty it."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from plantgate.flow.deadletter import DeadLetterFile, setting_aside
from plantgate.flow.patient import patient
from plantgate.flow.pump import pump
from plantgate.flow.stop import Stop
from plantgate.observe.status import DestinationStatus, FlowStatus, OutboxStatus
from plantgate.observe.tracing import Span
from plantgate.runtime.rate import Rate
from plantgate.runtime.supervisor import Phase, Session, keep_running
from plantgate.sdk import Accept, Backoff, Batch, Connector, Context, GatewayError, Rejected, Settings, State
from plantgate.store.outbox import Outbox

RECONNECT: Final = Backoff(first_seconds=0.5, most_seconds=15.0)
"""Between the sessions of a connection."""
_FULL: Final = Backoff(first_seconds=0.05, most_seconds=2.0)
"""Between two offers to an outbox that is full."""


@dataclass(slots=True)
class Use:
    """One connection, as one flow uses it."""

    connection: str
    connector: Connector[Settings]
    context: Context


@dataclass(slots=True)
class _Delivery:
    use: Use
    set_aside: int = 0
    delivered: Rate = field(default_factory=Rate)


class FlowLine:
    """What `runtime.gateway` starts, ends and asks about. Everything that counts is counted once, where it happens."""

    def __init__(
        self,
        name: str,
        sources: list[Use],
        sinks: list[Use],
        *,
        outbox: Outbox,
        see: Callable[[Batch], None],
        span: Span,
    ) -> None:
        """`see` is shown every batch once it is accepted."""
        self.name = name
        self.sources = sources
        self.deliveries = [_Delivery(use) for use in sinks]
        self.outbox = outbox
        self._see, self._span = see, span
        self._accepted = 0
        self._gaps = 0
        self._lost = 0
        self._rate = Rate()

    def services(self) -> Iterator[tuple[str, Phase, Session]]:
        """Name, phase and service of each end; sinks first, so that they are ready when data comes."""
        for delivery in self.deliveries:
            yield (
                f"{self.name} → {delivery.use.connection}",
                Phase.SINKS,
                partial(self._keep, delivery.use, partial(self._deliver, delivery)),
            )
        for use in self.sources:
            yield (
                f"{use.connection} → {self.name}",
                Phase.SOURCES,
                partial(self._keep, use, partial(self._collect, use)),
            )

    async def _keep(self, use: Use, session: Session, stop: Stop) -> None:
        await keep_running(session, stop=stop, backoff=RECONNECT, standing=use.context.standing, log=use.context.log)

    async def _collect(self, use: Use, stop: Stop) -> None:
        letters = DeadLetterFile(use.context.folder / "dead-letters.jsonl")
        async with use.connector.source() as source:
            accept = setting_aside(self._accept, letters.accept, told=partial(self._told, use))
            await pump(source, patient(accept, backoff=_FULL, stop=stop), stop=stop)

    async def _deliver(self, delivery: _Delivery, stop: Stop) -> None:
        use = delivery.use
        letters = DeadLetterFile(use.context.folder / "dead-letters.jsonl")
        async with use.connector.sink() as sink:
            accept = setting_aside(
                self._traced("deliver", use.connection, sink.accept),
                letters.accept,
                told=partial(self._refused, delivery),
            )
            await pump(self.outbox.reader(use.connection), accept, stop=stop)

    async def _accept(self, batch: Batch) -> None:
        with self._span("accept", {"plantgate.flow": self.name, "plantgate.samples": len(batch)}):
            await self.outbox.accept(batch)
        self._accepted += len(batch)
        if batch.gaps:
            self._gaps += len(batch.gaps)
            self._lost += sum(gap.lost or 0 for gap in batch.gaps)
        self._see(batch)

    def _traced(self, name: str, destination: str, accept: Accept) -> Accept:
        async def accept_traced(batch: Batch) -> None:
            with self._span(
                name,
                {"plantgate.flow": self.name, "plantgate.destination": destination, "plantgate.samples": len(batch)},
            ):
                await accept(batch)

        return accept_traced

    def _refused(self, delivery: _Delivery, batch: Batch, error: Rejected) -> None:
        delivery.set_aside += len(batch)
        self._told(delivery.use, batch, error)

    def _told(self, use: Use, batch: Batch, error: Rejected) -> None:
        use.context.standing.count("set_aside_samples", len(batch))
        use.context.log.error("refused, written to the dead-letter file", samples=len(batch), reason=str(error))

    def status(self) -> FlowStatus:
        """The flow's figures now."""
        balance = self.outbox.balance()
        now = asyncio.get_running_loop().time()
        destinations = {}
        for delivery in self.deliveries:
            figures = balance[delivery.use.connection]
            destinations[delivery.use.connection] = DestinationStatus(
                accepted=figures.accepted,
                delivered=figures.delivered,
                queued=figures.queued,
                dropped=figures.dropped,
                set_aside=delivery.set_aside,
                difference=figures.difference,
                rate_out=delivery.delivered.seen(figures.delivered, now),
                behind_seconds=figures.behind_seconds,
            )
        return FlowStatus(
            sources=tuple(use.connection for use in self.sources),
            accepted=self._accepted,
            rate_in=self._rate.seen(self._accepted, now),
            gaps=self._gaps,
            lost=self._lost,
            destinations=destinations,
            outbox=OutboxStatus(bytes=self.outbox.bytes, bytes_max=self.outbox.bytes_max),
        )

    def failure(self) -> str | None:
        """Why its outbox can no longer be used; None while it can."""
        try:
            self.outbox.refuse_if_over()
        except GatewayError as error:
            return str(error)
        return None

    @property
    def sinks(self) -> list[Use]:
        """The uses it writes through."""
        return [delivery.use for delivery in self.deliveries]

    @property
    def finished(self) -> bool:
        """True once every source has come to its end and nothing is queued: a flow of files is then done."""
        return all(use.context.standing.state is State.STOPPED for use in self.sources) and all(
            figures.queued == 0 for figures in self.outbox.balance().values()
        )
