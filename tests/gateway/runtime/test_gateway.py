"""The real flows of the real gateway, on a simulated disk in simulated time."""

import asyncio
import errno
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from plantgate.config.model import Connection, FlowSettings, Plant, StoreSettings
from plantgate.observe.tap import Tap
from plantgate.runtime.gateway import Gateway
from plantgate.runtime.supervisor import Supervisor
from plantgate.sdk import Batch, Connector, Cursor, Rejected, Sample, Settings, Sink, Source, SystemClock, Unavailable
from plantgate.testing.disk import SimulatedDisk


class Nothing(Settings):
    """No settings."""


class Counting(Connector[Nothing]):
    """A machine that counts, ten times a second, and gives again what was not acknowledged."""

    Settings: ClassVar[type[Settings]] = Nothing
    acknowledged: ClassVar[int] = 0
    """What the machine may forget; the machine outlives the gateway."""

    @asynccontextmanager
    async def source(self) -> AsyncIterator[Source]:
        self.context.standing.up()
        yield CountingSource()


class CountingSource:
    def __init__(self) -> None:
        self.next = Counting.acknowledged

    async def read(self) -> Batch:
        await asyncio.sleep(0.1)
        self.next += 1
        return Batch.of([Sample("n", self.next, 0, self.next)], cursor=str(self.next))

    async def ack(self, cursor: Cursor) -> None:
        Counting.acknowledged = int(cursor)


class Keeping(Connector[Nothing]):
    """A destination that keeps what it is given."""

    Settings: ClassVar[type[Settings]] = Nothing
    arrived: ClassVar[list[object]] = []
    refuses: ClassVar[set[object]] = set()
    away: ClassVar[set[str]] = set()

    @asynccontextmanager
    async def sink(self) -> AsyncIterator[Sink]:
        if self.context.connection in self.away:
            raise Unavailable("nobody answers")
        self.context.standing.up()
        yield KeepingSink()


class KeepingSink:
    async def accept(self, batch: Batch) -> None:
        if Keeping.refuses & set(batch.values):
            raise Rejected("not that one")
        Keeping.arrived += batch.values


class Silent:
    """A log nobody reads."""

    def info(self, event: str, **facts: object) -> None:
        """Nothing."""

    warning = error = info


@pytest.fixture(autouse=True)
def _fresh() -> None:
    Counting.acknowledged = 0
    Keeping.arrived.clear()
    Keeping.refuses.clear()
    Keeping.away.clear()


def plant(folder: Path, *destinations: str, flow: str = "telemetry", release: tuple[str, ...] = ()) -> Plant:
    connections = {"machine": Connection("counting", Counting, Nothing())}
    connections |= {name: Connection("keeping", Keeping, Nothing()) for name in destinations}
    settings = FlowSettings.model_validate_json(
        f'{{"from": ["machine"], "to": {list(destinations)!r}, "outbox": {{"release": {list(release)!r}}}}}'.replace(
            "'", '"'
        )
    )
    return Plant(
        plant="line3",
        file=folder / "plant.yaml",
        store=StoreSettings(folder=folder),
        connections=connections,
        flows={flow: settings},
    )


@asynccontextmanager
async def gateway(disk: SimulatedDisk) -> AsyncIterator[Gateway]:
    async with Supervisor(graces={}, log=Silent()) as supervisor:
        running = Gateway(supervisor, clock=SystemClock(), log=Silent(), tap=Tap(), stalls=lambda: 0, disk=disk)
        try:
            yield running
        finally:
            await running.close()


@contextmanager
def nothing_lost() -> Iterator[None]:
    yield
    first = list(dict.fromkeys(Keeping.arrived))
    assert first == list(range(1, len(first) + 1)), "every number, in order, once its repeats are dropped"
    assert len(first) > 20


@pytest.mark.simulated(seeds=10)
async def test_a_disk_error_reopens_the_outbox_and_loses_nothing(seed: int, tmp_path: Path) -> None:
    disk = SimulatedDisk(seed=seed)
    with nothing_lost():
        async with gateway(disk) as running:
            await running.apply(plant(tmp_path, "broker"))
            await asyncio.sleep(2)
            disk.fail("datasync", errno.EIO)
            await asyncio.sleep(2)
            before = Counting.acknowledged
            assert before < 25, "what the disk did not take was not acknowledged"
            await running.mend()
            await asyncio.sleep(5)
            mended = running.status()
            assert mended.ready
            assert mended.problem == ""
            assert Counting.acknowledged > before, "it flows again without a restart"
            assert mended.flows["telemetry"].destinations["broker"].difference == 0


@pytest.mark.simulated(seeds=3)
async def test_a_destination_taken_out_keeps_what_it_has_not_received_until_it_is_released(
    seed: int, tmp_path: Path
) -> None:
    Keeping.away.add("archive")
    async with gateway(SimulatedDisk(seed=seed)) as running:
        await running.apply(plant(tmp_path, "broker", "archive"))
        await asyncio.sleep(3)
        await running.apply(plant(tmp_path, "broker"))
        await asyncio.sleep(1)
        assert list(running.status().flows["telemetry"].destinations) == ["broker"]
        await running.apply(plant(tmp_path, "broker", "archive"))
        await asyncio.sleep(1)
        back = running.status().flows["telemetry"].destinations["archive"]
        assert back.queued >= 40, "what it missed before it was taken out, and while it was"
        assert back.queued == back.accepted
        await running.apply(plant(tmp_path, "broker", release=("archive",)))
        await running.apply(plant(tmp_path, "broker", "archive"))
        released = running.status().flows["telemetry"].destinations["archive"]
        assert released.queued < 5, "given up because the plant file said so"


@pytest.mark.simulated(seeds=3)
async def test_what_a_destination_refuses_is_in_a_file_and_the_rest_goes_on(seed: int, tmp_path: Path) -> None:
    Keeping.refuses.add(7)
    async with gateway(SimulatedDisk(seed=seed)) as running:
        await running.apply(plant(tmp_path, "broker"))
        await asyncio.sleep(3)
        figures = running.status().flows["telemetry"].destinations["broker"]
    letters = (tmp_path / "connections" / "broker" / "telemetry" / "dead-letters.jsonl").read_text()
    assert '"value": 7,' in letters
    assert figures.set_aside >= 1
    assert figures.difference == 0
    assert 7 not in Keeping.arrived
    assert {6, 8} & set(Keeping.arrived)


@pytest.mark.simulated(seeds=3)
async def test_an_unchanged_flow_is_not_touched_by_a_new_plan(seed: int, tmp_path: Path) -> None:
    async with gateway(SimulatedDisk(seed=seed)) as running:
        await running.apply(plant(tmp_path, "broker"))
        await asyncio.sleep(1)
        accepted = running.status().flows["telemetry"].accepted
        difference = await running.apply(plant(tmp_path, "broker"))
        await asyncio.sleep(1)
        assert difference.unchanged == ("telemetry",)
        assert running.status().flows["telemetry"].accepted > accepted, "it counts on: it was never closed"
