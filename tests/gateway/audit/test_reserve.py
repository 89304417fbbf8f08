"""On a full disk: nothing automatic is recorded, what a person does in an emergency is, and once."""

import asyncio
import errno
import random
from contextlib import suppress

import msgspec
import pytest

from plantgate.audit.entry import BYTES_MAX, Entry, decode, encode
from plantgate.audit.keep import keep_public
from plantgate.audit.log import AuditLog
from plantgate.audit.reserve import SLOTS, Reserve, ReserveFull
from plantgate.audit.tiles import Tiles
from plantgate.audit.verify import Verdict, verify
from plantgate.flow.stop import Stop
from plantgate.sdk import GatewayError
from plantgate.store.disk import SECTOR
from plantgate.store.writer import DiskFull, JournalFailed
from plantgate.testing.clock import WallClock
from plantgate.testing.context import RecordedLog
from plantgate.testing.disk import PowerCut, SimulatedDisk, SimulatedFile
from plantgate.testing.simloop import simulate
from tests.gateway.audit.given import LOG, ORIGIN, POLICY, intent, outcome
from tests.gateway.audit.test_log import HERE, opened, reading


async def fill(disk: SimulatedDisk, audit: AuditLog) -> int:
    """Append until nothing goes in any more; how many are in."""
    await audit.append(intent(10**6))
    await audit.publish()
    disk.capacity = sum(len(disk.content(path)) for path in disk.paths())
    with suppress(DiskFull):
        while True:
            await audit.append(intent(audit.size))
    return audit.size


def by_hand(number: int) -> Entry:
    return msgspec.structs.replace(intent(number), note="by hand")


def test_on_a_full_disk_the_automatic_is_refused_and_the_emergency_recorded_and_late() -> None:
    disk = SimulatedDisk()

    async def run() -> int:
        async with await opened(disk) as audit:
            count = await fill(disk, audit)
            assert await audit.append_in_emergency(by_hand(5000)) is None
            assert audit.waiting == 1
            with pytest.raises(DiskFull):
                await audit.append(intent(9999))
            with pytest.raises(DiskFull):
                await audit.backfill()
            assert audit.size == count
        disk.capacity = None
        return count

    count = simulate(run)
    after = disk.power_cut()

    async def again() -> None:
        async with await opened(after) as audit:
            assert audit.waiting == 1
            assert await audit.append_in_emergency(by_hand(6000)) is None, "it would stand before the one that waits"
            assert await audit.backfill() == 2
            assert await audit.append_in_emergency(by_hand(7000)) == count + 2
            assert await audit.backfill() == 0
            await audit.publish()

    simulate(again)
    report = verify(reading(after), POLICY)
    assert report.integrity.verdict is Verdict.YES
    entries = [decode(content) for content in Tiles(reading(after), report.entries)]
    assert [(entry.note, entry.late) for entry in entries[count:]] == [
        ("by hand", late) for late in (True, True, False)
    ]
    assert [entry.time for entry in entries[count:]] == [intent(number).time for number in (5000, 6000, 7000)]


def test_a_journal_that_failed_does_not_keep_an_emergency_from_being_recorded() -> None:
    disk = SimulatedDisk()

    async def run() -> None:
        audit = await opened(disk)
        await audit.append(intent(0))
        disk.fail("datasync", errno.EIO, suffix=next(path.name for path in disk.paths() if "entries" in path.parts))
        with pytest.raises(JournalFailed):
            await audit.append(intent(1))
        assert await audit.append_in_emergency(by_hand(2)) is None
        await audit.close()
        async with await opened(disk) as audit:
            assert await audit.backfill() == 1
            await audit.publish()

    simulate(run)
    assert verify(reading(disk), POLICY).integrity.verdict is Verdict.YES


def test_a_log_that_keeps_itself_public_takes_the_reserve_in_when_there_is_room() -> None:
    disk, log = SimulatedDisk(), RecordedLog()

    async def run() -> None:
        async with await opened(disk) as audit:
            count = await fill(disk, audit)
            disk.capacity = (disk.capacity or 0) + 120 * 1024  # for what is published, not for a segment
            for number in range(3):
                await audit.append_in_emergency(by_hand(5000 + number))
            stop = Stop()
            keeping = keep_public(audit, [], stop=stop, clock=WallClock(), log=log, gateway="box-1")
            async with asyncio.TaskGroup() as group:
                group.create_task(keeping)
                await asyncio.sleep(30)
                assert audit.published is not None
                assert audit.published.size == audit.size == count
                disk.capacity = None
                await asyncio.sleep(8)
                stop.set()
            assert audit.waiting == 0

    simulate(run)
    assert verify(reading(disk), POLICY).integrity.verdict is Verdict.YES
    assert [(level, event) for level, event, _ in log.lines] == [
        ("error", "the audit log takes nothing: what is automatic may not act"),
        ("info", "the audit log takes entries again"),
    ]
    assert log.lines[-1][2] == {"late": 3}


def test_a_log_that_a_crash_left_unpublished_is_opened_on_a_full_disk_and_published_when_there_is_room() -> None:
    disk = SimulatedDisk()

    async def run() -> None:
        async with await opened(disk) as audit:
            await fill(disk, audit)
        whole = disk.content(HERE / "public/checkpoint")
        disk.unlink(HERE / "public/checkpoint")
        disk.capacity = sum(len(disk.content(path)) for path in disk.paths())
        async with await opened(disk) as audit:
            assert await audit.append_in_emergency(by_hand(5000)) is None
        disk.capacity = None
        async with await opened(disk) as audit:
            assert disk.content(HERE / "public/checkpoint") == whole
            await audit.backfill()
            await audit.publish()

    simulate(run)
    assert verify(reading(disk), POLICY).integrity.verdict is Verdict.YES


def test_when_the_reserve_is_full_too_that_is_said() -> None:
    disk = SimulatedDisk()

    async def run() -> None:
        async with await opened(disk) as audit:
            await fill(disk, audit)
            for number in range(SLOTS):
                await audit.append_in_emergency(by_hand(5000 + number))
            with pytest.raises(ReserveFull, match="make room"):
                await audit.append_in_emergency(by_hand(9000))
            disk.capacity = None
            assert await audit.backfill() == SLOTS
            await fill(disk, audit)
            assert await audit.append_in_emergency(by_hand(9000)) is None

    simulate(run)


def test_a_disk_too_full_for_the_reserve_lets_the_log_be_opened_all_the_same() -> None:
    disk = SimulatedDisk(capacity=400 * 1024)

    async def run() -> None:
        async with await opened(disk) as audit:
            await audit.append(outcome(0))
            assert "no room for the reserve" in audit.recovered[-1]
            await fill(disk, audit)
            with pytest.raises(ReserveFull):
                await audit.append_in_emergency(by_hand(1))

    simulate(run)


@pytest.mark.parametrize("mutation", ["none", "not synced", "cleared before it is in the log", "not looked for"])
def test_across_power_cuts_every_emergency_that_was_acknowledged_is_in_the_log_once(
    mutation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The property, and proof that it can fail."""
    if mutation == "not synced":
        keep = Reserve.keep

        def careless(self: Reserve, content: bytes) -> None:
            with monkeypatch.context() as patched:
                patched.setattr(SimulatedFile, "datasync", lambda file: None)
                keep(self, content)

        monkeypatch.setattr(Reserve, "keep", careless)
    if mutation == "cleared before it is in the log":
        waiting = Reserve.waiting

        def early(self: Reserve) -> list[bytes]:
            found = waiting(self)
            self.clear(found)
            return found

        monkeypatch.setattr(Reserve, "waiting", early)
    if mutation == "not looked for":

        async def nothing(self: AuditLog, take: object) -> None: ...

        monkeypatch.setattr(AuditLog, "inspect", nothing)

    def run(seed: int) -> None:
        luck = random.Random(seed)
        disk = SimulatedDisk(seed=seed)
        told: list[bytes] = []

        async def life() -> None:
            audit = await opened(disk)
            if luck.random() < 0.5:
                await audit.backfill()
            disk.capacity = None
            await fill(disk, audit)
            disk.cut_after = disk.calls + luck.randrange(1, 25)
            for _ in range(luck.randrange(1, 4)):
                entry = by_hand(luck.randrange(10**6))
                if await audit.append_in_emergency(entry) is None:
                    told.append(encode(msgspec.structs.replace(entry, late=True)))
            disk.capacity = None
            await audit.backfill()
            await audit.publish()

        for number in range(4):
            disk.cut_after = disk.calls + luck.randrange(1, 60) if luck.random() < 0.3 else None
            with suppress(PowerCut):
                simulate(life, seed=luck.random())
            disk = disk.restart() if luck.random() < 0.2 else disk.power_cut(f"{seed}/{number}")
            disk.capacity = None
        disk.cut_after = None

        async def end() -> int:
            async with await opened(disk) as audit:
                await audit.backfill()
                await audit.publish()
                return audit.size

        size = simulate(end, seed=seed)
        stored = list(Tiles(reading(disk), size))
        for content in told:
            assert stored.count(content) == 1, f"{stored.count(content)} times"

    def every() -> None:
        for seed in range(25):
            run(seed)

    if mutation == "none":
        every()
    else:
        with pytest.raises((AssertionError, GatewayError)):
            every()


def test_a_flipped_bit_in_the_reserve_is_told_and_never_becomes_an_entry() -> None:
    disk = SimulatedDisk()
    disk.make_directory(HERE)
    path = HERE / "reserve"
    reserve = Reserve.open(path, disk)
    content = encode(by_hand(1))
    reserve.keep(content)
    for offset in range(len(content) + 24):
        disk.flip(path, offset, offset % 8)
        found = Reserve.open(path, disk)
        assert not len(found)
        assert "does not read back" in found.recovered[0]
        disk.flip(path, offset, offset % 8)
    assert Reserve.open(path, disk).waiting() == [content]


def test_the_largest_entry_fits_and_order_is_kept() -> None:
    disk = SimulatedDisk()
    disk.make_directory(HERE)
    reserve = Reserve.open(HERE / "reserve", disk)
    contents = [bytes([number]) * (BYTES_MAX - number) for number in range(5)]
    for content in contents:
        reserve.keep(content)
    reserve.clear(contents[1:3])
    reserve.keep(b"again")
    reserve.keep(b"and again")
    again = Reserve.open(HERE / "reserve", disk)
    assert again.waiting() == [contents[0], *contents[3:], b"again", b"and again"]
    assert len(disk.content(HERE / "reserve")) % SECTOR == 0


def test_an_emergency_that_may_have_been_stored_is_in_the_log_once() -> None:
    """A failed sync does not say that nothing was stored."""
    disk = SimulatedDisk()

    async def run() -> None:
        audit = await opened(disk)
        await audit.append(outcome(0))
        disk.fail("datasync", errno.EIO, suffix=next(path.name for path in disk.paths() if "entries" in path.parts))
        assert await audit.append_in_emergency(by_hand(2)) is None
        await audit.close()
        heard: list[bytes] = []
        async with await AuditLog.open(HERE, ORIGIN, [LOG], disk=disk, hear=heard.append) as audit:
            await audit.backfill()
            await audit.publish()
        assert [decode(content).id for content in heard].count(by_hand(2).id) == 1

    simulate(run)
    entries = [decode(content) for content in Tiles(reading(disk), 2)]
    assert [entry.id for entry in entries].count(by_hand(2).id) == 1
    assert "second time" not in str(verify(reading(disk), POLICY).completeness.said)


def test_what_ends_an_emergency_stands_behind_what_began_it() -> None:
    """The disk has room again between the two."""
    disk = SimulatedDisk()

    async def run() -> int:
        async with await opened(disk) as audit:
            count = await fill(disk, audit)
            assert await audit.append_in_emergency(by_hand(5000)) is None
            disk.capacity = None
            await audit.append_in_emergency(outcome(5000))
            await audit.backfill()
            await audit.publish()
            return count

    count = simulate(run)
    report = verify(reading(disk), POLICY)
    assert by_hand(5000).id not in report.open_intents
    assert not [said for said in report.completeness.said if "outcome without an intent" in said], count
