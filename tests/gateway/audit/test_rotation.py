"""A log handed over to another key: by the root's signature and no other, and believed by whoever knows the root."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from plantgate.audit.entry import Entry
from plantgate.audit.log import AuditLog, KeyMissing
from plantgate.audit.note import BadNote, Note, Signer
from plantgate.audit.policy import BadPolicy, Policy, Term
from plantgate.audit.rotation import Rotation, entry_of, follow
from plantgate.audit.tiles import Tiles, folder
from plantgate.audit.tree import consistency_proof
from plantgate.audit.verify import Report, Verdict, verify
from plantgate.audit.witness import Request, Witness
from plantgate.cli import main
from plantgate.sdk import SystemClock
from plantgate.testing.clock import WallClock
from plantgate.testing.disk import SimulatedDisk
from tests.gateway.audit.given import LOG, ORIGIN, POLICY, WITNESS, intent, outcome
from tests.gateway.audit.test_export import bare

ROOT = Signer("gateway.example/root", bytes(range(3, 35)))
NEW, NEWER = (Signer(ORIGIN, bytes((each,)) * 32) for each in (7, 8))
ROOTED = Policy.parse(f"log {LOG.verifier}\nroot {ROOT.verifier}\nquorum none\n")
FIRST = Rotation(ORIGIN, LOG.verifier, NEW.verifier, 10)
SECOND = Rotation(ORIGIN, NEW.verifier, NEWER.verifier, 0)


def handed_over(rotation: Rotation, by: Signer = ROOT) -> Entry:
    return entry_of(rotation.signed(by), by="u:7", clock=WallClock())


def life(place: Path, signers: list[Signer], *entries: Entry) -> Note:
    """Append and publish."""

    async def run() -> Note:
        async with await AuditLog.open(place, ORIGIN, signers) as log:
            for entry in entries:
                await log.append(entry)
            note = await log.publish()
            assert note is not None
            return note

    return asyncio.run(run())


def judged(place: Path, policy: Policy = ROOTED, *seen: Note) -> Report:
    return verify(folder(place / "public"), policy, seen=seen)


def pairs(first: int, count: int) -> list[Entry]:
    return [each for number in range(first, first + count) for each in (intent(number), outcome(number))]


def test_a_log_goes_through_three_keys_and_whoever_knows_the_root_believes_it(tmp_path: Path) -> None:
    notes = [life(tmp_path, [LOG], *pairs(0, 2))]
    notes += [life(tmp_path, [LOG, NEW], handed_over(FIRST), *pairs(10, 2))]  # sizes 5 … 9, until 15
    notes += [life(tmp_path, [LOG, NEW], *pairs(20, 3))]
    notes += [life(tmp_path, [NEW, NEWER], handed_over(SECOND))]
    notes += [life(tmp_path, [NEWER], *pairs(30, 1))]
    report = judged(tmp_path, ROOTED, *notes)
    assert report.exit_code == 0, report
    assert report.policy is not None
    assert str(report.policy) == (
        f"log {LOG.verifier} until 15\nsigner {NEW.verifier} from 5 until 16\nsigner {NEWER.verifier} from 16\n"
        f"root {ROOT.verifier}\nquorum none\n"
    )
    assert Policy.parse(str(report.policy)) == report.policy
    pinned = Policy.parse(str(report.policy).replace(f"root {ROOT.verifier}\n", ""))
    assert judged(tmp_path, pinned, *notes).exit_code == 0
    assert judged(tmp_path, report.policy, *notes).exit_code == 0
    assert judged(tmp_path, POLICY).integrity.said == [
        f"checkpoint: not signed by {ORIGIN} (5c12c30e): below it stands {ORIGIN} ({NEWER.verifier.key_id.hex()})"
    ]


@pytest.mark.parametrize("missing", [LOG, NEW])
def test_in_the_overlap_both_keys_must_have_signed(missing: Signer, tmp_path: Path) -> None:
    note = life(tmp_path, [LOG, NEW], handed_over(FIRST))
    kept = tuple(each for each in note.signatures if not missing.verifier.made(each))
    (tmp_path / "public" / "checkpoint").write_bytes(bytes(Note(note.text, kept)))
    assert judged(tmp_path).exit_code == 3
    assert missing.verifier.key_id.hex() in judged(tmp_path).integrity.said[0]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (handed_over(FIRST, LOG), "entry 0: a key rotation that is none: not signed by the root"),
        (handed_over(FIRST, NEW), "entry 0: a key rotation that is none: not signed by the root"),
        (handed_over(SECOND), "from a key that is not the log's"),
        (handed_over(Rotation("gateway.example/other", LOG.verifier, NEW.verifier, 1)), "of the log gateway.example/o"),
        (msgspec.structs.replace(handed_over(FIRST), details={}), "no signatures below an empty line"),
    ],
    ids=["signed by the log itself", "signed by the new key", "another key", "another log", "no statement"],
)
def test_no_hand_over_but_the_roots_is_believed(entry: Entry, message: str, tmp_path: Path) -> None:
    life(tmp_path, [LOG, NEW, NEWER], entry)
    report = judged(tmp_path)
    assert report.exit_code == 3
    assert message in report.integrity.said[0]
    assert report.policy is not None
    assert report.policy.keys == (LOG.verifier,)


def test_a_key_is_not_handed_over_twice(tmp_path: Path) -> None:
    life(
        tmp_path, [LOG, NEW, NEWER], handed_over(FIRST), handed_over(Rotation(ORIGIN, LOG.verifier, NEWER.verifier, 1))
    )
    assert "whose term is another" in judged(tmp_path).integrity.said[0]
    life(tmp_path / "again", [LOG, NEW], handed_over(FIRST), handed_over(FIRST))
    assert "for which the policy has other terms" in judged(tmp_path / "again").integrity.said[0]


def test_a_stolen_old_key_signs_nothing_that_is_believed_after_its_term(tmp_path: Path) -> None:
    life(tmp_path, [LOG, NEW], handed_over(FIRST))
    life(tmp_path, [LOG, NEW], *pairs(0, 10))
    forged = Note.parse((tmp_path / "public" / "checkpoint").read_bytes())
    (tmp_path / "public" / "checkpoint").write_bytes(bytes(Note(forged.text, (LOG.sign(forged.text),))))
    assert judged(tmp_path).exit_code == 3


def test_a_log_that_was_handed_over_is_not_opened_without_its_new_key(tmp_path: Path) -> None:
    life(tmp_path, [LOG, NEW], handed_over(FIRST))
    with pytest.raises(KeyMissing, match="since entry 0 the log is signed by the key"):
        life(tmp_path, [LOG], intent(0))
    life(tmp_path, [LOG, NEW, NEWER], handed_over(SECOND))
    with pytest.raises(KeyMissing, match=NEWER.verifier.key_id.hex()):
        life(tmp_path, [LOG, NEW], intent(0))
    life(tmp_path, [LOG, NEWER], intent(0))


def test_the_old_key_is_asked_for_until_the_overlap_has_ended_and_no_longer(tmp_path: Path) -> None:
    """The first entry that is published without it makes a log of as many entries as the term says."""
    life(tmp_path, [LOG, NEW], handed_over(FIRST))  # size 1, until 11
    life(tmp_path, [LOG, NEW], *pairs(0, 4))
    with pytest.raises(KeyMissing, match="is signed by the key 5c12c30e until it has 11 entries"):
        life(tmp_path, [NEW], intent(7))
    life(tmp_path, [LOG, NEW], intent(7))  # size 10: the next has 11
    life(tmp_path, [NEW], outcome(7))
    assert judged(tmp_path).exit_code == 0


def test_an_entry_that_is_not_public_yet_needs_the_key_of_its_own_size(tmp_path: Path) -> None:
    life(tmp_path, [LOG, NEW], handed_over(FIRST), *pairs(0, 4))

    async def not_published() -> None:
        async with await AuditLog.open(tmp_path, ORIGIN, [LOG, NEW]) as log:
            await log.append(intent(7))

    asyncio.run(not_published())  # size 10, the last with the old key
    with pytest.raises(KeyMissing):
        life(tmp_path, [NEW])
    life(tmp_path, [LOG, NEW])
    assert judged(tmp_path).policy is not None


def test_a_witness_that_knows_both_keys_signs_all_along(tmp_path: Path) -> None:
    witness = Witness(Path("/w"), WITNESS, [LOG.verifier, NEW.verifier], SimulatedDisk(), SystemClock())
    old = 0
    for signers, entries in (([LOG], pairs(0, 2)), ([LOG, NEW], [handed_over(FIRST)]), ([LOG, NEW], pairs(9, 9))):
        note = life(tmp_path, signers, *entries)
        size = int(note.text.split("\n")[1])
        node = Tiles(folder(tmp_path / "public"), size).node
        assert witness.add(Request(old, tuple(consistency_proof(old, size, node)), note))
        old = size


def test_terms_are_the_business_of_the_size_and_of_nothing_else() -> None:
    policy = Policy.parse(f"log {LOG.verifier} until 3\nsigner {NEW.verifier} from 5\nquorum none\n")
    assert [size in policy.terms[LOG.verifier] for size in (0, 2, 3)] == [True, True, False]
    assert str(Term()) == ""
    text = f"{ORIGIN}\n4\n{'A' * 43}=\n"
    with pytest.raises(BadNote, match="names no key for a log of 4 entries"):
        policy.judge(Note(text, (LOG.sign(text), NEW.sign(text))))
    assert follow(policy, [(0, b'"kind":"key_rotation"')]) == (policy, [])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("log {old} from", "means nothing here"),
        ("log {old} from x until 3", "'x' is not the size of a log"),
        ("log {old}\nsigner {new} until", "no term of a key"),
        ("log {old}\nsigner {new} since 5", "no term of a key"),
        ("log {old}\nsigner {new} from -5", "not the size of a log"),
        ("log {old}\nsigner {old} from 5", "a second time"),
        ("log {old}\nroot {new}\nroot {new}", "a second root"),
    ],
)
def test_a_term_that_means_nothing_is_named(line: str, message: str) -> None:
    with pytest.raises(BadPolicy, match=message):
        Policy.parse(f"{line.format(old=LOG.verifier, new=NEW.verifier)}\nquorum none\n")


@pytest.mark.parametrize(
    "text",
    [
        "",
        str(FIRST)[:-1],
        str(FIRST) + "\n",
        str(FIRST).replace("v1", "v2"),
        str(FIRST).replace("overlap 10", "overlap 010"),
        str(FIRST).replace("overlap 10", "overlap -1"),
        str(FIRST).replace("overlap 10", f"overlap {10**16}"),
        str(FIRST).replace("\nold ", "\nnew "),
        str(FIRST).replace(str(NEW.verifier), str(LOG.verifier)),
        str(FIRST).replace(str(NEW.verifier), str(WITNESS.verifier)),
    ],
)
def test_a_statement_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadNote):
        Rotation.parse(text)
    assert Rotation.parse(str(FIRST)) == FIRST


# ---- at the terminal ----


def test_a_key_is_replaced_in_two_steps_on_two_machines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, key in (("gateway.example/root", "root"), (ORIGIN, "old"), (ORIGIN, "new")):
        assert main(["audit", "keys", name, "--out", str(tmp_path / key)]) == 0
    at = {name: str(tmp_path / name) for name in ("root", "old", "new", "old.pub", "new.pub", "statement", "policy")}
    old, new = (Signer.parse((tmp_path / name).read_text().strip()) for name in ("old", "new"))
    life(tmp_path / "log", [old], *pairs(0, 3))
    sign = ["audit", "sign-rotation", "--root", at["root"], "--old", at["old.pub"], "--new"]
    assert main([*sign, at["old.pub"], "--out", at["statement"]]) == 5
    assert "from one log key to another" in capsys.readouterr().err
    assert main([*sign, str(tmp_path / "root.pub"), "--out", at["statement"]]) == 5
    assert f"root.pub is a key of gateway.example/root, and the log is {ORIGIN}" in capsys.readouterr().err
    assert main([*sign, at["new.pub"], "--overlap", "4", "--out", at["statement"]]) == 0
    rotate = ["audit", "rotate", str(tmp_path / "log"), "--statement", at["statement"], "--by", "u:7"]
    assert main([*rotate, "--key", at["new"], "--new", at["old"]]) == 5
    assert "about other keys than those given" in capsys.readouterr().err
    assert main([*rotate, "--key", at["old"], "--new", at["new"]]) == 0
    said = capsys.readouterr().out
    assert f"  log {old.verifier} until 11\n  signer {new.verifier} from 7\n" in said
    life(tmp_path / "log", [old, new], *pairs(10, 2))
    life(tmp_path / "log", [new], *pairs(20, 2))
    root = (tmp_path / "root.pub").read_text().strip()
    (tmp_path / "rooted").write_text(f"log {old.verifier}\nroot {root}\nquorum none\n")
    verify_ = ["audit", "verify", str(tmp_path / "log" / "public"), "--policy"]
    assert main([*verify_, at["old.pub"]]) == 3
    assert main([*verify_, str(tmp_path / "rooted"), "--policy-out", at["policy"]]) == 0
    assert main([*verify_, at["policy"]]) == 0
    out = tmp_path / "out"
    log = str(tmp_path / "log" / "public")
    assert main(["audit", "export", log, str(out), "--policy", str(tmp_path / "rooted")]) == 0
    assert bare(out / "verify.py").returncode == 0
    assert bare(out / "verify.py", "--policy", at["old.pub"]).returncode == 3


def test_integrity_is_still_asked_for_every_entry(tmp_path: Path) -> None:
    life(tmp_path, [LOG, NEW], handed_over(FIRST), *pairs(0, 3))
    bundle = tmp_path / "public/tile/entries/000.p/7"
    whole = bundle.read_bytes()
    bundle.write_bytes(whole.replace(b"overlap 10", b"overlap 11"))
    assert judged(tmp_path).integrity.verdict is Verdict.NO
    bundle.write_bytes(whole[:-1])
    assert judged(tmp_path).exit_code == 3
