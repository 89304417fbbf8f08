"""A published log, checked offline; and every way in which one can be wrong."""

import asyncio
import dataclasses
import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from plantgate.audit.checkpoint import Checkpoint
from plantgate.audit.entry import FORMAT, Entry, Kind, Phase, Result, Who, encode
from plantgate.audit.log import AuditLog
from plantgate.audit.note import BadNote, Note, Signer
from plantgate.audit.policy import Policy
from plantgate.audit.receipt import Receipt
from plantgate.audit.tiles import (
    Tiles,
    Unreadable,
    bundle_path,
    folder,
    number_path,
    pack_bundle,
    tile_path,
    unpack_bundle,
    widths,
)
from plantgate.audit.tree import NotProven, inclusion_proof, leaf_hash
from plantgate.audit.verify import Report, Verdict, verify
from plantgate.sdk import iso
from tests.gateway.audit.given import BEGAN, LOG, ORIGIN, POLICY, SECOND, WITNESS, intent, outcome

WITNESSED = Policy.parse(f"log {LOG.verifier}\nwitness w1 {WITNESS.verifier}\nquorum w1\n")
LATER = BEGAN // SECOND + 100


def published(place: Path, entries: list[Entry], *, witnessed: bool = True) -> Path:
    """The public folder of a log with these entries."""

    async def main() -> None:
        async with await AuditLog.open(place, ORIGIN, [LOG]) as log:
            for entry in entries:
                await log.append(entry)
            note = await log.publish()
            if note is not None and witnessed:
                log._publisher.release(note.signed(WITNESS.sign(note.text, seconds=LATER)))

    asyncio.run(main())
    return place / "public"


def pairs(count: int) -> list[Entry]:
    return [each for number in range(count) for each in (intent(number), outcome(number))]


def files(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}


def reading(content: dict[str, bytes]) -> Callable[[str], bytes]:
    def read(path: str) -> bytes:
        if path not in content:
            raise FileNotFoundError(path)
        return content[path]

    return read


def verdicts(report: Report) -> list[str]:
    answers = (report.integrity, report.completeness, report.freshness, report.quorum)
    return [answer.verdict.value for answer in answers]


def test_a_whole_log_gets_four_separate_answers(tmp_path: Path) -> None:
    place = published(tmp_path, pairs(150))
    report = verify(folder(place), WITNESSED, now_seconds=LATER + 5, within_seconds=60)
    assert verdicts(report) == ["yes", "yes", "yes", "yes"]
    assert report.exit_code == 0
    assert report.quorum.said == ["witnessed by w1 at 2025-10-09T08:55:00Z"]
    unwitnessed = verify(folder(place), POLICY)
    assert verdicts(unwitnessed) == ["yes", "yes", "not asked", "not asked"]
    assert unwitnessed.exit_code == 0


def test_old_is_not_fresh_and_unwitnessed_is_no_quorum(tmp_path: Path) -> None:
    place = published(tmp_path, pairs(1), witnessed=False)
    report = verify(folder(place), WITNESSED, now_seconds=LATER + 500, within_seconds=60)
    assert verdicts(report) == ["yes", "yes", "no", "no"]
    assert report.exit_code == 2
    assert "the policy asks for w1, which has not signed" in report.quorum.said


def test_no_flipped_bit_in_any_file_goes_unnoticed(tmp_path: Path) -> None:
    content = files(published(tmp_path, pairs(1)))
    assert verify(reading(content), WITNESSED).exit_code == 0
    flips = 0
    for path, whole in content.items():
        for bit in range(8 * len(whole)):
            flipped = bytearray(whole)
            flipped[bit // 8] ^= 1 << bit % 8
            report = verify(reading({**content, path: bytes(flipped)}), WITNESSED)
            assert report.exit_code in (2, 3), (path, bit)
            assert report.integrity.verdict is Verdict.NO or path == "checkpoint"
            flips += 1
    assert flips > 8_000


def test_the_first_entry_that_was_changed_is_named(tmp_path: Path) -> None:
    """Also where whoever changed it made the tiles below the root anew."""
    content = files(published(tmp_path, pairs(350)))
    luck = random.Random(9)
    for _ in range(200):
        index = luck.randrange(700)
        name, width = ("002.p/188", 188) if index > 511 else (f"{index // 256:03d}", 256)
        entries = unpack_bundle(content[f"tile/entries/{name}"], width)
        entries[index % 256] = entries[index % 256].replace(b"line3", b"line4").replace(b"box-1", b"box-2")
        changed = {**content, f"tile/entries/{name}": pack_bundle(entries)}
        said = verify(reading(changed), POLICY).integrity.said
        assert said[0].endswith(f"; entry {index} is the first that differs"), said
        changed[f"tile/0/{name}"] = b"".join(map(leaf_hash, entries))
        said = verify(reading(changed), POLICY).integrity.said
        if index > 511:
            assert said == ["the 700 entries do not lead to the root that was signed"]
        else:
            first = index // 256 * 256
            where = f"one of the entries {first} to {first + 255} is the first that differs"
            assert said[0] == f"tile/1/000.p/2: not the hashes of the entries; {where}"


def test_no_cut_or_missing_file_goes_unnoticed(tmp_path: Path) -> None:
    content = files(published(tmp_path, pairs(1)))
    for path, whole in content.items():
        missing = {name: each for name, each in content.items() if name != path}
        assert verify(reading(missing), WITNESSED).exit_code == 3, path
        for end in range(len(whole)):
            assert verify(reading({**content, path: whole[:end]}), WITNESSED).exit_code in (2, 3), (path, end)


def test_a_log_without_a_checkpoint_is_named(tmp_path: Path) -> None:
    report = verify(folder(tmp_path), POLICY)
    assert report.integrity.said == ["checkpoint: missing; without it nothing in here says what was signed"]
    assert verdicts(report) == ["no", "not asked", "not asked", "not asked"]
    assert verdicts(verify(folder(tmp_path), WITNESSED))[3] == "no"
    assert report.exit_code == 3


def test_a_log_that_another_key_signed_names_both(tmp_path: Path) -> None:
    place = published(tmp_path, pairs(1), witnessed=False)
    report = verify(folder(place), Policy.of_key(str(Signer(ORIGIN, bytes(32)).verifier)))
    assert report.integrity.said == [
        f"checkpoint: not signed by {ORIGIN} (9b2b0062): below it stands {ORIGIN} (5c12c30e)"
    ]
    assert report.quorum.verdict is Verdict.NOT_ASKED


def test_a_yes_says_what_it_means_and_a_span_is_told_as_people_do(tmp_path: Path) -> None:
    place = published(tmp_path, pairs(1), witnessed=False)
    report = verify(folder(place), POLICY, now_seconds=LATER + 90_000, within_seconds=7_260)
    assert report.answers()["integrity"].said == [
        "all that is in here is what gateway.example/plant1/line3 (5c12c30e) signed"
    ]
    assert report.answers()["completeness"].said == ["every intent has its outcome, and everything in here is an entry"]
    assert report.freshness.said[1] == "that is 1 d 1 h ago, where 2 h 1 min are allowed"


def test_a_log_that_was_rolled_back_is_told_from_an_older_sight_of_it(tmp_path: Path) -> None:
    newer = published(tmp_path / "newer", pairs(6))
    older = published(tmp_path / "older", pairs(5))
    seen = Note.parse((newer / "checkpoint").read_bytes())
    report = verify(folder(older), POLICY, seen=[seen])
    assert report.forked
    assert report.exit_code == 4
    assert report.integrity.said == [
        "the log had 12 entries, and has 10 in here: it was rolled back, or this is an older copy"
    ]


@pytest.mark.parametrize("size", [2, 256, 258, 512])
def test_a_fork_is_told_from_an_older_sight_of_it(size: int, tmp_path: Path) -> None:
    entries = pairs(300)
    older = published(tmp_path / "older", entries[:size])
    forged = [*entries[: size - 1], intent(10**6), *entries[size:]]
    forked = published(tmp_path / "forked", forged)
    seen = Note.parse((older / "checkpoint").read_bytes())
    assert verify(folder(published(tmp_path / "honest", entries)), POLICY, seen=[seen]).exit_code == 0
    report = verify(folder(forked), POLICY, seen=[seen])
    assert report.exit_code == 4
    assert report.integrity.said == [
        f"the first {size} entries are not those that were seen earlier: the log was forked"
    ]


def test_a_sight_of_another_log_proves_nothing(tmp_path: Path) -> None:
    place = published(tmp_path, pairs(2))
    other = Signer("gateway.example/other", bytes(32))
    text = str(Checkpoint("gateway.example/other", 1, bytes(32)))
    report = verify(folder(place), POLICY, seen=[Note(text, (other.sign(text),))])
    assert report.integrity.verdict is Verdict.NO
    assert report.integrity.said[0].startswith("a checkpoint seen earlier is none of this log")


def test_an_intent_without_an_outcome_is_incomplete_and_named(tmp_path: Path) -> None:
    place = published(tmp_path, [*pairs(2), intent(7), intent(8), outcome(8, Result.UNKNOWN)])
    report = verify(folder(place), POLICY)
    assert report.integrity.verdict is Verdict.YES
    assert report.exit_code == 2
    assert report.open_intents == [intent(7).id, intent(8).id]
    assert report.completeness.said[0] == f"entry 4: the intent {intent(7).id} has no outcome"


def test_an_outcome_without_an_intent_and_a_second_intent_are_named(tmp_path: Path) -> None:
    place = published(tmp_path, [outcome(3), *pairs(1), intent(0), outcome(0)])
    report = verify(folder(place), POLICY)
    assert report.completeness.said[:2] == [
        "entry 0: an outcome without an intent before it",
        f"entry 3: the intent {intent(0).id} stands here a second time",
    ]


def test_bytes_that_are_no_entry_are_named_and_harm_nothing_else(tmp_path: Path) -> None:
    async def main() -> None:
        async with await AuditLog.open(tmp_path, ORIGIN, [LOG]) as log:
            await log.append_bytes(b'{"v":2}')
            await log.append_bytes(encode(intent(1)).replace(b'":', b'": ', 1))
            await log.publish()

    asyncio.run(main())
    report = verify(folder(tmp_path / "public"), POLICY)
    assert report.integrity.verdict is Verdict.YES
    assert report.completeness.said[0].startswith("entry 0: ")
    assert report.completeness.said[1] == "entry 1: an entry that is not in its canonical form"


def test_silences_and_a_clock_that_went_back_are_told_and_are_no_fault(tmp_path: Path) -> None:
    def beat(second: int) -> Entry:
        return Entry(
            v=FORMAT,
            id=f"beat-{second}",
            kind=Kind.HEARTBEAT,
            phase=Phase.OBSERVED,
            time=iso(BEGAN + second * SECOND) or "",
            who=Who(kind="gateway", id="box-1"),
        )

    beats = [0, 60, 120, 4000, 4060, 4250, 4200, 4260]
    strange = ("", "yesterday", "2025-10-09T09:00:00")
    entries = [beat(second) for second in beats]
    entries += [msgspec.structs.replace(beat(1), time=time, id=f"strange-{time}") for time in strange]
    report = verify(folder(published(tmp_path, entries)), POLICY)
    assert report.exit_code == 0
    silence, back = report.completeness.said
    assert silence.startswith(
        "no heartbeat for more than 180 s, 2 times, the longest from 2025-10-09T08:55:20Z to 2025"
    )
    assert back == "the gateway's clock went back between heartbeats, 1 times"
    assert report.freshness.said == ["the newest entry is of 2025-10-09T10:04:20Z"]
    assert verify(folder(published(tmp_path / "regular", [beat(0), beat(60)])), POLICY).completeness.said == []


# ---- receipts ----


def test_a_receipt_proves_its_entry_and_no_other(tmp_path: Path) -> None:
    place = published(tmp_path, pairs(200))
    tiles = Tiles(folder(place), 400)
    note = Note.parse((place / "checkpoint").read_bytes())
    for index in (0, 1, 255, 256, 399):
        receipt = Receipt(index, tuple(inclusion_proof(index, 400, tiles.node)), note)
        again = Receipt.parse(bytes(receipt))
        assert again == receipt
        assert again.check(tiles.entry(index), WITNESSED).quorum
        with pytest.raises(NotProven):
            again.check(tiles.entry((index + 1) % 400), WITNESSED)
        with pytest.raises(NotProven):
            dataclasses.replace(again, index=(index + 1) % 400).check(tiles.entry(index), WITNESSED)


def test_no_flipped_bit_of_a_receipt_proves_another_entry(tmp_path: Path) -> None:
    place = published(tmp_path, pairs(4))
    tiles = Tiles(folder(place), 8)
    note = Note.parse((place / "checkpoint").read_bytes())
    entry = tiles.entry(5)
    whole = bytes(Receipt(5, tuple(inclusion_proof(5, 8, tiles.node)), note))
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            assert not Receipt.parse(bytes(flipped)).check(entry, WITNESSED).quorum, bit
        except (BadNote, NotProven):
            continue


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "without a checkpoint"),
        (b"c2sp.org/tlog-proof@v2\nindex 0\n\n", "does not begin with"),
        (b"c2sp.org/tlog-proof@v1\nindex 00\n\n", "without the index"),
        (b"c2sp.org/tlog-proof@v1\n\n", "without the index"),
        (b"c2sp.org/tlog-proof@v1\nindex 0\nAAAA\n\n", "a hash that is not 32 bytes"),
        (b"c2sp.org/tlog-proof@v1\nindex 0\n" + b"AAAA\n" * 64 + b"\n", "a proof of 64 hashes"),
        (b"c2sp.org/tlog-proof@v1\nextra !\nindex 0\n\n", "not base64"),
        (b"\xff\n\n", "not UTF-8"),
    ],
)
def test_a_receipt_that_is_none_is_named(content: bytes, message: str) -> None:
    with pytest.raises(BadNote, match=message):
        Receipt.parse(content)


# ---- tiles ----


def test_tiles_are_where_the_specification_puts_them() -> None:
    assert number_path(1_234_067) == "x001/x234/067"
    assert number_path(0) == "000"
    assert tile_path(0, 273, 112) == "tile/0/273.p/112"
    assert tile_path(2, 0, 1) == "tile/2/000.p/1"
    assert bundle_path(1000) == "tile/entries/x001/000"
    assert list(widths(70_000, 0))[-1] == (273, 112)
    assert list(widths(70_000, 1)) == [(0, 256), (1, 17)]
    assert list(widths(70_000, 2)) == [(0, 1)]
    assert list(widths(256, 0)) == [(0, 256)]
    assert list(widths(256, 1)) == [(0, 1)]


def test_a_partial_tile_that_was_cleared_away_is_read_from_the_full_one(tmp_path: Path) -> None:
    place = published(tmp_path, pairs(150))
    (place / "checkpoint").unlink()
    older = Tiles(folder(place), 200)
    assert older.tile(0, 0) == Tiles(folder(place), 300).tile(0, 0)[: 200 * 32]
    assert len(older.bundle(0)) == 200


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\0", "ends after 0 of 2"),
        (b"\0\1a\0", "ends after 1"),
        (b"\0\5a", "longer"),
        (b"\0\0\0\0\0", "1 bytes behind"),
    ],
)
def test_a_bundle_that_is_none_is_named(content: bytes, message: str) -> None:
    with pytest.raises(Unreadable, match=message):
        unpack_bundle(content, 2)


def test_of_two_contradicting_outcomes_of_one_intent_the_second_is_named(tmp_path: Path) -> None:
    again = msgspec.structs.replace(outcome(1, Result.FAILED), id="another")
    report = verify(folder(published(tmp_path, [intent(1), outcome(1), again])), POLICY)
    assert report.completeness.verdict is Verdict.NO
    assert f"entry 2: another outcome of the intent {intent(1).id}" in report.completeness.said[0]
