"""A journal after a flipped bit, a torn write, a lost file: what was acknowledged is there, or named as lost."""

import errno
import itertools
from pathlib import Path

import pytest

from plantgate.sdk import SystemClock
from plantgate.store.disk import SECTOR, Open
from plantgate.store.reader import JournalWalk
from plantgate.store.record import HEADER_SIZE, START, Position, Record
from plantgate.store.recovery import JournalDamaged
from plantgate.store.segment import Damage
from plantgate.store.writer import DiskFull, JournalFailed, JournalLimits, JournalWriter
from plantgate.testing.disk import SimulatedDisk

HERE = Path("/journal")
LIMITS = JournalLimits(segment_bytes=16 * SECTOR, record_bytes_max=5 * SECTOR)
FIRST = HERE / "00000000000000000000.segment"


def opened(disk: SimulatedDisk, *, floor: Position = START) -> JournalWriter:
    return JournalWriter.open(HERE, disk=disk, clock=SystemClock(), limits=LIMITS, floor=floor)


def with_groups(*groups: list[tuple[bytes, int]]) -> SimulatedDisk:
    disk = SimulatedDisk()
    writer = opened(disk)
    for group in groups:
        writer.append_many(group)
    writer.close()
    return disk


def holding(content: bytes | bytearray) -> SimulatedDisk:
    """A disk whose first segment holds these bytes."""
    disk = SimulatedDisk()
    disk.make_directory(HERE)
    file = disk.open(FIRST, Open.NEW)
    file.pwrite(content, 0)
    file.datasync()
    disk.sync_directory(HERE)
    return disk


def everything(writer: JournalWriter) -> tuple[list[Record], list[Damage]]:
    """All that can be read, reading on past damage."""
    walk = JournalWalk(writer)
    records: list[Record] = []
    damage: list[Damage] = []
    sequence = writer.begin.sequence
    while found := walk.read(sequence, 1 << 20):
        if isinstance(found, Damage):
            damage.append(found)
            sequence = found.after
        else:
            records += found
            sequence = records[-1].sequence + 1
    return records, damage


GROUPS = [[(b"a" * 40, 3), (b"b" * 700, 5)], [(b"c" * 20, 1)], [(b"d" * 300, 7), (b"e" * 1200, 11), (b"f", 2)]]
RECORDS = list(itertools.chain.from_iterable(GROUPS))
WEIGHT = sum(weight for _, weight in RECORDS)


def test_a_flipped_bit_anywhere_is_harmless_or_reported_with_exactly_what_it_cost() -> None:
    whole = with_groups(*GROUPS).content(FIRST)
    harmless = 0
    for offset in range(len(whole.rstrip(b"\0")) + SECTOR):
        disk = holding(whole)
        disk.flip(FIRST, offset, bit=offset % 8)
        writer = opened(disk)
        records, damage = everything(writer)
        assert writer.end == Position(len(RECORDS), WEIGHT), offset
        present = {record.sequence: record for record in records}
        assert [(r.payload, r.weight) for r in records] == [RECORDS[s] for s in sorted(present)]
        lost = [sequence for d in damage for sequence in range(d.first, d.last + 1)]
        assert sorted(set(range(len(RECORDS))) - set(present)) == lost, offset
        assert sum(d.weight for d in damage) == sum(RECORDS[sequence][1] for sequence in lost)
        reported = damage or writer.found.damage or writer.found.torn
        harmless += not reported
        next_sequence = writer.append_many([(b"next", 1)])
        assert next_sequence == len(RECORDS)
    # What nothing covers is padding: of the header's two sectors and behind the three commit markers.
    assert harmless < 2 * (SECTOR - 56) + 3 * SECTOR


def test_a_flip_in_the_last_group_is_damage_and_not_a_torn_write() -> None:
    whole = with_groups(*GROUPS).content(FIRST)
    begin = whole.find(b"d" * 300)
    end = whole.find(b"1TMC", begin) + 4
    for offset in range(begin - 48, end):
        disk = holding(whole)
        disk.flip(FIRST, offset)
        writer = opened(disk)
        assert writer.found.torn is None, offset
        assert len(writer.found.damage) == 1, offset


def test_a_flip_in_a_last_group_with_blank_sectors_is_damage_too() -> None:
    groups = [[(b"x" * 30 + bytes(1500) + b"y" * 30, 4), (b"z" * 100, 1)]]
    whole = with_groups(*groups).content(FIRST)
    for offset in (whole.find(b"xxx"), whole.find(b"yyy"), whole.find(b"zzz")):
        disk = with_groups(*groups)
        disk.flip(FIRST, offset)
        writer = opened(disk)
        assert writer.found.torn is None
        assert [damage.weight for damage in writer.found.damage] == [1 if offset == whole.find(b"zzz") else 4]


def test_any_torn_write_is_set_aside_and_the_groups_before_it_stay() -> None:
    """All subsets of the sectors of an unsynced group."""
    before = [[(b"kept", 2)]]
    torn_group = [(b"1" * 100, 1), (b"2" * 900, 1), (b"3" * 900, 1)]
    disk = with_groups(*before)
    kept = disk.content(FIRST)
    writer = opened(disk)
    writer.append_many(torn_group)
    whole = disk.content(FIRST)
    offset = len(kept.rstrip(b"\0"))
    offset += -offset % SECTOR
    sectors = -(-(len(whole.rstrip(b"\0")) - offset) // SECTOR)
    assert sectors == 5
    for present in itertools.product((False, True), repeat=sectors):
        content = bytearray(kept)
        for index, there in enumerate(present):
            if there:
                at = offset + index * SECTOR
                content[at : at + SECTOR] = whole[at : at + SECTOR]
        disk = holding(content)
        writer = opened(disk)
        records, damage = everything(writer)
        assert not damage
        assert not writer.found.damage
        if all(present):
            assert [r.payload for r in records][1:] == [payload for payload, _ in torn_group]
            continue
        assert [r.payload for r in records] == [b"kept"]
        assert (writer.found.torn is not None) == any(present)
        assert writer.append_many([(b"again", 1)]) == 1
        writer.close()
        again = opened(disk)
        assert again.found.torn is None
        assert [r.payload for r in everything(again)[0]] == [b"kept", b"again"]
        if any(present):
            aside = next(path for path in disk.paths() if path.suffix == ".torn")
            written = [index for index, there in enumerate(present) if there]
            assert len(disk.content(aside)) == (written[-1] + 1) * SECTOR


def test_a_file_cut_short_at_any_length_keeps_what_lies_before_or_is_refused() -> None:
    whole = with_groups(*GROUPS).content(FIRST)
    for length in range(len(whole.rstrip(b"\0"))):
        disk = holding(whole)
        disk.open(FIRST, Open.WRITE).truncate(length)
        if 0 < length < SECTOR:
            with pytest.raises(JournalDamaged, match="restore the file"):
                opened(disk)
            continue
        writer = opened(disk)
        records, damage = everything(writer)
        assert not damage
        assert [(r.payload, r.weight) for r in records] == RECORDS[: len(records)]
        assert len(records) in (0, 2, 3)
        assert writer.append_many([(b"next", 1)]) == len(records)


def test_a_write_that_was_never_synced_does_not_become_a_hole_later() -> None:
    """The process dies between write and sync, the next one goes on, and then the power goes."""
    for seed in range(40):
        disk = SimulatedDisk()
        writer = opened(disk)
        writer.append_many([(b"first", 1)])
        disk.fail("datasync", errno.EIO)
        with pytest.raises(JournalFailed, match="opened again"):
            writer.append_many([(b"x" * 2000, 1)])
        disk = disk.restart()
        writer = opened(disk)
        seen = [r.payload for r in everything(writer)[0]]
        assert seen == [b"first", b"x" * 2000]
        writer.append_many([(b"second", 1)])
        disk = disk.power_cut(seed)
        writer = opened(disk)
        records, damage = everything(writer)
        assert not damage
        assert [r.payload for r in records] == [*seen, b"second"]


def test_a_failed_sync_is_never_tried_again() -> None:
    disk = SimulatedDisk()
    writer = opened(disk)
    disk.fail("datasync", errno.EIO)
    for _ in range(3):
        with pytest.raises(JournalFailed):
            writer.append_many([(b"x", 1)])
    before = disk.calls
    with pytest.raises(JournalFailed):
        writer.append_many([(b"x", 1)])
    with pytest.raises(JournalFailed):
        writer.trim(1)
    assert disk.calls == before
    assert writer.end.sequence == 0


def many_segments() -> SimulatedDisk:
    return with_groups(*[[(bytes([65 + n]) * 1000, 10)] for n in range(12)])


def segments_of(disk: SimulatedDisk) -> list[Path]:
    return [path for path in disk.paths() if path.suffix == ".segment"]


def test_a_segment_that_is_missing_is_reported_as_the_records_it_held() -> None:
    disk = many_segments()
    segments = segments_of(disk)
    assert len(segments) >= 3
    disk.unlink(segments[1])
    writer = opened(disk)
    records, damage = everything(writer)
    held = range(int(segments[1].stem), int(segments[2].stem))
    assert [(d.first, d.last, d.weight) for d in damage] == [(held[0], held[-1], 10 * len(held))]
    assert [r.sequence for r in records] == [n for n in range(12) if n not in held]


def test_zeros_in_the_middle_are_not_the_end() -> None:
    for index in (0, 1):
        disk = many_segments()
        path = segments_of(disk)[index]
        file = disk.open(path, Open.WRITE)
        file.pwrite(bytes(len(disk.content(path)) - HEADER_SIZE), HEADER_SIZE)
        writer = opened(disk)
        records, damage = everything(writer)
        assert len(damage) == 1
        assert len(records) + damage[0].last - damage[0].first + 1 == 12
        assert damage[0].weight == 10 * (12 - len(records))


def test_sectors_the_disk_cannot_read_cost_only_what_they_held() -> None:
    disk = many_segments()
    writer = opened(disk)
    disk.fail("pread", errno.EIO, times=2, suffix=segments_of(disk)[0].name)
    records, damage = everything(writer)
    assert damage
    assert len(records) == 12 - sum(d.last - d.first + 1 for d in damage)
    assert len(everything(writer)[0]) == 12


def test_either_copy_of_a_header_will_do_and_none_is_refused() -> None:
    for offset in (20, SECTOR + 20):
        disk = with_groups(*GROUPS)
        disk.flip(FIRST, offset)
        writer = opened(disk)
        assert len(everything(writer)[0]) == len(RECORDS)
        assert "no record is lost" in str(writer.found.damage[0])
        writer.close()
    disk.flip(FIRST, 20)
    with pytest.raises(JournalDamaged, match="checksum of the header"):
        opened(disk)


def test_a_segment_whose_making_was_cut_off_is_made_anew() -> None:
    disk = with_groups(*GROUPS)
    file = disk.open(HERE / "00000000000000000006.segment", Open.NEW)
    file.allocate(LIMITS.segment_bytes)
    writer = opened(disk)
    assert writer.append_many([(b"next", 1)]) == 6
    assert len(everything(writer)[0]) == 7


def test_segments_of_two_journals_are_refused() -> None:
    disk, other = many_segments(), many_segments()
    foreign = segments_of(other)[1]
    disk.unlink(segments_of(disk)[1])
    disk.open(foreign, Open.NEW).pwrite(other.content(foreign), 0)
    with pytest.raises(JournalDamaged, match="different journals"):
        opened(disk)


def test_a_renamed_segment_is_refused_by_its_right_name() -> None:
    disk = with_groups(*GROUPS)
    disk.rename(FIRST, HERE / "00000000000000000009.segment")
    with pytest.raises(JournalDamaged, match=f"says that it is {FIRST.name}"):
        opened(disk)


def test_a_journal_below_what_is_known_to_have_been_reached_goes_on_above_it() -> None:
    """An old copy of the disk: no sequence is given twice, and what is missing is named."""
    disk = with_groups(*GROUPS)
    floor = Position(9, WEIGHT + 30)
    writer = opened(disk, floor=floor)
    assert [(d.first, d.last, d.weight) for d in writer.found.damage] == [(6, 8, 30)]
    assert writer.append_many([(b"next", 1)]) == 9
    records, damage = everything(writer)
    assert [r.sequence for r in records] == [0, 1, 2, 3, 4, 5, 9]
    assert [(d.first, d.last, d.weight) for d in damage] == [(6, 8, 30)]
    writer.close()
    assert opened(disk, floor=floor).found.damage == ()


def test_the_newest_torn_writes_are_kept_and_not_all() -> None:
    disk = with_groups(*GROUPS)
    offset = len(disk.content(FIRST).rstrip(b"\0"))
    offset += -offset % SECTOR
    for attempt in range(30):
        file = disk.open(FIRST, Open.WRITE)
        file.pwrite(bytes([attempt + 1]) * 10, offset)
        writer = opened(disk)
        assert writer.found.torn is not None
        assert writer.found.torn.kept is not None
        assert disk.content(writer.found.torn.kept)[:10] == bytes([attempt + 1]) * 10
        writer.close()
    assert sum(path.suffix == ".torn" for path in disk.paths()) <= 16


def test_a_full_disk_does_not_keep_a_damaged_journal_from_being_read() -> None:
    disk = with_groups(*GROUPS)
    disk.flip(FIRST, disk.content(FIRST).find(b"d" * 300))
    disk.capacity = LIMITS.segment_bytes
    writer = opened(disk)
    records, damage = everything(writer)
    assert [r.sequence for r in records] == [0, 1, 2, 4, 5]
    assert [(d.first, d.weight) for d in damage] == [(3, 7)]
    with pytest.raises(DiskFull):
        writer.append_many([(b"next", 1)])
    disk.capacity = None
    assert writer.append_many([(b"next", 1)]) == 6
    assert [r.sequence for r in everything(writer)[0]] == [0, 1, 2, 4, 5, 6]


def test_a_journal_of_which_every_file_is_gone_goes_on_above_what_was_reached() -> None:
    disk = SimulatedDisk()
    writer = opened(disk, floor=Position(9, 30))
    assert writer.begin == writer.end == Position(9, 30)
    assert JournalWalk(writer).verify() == []
    assert writer.append_many([(b"next", 1)]) == 9
    assert [r.sequence for r in everything(writer)[0]] == [9]
