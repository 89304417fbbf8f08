"""The telemetry journey: device → pump → outbox on disk → pump → far ends, with a gateway that is killed on the way."""

import asyncio
import errno
import random
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from plantgate.flow.patient import patient
from plantgate.flow.pump import pump
from plantgate.flow.stop import Stop
from plantgate.sdk import Accept, Backoff, Source, Unavailable
from plantgate.store.disk import Disk
from plantgate.store.limits import Limits
from plantgate.store.outbox import Balance, Outbox
from plantgate.testing.clock import WallClock
from plantgate.testing.disk import Call, SimulatedDisk
from plantgate.testing.process import Process
from plantgate.testing.simloop import running
from tests.journeys.plant import Device, FarEnd

FOLDER = Path("/plantgate/telemetry")
RECONNECT = Backoff(first_seconds=0.1, most_seconds=5.0)


class Pump(Protocol):
    """`plantgate.flow.pump.pump`, or a broken one."""

    def __call__(self, source: Source, accept: Accept, *, stop: Stop) -> Coroutine[Any, Any, None]: ...


@dataclass
class Gateway:
    """One life of the gateway, wired as the runtime wires a flow."""

    device: Device
    far_ends: Sequence[FarEnd]
    disk: SimulatedDisk
    limits: Limits
    collecting: Pump
    seen_as: Callable[[SimulatedDisk], Disk]
    stop: Stop = field(default_factory=Stop)
    outbox: Outbox | None = None

    async def run(self) -> None:
        """Until asked to stop."""
        names = [far_end.name for far_end in self.far_ends]
        seen = self.seen_as(self.disk)
        opened = await Outbox.open(FOLDER, names, limits=self.limits, disk=seen, clock=WallClock())
        async with opened as self.outbox, asyncio.TaskGroup() as group:
            group.create_task(self._keep(partial(self._collect, opened)))
            for far_end in self.far_ends:
                group.create_task(self._keep(partial(self._deliver, opened, far_end)))
            group.create_task(self._watch())

    def balance(self) -> dict[str, Balance]:
        """Towards each far end; always exact."""
        if self.outbox is None:
            return {}
        balances = dict(self.outbox.balance())
        for name, balance in balances.items():
            assert balance.difference == 0, f"the balance towards {name} does not add up: {balance}"
        return balances

    async def _collect(self, outbox: Outbox) -> None:
        async with self.device.session() as source:
            accept = patient(outbox.accept, backoff=RECONNECT, stop=self.stop)
            await self.collecting(source, accept, stop=self.stop)

    async def _deliver(self, outbox: Outbox, far_end: FarEnd) -> None:
        async with far_end.session() as sink:
            await pump(outbox.reader(far_end.name), sink.accept, stop=self.stop)

    async def _keep(self, session: Callable[[], Coroutine[Any, Any, None]]) -> None:
        attempt = 0
        while not self.stop.is_set():
            try:
                await session()
            except Unavailable as away:
                await self.stop.sleep(max(RECONNECT.delay(attempt), away.retry_after_seconds or 0.0))
                attempt += 1

    async def _watch(self) -> None:
        while not await self.stop.sleep(0.1):
            self.balance()


@dataclass
class Journey:
    """What happened."""

    device: Device
    far_ends: Sequence[FarEnd]
    limits: Limits
    balance: dict[str, Balance] = field(default_factory=dict)
    lives: list[str] = field(default_factory=list)
    """How each life of the gateway ended."""


async def travel(
    *,
    limits: Limits,
    readings: int = 120,
    capacity: int = 1_000_000,
    collecting: Pump = pump,
    seen_as: Callable[[SimulatedDisk], Disk] = lambda disk: disk,
    far_ends: Sequence[FarEnd] | None = None,
    names_what_it_loses: bool = True,
    living_in: type[Gateway] = Gateway,
) -> Journey:
    """Run one journey to its end: readings, crashes and cuts at seeded moments, then calm until all is delivered.

    `living_in` can wire the flow another way. `collecting`, `seen_as` (the disk as the gateway sees it), `far_ends` and
    `names_what_it_loses` are for breaking.
    """
    luck = running().random("journey")
    device = Device(running().random("device"), capacity=capacity, names_what_it_loses=names_what_it_loses)
    ends = far_ends or [FarEnd(name, running().random(name)) for name in ("north", "south")]
    journey = Journey(device, ends, limits)
    disk = SimulatedDisk(seed=running().seed)
    producing = asyncio.create_task(device.live(readings))
    for _ in range(luck.randrange(1, 6)):
        gateway = living_in(device, ends, disk, limits, collecting, seen_as)
        process = Process(gateway.run, name="gateway")
        disk = await _end_somehow(journey, gateway, process, luck)
        await asyncio.sleep(luck.uniform(0.0, 5.0))
    await producing
    for end in ends:
        end.trouble = False
    gateway = living_in(device, ends, disk, limits, collecting, seen_as)
    process = Process(gateway.run, name="gateway")
    await _drained(gateway, process)
    gateway.stop.set()
    await process.wait()
    journey.balance = gateway.balance()
    return journey


async def _end_somehow(journey: Journey, gateway: Gateway, process: Process, luck: random.Random) -> SimulatedDisk:
    """Let it live for a while; then stop it, kill it, cut the power or break its disk. Returns its next life's disk."""
    fate = luck.choice(("stopped", "killed", "power cut", "power cut in a write", "disk error"))
    living = asyncio.create_task(process.wait())
    await asyncio.wait([living], timeout=luck.expovariate(0.3))
    match fate:
        case "stopped":
            gateway.stop.set()
            await asyncio.wait([living], timeout=60.0)
        case "power cut in a write":
            gateway.disk.cut_after = gateway.disk.calls + luck.randrange(1, 25)
            await asyncio.wait([living], timeout=5.0)
        case "disk error":
            faults: list[tuple[Call, int]] = [("datasync", errno.EIO), ("pwrite", errno.EIO), ("pwrite", errno.ENOSPC)]
            call, number = luck.choice(faults)
            gateway.disk.fail(call, number, after=luck.randrange(10), times=luck.randrange(1, 3))
            await asyncio.wait([living], timeout=5.0)
    journey.lives.append(fate)
    cut = fate.startswith("power cut")
    disk = gateway.disk.power_cut(luck.random()) if cut else gateway.disk.restart()
    process.kill()
    await asyncio.wait([living])
    if (error := living.exception()) is not None and fate in ("stopped", "killed"):
        raise error
    return disk


async def _drained(gateway: Gateway, process: Process) -> None:
    living = asyncio.create_task(process.wait())
    ends = running().elapsed + 3600.0
    while running().elapsed < ends and not living.done():
        await asyncio.wait([living], timeout=1.0)
        empty = all(balance.queued == 0 for balance in gateway.balance().values())
        if empty and gateway.outbox is not None and gateway.device.acknowledged >= len(gateway.device.produced):
            living.cancel()
            return
    if living.done():
        await living
    raise AssertionError(f"not delivered after an hour of calm: {gateway.balance()}")
