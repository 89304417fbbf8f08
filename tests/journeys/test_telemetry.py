"""Nothing is lost after acceptance, order is kept per tag, the balance is exact: over seeds, and seen to fail."""

from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plantgate.flow.stop import Stop
from plantgate.sdk import Accept, Batch, Source, Unavailable
from plantgate.store.disk import File, Open
from plantgate.store.limits import Limits, WhenFull
from plantgate.testing.disk import SimulatedDisk
from plantgate.testing.simloop import running, simulate
from tests.journeys import oracle
from tests.journeys.plant import FarEnd, FarEndSession
from tests.journeys.telemetry import Journey, travel

ROOMY = Limits(bytes_max=1024 * 1024)
TIGHT = Limits(bytes_max=64 * 1024)
"""The least an outbox can have: a few dozen batches fill it."""


def holds(journey: Journey) -> None:
    """The oracle, whole."""
    for far_end in journey.far_ends:
        oracle.nothing_is_altered(far_end.got, journey.device)
        oracle.order_is_kept(far_end.got)
        oracle.nothing_is_lost_silently(far_end.got, journey.device, journey.limits)
        balance = journey.balance[far_end.name]
        assert (balance.difference, balance.queued) == (0, 0)
        if journey.limits.when_full is not WhenFull.KEEP_LATEST:
            oracle.every_number_is_delivered_or_named(far_end.got, balance)


@pytest.mark.simulated(seeds=60)
async def test_nothing_is_lost_after_acceptance() -> None:
    holds(await travel(limits=ROOMY))


@pytest.mark.simulated(seeds=30)
async def test_what_a_device_lost_before_acceptance_is_named_with_the_right_count() -> None:
    holds(await travel(limits=ROOMY, capacity=10))


@pytest.mark.simulated(seeds=20)
async def test_a_full_outbox_makes_the_device_wait_and_loses_nothing() -> None:
    holds(await travel(limits=TIGHT, readings=400))


@pytest.mark.simulated(seeds=20)
async def test_what_a_full_outbox_drops_is_named_with_the_right_count() -> None:
    holds(await travel(limits=replace(TIGHT, when_full=WhenFull.DROP_OLDEST), readings=400))


@pytest.mark.simulated(seeds=20)
async def test_what_is_too_old_is_named() -> None:
    holds(await travel(limits=replace(ROOMY, age_max_seconds=5.0)))


@pytest.mark.simulated(seeds=20)
async def test_a_full_outbox_can_keep_the_newest_of_each_tag() -> None:
    holds(await travel(limits=replace(TIGHT, when_full=WhenFull.KEEP_LATEST), readings=400))


# The oracle is worth something only if it notices. Each of these breaks one promise.


async def hasty_pump(source: Source, accept: Accept, *, stop: Stop) -> None:
    """Acknowledges before the batch is accepted."""
    while (batch := await stop.unless(source.read)) is not None:
        await source.ack(batch.cursor)
        await accept(batch)


async def swapping_pump(source: Source, accept: Accept, *, stop: Stop) -> None:
    """Gives the second of two batches first."""
    while (first := await stop.unless(source.read)) is not None:
        second = await stop.unless(source.read)
        for batch in (second, first):
            if batch is not None:
                await accept(batch)
        await source.ack((second or first).cursor)


class HastyDisk:
    """Lets the outbox acknowledge what is not on the platter: once a file is made, syncing it does nothing."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self._disk = disk

    def open(self, path: Path, purpose: Open) -> File:
        file = self._disk.open(path, purpose)
        return HastyFile(file) if path.parent.name == "journal" else file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._disk, name)


class HastyFile:
    """Syncs once."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._made = False

    def datasync(self) -> None:
        if not self._made:
            self._file.datasync()
        self._made = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class TrustingSession(FarEndSession):
    """Confirms before the far end has it."""

    async def accept(self, batch: Batch) -> None:
        with suppress(Unavailable):
            await super().accept(batch)


class MiscountingSession(FarEndSession):
    """Says one less than was dropped."""

    async def accept(self, batch: Batch) -> None:
        gaps = tuple(replace(gap, lost=(gap.lost or 0) - 1) for gap in batch.gaps)
        await super().accept(replace(batch, gaps=gaps))


def notices(main: Callable[[], Coroutine[Any, Any, Journey]], says: str) -> None:
    """Passes once the oracle says so for a seed."""
    said = []
    for seed in range(40):
        try:
            holds(simulate(main, seed=seed))
        except AssertionError as failure:
            if says in str(failure):
                return
            said.append(str(failure))
    pytest.fail(f"the oracle did not say {says!r}, only {said}")


def test_acknowledging_before_acceptance_is_noticed() -> None:
    notices(lambda: travel(limits=ROOMY, collecting=hasty_pump), "are missing, 0 named")


def test_acknowledging_before_the_disk_has_it_is_noticed() -> None:
    notices(lambda: travel(limits=ROOMY, seen_as=HastyDisk), "are missing, 0 named")


def test_confirming_before_the_far_end_has_it_is_noticed() -> None:
    async def main() -> Journey:
        trusting = FarEnd("north", running().random("north"), sink=TrustingSession)
        return await travel(limits=ROOMY, far_ends=[trusting])

    notices(main, "are missing, 0 named")


def test_another_order_is_noticed() -> None:
    notices(lambda: travel(limits=ROOMY, collecting=swapping_pump), "arrived after number")


def test_a_loss_without_a_gap_is_noticed() -> None:
    notices(lambda: travel(limits=ROOMY, capacity=10, names_what_it_loses=False), "are missing, 0 named")


def test_a_wrong_count_is_noticed() -> None:
    async def main() -> Journey:
        miscounting = FarEnd("north", running().random("north"), sink=MiscountingSession)
        return await travel(limits=replace(TIGHT, when_full=WhenFull.DROP_OLDEST), readings=400, far_ends=[miscounting])

    notices(main, "named as dropped")


def test_the_same_seed_is_the_same_journey() -> None:
    async def main() -> str:
        await travel(limits=ROOMY)
        return running().fingerprint()

    assert simulate(main, seed=5) == simulate(main, seed=5) != simulate(main, seed=6)
