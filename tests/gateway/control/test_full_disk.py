"""A gateway that starts on a full disk: nothing automatic acts, and people on the spot still can."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from plantgate.audit.entry import Kind
from plantgate.audit.log import AuditLog
from plantgate.audit.note import Signer
from plantgate.config.load import load
from plantgate.control.proposal import Standing
from plantgate.control.record import GATEWAY, Record
from plantgate.runtime.build import use_of
from plantgate.runtime.deeds import Deeds
from plantgate.store.writer import DiskFull
from plantgate.testing.clock import WallClock
from plantgate.testing.context import RecordedLog
from plantgate.testing.disk import SimulatedDisk
from tests.gateway.config.test_control import SOUND
from tests.gateway.control.given import ANNA, FOLDER, ORIGIN, OVEN, SPEED, Oven, Plant, plant, run, settings
from tests.gateway.control.test_emergency import WRITE, fill


async def to_the_last_sector(disk: SimulatedDisk, folder: Path, origin: str) -> SimulatedDisk:
    """What was too large for the rest of a segment leaves room in it for something small."""
    async with await AuditLog.open(folder, origin, [Signer(origin, bytes(range(32)))], disk=disk) as log:
        with suppress(DiskFull):
            while True:
                await Record(log, WallClock()).observed(Kind.HEARTBEAT, GATEWAY)
    return disk.restart()


def limits_on_record(here: Plant) -> list[str]:
    return [entry.details["digest"] for entry in here.entries() if entry.details.get("name") == f"tag {SPEED}"]


@pytest.mark.parametrize("changed", [False, True])
def test_a_gateway_that_starts_on_a_full_disk_lets_people_act_and_nothing_automatic(changed: bool) -> None:
    """Also where limits of another tag are other ones now, and neither that nor the stop that follows can be kept."""

    async def main() -> None:
        faster = settings(speed={"range": [0, 90]})
        disk, oven = SimulatedDisk(), Oven()
        async with plant(disk, oven=oven) as here:
            await fill(here)
        disk = await to_the_last_sector(disk.restart(), FOLDER / "audit", ORIGIN)
        async with plant(disk, faster if changed else settings(), oven=oven) as here:
            automatic = await here.propose(50.0)
            assert (automatic.standing, here.oven.written) == (Standing.DENIED, [])
            await here.ask(ANNA, "emergency", reason="fire")
            told = await here.ask(ANNA, "write", value="60.0", **WRITE)
            assert (told["standing"], oven.values[OVEN]) == ("done", 60.0), told
            assert here.log.waiting == 3, "the declaration, the intent, the outcome"
            disk.capacity = None
            await here.log.backfill()
            await asyncio.sleep(2)  # the pace of the oven
            here.door()
            automatic = await here.propose(50.0)
            if not changed:
                assert automatic.standing is Standing.DONE
                return
            assert "make room and start the gateway again" in automatic.reason
            stopped = {each["name"]: each["reason"] for each in (await here.ask(ANNA, "status"))["stopped"]}
            assert stopped["everything"] in automatic.reason
            assert len(limits_on_record(here)) == 1
        async with plant(disk.restart(), faster, oven=oven) as here:
            assert here.acting.gate.switches.thrown()[SPEED].reason == "its limits or rules have changed"
            assert len(limits_on_record(here)) == 2

    run(main)


def test_the_whole_of_what_acts_is_opened_on_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "plant.yaml").write_text(SOUND, encoding="utf-8")
    (tmp_path / "audit.key").write_text(Signer("gateway.example/line3", bytes(range(32))).private(), encoding="ascii")
    here = load(tmp_path / "plant.yaml")
    audit = here.audit
    assert audit is not None
    disk, news, clock = SimulatedDisk(), RecordedLog(), WallClock()

    async def opened(disk: SimulatedDisk) -> Deeds:
        assert audit is not None
        uses = [use_of(here, "plc", "control", clock, None)]
        return await Deeds.open(here, audit, uses, [], clock=clock, news=news, disk=disk)

    async def main() -> None:
        deeds = await opened(disk)
        assert deeds.acting is not None
        disk.capacity = sum(len(disk.content(path)) for path in disk.paths())
        with suppress(DiskFull):
            while True:
                await deeds.acting.record.observed(Kind.HEARTBEAT, GATEWAY, details={"filling": "x" * 12_000})
        full = await to_the_last_sector(disk.restart(), audit.folder, audit.origin)
        deeds = await opened(full)
        assert deeds.acting is not None
        assert deeds.log.waiting == 0, "what is automatic takes no room from people"
        assert ("error", "the audit log has no room for the start of the gateway") in [
            (level, event) for level, event, _ in news.lines
        ]
        await deeds.acting.record.observed(Kind.EMERGENCY, GATEWAY, emergency=True)
        assert deeds.log.waiting == 1
        full.capacity = None
        await deeds.log.backfill()
        await deeds.close()

    run(main)
