"""A hand-over whose entry went into the archive: whoever knows the root follows the log all the same."""

import random
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from plantgate.audit import archive as archiving
from plantgate.audit.archive import archive
from plantgate.audit.entry import Entry, Kind, decode, encode
from plantgate.audit.log import AuditLog, KeyMissing
from plantgate.audit.note import Signer
from plantgate.audit.policy import Policy
from plantgate.audit.rotation import Rotation, entry_of, follow
from plantgate.audit.tiles import Tiles
from plantgate.audit.verify import Report, verify
from plantgate.sdk import Rejected
from plantgate.testing.clock import WallClock
from plantgate.testing.disk import PowerCut, SimulatedDisk
from plantgate.testing.simloop import simulate
from tests.gateway.audit.given import LOG, ORIGIN, intent, outcome
from tests.gateway.audit.test_archive import SMALL, filled, order, reading_both
from tests.gateway.audit.test_log import HERE, LIMITS, reading
from tests.gateway.audit.test_rotation import FIRST, NEW, NEWER, ROOT, ROOTED, SECOND, handed_over
from tests.gateway.audit.test_rotation import life as on_disk
from tests.gateway.audit.test_rotation import pairs as numbered

WRONG = "entry {}: a key rotation that is none: "


def life(disk: SimulatedDisk, signers: list[Signer], *entries: Entry, pairs: int = 0, below: int = 0) -> int:
    """Append, publish and archive; the size then."""

    async def run() -> int:
        async with await AuditLog.open(HERE, ORIGIN, signers, disk=disk, limits=LIMITS) as log:
            for entry in entries:
                await log.append(entry)
            await filled(log, pairs)
            if below:
                await archive(log, order(below), clock=WallClock(), disk=disk, volume=SMALL)
                await log.publish()
            return log.size

    return simulate(run, seed=random.Random(below).random())


def judged(disk: SimulatedDisk, *, both: bool = False) -> Report:
    return verify(reading_both(disk) if both else reading(disk), ROOTED)


def rotations(disk: SimulatedDisk, size: int) -> list[tuple[int, dict[str, str]]]:
    entries = ((index, decode(content)) for index, content in Tiles(reading(disk), size).kept())
    return [(index, entry.details) for index, entry in entries if entry.kind is Kind.KEY_ROTATION]


def test_two_hand_overs_are_repeated_as_often_as_what_tells_of_them_is_archived() -> None:
    """The second has been in the log for long when the first is repeated behind it."""
    disk = SimulatedDisk()
    life(disk, [LOG, NEW], handed_over(FIRST), pairs=150)
    size = life(disk, [NEW, NEWER], handed_over(SECOND), pairs=120, below=256)
    assert [(index, details.get("at")) for index, details in rotations(disk, size)] == [(301, None), (542, "0")]
    policy = judged(disk).policy
    assert judged(disk).exit_code == 0
    assert policy is not None
    assert str(policy).startswith(
        f"log {LOG.verifier} until 11\nsigner {NEW.verifier} from 1 until 302\nsigner {NEWER.verifier} from 302\n"
    )
    size = life(disk, [NEWER], pairs=300, below=900)
    assert [details["at"] for _, details in rotations(disk, size)] == ["0", "301"]
    for both in (False, True):
        assert judged(disk, both=both).exit_code == 0
        assert judged(disk, both=both).policy == policy
    with pytest.raises(KeyMissing, match="since entry 301 the log is signed by the key"):
        life(disk, [NEW])
    assert life(disk, [NEWER], pairs=300, below=1024) - len(rotations(disk, size)) > size
    assert judged(disk).policy == policy


def test_the_overlap_counts_from_where_the_hand_over_stood() -> None:
    disk = SimulatedDisk()
    overlap = Rotation(ORIGIN, LOG.verifier, NEW.verifier, 2000)
    size = life(disk, [LOG, NEW], handed_over(overlap), pairs=150, below=256)
    assert rotations(disk, size)[0][1]["at"] == "0"
    with pytest.raises(KeyMissing, match="is signed by the key 5c12c30e until it has 2001 entries"):
        life(disk, [NEW], intent(5000))
    life(disk, [LOG, NEW], pairs=900)
    life(disk, [NEW], pairs=1)
    assert judged(disk).exit_code == 0


def test_a_log_without_hand_overs_repeats_none() -> None:
    disk = SimulatedDisk()
    size = life(disk, [LOG], pairs=300, below=512)
    assert size == 602
    assert judged(disk).exit_code == 0
    assert judged(disk).policy == ROOTED


def test_a_log_whose_hand_over_was_archived_before_it_was_repeated_is_checked_as_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the archive, or by a policy that somebody wrote down: by the root alone it is not believed."""
    disk = SimulatedDisk()
    life(disk, [LOG, NEW], handed_over(FIRST), pairs=150)
    written = judged(disk).policy
    assert written is not None
    with monkeypatch.context() as before:
        before.setattr(archiving._Standing, "hand_overs_before", lambda self, end: [])
        life(disk, [NEW], below=256)
    life(disk, [NEW], pairs=1)
    assert judged(disk).exit_code == 3
    assert judged(disk, both=True).exit_code == 0
    assert verify(reading(disk), written).exit_code == 0


def repeated(at: object, rotation: Rotation = FIRST, by: Signer = ROOT) -> Entry:
    entry = entry_of(rotation.signed(by), by="u:7", clock=WallClock(), at=0)
    return msgspec.structs.replace(entry, details={**entry.details, "at": str(at)})


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (repeated(0), "it repeats entry 0, which is none"),
        (repeated(2), "it repeats entry 2, which is none"),
        (repeated(4), "'4' is no entry before it"),
        (repeated("9" * 5000), "is no entry before it"),
        (repeated("-1"), "'-1' is no entry before it"),
        (repeated("00"), "'00' is no entry before it"),
        (repeated("\u0661"), "is no entry before it"),
        (repeated(""), "'' is no entry before it"),
    ],
)
def test_no_repetition_makes_a_hand_over_that_is_none(entry: Entry, message: str) -> None:
    disk = SimulatedDisk()
    before = [each for number in (0, 1) for each in (intent(number), outcome(number))]
    life(disk, [LOG, NEW], *before[:3], entry, before[3])
    report = judged(disk)
    assert report.exit_code == 3
    assert report.integrity.said[0].startswith(WRONG.format(3))
    assert message in report.integrity.said[0]
    assert report.policy is not None
    assert report.policy.keys == (LOG.verifier,)


def test_a_repetition_that_says_something_else_than_what_is_here_is_named() -> None:
    disk = SimulatedDisk()
    other = Rotation(ORIGIN, LOG.verifier, NEW.verifier, 11)
    life(disk, [LOG, NEW], handed_over(FIRST), repeated(0, other))
    assert judged(disk).integrity.said == [
        WRONG.format(1) + f"to a key ({NEW.verifier.key_id.hex()}) for which the policy has other terms"
    ]


def followed(*entries: tuple[int, Entry]) -> tuple[Policy, Sequence[str]]:
    return follow(ROOTED, [(index, encode(entry)) for index, entry in entries])


@pytest.mark.parametrize("by", [LOG, NEW])
def test_only_the_root_hands_over_in_a_repetition_too(by: Signer) -> None:
    policy, wrong = followed((700, repeated(600, by=by)))
    assert policy == ROOTED
    assert wrong == [WRONG.format(700) + "not signed by the root gateway.example/root"]


def test_repetitions_are_followed_in_the_order_of_the_hand_overs() -> None:
    policy, wrong = followed((700, repeated(600, SECOND)), (701, repeated(500)))
    assert not wrong
    assert policy.keys == (LOG.verifier, NEW.verifier, NEWER.verifier)


@pytest.mark.parametrize("mutation", ["none", "repeated after the files went"])
def test_archiving_cut_short_anywhere_loses_no_hand_over(mutation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The property, and proof that it can fail."""
    late: list[tuple[AuditLog, Entry]] = []
    drop, append = AuditLog.drop, AuditLog.append

    async def kept_for_later(self: AuditLog, entry: Entry) -> int:
        if "at" not in entry.details:
            return await append(self, entry)
        late.append((self, entry))
        return 0

    async def dropped(self: AuditLog, begin: int, end: int) -> None:
        await drop(self, begin, end)
        for log, entry in late:
            if log is self:
                await append(self, entry)

    if mutation != "none":
        monkeypatch.setattr(AuditLog, "append", kept_for_later)
        monkeypatch.setattr(AuditLog, "drop", dropped)

    def run(seed: int) -> None:
        luck = random.Random(seed)
        disk = SimulatedDisk(seed=seed)
        life(disk, [LOG, NEW], handed_over(FIRST), pairs=150)
        for number in range(3):
            disk.cut_after = disk.calls + luck.randrange(1, 60)
            with suppress(PowerCut, Rejected):
                life(disk, [NEW], below=256)
            disk = disk.power_cut(f"{seed}/{number}")
            disk.cut_after = None
            life(disk, [NEW], outcome(9000 + number))
            assert judged(disk).policy != ROOTED, "nobody knows of the new key"
        with suppress(Rejected):
            life(disk, [NEW], below=256)
        assert judged(disk).archived == 256
        assert judged(disk).integrity.said == judged(disk).integrity.said[:1]
        assert judged(disk).policy != ROOTED

    def every() -> None:
        for seed in range(12):
            run(seed)

    if mutation == "none":
        every()
    else:
        with pytest.raises(AssertionError):
            every()


def test_in_the_overlap_a_log_is_not_opened_without_its_old_key(tmp_path: Path) -> None:
    """Whatever it signed nobody would believe: until the overlap ends, both must sign."""
    on_disk(tmp_path, [LOG, NEW], handed_over(FIRST))
    with pytest.raises(KeyMissing, match=LOG.verifier.key_id.hex()):
        on_disk(tmp_path, [NEW], *numbered(0, 1))


def with_its_hand_over_archived(disk: SimulatedDisk) -> None:
    """Gone from the journal, too."""
    life(disk, [LOG, NEW], handed_over(Rotation(ORIGIN, LOG.verifier, NEW.verifier, 0)), pairs=400, below=SMALL)

    async def begins_later() -> bool:
        async with await AuditLog.open(HERE, ORIGIN, [LOG, NEW], disk=disk, limits=LIMITS) as audit:
            return audit._entries.begin.sequence >= 1

    assert simulate(begins_later)


def test_a_log_whose_hand_over_is_archived_is_not_opened_without_its_new_key() -> None:
    disk = SimulatedDisk()
    with_its_hand_over_archived(disk)
    with pytest.raises(KeyMissing):
        life(disk, [LOG])


def test_a_log_whose_hand_over_is_archived_is_still_believed_by_whoever_knows_the_root() -> None:
    disk = SimulatedDisk()
    with_its_hand_over_archived(disk)
    life(disk, [NEW], pairs=1)
    assert verify(reading(disk), ROOTED).exit_code in (0, 2)
