"""The outbox as its users see it: an acceptor, a source for each destination, limits, and a balance."""

import asyncio
import errno
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk import Batch, Gap, Rejected, Sample, Unavailable, Value
from plantgate.store.disk import InUse
from plantgate.store.limits import Join, Limits, WhenFull
from plantgate.store.outbox import Balance, Outbox, OutboxFull
from plantgate.store.writer import JournalFailed
from plantgate.testing.clock import WallClock
from plantgate.testing.disk import SimulatedDisk
from plantgate.testing.simloop import simulate

HERE = Path("/outbox")
SMALL = Limits(bytes_max=128 * 1024)


async def opened(disk: SimulatedDisk, *names: str, limits: Limits = SMALL, **more: Any) -> Outbox:
    return await Outbox.open(HERE, names or ("mqtt",), limits=limits, disk=disk, **more)


def samples(numbers: Iterable[int], *, tags: int = 3, size: int = 0) -> Batch:
    return Batch.of([Sample(f"tag{n % tags}", f"{n}".ljust(size, "."), 0, n) for n in numbers])


def numbers(batch: Batch) -> list[int]:
    return [int(str(value).rstrip(".")) for value in batch.values]


async def drained(outbox: Outbox, name: str = "mqtt") -> list[Batch]:
    """Everything up to now, confirmed."""
    reader, batches = outbox.reader(name), []
    while outbox.balance()[name].queued:
        batches.append(await reader.read())
        await reader.ack(batches[-1].cursor)
    return batches


def figures(balance: Balance) -> tuple[int, int, int, int]:
    assert balance.difference == 0
    return balance.accepted, balance.delivered, balance.queued, balance.dropped


@pytest.mark.simulated(seeds=3)
async def test_each_destination_gets_every_batch_and_it_is_stored_once() -> None:
    async with await opened(SimulatedDisk(), "mqtt", "kafka") as outbox:
        for n in range(10):
            await outbox.accept(samples(range(n * 4, n * 4 + 4)))
        assert outbox.journal.figures.records == 10
        for name in ("mqtt", "kafka"):
            assert figures(outbox.balance()[name]) == (40, 0, 40, 0)
            assert [n for batch in await drained(outbox, name) for n in numbers(batch)] == list(range(40))
            assert figures(outbox.balance()[name]) == (40, 40, 0, 0)


@pytest.mark.simulated(seeds=3)
async def test_a_sample_comes_back_as_it_was() -> None:
    async with await opened(SimulatedDisk()) as outbox:
        cells: list[tuple[Value, int, int | None]] = [
            (True, 0, None),
            (-(2**63), 0x80340000, 5),
            (2**64 - 1, 0, 2**62),
            (2**200, 0, -1),
            (1.5e300, 0, 7),
            ("ü", 0, 7),
            (b"\x00\xff", 0, 7),
            (None, 0, 7),
            ([1, [2.5, "x"]], 0, 7),
            ({"k": {"n": -(2**90)}}, 0, 7),
        ]
        rows = [Sample("a", value, quality, time) for value, quality, time in cells]
        gap = Gap(("a", "b"), 1, None, "session lost", None, 3)
        await outbox.accept(Batch.of(rows, gaps=(gap,)))
        batch = await outbox.reader("mqtt").read()
        assert list(batch) == rows
        assert batch.gaps == (gap,)


@pytest.mark.simulated(seeds=3)
async def test_a_new_session_begins_with_what_the_last_did_not_confirm_and_ends_it() -> None:
    async with await opened(SimulatedDisk(), limits=Limits(bytes_max=128 * 1024, batch_samples_max=2)) as outbox:
        await outbox.accept(samples(range(2)))
        await outbox.accept(samples(range(2, 4)))
        await outbox.accept(samples(range(4, 6)))
        first = outbox.reader("mqtt")
        a, b = await first.read(), await first.read()
        await first.ack(a.cursor)
        second = outbox.reader("mqtt")
        with pytest.raises(Unavailable, match="mqtt: another session"):
            await first.read()
        await first.ack(b.cursor)  # too late: it is given again
        assert numbers(await second.read()) == [2, 3]
        assert figures(outbox.balance()["mqtt"]) == (6, 2, 4, 0)


@pytest.mark.simulated(seeds=3)
async def test_small_batches_come_together_numbered_and_a_gap_begins_a_batch() -> None:
    async with await opened(SimulatedDisk(), limits=Limits(bytes_max=128 * 1024, batch_samples_max=5)) as outbox:
        for n in range(6):
            await outbox.accept(samples(range(n * 2, n * 2 + 2)))
        gap = Gap(("tag0",), None, None, "session lost", 7)
        await outbox.accept(Batch(["tag0"], ["12"], [0], [12], gaps=(gap,)))
        await outbox.accept(samples(range(13, 20)))
        batches = await drained(outbox)
        assert [len(batch) for batch in batches] == [4, 4, 4, 1, 7]
        assert [batch.position for batch in batches] == [0, 4, 8, 12, 13]
        assert [batch.gaps for batch in batches] == [(), (), (), (gap,), ()]
        assert {batch.origin for batch in batches} == {outbox.origin}


@pytest.mark.simulated(seeds=3)
async def test_a_batch_of_gaps_alone_is_delivered() -> None:
    async with await opened(SimulatedDisk()) as outbox:
        await outbox.accept(Batch.empty(gaps=(Gap(("a",), 1, 2, "queue overflow", 3),)))
        await outbox.accept(Batch.empty())
        batch = await outbox.reader("mqtt").read()
        assert (len(batch), batch.gaps[0].lost) == (0, 3)
        assert outbox.journal.end.sequence == 1


async def _fill(outbox: Outbox, count: int, *, tags: int = 3) -> None:
    for n in range(count):
        await outbox.accept(samples(range(n * 5, n * 5 + 5), tags=tags, size=400))


@pytest.mark.simulated(seeds=3)
async def test_a_full_outbox_that_blocks_names_the_slowest_and_goes_on_once_it_has_taken() -> None:
    async with await opened(SimulatedDisk(), "fast", "slow") as outbox:
        accepted = 0
        refused = None
        while refused is None:
            try:
                await outbox.accept(samples(range(5), size=400))
                accepted += 5
            except OutboxFull as error:
                refused = error
            await drained(outbox, "fast")
        assert f"full with 131072 of 131072 bytes; slow has {accepted} samples to take" in str(refused)
        assert outbox.bytes == outbox.bytes_max
        reader = outbox.reader("slow")
        await reader.ack((await reader.read()).cursor)
        await outbox.accept(samples(range(5), size=400))
        assert figures(outbox.balance()["fast"])[0] == accepted + 5
        assert outbox.balance()["slow"].difference == 0


@pytest.mark.simulated(seeds=3)
async def test_dropping_the_oldest_is_counted_and_told_before_the_next_data() -> None:
    limits = Limits(bytes_max=128 * 1024, when_full=WhenFull.DROP_OLDEST)
    disk = SimulatedDisk()
    async with await opened(disk, "away", "here", limits=limits) as outbox:
        reader = outbox.reader("here")
        for n in range(120):
            await outbox.accept(samples(range(n * 5, n * 5 + 5), size=400))
            await reader.ack((await reader.read()).cursor)
        assert figures(outbox.balance()["here"]) == (600, 600, 0, 0)
        accepted, delivered, queued, dropped = figures(outbox.balance()["away"])
        assert (accepted, delivered) == (600, 0)
        assert dropped > 300
        assert outbox.bytes <= limits.bytes_max
    async with await opened(disk.power_cut(), "away", "here", limits=limits) as outbox:
        assert figures(outbox.balance()["away"]) == (600, 0, queued, dropped)
        first, *rest = await drained(outbox, "away")
        assert first.gaps == (Gap(("tag0", "tag1", "tag2"), 0, dropped - 1, "outbox full", dropped),)
        assert len(first) == 0
        assert [n for batch in rest for n in numbers(batch)] == list(range(dropped, 600))
        assert rest[0].position == dropped


@pytest.mark.simulated(seeds=3)
async def test_keeping_the_latest_leaves_the_newest_sample_of_each_tag() -> None:
    limits = Limits(bytes_max=128 * 1024, when_full=WhenFull.KEEP_LATEST)
    disk = SimulatedDisk()
    async with await opened(disk, limits=limits) as outbox:
        await outbox.accept(Batch(["rare"], ["9999"], [0], [None]))
        await _fill(outbox, 120)
        accepted, _, queued, dropped = figures(outbox.balance()["mqtt"])
        assert accepted == 601
        assert dropped > 300
    async with await opened(disk.power_cut(), limits=limits) as outbox:
        assert figures(outbox.balance()["mqtt"]) == (601, 0, queued, dropped)
        first, *rest = await drained(outbox)
        assert [(gap.tags, gap.cause, gap.lost) for gap in first.gaps] == [
            (("tag0", "tag1", "tag2"), "outbox full", dropped)
        ]
        assert first.tags[0] == "rare"
        assert sorted(first.tags) == ["rare", "tag0", "tag1", "tag2"]
        assert first.origin != outbox.origin
        later = [n for batch in rest for n in numbers(batch)]
        assert numbers(first)[1:] == list(range(later[0] - 3, later[0]))
        assert later == list(range(later[0], 600))
        assert figures(outbox.balance()["mqtt"]) == (601, 601 - dropped, 0, dropped)


@pytest.mark.parametrize("when_full", [WhenFull.DROP_OLDEST, WhenFull.KEEP_LATEST])
@pytest.mark.parametrize("confirmed", [True, False])
def test_what_was_in_hand_when_it_was_overtaken_counts_by_whether_it_is_confirmed(
    when_full: WhenFull, confirmed: bool
) -> None:
    async def main() -> None:
        limits = Limits(bytes_max=128 * 1024, when_full=when_full, batch_samples_max=5)
        async with await opened(SimulatedDisk(), limits=limits) as outbox:
            await outbox.accept(samples(range(5), size=400))
            reader = outbox.reader("mqtt")
            in_hand = await reader.read()
            await _fill(outbox, 60)
            assert outbox.balance()["mqtt"].dropped
            if confirmed:
                async with asyncio.TaskGroup() as group:
                    waiting = group.create_task(reader.read())
                    await asyncio.sleep(0.01)
                    assert not waiting.done(), "how much is lost is not known yet"
                    await reader.ack(in_hand.cursor)
                told = waiting.result()
            else:
                reader = outbox.reader("mqtt")
                told = await reader.read()
            await reader.ack(told.cursor)
            rest = await drained(outbox)
            _, delivered, queued, dropped = figures(outbox.balance()["mqtt"])
            assert queued == 0
            assert told.gaps[0].lost == dropped
            came = len(told) + sum(map(len, rest)) + (len(in_hand) if confirmed else 0)
            # Kept samples of a confirmed batch come twice, and count once.
            assert delivered <= came <= delivered + (3 if when_full is WhenFull.KEEP_LATEST else 0)

    simulate(main)


@pytest.mark.parametrize("reading", [True, False])
def test_what_is_too_old_is_dropped_and_told(reading: bool) -> None:
    async def main() -> None:
        clock = WallClock()
        limits = Limits(bytes_max=1024 * 1024, age_max_seconds=60, batch_samples_max=4)
        async with await opened(SimulatedDisk(), limits=limits, clock=clock) as outbox:
            await outbox.accept(samples(range(4)))
            await outbox.accept(samples(range(4, 8)))
            await asyncio.sleep(61)
            if not reading:
                await outbox.accept(samples(range(8, 12)))
                assert figures(outbox.balance()["mqtt"]) == (12, 0, 4, 8)
            reader = outbox.reader("mqtt")
            told = await reader.read()
            assert told.gaps == (Gap(("tag0", "tag1", "tag2"), 0, 7, "too old", 8),)
            await reader.ack(told.cursor)
            if reading:
                await outbox.accept(samples(range(8, 12)))
            assert numbers(await reader.read()) == [8, 9, 10, 11]
            assert figures(outbox.balance()["mqtt"]) == (12, 0, 4, 8)

    simulate(main)


@pytest.mark.simulated(seeds=3)
async def test_damage_becomes_a_gap_with_the_right_count_and_the_rest_is_delivered() -> None:
    disk = SimulatedDisk()
    async with await opened(disk, limits=Limits(bytes_max=128 * 1024, batch_samples_max=3)) as outbox:
        for n in range(5):
            await outbox.accept(samples(range(n * 3, n * 3 + 3), size=200))
        path = next(path for path in disk.paths() if path.suffix == ".segment")
        disk.flip(path, disk.content(path).find(b"7" + b"." * 199))
        batches = await drained(outbox)
        assert [numbers(batch) for batch in batches] == [[0, 1, 2], [3, 4, 5], [], [9, 10, 11], [12, 13, 14]]
        assert batches[2].gaps == (Gap((), None, None, "damaged on disk", 3),)
        assert batches[3].position == 9
        assert figures(outbox.balance()["mqtt"]) == (15, 12, 0, 3)


@pytest.mark.simulated(seeds=3)
async def test_confirmations_become_durable_by_themselves_and_then_make_room() -> None:
    disk = SimulatedDisk()
    async with await opened(disk, "mqtt", "kafka") as outbox:
        await _fill(outbox, 40)
        full = outbox.bytes
        await drained(outbox, "mqtt")
        await asyncio.sleep(0.5)
        assert outbox.bytes == full, "kafka still needs it"
        await drained(outbox, "kafka")
        await asyncio.sleep(0.5)
        assert outbox.bytes < full
        after = disk.power_cut()
    async with await opened(after, "mqtt", "kafka") as outbox:
        assert figures(outbox.balance()["mqtt"]) == (200, 200, 0, 0)


@pytest.mark.simulated(seeds=3)
async def test_a_new_destination_joins_at_the_tail_or_with_the_oldest_record() -> None:
    disk = SimulatedDisk()
    async with await opened(disk, "first") as outbox:
        await outbox.accept(samples(range(3)))
        await outbox.add("tail")
        await outbox.add("oldest", Join.OLDEST)
        await outbox.accept(samples(range(3, 5)))
        assert [n for batch in await drained(outbox, "tail") for n in numbers(batch)] == [3, 4]
        assert [n for batch in await drained(outbox, "oldest") for n in numbers(batch)] == [0, 1, 2, 3, 4]
        assert figures(outbox.balance()["tail"]) == (2, 2, 0, 0)
    async with await opened(disk.restart(), "first", "third", join=Join.OLDEST) as outbox:
        assert figures(outbox.balance()["third"]) == (5, 0, 5, 0)
        assert outbox.unclaimed == ("oldest", "tail")


@pytest.mark.simulated(seeds=3)
async def test_a_destination_that_is_gone_holds_space_until_it_is_released() -> None:
    disk = SimulatedDisk()
    async with await opened(disk, "mqtt", "gone") as outbox:
        await _fill(outbox, 40)
    async with await opened(disk.restart(), "mqtt") as outbox:
        full = outbox.bytes
        await drained(outbox, "mqtt")
        await asyncio.sleep(0.5)
        assert (outbox.unclaimed, outbox.bytes) == (("gone",), full)
        assert list(outbox.balance()) == ["mqtt"]
        await outbox.release("gone")
        assert outbox.bytes < full
    async with await opened(disk.restart(), "mqtt") as outbox:
        assert outbox.unclaimed == ()


@pytest.mark.simulated(seeds=3)
async def test_a_cursor_that_cannot_be_read_begins_again_with_the_oldest_and_says_so() -> None:
    disk = SimulatedDisk()
    async with await opened(disk) as outbox:
        await outbox.accept(samples(range(5)))
        await drained(outbox)
    disk = disk.restart()
    for offset in (20, 532):
        disk.flip(HERE / "destinations" / "mqtt.cursor", offset)
    async with await opened(disk) as outbox:
        assert "neither half can be read" in outbox.recovered[0]
        assert figures(outbox.balance()["mqtt"]) == (5, 0, 5, 0)


@pytest.mark.simulated(seeds=3)
async def test_one_damaged_half_of_a_cursor_costs_at_most_a_repetition() -> None:
    for offset in (20, 532):
        disk = SimulatedDisk()
        async with await opened(disk, limits=Limits(bytes_max=128 * 1024, batch_samples_max=5)) as outbox:
            for n in range(4):
                await outbox.accept(samples(range(n * 5, n * 5 + 5)))
            reader = outbox.reader("mqtt")
            for _ in range(3):
                await reader.ack((await reader.read()).cursor)
                await asyncio.sleep(0.5)
        disk = disk.restart()
        disk.flip(HERE / "destinations" / "mqtt.cursor", offset)
        async with await opened(disk) as outbox:
            _, delivered, queued, _ = figures(outbox.balance()["mqtt"])
            assert delivered in (10, 15)
            assert delivered + queued == 20


@pytest.mark.simulated(seeds=3)
async def test_newest_samples_that_cannot_be_read_any_more_are_counted_and_named() -> None:
    limits = Limits(bytes_max=128 * 1024, when_full=WhenFull.KEEP_LATEST)
    disk = SimulatedDisk()
    async with await opened(disk, limits=limits) as outbox:
        await _fill(outbox, 120)
        accepted, _, queued, dropped = figures(outbox.balance()["mqtt"])
    disk = disk.restart()
    disk.flip(next(path for path in disk.paths() if ".owed-" in path.name), 30)
    async with await opened(disk, limits=limits) as outbox:
        assert figures(outbox.balance()["mqtt"]) == (accepted, 0, queued - 3, dropped + 3)
        first = await outbox.reader("mqtt").read()
        assert first.gaps == (Gap((), None, None, "damaged on disk", 3),)


@pytest.mark.simulated(seeds=3)
async def test_a_batch_larger_than_a_record_is_split_and_a_larger_value_refused() -> None:
    async with await opened(SimulatedDisk()) as outbox:
        await outbox.accept(samples(range(60), size=400))
        assert outbox.journal.end.sequence > 1
        assert [n for batch in await drained(outbox) for n in numbers(batch)] == list(range(60))
        with pytest.raises(Rejected, match=r"^tag0: 20\d\d\d bytes, where the outbox stores 16384 at most"):
            await outbox.accept(samples([0], size=20_000))
        with pytest.raises(Rejected, match=r"^b: its value cannot be stored"):
            await outbox.accept(Batch(["a", "b"], [1, object()], [0, 0], [0, 0]))  # type: ignore[list-item]


@pytest.mark.simulated(seeds=3)
async def test_after_a_failed_sync_of_a_cursor_everything_raises_until_it_is_opened_again() -> None:
    disk = SimulatedDisk()
    outbox = await opened(disk)
    await outbox.accept(samples(range(5)))
    reader = outbox.reader("mqtt")
    disk.fail("datasync", errno.EIO, suffix=".cursor")
    await reader.ack((await reader.read()).cursor)
    await asyncio.sleep(0.5)
    with pytest.raises(JournalFailed, match="must be opened again"):
        await outbox.accept(samples(range(5)))
    with pytest.raises(JournalFailed):
        await reader.read()
    await outbox.close()
    async with await opened(disk.restart()) as outbox:
        await outbox.accept(samples(range(5, 10)))
        assert outbox.balance()["mqtt"].difference == 0


@pytest.mark.simulated(seeds=3)
async def test_without_room_to_note_what_would_be_dropped_nothing_is_dropped() -> None:
    limits = Limits(bytes_max=128 * 1024, when_full=WhenFull.DROP_OLDEST)
    disk = SimulatedDisk()
    outbox = await opened(disk, limits=limits)
    disk.fail("pwrite", errno.ENOSPC, times=100, suffix=".new")
    accepted, refused = 0, None
    while refused is None:
        try:
            await outbox.accept(samples(range(5), size=400))
            accepted += 5
        except Unavailable as error:
            refused = error
    assert "no room to note what was dropped" in str(refused)
    after = disk.power_cut()
    with pytest.raises(JournalFailed):
        await outbox.close()
    async with await opened(after, limits=limits) as outbox:
        assert figures(outbox.balance()["mqtt"]) == (accepted, 0, accepted, 0)


@pytest.mark.simulated(seeds=3)
async def test_an_older_copy_of_the_journal_is_noticed_and_named() -> None:
    """The cursor of one destination is ahead of the journal: the other one is told what is missing."""
    disk = SimulatedDisk()
    async with await opened(disk, "ahead", "behind") as outbox:
        await _fill(outbox, 40)
        await drained(outbox, "ahead")
    disk = disk.restart()
    lost = [path for path in disk.paths() if path.suffix == ".segment"][1:]
    for path in lost:
        disk.unlink(path)
    async with await opened(disk, "ahead", "behind") as outbox:
        await outbox.accept(samples(range(200, 205)))
        assert figures(outbox.balance()["ahead"]) == (205, 200, 5, 0)
        batches = await drained(outbox, "behind")
        gaps = [gap for batch in batches for gap in batch.gaps]
        came = [n for batch in batches for n in numbers(batch)]
        assert sum(gap.lost or 0 for gap in gaps) == 205 - len(came)
        assert came[-5:] == list(range(200, 205))
        assert outbox.balance()["behind"].difference == 0


@pytest.mark.simulated(seeds=3)
async def test_how_far_behind_a_destination_is_shows_the_age_of_its_oldest_batch() -> None:
    async with await opened(SimulatedDisk(), limits=Limits(bytes_max=128 * 1024, batch_samples_max=5)) as outbox:
        assert outbox.balance()["mqtt"].behind_seconds == 0
        await outbox.accept(samples(range(5)))
        await asyncio.sleep(10)
        await outbox.accept(samples(range(5, 10)))
        reader = outbox.reader("mqtt")
        one, two = await reader.read(), await reader.read()
        assert 10 <= outbox.balance()["mqtt"].behind_seconds < 11
        await reader.ack(one.cursor)
        assert outbox.balance()["mqtt"].behind_seconds < 1
        await asyncio.sleep(3)
        await reader.ack(two.cursor)
        assert outbox.balance()["mqtt"].behind_seconds == 0


@pytest.mark.simulated(seeds=3)
async def test_a_second_instance_is_refused_and_closing_lets_the_next_one_in() -> None:
    disk = SimulatedDisk()
    outbox = await opened(disk)
    with pytest.raises(InUse, match="/outbox is in use"):
        await opened(disk)
    reader = outbox.reader("mqtt")
    await outbox.close()
    await outbox.close()
    with pytest.raises(Unavailable, match="closed"):
        await outbox.accept(samples([1]))
    with pytest.raises(Unavailable):
        await reader.read()
    await (await opened(disk)).close()


def test_a_name_of_any_kind_has_a_file_of_its_own(tmp_path: Path) -> None:
    """On a real disk; `a` must not take the files of `a.owed-1` for its own."""
    names = ("a", "a.owed-1", "b/../c", "line 3", "ü")

    async def main() -> None:
        async with await Outbox.open(tmp_path / "box", names) as outbox:
            await outbox.accept(samples(range(3)))
        async with await Outbox.open(tmp_path / "box", names) as outbox:
            for name in names:
                assert len(await drained(outbox, name)) == 1
        async with await Outbox.open(tmp_path / "box", names) as outbox:
            assert all(balance.delivered == 3 for balance in outbox.balance().values())

    asyncio.run(main())
    assert len(list((tmp_path / "box" / "destinations").iterdir())) == len(names)


def test_limits_too_small_to_work_are_refused() -> None:
    with pytest.raises(ValueError, match="too small"):
        Limits(bytes_max=1000)
