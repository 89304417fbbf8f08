"""The running plant: starts flows, applies a new plan without touching what did not change, and says how all stands."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from plantgate import __version__
from plantgate.config.model import Plant
from plantgate.config.plan import Changes, changes, document
from plantgate.observe.status import ConnectionStatus, GatewayStatus, UseStatus
from plantgate.observe.tap import Tap
from plantgate.observe.tracing import Span, no_span
from plantgate.runtime.build import flow_line, use_of
from plantgate.runtime.cells.cells import Cells
from plantgate.runtime.cells.remote import Remote
from plantgate.runtime.flowline import FlowLine, Use
from plantgate.runtime.supervisor import Supervisor
from plantgate.sdk import Batch, Clock, GatewayError, Log, iso
from plantgate.store.disk import Disk

if TYPE_CHECKING:
    from plantgate.control.loop import Look
    from plantgate.runtime.deeds import Deeds


class Gateway:
    """Flows by name. One `apply` at a time; `status` at any moment."""

    def __init__(
        self,
        supervisor: Supervisor,
        *,
        clock: Clock,
        log: Log,
        tap: Tap,
        stalls: Callable[[], int],
        span: Span = no_span,
        disk: Disk | None = None,
        cells: Cells | None = None,
    ) -> None:
        self.plant: Plant | None = None
        self.not_applied = ""
        """Why the plant file as it is now was not applied; empty while it was."""
        self._supervisor = supervisor
        self._clock, self._log, self._tap, self._span, self._stalls = clock, log, tap, span, stalls
        self._disk, self._cells = disk, cells
        self._flows: dict[str, FlowLine] = {}
        self._deeds: Deeds | None = None
        self._no_deeds = ""
        """Why there is no audit log, and nothing is written to machines; empty where there is, or none is wanted."""
        self._failed: dict[str, str] = {}
        self._told: dict[str, str] = {}
        self._started = clock.now()
        self._applying = asyncio.Lock()

    async def apply(self, plant: Plant) -> Changes:
        """End what is gone or changed, start what is new or changed, leave the rest alone."""
        async with self._applying:
            difference = changes(self.plant, plant)
            retried = tuple(name for name in difference.unchanged if name in self._failed)
            for name in (*difference.removed, *difference.changed):
                await self._end(name)
            self.plant = plant
            self._failed, self.not_applied = {}, ""
            if self._cells is not None:
                await self._cells.apply(plant)
            if self._deeds is None:
                await self._begin_deeds(plant)
            else:
                self._say_what_stays(self._deeds, plant)
            for name in (*difference.added, *difference.changed, *retried):
                await self._start(name, plant)
            return difference

    async def close(self) -> None:
        """End every flow, sources before sinks over the whole plant, then close the outboxes."""
        names = [service for line in self._flows.values() for service, _, _ in line.services()]
        if self._deeds is not None:
            names += [service for service, _, _ in self._deeds.services()]
        await self._supervisor.end(tuple(names))
        for line in self._flows.values():
            await self._put_away(line)
        self._flows.clear()
        if self._deeds is not None:
            await self._put_deeds_away(self._deeds)
        if self._cells is not None:
            await self._cells.close()

    async def mend(self) -> None:
        """Open anew what failed: an outbox whose disk gave an error (it recovers itself), a flow that did not start."""
        async with self._applying:
            assert self.plant is not None
            for name, line in tuple(self._flows.items()):
                if (failure := line.failure()) is not None:
                    self._log.error("outbox failed, opening it again", flow=name, reason=failure)
                    await self._end(name)
                    self._failed[name] = f"flow {name}: {failure}"
            if self._deeds is None:
                await self._begin_deeds(self.plant)
            for name in tuple(self._failed):
                del self._failed[name]
                await self._start(name, self.plant)

    @property
    def finished(self) -> bool:
        """True once every flow's sources have ended and everything is delivered (files; never for a PLC)."""
        return bool(self._flows) and not self._failed and all(line.finished for line in self._flows.values())

    def plan(self) -> dict[str, object]:
        """The running plant file as a document, secrets as their references."""
        return document(self.plant) if self.plant is not None else {}

    def looks(self) -> dict[str, "tuple[Look, ...]"]:
        """The last pictures of every closed loop."""
        return self._deeds.looks() if self._deeds is not None else {}

    def status(self) -> GatewayStatus:
        """How everything stands now."""
        assert self.plant is not None
        uses: dict[str, list[UseStatus]] = {name: [] for name in self.plant.connections}
        for line in self._flows.values():
            for role, used in (("source", line.sources), ("sink", line.sinks)):
                for use in used:
                    uses[use.connection].append(_use_status(use, line.name, role))
        for use in self._deeds.uses if self._deeds is not None else ():
            uses[use.connection].append(_use_status(use, "control", "actuator"))
        for use in self._deeds.cameras if self._deeds is not None else ():
            uses[use.connection].append(_use_status(use, "control", "camera"))
        troubles = self._cells.troubles if self._cells is not None else ()
        return GatewayStatus(
            plant=self.plant.plant,
            version=__version__,
            started=iso(self._started) or "",
            now=iso(self._clock.now()) or "",
            ready=not self._failed and len(self._flows) == len(self.plant.flows),
            stalls=self._stalls(),
            problem="; ".join(filter(None, (self.not_applied, self._no_deeds, *self._failed.values(), *troubles))),
            connections={
                name: ConnectionStatus(type=self.plant.connections[name].type_name, uses=tuple(listed))
                for name, listed in uses.items()
            },
            flows={name: line.status() for name, line in self._flows.items()},
            cells=self._cells.status() if self._cells is not None else {},
            deeds=self._deeds.status() if self._deeds is not None else None,
        )

    def _see(self, batch: Batch) -> None:
        """What was accepted, for whoever looks on and for what acts."""
        self._tap.see(batch)
        if self._deeds is not None:
            self._deeds.see(batch)

    async def _begin_deeds(self, plant: Plant) -> None:
        """Open the audit log and whatever acts; where that fails the flows run all the same, and nothing is written."""
        if plant.audit is None:
            return
        from plantgate.runtime.deeds import Deeds  # late: 11 MB that only those who act pay for

        writes = plant.control.writes.values() if plant.control is not None else ()
        connections = dict.fromkeys(writable.connection for writable in writes)
        uses = [use_of(plant, connection, "control", self._clock, self._cells) for connection in connections]
        loops = plant.control.loops if plant.control is not None else {}
        cameras = [use_of(plant, loop.camera, f"loop-{name}", self._clock, self._cells) for name, loop in loops.items()]
        try:
            self._deeds = await Deeds.open(
                plant, plant.audit, uses, cameras, clock=self._clock, news=self._log, disk=self._disk
            )
        except (GatewayError, OSError, ValueError) as error:
            _leave((*uses, *cameras))
            if self._no_deeds != (reason := f"nothing is written to machines: {error}"):
                self._log.error("no audit log, so nothing is written to machines; trying again", reason=str(error))
            self._no_deeds = reason
            return
        self._no_deeds = ""
        for service, phase, session in self._deeds.services():
            self._supervisor.start(service, phase, session)

    def _say_what_stays(self, deeds: "Deeds", plant: Plant) -> None:
        for use in (*deeds.uses, *deeds.cameras):
            if deeds.plant.cell_of(use.connection) != plant.cell_of(use.connection):
                self._log.warning(
                    "what acts stays where it is until the next start",
                    connection=use.connection,
                    cell=deeds.plant.cell_of(use.connection),
                )

    async def _put_deeds_away(self, deeds: "Deeds") -> None:
        _leave((*deeds.uses, *deeds.cameras))
        try:
            await deeds.close()
        except (GatewayError, OSError, ValueError) as error:
            self._log.error("the audit log did not close cleanly", reason=str(error))

    async def _start(self, name: str, plant: Plant) -> None:
        try:
            line = await flow_line(
                plant,
                name,
                clock=self._clock,
                see=self._see,
                span=self._span,
                disk=self._disk,
                cells=self._cells,
            )
        except (GatewayError, OSError) as error:
            self._failed[name] = f"flow {name} does not run: {error}"
            if self._told.get(name) != str(error):
                self._told[name] = str(error)
                self._log.error("flow does not run, trying again until it does", flow=name, reason=str(error))
            return
        self._told.pop(name, None)
        self._flows[name] = line
        for service, phase, session in line.services():
            self._supervisor.start(service, phase, session)

    async def _end(self, name: str) -> None:
        if (line := self._flows.pop(name, None)) is not None:
            await self._supervisor.end(tuple(service for service, _, _ in line.services()))
            await self._put_away(line)

    async def _put_away(self, line: FlowLine) -> None:
        """Close an outbox; one that cannot write its last positions gives a few batches again, and no more."""
        _leave((*line.sources, *line.sinks))
        try:
            await line.outbox.close()
        except (GatewayError, OSError) as error:
            self._log.warning("outbox did not close cleanly", flow=line.name, reason=str(error))


def _leave(uses: Iterable[Use]) -> None:
    """No cell need keep them."""
    for use in uses:
        if isinstance(use.connector, Remote):
            use.connector.leave()


def _use_status(use: Use, flow: str, role: str) -> UseStatus:
    standing = use.context.standing
    return UseStatus(
        flow=flow,
        role=role,
        state=standing.state.value,
        reason=standing.reason,
        since_seconds=round(time.monotonic() - standing.changed, 1),
        desired=standing.desired,
        monitored=standing.monitored,
        live=standing.live,
        counters=dict(standing.counters),
    )
