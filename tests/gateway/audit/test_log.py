"""The log across crashes and power cuts: what was acknowledged is in it, and what was signed stays its past."""

import asyncio
import errno
import random
from contextlib import suppress
from pathlib import Path

import pytest

from plantgate.audit.checkpoint import Checkpoint
from plantgate.audit.entry import encode
from plantgate.audit.log import AuditLog, LogDamaged
from plantgate.audit.note import Note, Signer
from plantgate.audit.publish import Inconsistent, Publisher
from plantgate.audit.tiles import Tiles, Unreadable, folder
from plantgate.audit.tree import leaf_hash
from plantgate.audit.verify import Verdict, verify
from plantgate.sdk import GatewayError
from plantgate.store.disk import SECTOR, Disk, Open
from plantgate.store.recovery import JournalDamaged
from plantgate.store.writer import JournalLimits
from plantgate.testing.disk import Call, PowerCut, SimulatedDisk, SimulatedFile
from plantgate.testing.simloop import simulate
from tests.gateway.audit.given import LOG, ORIGIN, POLICY, intent, outcome

HERE = Path("/audit")
LIMITS = JournalLimits(segment_bytes=256 * SECTOR, record_bytes_max=40 * SECTOR)


def opened(disk: Disk | None = None, at: Path = HERE, origin: str = ORIGIN):  # type: ignore[no-untyped-def]
    signers = [LOG if origin == ORIGIN else Signer(origin, bytes(32))]
    return AuditLog.open(at, origin, signers, disk=disk, limits=LIMITS)


def reading(disk: SimulatedDisk, at: Path = HERE / "public"):  # type: ignore[no-untyped-def]
    def read(path: str) -> bytes:
        file = disk.open(at / path, Open.READ)
        return file.pread(file.size(), 0)

    return read


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 511, 512, 700])
def test_what_is_appended_is_published_and_verifies(size: int, tmp_path: Path) -> None:
    async def main() -> None:
        async with await opened(at=tmp_path) as log:
            for number in range(size // 2):
                assert await log.append(intent(number)) == 2 * number
                assert await log.append(outcome(number)) == 2 * number + 1
            if size % 2:
                await log.append_bytes(encode(outcome(0)))
            note = await log.publish()
            assert note is not None
            assert await log.publish() is None if size else True

    asyncio.run(main())
    report = verify(folder(tmp_path / "public"), POLICY)
    assert report.integrity.verdict is Verdict.YES, report
    assert report.entries == size
    assert report.completeness.verdict is (Verdict.NO if size == 1 else Verdict.YES), report
    assert report.exit_code == (2 if size == 1 else 0)


def test_publishing_in_steps_gives_the_same_log_as_publishing_at_once(tmp_path: Path) -> None:
    async def main(at: Path, every: int) -> None:
        for begin in range(0, 1200, 400):  # three lives
            async with await opened(at=at) as log:
                for number in range(begin, begin + 400):
                    await log.append(intent(number))
                    if log.size % every == 0:
                        await log.publish()
        async with await opened(at=at) as log:
            await log.publish()

    asyncio.run(main(tmp_path / "one", 7))
    asyncio.run(main(tmp_path / "other", 5000))
    ends = [(tmp_path / name / "public" / "checkpoint").read_bytes() for name in ("one", "other")]
    assert ends[0] == ends[1]
    here, there = (Tiles(folder(tmp_path / name / "public"), 1200) for name in ("one", "other"))
    assert [here.tile(0, at) for at in range(5)] == [there.tile(0, at) for at in range(5)]
    assert here.tile(1, 0) == there.tile(1, 0)
    assert list(here) == list(there) == [encode(intent(number)) for number in range(1200)]


def test_many_who_append_at_once_get_indexes_in_their_order(tmp_path: Path) -> None:
    async def main() -> None:
        async with await opened(at=tmp_path) as log:
            indexes = await asyncio.gather(*(log.append(intent(number)) for number in range(600)))
            assert indexes == list(range(600))
            await log.publish()

    asyncio.run(main())
    assert list(Tiles(folder(tmp_path / "public"), 600)) == [encode(intent(number)) for number in range(600)]


def test_whoever_is_cancelled_while_appending_leaves_the_tree_as_the_journal_is(tmp_path: Path) -> None:
    async def main() -> None:
        async with await opened(at=tmp_path) as log:
            for number in range(50):
                appending = asyncio.create_task(log.append(intent(number)))
                for _ in range(number % 5):
                    await asyncio.sleep(0)
                appending.cancel()
                with suppress(asyncio.CancelledError):
                    await appending
            await log.append(intent(50))
            await log.publish()

    asyncio.run(main())
    assert verify(folder(tmp_path / "public"), POLICY).integrity.verdict is Verdict.YES


@pytest.mark.parametrize("mutation", ["none", "no sync", "signs before the tiles"])
def test_power_cuts_and_kills_anywhere_lose_nothing_acknowledged_and_fork_nothing(
    mutation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The property, and proof that it can fail."""
    if mutation == "no sync":
        monkeypatch.setattr(SimulatedFile, "datasync", lambda self: None)
    if mutation == "signs before the tiles":
        monkeypatch.setattr(Publisher, "_write", lambda self, path, content: None)

    def life(disk: SimulatedDisk, luck: random.Random, told: dict[int, bytes], public: list[bytes]) -> None:
        async def main() -> None:
            log = await opened(disk)
            assert log.size >= len(told), "acknowledged and lost"
            while True:
                for _ in range(luck.randrange(1, 60)):
                    content = encode(intent(luck.randrange(10**6)))
                    told[await log.append_bytes(content)] = content
                note = await log.publish()
                if note is not None:
                    public.append(bytes(note))

        with suppress(PowerCut):
            simulate(main, seed=luck.random())

    def run(seed: int) -> None:
        luck = random.Random(seed)
        disk = SimulatedDisk(seed=seed)
        told: dict[int, bytes] = {}
        public: list[bytes] = []
        for number in range(4):
            disk.cut_after = disk.calls + luck.choice((luck.randrange(1, 40), luck.randrange(40, 300)))
            life(disk, luck, told, public)
            disk = disk.restart() if luck.random() < 0.3 else disk.power_cut(f"{seed}/{number}")
        disk.cut_after = None

        async def end() -> int:
            async with await opened(disk) as log:
                await log.publish()
                return log.size

        size = simulate(end, seed=seed)
        report = verify(reading(disk), POLICY, seen=[Note.parse(each) for each in public])
        assert report.integrity.verdict is Verdict.YES, report.integrity.said
        assert not report.forked
        stored = dict(enumerate(Tiles(reading(disk), size)))
        assert told.items() <= stored.items(), "acknowledged and lost"

    def every() -> None:
        for seed in range(60):
            run(seed)

    if mutation == "none":
        every()
    else:
        with pytest.raises((AssertionError, GatewayError, Unreadable, JournalDamaged)):
            every()


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=lambda number: errno.errorcode[number])
@pytest.mark.parametrize("call", ["pwrite", "datasync", "rename", "sync_directory", "open", "allocate", "unlink"])
def test_a_disk_that_refuses_any_single_call_costs_nothing_that_was_acknowledged(call: Call, error: int) -> None:
    def run(after: int) -> bool:
        disk = SimulatedDisk(seed=after)
        told: dict[int, bytes] = {}
        public: list[bytes] = []

        async def life(count: int) -> None:
            async with await opened(disk) as log:
                for number in range(count):
                    content = encode(intent(1000 * after + len(told) + number))
                    with suppress(GatewayError):
                        told[await log.append_bytes(content)] = content
                    if number % 4 == 3:
                        with suppress(GatewayError, OSError):
                            note = await log.publish()
                            public.extend([bytes(note)] if note is not None else [])

        disk.fail(call, error, after=after)
        with suppress(GatewayError, OSError):
            simulate(lambda: life(12), seed=after)
        refused = not any(fault.times for fault in disk._faults)
        disk._faults.clear()
        disk = disk.power_cut(after)

        async def end() -> int:
            async with await opened(disk) as log:
                await log.append(intent(7))
                await log.publish()
                return log.size

        size = simulate(end, seed=after)
        report = verify(reading(disk), POLICY, seen=[Note.parse(each) for each in public])
        assert report.integrity.verdict is Verdict.YES, report.integrity.said
        assert told.items() <= dict(enumerate(Tiles(reading(disk), size))).items(), "acknowledged and lost"
        return refused

    counts = [after for after in range(0, 60, 3) if run(after)]
    assert counts, "the disk never refused"


def test_an_older_copy_of_the_disk_is_refused(tmp_path: Path) -> None:
    disk = SimulatedDisk()

    async def some(count: int) -> None:
        async with await opened(disk) as log:
            for number in range(count):
                await log.append(intent(number))
            await log.publish()

    simulate(lambda: some(5))
    older = {path: disk.content(path) for path in disk.paths() if "entries" in path.parts}
    simulate(lambda: some(5))
    for path, content in older.items():
        file = disk.open(path, Open.WRITE)
        file.truncate(0)
        file.allocate(len(content))
        file.pwrite(content, 0)
    with pytest.raises(LogDamaged, match="5 entries are here where 10 were signed"):
        simulate(lambda: some(1))


def test_entries_that_are_not_those_that_were_signed_are_refused() -> None:
    disk, other = SimulatedDisk(), SimulatedDisk()

    async def some(on: SimulatedDisk, first: int) -> None:
        async with await opened(on) as log:
            for number in range(first, first + 5):
                await log.append(intent(number))
            await log.publish()

    simulate(lambda: some(disk, 0))
    simulate(lambda: some(other, 100))
    for path in list(other.paths()):
        if "entries" in path.parts:
            file = disk.open(path, Open.WRITE)
            file.pwrite(other.content(path), 0)
    with pytest.raises(LogDamaged, match="not those that were signed"):
        simulate(lambda: some(disk, 5))


def test_a_log_does_not_change_its_name(tmp_path: Path) -> None:
    async def named(origin: str) -> None:
        async with await opened(at=tmp_path, origin=origin) as log:
            await log.append(intent(log.size))
            await log.publish()

    asyncio.run(named(ORIGIN))
    with pytest.raises(LogDamaged, match=r"this is the log gateway\.example/plant1/line3, not gateway\.example/new"):
        asyncio.run(named("gateway.example/new"))


def test_a_public_file_that_was_changed_stops_the_signing(tmp_path: Path) -> None:
    async def some(count: int) -> None:
        async with await opened(at=tmp_path) as log:
            for number in range(count):
                await log.append(intent(number))
            await log.publish()

    asyncio.run(some(300))
    tile = tmp_path / "public/tile/0/001.p/44"
    whole = tile.read_bytes()
    tile.write_bytes(bytes(32) + whole[32:])
    with pytest.raises(Inconsistent, match="do not lead to the root"):
        asyncio.run(some(1))
    tile.write_bytes(whole)
    bundle = tmp_path / "public/tile/entries/001.p/44"
    bundle.write_bytes(bundle.read_bytes()[:-1] + b"!")
    with pytest.raises(Inconsistent, match=r"entries/001\.p/44: was published with other content"):
        asyncio.run(some(1))


def test_a_public_tile_that_is_gone_stops_the_signing(tmp_path: Path) -> None:
    async def main() -> None:
        async with await opened(at=tmp_path) as log:
            for number in range(300):
                await log.append(intent(number))
            await log.publish()
            (tmp_path / "public/tile/1/000.p/1").unlink()
            await log.append(intent(300))
            with pytest.raises(Inconsistent, match=r"tile/1/000\.p/1: missing; restore it from a copy"):
                await log.publish()

    asyncio.run(main())


def test_those_who_append_together_may_hear_of_it_in_any_order() -> None:
    async def main() -> None:
        async with await opened(SimulatedDisk()) as log:
            indexes = await asyncio.gather(*(log.append(intent(number)) for number in range(40)))
            assert sorted(indexes) == list(range(40))
            await log.publish()

    for seed in range(20):
        simulate(main, seed=seed)


def test_a_bit_that_flips_between_hashing_and_storing_is_never_signed() -> None:
    """As happened to the public log Yeti2022, which was dead from then on."""
    disk = SimulatedDisk()

    async def main() -> None:
        log = await opened(disk)
        for number in range(4):
            await log.append(intent(number))
        tail = log._tail
        tail.frontier = type(tail.frontier)()
        for number in (0, 1, 2, 5):
            tail.frontier.append(leaf_hash(encode(intent(number))))
        with pytest.raises(Inconsistent, match="not those that were acknowledged"):
            await log.publish()
        assert log.published is None
        await log.close()

    simulate(main)


def test_a_checkpoint_that_was_signed_and_not_yet_public_becomes_so_at_the_next_start(tmp_path: Path) -> None:
    async def some() -> None:
        async with await opened(at=tmp_path) as log:
            await log.append(intent(log.size))
            await log.publish()

    asyncio.run(some())
    older = (tmp_path / "public/checkpoint").read_bytes()
    asyncio.run(some())
    (tmp_path / "public/checkpoint").write_bytes(older)

    async def again() -> None:
        async with await opened(at=tmp_path):
            pass

    asyncio.run(again())
    assert Checkpoint.parse(Note.parse((tmp_path / "public/checkpoint").read_bytes()).text).size == 2
