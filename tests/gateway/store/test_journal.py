"""Appending and reading while both go on, power cuts anywhere, disks that fill up and fail."""

import asyncio
import errno
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk import Rejected, SystemClock, Unavailable
from plantgate.store.disk import SECTOR, InUse, OsDisk
from plantgate.store.journal import Journal
from plantgate.store.reader import Corrupt, Reader, Trimmed
from plantgate.store.record import Record
from plantgate.store.recovery import JournalDamaged
from plantgate.store.writer import DiskFull, JournalFailed, JournalLimits, JournalWriter
from plantgate.testing.disk import PowerCut, SimulatedDisk
from plantgate.testing.simloop import simulate

HERE = Path("/journal")
LIMITS = JournalLimits(
    segment_bytes=16 * SECTOR, record_bytes_max=4 * SECTOR, group_bytes_max=8 * SECTOR, pending_bytes_max=8 * SECTOR
)


def simulated(main: Callable[[Journal, SimulatedDisk], Coroutine[Any, Any, None]], *, seed: int = 0) -> SimulatedDisk:
    """Run a test with an open journal on a simulated disk and loop."""
    disk = SimulatedDisk(seed=seed)

    async def run() -> None:
        async with await Journal.open(HERE, disk=disk, limits=LIMITS) as journal:
            await main(journal, disk)

    simulate(run, seed=seed)
    return disk


async def read_all(journal: Journal) -> list[Record]:
    reader, records = journal.reader(journal.begin.sequence), list[Record]()
    while reader.sequence < journal.end.sequence:
        records += await reader.read(3000)
    await reader.close()
    return records


def test_what_is_appended_is_read_back_in_order_with_its_weights() -> None:
    async def main(journal: Journal, _: SimulatedDisk) -> None:
        sequences = [await journal.append(b"%d" % n, n) for n in range(50)]
        assert sequences == list(range(50))
        records = await read_all(journal)
        assert [(r.sequence, r.payload, r.weight) for r in records] == [(n, b"%d" % n, n) for n in range(50)]
        assert [r.cumulative for r in records] == [sum(range(n + 1)) for n in range(50)]
        assert journal.end == (50, sum(range(50)))

    simulated(main)


def test_appends_that_meet_share_a_sync() -> None:
    async def main(journal: Journal, disk: SimulatedDisk) -> None:
        before = journal.figures.groups
        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(journal.append(b"x" * 50))
        assert journal.figures.groups - before <= 2
        assert journal.figures.records == 20

    simulated(main)


def test_appending_waits_while_too_much_is_unwritten_and_keeps_the_order() -> None:
    async def main(journal: Journal, disk: SimulatedDisk) -> None:
        begun: list[int] = []
        sequences: dict[int, int] = {}

        async def append(number: int) -> None:
            begun.append(number)
            sequences[number] = await journal.append(number.to_bytes(2, "big") * 500)

        async with asyncio.TaskGroup() as group:
            for number in range(40):
                group.create_task(append(number))
                await asyncio.sleep(0)
                assert journal.pending_bytes <= LIMITS.pending_bytes_max
        assert [sequences[number] for number in begun] == list(range(40))
        assert journal.pending_bytes == 0

    for seed in range(20):
        simulated(main, seed=seed)


def test_a_reader_waits_for_the_next_record_and_cancelling_it_loses_nothing() -> None:
    async def main(journal: Journal, _: SimulatedDisk) -> None:
        luck = random.Random(journal.id)
        reader = journal.reader(0)
        got: list[int] = []

        async def read() -> None:
            while len(got) < 60:
                try:
                    async with asyncio.timeout(luck.uniform(0, 0.005)):
                        got.extend(record.sequence for record in await reader.read(luck.randrange(1, 400)))
                except TimeoutError:
                    pass

        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            for _n in range(60):
                await asyncio.sleep(luck.uniform(0, 0.004))
                await journal.append(bytes(100))
        assert got == list(range(60))

    for seed in range(20):
        simulated(main, seed=seed)


def test_a_reader_never_sees_what_is_not_durable() -> None:
    def run(seed: int) -> None:
        disk = SimulatedDisk(seed=seed, cut_after=20 + seed)
        seen: list[bytes] = []

        async def main() -> None:
            async def read(journal: Journal) -> None:
                reader = journal.reader(0)
                while True:
                    seen.extend(record.payload for record in await reader.read())

            async def append(journal: Journal, name: int) -> None:
                for n in range(90):
                    await journal.append(b"%d/%d" % (name, n) * 30)

            async with await Journal.open(HERE, disk=disk, limits=LIMITS) as journal, asyncio.TaskGroup() as group:
                group.create_task(read(journal))
                for name in range(3):
                    group.create_task(append(journal, name))

        with pytest.raises(ExceptionGroup) as raised:
            simulate(main, seed=seed)
        assert raised.group_contains((PowerCut, JournalFailed))
        after = JournalWriter.open(HERE, disk=disk.power_cut(seed), clock=SystemClock(), limits=LIMITS)
        assert [r.payload for r in blocking_read(after)][: len(seen)] == seen

    for seed in range(60):
        run(seed)


def blocking_read(writer: JournalWriter) -> list[Record]:
    from plantgate.store.reader import JournalWalk

    walk, records = JournalWalk(writer), list[Record]()
    while found := walk.read(writer.begin.sequence + len(records), 1 << 20):
        assert isinstance(found, list), str(found)
        records += found
    return records


@pytest.mark.parametrize("mutation", ["none", "tells before the sync"])
def test_power_cuts_and_kills_anywhere_lose_nothing_acknowledged(
    mutation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The property, and proof that it can fail."""
    if mutation == "tells before the sync":
        from plantgate.testing.disk import SimulatedFile

        monkeypatch.setattr(SimulatedFile, "datasync", lambda self: None)

    def run(seed: int) -> bool:
        luck = random.Random(seed)
        disk = SimulatedDisk(seed=seed)
        told: dict[int, bytes] = {}
        stored: dict[int, bytes] = {}
        for life in range(5):
            disk.cut_after = disk.calls + luck.choice((luck.randrange(1, 12), luck.randrange(10, 120)))
            try:
                writer = JournalWriter.open(HERE, disk=disk, clock=SystemClock(), limits=LIMITS)
                assert not writer.found.damage
                stored = {r.sequence: r.payload for r in blocking_read(writer)}
                assert told.items() <= stored.items(), "acknowledged and lost"
                assert writer.end.sequence == len(stored)
                while True:
                    items = [(luck.randbytes(luck.randrange(1, 1500)), 1) for _ in range(luck.randrange(1, 5))]
                    first = writer.append_many(items)
                    assert first == len(stored)
                    told |= {first + n: payload for n, (payload, _) in enumerate(items)}
                    stored |= told
            except PowerCut:
                killed = luck.random() < 0.3
                disk = disk.restart() if killed else disk.power_cut(f"{seed}/{life}")
        writer = JournalWriter.open(HERE, disk=disk, clock=SystemClock(), limits=LIMITS)
        assert told.items() <= {r.sequence: r.payload for r in blocking_read(writer)}.items()
        return False

    if mutation == "none":
        for seed in range(150):
            run(seed)
    else:
        with pytest.raises((AssertionError, JournalDamaged)):
            any(run(seed) for seed in range(150))


def test_a_full_disk_stores_nothing_and_works_again_when_there_is_room() -> None:
    async def main(journal: Journal, disk: SimulatedDisk) -> None:
        disk.capacity = 2 * LIMITS.segment_bytes
        stored = 0
        while (error := await _raised(journal.append(bytes(1000)))) is None:
            stored += 1
        assert isinstance(error, DiskFull)
        assert "nothing was stored" in str(error)
        assert error.retry_after_seconds == 1.0
        assert len(await read_all(journal)) == stored
        with pytest.raises(DiskFull):
            await journal.append(bytes(1000))
        await journal.trim(journal.end.sequence)
        assert await journal.append(bytes(1000)) == stored
        assert (await read_all(journal))[-1].sequence == stored

    simulated(main)


def test_reserved_space_that_runs_out_all_the_same_leaves_no_half_group() -> None:
    """Copy-on-write and thinly provisioned file systems can refuse a write into reserved space."""
    for seed in range(30):

        async def main(journal: Journal, disk: SimulatedDisk) -> None:
            appended = [await journal.append(bytes(300)) for _ in range(3)]
            for _ in range(2):
                disk.fail("pwrite", errno.ENOSPC)
                with pytest.raises(DiskFull):
                    await journal.append(b"x" * 1900)
            appended.append(await journal.append(b"y" * 1900))
            assert appended == [0, 1, 2, 3]
            assert [len(r.payload) for r in await read_all(journal)] == [300, 300, 300, 1900]

        after = simulated(main, seed=seed).power_cut(seed)
        writer = JournalWriter.open(HERE, disk=after, clock=SystemClock(), limits=LIMITS)
        assert not writer.found.damage
        assert [len(r.payload) for r in blocking_read(writer)] == [300, 300, 300, 1900]


@pytest.mark.parametrize("call", ["pwrite", "datasync"])
def test_after_a_failed_write_or_sync_everything_raises_until_it_is_opened_again(call: Any) -> None:
    async def main() -> None:
        disk = SimulatedDisk()
        async with await Journal.open(HERE, disk=disk, limits=LIMITS) as journal:
            await journal.append(b"safe")
            reader = journal.reader(1)
            async with asyncio.TaskGroup() as group:
                waiting = group.create_task(_raised(reader.read()))
                await asyncio.sleep(0.01)
                disk.fail(call, errno.EIO)
                assert isinstance(await _raised(journal.append(b"doubtful")), JournalFailed)
            assert isinstance(waiting.result(), JournalFailed)
            assert isinstance(await _raised(journal.append(b"more")), JournalFailed)
            with pytest.raises(JournalFailed):
                await journal.trim(1)
        async with await Journal.open(HERE, disk=disk.restart(), limits=LIMITS) as journal:
            assert (await read_all(journal))[0].payload == b"safe"
            await journal.append(b"more")

    simulate(main)


async def _raised(call: Awaitable[object]) -> Exception | None:
    try:
        await call
    except (JournalFailed, Unavailable, Rejected) as error:
        return error
    return None


def test_a_bug_in_the_writing_thread_stops_the_journal() -> None:
    async def main(journal: Journal, disk: SimulatedDisk) -> None:
        disk.cut_after = disk.calls
        with pytest.raises(PowerCut):
            await journal.append(b"x")
        disk.cut_after = None
        with pytest.raises(JournalFailed, match="PowerCut"):
            await journal.append(b"x")

    simulated(main)


def test_trimming_drops_whole_segments_and_a_reader_behind_is_told() -> None:
    async def main(journal: Journal, _: SimulatedDisk) -> None:
        for _n in range(30):
            await journal.append(bytes(1000))
        full = journal.bytes_on_disk
        reader = journal.reader(0)
        await reader.read(1)
        dropped = await journal.trim(20)
        assert dropped > 0
        assert journal.bytes_on_disk == full - dropped * LIMITS.segment_bytes
        assert 0 < journal.begin.sequence <= 20
        assert journal.begin.weight == journal.begin.sequence
        assert len(await read_all(journal)) == 30 - journal.begin.sequence
        late = journal.reader(0)
        with pytest.raises(Trimmed, match="record 0 is no longer kept"):
            await late.read()

    simulated(main)


def test_damage_is_raised_until_it_is_skipped() -> None:
    async def main(journal: Journal, disk: SimulatedDisk) -> None:
        for n in range(5):
            await journal.append(b"%d" % n * 600, 10 + n)
        path = HERE / "00000000000000000000.segment"
        disk.flip(path, disk.content(path).find(b"2" * 600))
        reader = journal.reader(0)
        assert [r.sequence for r in await reader.read()] == [0, 1]
        for _ in range(2):
            with pytest.raises(Corrupt, match="records 2 to 2 with 12 samples are lost") as found:
                await reader.read()
        reader.skip(found.value.damage)
        assert [r.sequence for r in await reader.read()] == [3, 4]
        assert [d.first for d in await journal.verify()] == [2]

    simulated(main)


def test_several_records_appended_together_are_stored_together_or_not_at_all() -> None:
    for seed in range(60):
        disk = SimulatedDisk(seed=seed)

        async def main(disk: SimulatedDisk = disk, seed: int = seed) -> None:
            async with await Journal.open(HERE, disk=disk, limits=LIMITS) as journal:
                assert await journal.append_many([(b"a" * 400, 1), (b"b" * 400, 2), (b"c" * 400, 3)]) == 0
                disk.cut_after = disk.calls + seed % 2
                await journal.append_many([(b"d" * 400, 1), (b"e" * 400, 2), (b"f" * 400, 3)])

        with pytest.raises(PowerCut):
            simulate(main, seed=seed)
        writer = JournalWriter.open(HERE, disk=disk.power_cut(seed), clock=SystemClock(), limits=LIMITS)
        assert writer.end.sequence in (3, 6)


def test_a_record_too_large_is_refused_for_good() -> None:
    async def main(journal: Journal, _: SimulatedDisk) -> None:
        with pytest.raises(Rejected, match="a record of 2049 bytes, where 2048 is the most"):
            await journal.append(bytes(2049))
        await journal.append(bytes(2048))

    simulated(main)


def test_closing_stores_what_was_appended_and_refuses_the_rest() -> None:
    async def main() -> None:
        disk = SimulatedDisk()
        async with asyncio.TaskGroup() as group, await Journal.open(HERE, disk=disk, limits=LIMITS) as journal:
            reader: Reader = journal.reader(9)
            waiting = group.create_task(_raised(reader.read()))
            appended = [group.create_task(journal.append(bytes(100))) for _ in range(5)]
            for _ in range(3):
                await asyncio.sleep(0)
        assert sorted(task.result() for task in appended) == list(range(5))
        assert isinstance(waiting.result(), Unavailable)
        assert isinstance(await _raised(journal.append(b"late")), JournalFailed | Unavailable)

    for seed in range(10):
        simulate(main, seed=seed)


def test_sizes_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        JournalLimits(segment_bytes=4096, record_bytes_max=4096)
    with pytest.raises(ValueError, match="not a multiple"):
        JournalLimits(segment_bytes=100_000, record_bytes_max=100)


# On a real file system.


def test_a_real_directory_keeps_records_across_openings(tmp_path: Path) -> None:
    async def once(expected: int) -> None:
        async with await Journal.open(tmp_path / "deep" / "journal") as journal:
            assert [r.payload for r in await read_all(journal)] == [b"%d" % n for n in range(expected)]
            reader = journal.reader(expected)
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(reader.read())
                for n in range(expected, expected + 3):
                    await journal.append(b"%d" % n)
            assert reading.result()[0].sequence == expected
            assert await journal.verify() == []

    asyncio.run(once(0))
    asyncio.run(once(3))
    segment = tmp_path / "deep" / "journal" / "00000000000000000000.segment"
    assert segment.stat().st_size == 16 * 1024 * 1024
    assert segment.stat().st_mode & 0o077 == 0


def test_a_second_instance_is_refused_with_a_sentence(tmp_path: Path) -> None:
    writer = JournalWriter.open(tmp_path, disk=OsDisk(), clock=SystemClock())
    with pytest.raises(InUse, match=f"in use by another plantgate \\(process {os.getpid()}\\)"):
        JournalWriter.open(tmp_path, disk=OsDisk(), clock=SystemClock())
    writer.close()
    JournalWriter.open(tmp_path, disk=OsDisk(), clock=SystemClock()).close()


def _append_until_killed(directory: Path, told: Connection) -> None:
    writer = JournalWriter.open(directory, disk=OsDisk(), clock=SystemClock(), limits=LIMITS)
    while True:
        told.send(writer.append_many([(os.urandom(600), 1)]))


def test_a_killed_process_lets_go_of_the_directory_and_leaves_what_it_acknowledged(tmp_path: Path) -> None:
    processes = multiprocessing.get_context("spawn")
    last = -1
    for _ in range(3):
        receive, send = processes.Pipe(duplex=False)
        child = processes.Process(target=_append_until_killed, args=(tmp_path, send))
        child.start()
        send.close()
        until = last + 20
        while last < until:
            assert receive.poll(20)
            last = receive.recv()
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        try:
            while receive.poll(0):
                last = receive.recv()
        except EOFError:
            pass
        writer = JournalWriter.open(tmp_path, disk=OsDisk(), clock=SystemClock(), limits=LIMITS)
        assert writer.end.sequence > last
        assert len(blocking_read(writer)) == writer.end.sequence
        last = writer.end.sequence - 1
        writer.close()


def test_the_clock_of_the_records_is_ours(tmp_path: Path) -> None:
    before = time.time_ns()
    writer = JournalWriter.open(tmp_path, disk=OsDisk(), clock=SystemClock(), limits=LIMITS)
    writer.append_many([(b"x", 1)])
    assert before <= blocking_read(writer)[0].time <= time.time_ns()
    writer.close()
