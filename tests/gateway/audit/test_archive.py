"""Old volumes leave the log: what was proven stays proven, and what is gone is gone by a rule or it is tampering."""

import asyncio
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from plantgate.audit.archive import Archived, ArchiveDamaged, Order, archive
from plantgate.audit.entry import Kind, Phase, decode, encode
from plantgate.audit.log import AuditLog, LogDamaged
from plantgate.audit.note import Note, Signer
from plantgate.audit.policy import Policy
from plantgate.audit.receipt import Receipt
from plantgate.audit.tiles import Tiles, Unreadable, folder, volume_name, with_archive
from plantgate.audit.tree import inclusion_proof
from plantgate.audit.verify import Report, Verdict, verify
from plantgate.cli import main
from plantgate.sdk import GatewayError, Rejected
from plantgate.store.disk import Open
from plantgate.store.recovery import JournalDamaged
from plantgate.testing.clock import WallClock
from plantgate.testing.disk import PowerCut, SimulatedDisk
from plantgate.testing.simloop import simulate
from tests.gateway.audit.given import LOG, ORIGIN, POLICY, intent, outcome
from tests.gateway.audit.test_log import HERE, opened, reading

ARCHIVE = Path("/archive")
SMALL = 256


def order(below: int, *, rule: str = "SOP-12 §4", by: str = "u:7", approved_by: str = "u:8") -> Order:
    return Order(ARCHIVE, below, rule, by, approved_by)


async def filled(audit: AuditLog, pairs: int) -> None:
    first = audit.size
    for number in range(first, first + pairs):
        await audit.append(intent(number))
        await audit.append(outcome(number))
    await audit.publish()


def reading_both(disk: SimulatedDisk) -> Callable[[str], bytes]:
    """The log, and the archive beside it; the small volumes of these tests all lie in the folder of the first."""
    log, there = reading(disk), reading(disk, ARCHIVE / volume_name(0))

    def read(path: str) -> bytes:
        try:
            return log(path)
        except FileNotFoundError:
            return there(path)

    return read


def judged(disk: SimulatedDisk, *seen: Note, both: bool = False, policy: Policy = POLICY) -> Report:
    return verify(reading_both(disk) if both else reading(disk), policy, seen=seen)


def archived(disk: SimulatedDisk, below: int, pairs: int = 400) -> Archived:
    async def run() -> Archived:
        async with await opened(disk) as audit:
            await filled(audit, pairs)
            done = await archive(audit, order(below), clock=WallClock(), disk=disk, volume=SMALL)
            await audit.publish()
            return done

    return simulate(run, seed=below)  # ids are drawn from it


def test_what_was_archived_is_named_and_the_rest_is_checked() -> None:
    disk = SimulatedDisk()
    done = archived(disk, 600)
    assert (done.begin, done.end) == (0, 512)
    assert not any("tile/entries/000" in str(path) for path in disk.paths() if HERE in path.parents)
    report = judged(disk)
    assert report.exit_code == 0, report
    assert (report.archived, report.entries) == (512, 290)
    assert report.integrity.said == ["entries 0 to 511 are archived: their hashes are here, they were not read"]
    whole = judged(disk, both=True)
    assert (whole.archived, whole.entries, whole.exit_code) == (0, 802, 0)
    entries = dict(Tiles(reading(disk), 802).kept())
    begun, ended = decode(entries[800]), decode(entries[801])
    assert (begun.kind, begun.phase) == (Kind.PRUNE, Phase.INTENT)
    assert begun.details == {"from_index": "0", "minimum_index": "512", "approved_by": "u:8"}
    assert begun.why is not None
    assert begun.why.cites == "SOP-12 §4"
    assert ended.refers_to == begun.id


def test_the_log_goes_on_and_goes_into_the_archive_again() -> None:
    disk = SimulatedDisk()
    for below, begin, end in ((600, 0, 512), (1100, 512, 1024), (1300, 1024, 1280)):
        done = archived(disk, below)
        assert (done.begin, done.end) == (begin, end)
        assert judged(disk).exit_code == 0
    report = judged(disk, both=True)
    assert (report.entries, report.exit_code) == (2406, 0)


def test_receipts_and_checkpoints_of_before_are_what_they_were() -> None:
    disk = SimulatedDisk()
    receipts: list[Receipt] = []
    notes: list[Note] = []

    async def run() -> None:
        async with await opened(disk) as audit:
            for _ in range(4):
                await filled(audit, 100)
                notes.append(Note.parse(reading(disk)("checkpoint")))
            tiles = Tiles(reading(disk), 800)
            indexes = range(0, 800, 13)
            receipts.extend(Receipt(at, tuple(inclusion_proof(at, 800, tiles.node)), notes[-1]) for at in indexes)
            await archive(audit, order(512), clock=WallClock(), disk=disk, volume=SMALL)
            await audit.publish()

    simulate(run)
    tiles = Tiles(reading_both(disk), 802)
    for receipt in receipts:
        assert receipt.check(tiles.entry(receipt.index), POLICY)
    assert judged(disk, *notes, both=True).exit_code == 0
    report = judged(disk, *notes)
    assert report.exit_code == 2
    assert report.completeness.said == [
        f"the checkpoint of {size} entries seen earlier lies in what is archived; give that too" for size in (200, 400)
    ]
    Tiles(reading(disk), 802).entry(512)
    with pytest.raises(Unreadable):
        Tiles(reading(disk), 802).entry(511)


def test_entries_taken_away_that_no_entry_speaks_of_are_tampering() -> None:
    disk = SimulatedDisk()

    async def run() -> None:
        async with await opened(disk) as audit:
            await filled(audit, 400)

    simulate(run)
    for name in ("tile/entries/000", "tile/0/000"):
        disk.unlink(HERE / "public" / name)
    report = judged(disk)
    assert report.exit_code == 3
    assert report.integrity.said[-1] == "entries 0 to 255 are missing, and no entry says that they were archived"


@pytest.mark.parametrize("name", ["tile/1/000.p/3", "tile/entries/002", "tile/0/002", "tile/entries/003.p/34"])
def test_what_stayed_is_held_by_the_signed_root(name: str) -> None:
    disk = SimulatedDisk()
    archived(disk, 512)
    for offset in (0, 40):
        disk.flip(HERE / "public" / name, offset)
        assert judged(disk).exit_code == 3
        disk.flip(HERE / "public" / name, offset)
    assert judged(disk).exit_code == 0


def test_a_changed_archive_is_found_when_it_is_read_beside_the_log() -> None:
    disk = SimulatedDisk()
    archived(disk, 512)
    disk.flip(ARCHIVE / volume_name(0) / "tile/entries/001", 77)
    report = judged(disk, both=True)
    assert report.exit_code == 3
    assert report.integrity.said[0] == "tile/0/001: not the hashes of the entries; entry 256 is the first that differs"


@pytest.mark.parametrize(
    ("order_", "message"),
    [
        (order(512, by="u:8"), "agreement of somebody other than u:8"),
        (order(512, rule=""), "a written retention rule"),
        (order(255), "fill no volume"),
        (order(1024), "older than the newest"),
        (order(900), "entry 801 is an intent without an outcome"),
    ],
)
def test_what_may_not_go_stays(order_: Order, message: str) -> None:
    disk = SimulatedDisk()

    async def run() -> None:
        async with await opened(disk) as audit:
            await filled(audit, 400)
            await audit.append_bytes(b"no entry")
            await audit.append(intent(5000))
            await filled(audit, 100)
            size = audit.size
            with pytest.raises(Rejected, match=message):
                await archive(audit, order_, clock=WallClock(), disk=disk, volume=SMALL)
            assert audit.size == size

    simulate(run)
    assert judged(disk).archived == 0


@pytest.mark.parametrize("name", ["tile/entries/001", "tile/0/001", "tile/1/000.p/3"])
def test_what_is_not_what_was_signed_is_not_archived(name: str) -> None:
    disk = SimulatedDisk()

    async def run() -> None:
        async with await opened(disk) as audit:
            await filled(audit, 400)
            disk.flip(HERE / "public" / name, 40)
            with pytest.raises(ArchiveDamaged):
                await archive(audit, order(512), clock=WallClock(), disk=disk, volume=SMALL)
            assert audit.size == 800

    simulate(run)
    assert HERE / "public/tile/entries/000" in disk.paths()


@pytest.mark.parametrize("mutation", ["none", "the files go before the intent", "copies are not synced"])
def test_archiving_cut_short_anywhere_loses_no_entry_and_says_so_once(
    mutation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The property, and proof that it can fail."""
    contents = [encode(each) for number in range(330) for each in (intent(number), outcome(number))]

    async def life(disk: SimulatedDisk, luck: random.Random | None) -> None:
        async with await opened(disk) as audit:
            if audit.size == 0:
                for content in contents:
                    await audit.append_bytes(content)
                await audit.publish()
            if luck is not None:
                disk.cut_after = disk.calls + luck.randrange(1, 80)
            if mutation == "the files go before the intent":
                await audit.drop(0, 512)
            with suppress(Rejected):  # all of it is done already
                await archive(audit, order(512), clock=WallClock(), disk=disk, volume=SMALL)
            await audit.publish()

    def run(seed: int) -> None:
        luck = random.Random(seed)
        disk = SimulatedDisk(seed=seed)
        for number in range(3):
            with suppress(PowerCut):
                simulate(lambda: life(disk, luck), seed=luck.random())  # noqa: B023  at once
            disk = disk.power_cut(f"{seed}/{number}")
        simulate(lambda: life(disk, None), seed=seed)
        report = judged(disk)
        assert report.exit_code == 0, report
        assert report.archived == 512
        whole = judged(disk, both=True)
        assert whole.exit_code == 0, whole
        stored = [content for _, content in Tiles(reading_both(disk), whole.entries).kept()]
        assert stored[: len(contents)] == contents, "lost"
        phases = [entry.phase for entry in map(decode, stored) if entry.kind is Kind.PRUNE]
        assert phases == [Phase.INTENT, Phase.OUTCOME], "not once"

    def every() -> None:
        for seed in range(12):
            run(seed)

    if mutation == "copies are not synced":
        import plantgate.audit.archive as module

        def careless(disk: SimulatedDisk, path: Path, content: bytes) -> None:
            with suppress(FileNotFoundError):
                disk.unlink(path)
            disk.open(path, Open.NEW).pwrite(content, 0)

        monkeypatch.setattr(module, "replace_file", careless)
    if mutation == "none":
        every()
    else:
        with pytest.raises((AssertionError, GatewayError, Unreadable, JournalDamaged, OSError)):
            every()


def test_a_log_whose_archived_part_lost_its_hashes_is_not_opened() -> None:
    disk = SimulatedDisk()
    archived(disk, 512)
    archived(disk, 1024, 500)
    for path in [path for path in disk.paths() if "tile/1/" in str(path)]:
        disk.unlink(path)
    with pytest.raises((LogDamaged, GatewayError), match="restore it from a copy"):
        archived(disk, 1024)


def test_partial_tiles_go_when_the_full_one_is_there() -> None:
    disk = SimulatedDisk()

    async def run() -> None:
        async with await opened(disk) as audit:
            for number in range(300):
                await audit.append(intent(number))
                await audit.publish()

    simulate(run)
    partial = {str(path.relative_to(HERE / "public")) for path in disk.paths() if ".p/" in str(path)}
    assert "tile/entries/001.p/44" in partial
    assert not {name for name in partial if "/000.p/" in name} - {"tile/1/000.p/1"}
    assert judged(disk).integrity.verdict is Verdict.YES


# ---- at the terminal ----


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log whose first entries are archived; volumes are small here, whole ones are in tests/integration."""
    monkeypatch.setitem(archive.__kwdefaults__, "volume", SMALL)

    async def fill() -> None:
        async with await AuditLog.open(tmp_path / "log", ORIGIN, [LOG]) as audit:
            await filled(audit, 400)

    asyncio.run(fill())
    (tmp_path / "log.key").write_text(LOG.private())
    (tmp_path / "pub").write_text(str(LOG.verifier))
    shutil.copytree(tmp_path / "log" / "public", tmp_path / "before")
    people = ["--rule", "SOP-12 §4", "--by", "u:7", "--approved-by", "u:8"]
    command = ["audit", "archive", str(tmp_path / "log"), str(tmp_path / "old"), "--key", str(tmp_path / "log.key")]
    assert main([*command, "--below", "600", *people]) == 0
    assert main([*command, "--below", "600", *people]) == 5  # nothing is left to go
    return tmp_path


def test_entries_leave_and_both_halves_are_checked(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log, pub = str(place / "log" / "public"), str(place / "pub")
    command = ["audit", "verify", log, "--policy", pub]
    assert main([*command, "--seen", str(place / "before" / "checkpoint")]) == 0
    said = capsys.readouterr().out
    assert "integrity     yes        all that is in here is what gateway.example/plant1/line3 (5c12c30e) signed" in said
    assert "                         entries 0 to 511 are archived" in said
    assert main([*command, "--archive", str(place / "old")]) == 0
    assert "802 entries signed, 802 read" in capsys.readouterr().out
    report = verify(with_archive(folder(place / "log" / "public"), place / "old"), POLICY)
    assert (report.integrity.verdict, report.archived) == (Verdict.YES, 0)


def test_an_archived_entry_is_shown_and_proven_where_the_archive_is_given(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, pub, old = str(place / "log" / "public"), str(place / "pub"), ["--archive", str(place / "old")]
    assert main(["audit", "show", log, "7"]) == 5
    assert "entry 7 went into the archive, as all before 512; give --archive FOLDER" in capsys.readouterr().err
    assert main(["audit", "show", log, "7", *old]) == 0
    receipt = str(tmp_path / "7.tlog-proof")
    assert main(["audit", "prove", log, "7", "--out", receipt, *old]) == 0
    assert main(["audit", "check-proof", log, receipt, "--policy", pub, *old]) == 0
    assert main(["audit", "search", log, "--kind", "prune", "--json"]) == 0
    assert capsys.readouterr().out.count('"kind":"prune"') == 2
    assert main(["audit", "export", log, str(tmp_path / "part"), "--policy", pub, "--id", intent(3).id, *old]) == 0
    for last in ("3", "802"):
        assert main(["audit", "tail", log, "--last", last, *old]) == 0
        assert main(["audit", "tail", log, "--last", last]) == 0


def test_one_archive_for_two_logs_takes_nothing_of_either() -> None:
    disk = SimulatedDisk()
    other = Signer("gateway.example/plant1/line4", bytes(range(9, 41)))

    async def run() -> None:
        order = Order(Path("/archive"), 256, "SOP-12 §4", "u:7", "u:8")
        async with await opened(disk) as first:
            await filled(first, 200)
            await archive(first, order, clock=WallClock(), disk=disk, volume=256)
        kept = disk.content(Path("/archive/volume-000000/tile/entries/000"))
        async with await AuditLog.open(Path("/other"), other.verifier.name, [other], disk=disk) as second:
            for number in range(1000, 1300):
                await second.append(outcome(number))
            await second.publish()
            with pytest.raises(ArchiveDamaged, match="another log"):
                await archive(second, order, clock=WallClock(), disk=disk, volume=256)
        assert disk.content(Path("/archive/volume-000000/tile/entries/000")) == kept

    simulate(run)
