"""A gateway whose older entries have gone into the archive knows what was armed all the same."""

import asyncio
from pathlib import Path

from plantgate.audit.archive import Order, archive
from plantgate.audit.entry import Kind
from plantgate.control.record import GATEWAY
from plantgate.testing.clock import WallClock
from plantgate.testing.disk import SimulatedDisk
from tests.gateway.control.given import OVEN, Plant, plant, run, settings

VOLUME = 256


async def archived(here: Plant, disk: SimulatedDisk) -> None:
    """All that fills a volume goes, and the journal's first segments with it."""
    details = {"filler": "x" * 15_000}
    await asyncio.gather(
        *(here.acting.record.observed(Kind.LEASE, GATEWAY, details=details) for _ in range(2 * VOLUME))
    )
    await here.log.publish()
    order = Order(Path("/archive"), here.log.size, "SOP-12 §4", "u:7", "u:8")
    await archive(here.log, order, clock=WallClock(), disk=disk, volume=VOLUME)


def test_what_was_armed_stays_armed_when_the_entries_with_its_rules_are_archived_again_and_again() -> None:
    async def main() -> None:
        disk = SimulatedDisk()
        for life in range(3):
            async with plant(disk, arm=life == 0) as here:
                assert here.acting.gate.stopped() == {}
                await archived(here, disk)
        async with plant(disk, settings(oven={"range": [20, 90]}), arm=False) as here:
            assert set(here.acting.gate.stopped()) == {OVEN}, "what has changed since is found"

    run(main)
