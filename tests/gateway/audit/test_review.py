"""What a cold review of the audit log found: each was possible once, or is still, and then says so."""

import asyncio
import errno
import hashlib
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from plantgate.audit import bare_verifier
from plantgate.audit.archive import ArchiveDamaged, Order, archive
from plantgate.audit.checkpoint import Checkpoint
from plantgate.audit.cosign import Cosigner
from plantgate.audit.entry import Result, decode, encode
from plantgate.audit.export import Order as ExportOrder
from plantgate.audit.export import export
from plantgate.audit.keep import keep_public
from plantgate.audit.log import AuditLog, KeyMissing
from plantgate.audit.note import COSIGNATURE, BadNote, Note, Signer
from plantgate.audit.policy import BadPolicy, Policy
from plantgate.audit.publish import Inconsistent
from plantgate.audit.receipt import Receipt
from plantgate.audit.rotation import Rotation
from plantgate.audit.tiles import Tiles, folder
from plantgate.audit.tree import EMPTY, NotProven, check_consistency
from plantgate.audit.vault import Vault
from plantgate.audit.verify import Verdict, verify
from plantgate.audit.witness import Refused, Request, Witness
from plantgate.audit.witness_server import serving
from plantgate.cli import main
from plantgate.flow.stop import Stop
from plantgate.sdk import GatewayError, SystemClock, Unavailable
from plantgate.store.disk import OsDisk
from plantgate.testing.clock import WallClock
from plantgate.testing.context import RecordedLog
from plantgate.testing.disk import Call, PowerCut, SimulatedDisk
from plantgate.testing.simloop import simulate
from tests.gateway.audit.given import LOG, ORIGIN, POLICY, WITNESS, intent, outcome
from tests.gateway.audit.test_archive import filled
from tests.gateway.audit.test_export import bare
from tests.gateway.audit.test_log import HERE, LIMITS, opened, reading
from tests.gateway.audit.test_reserve import by_hand, fill
from tests.gateway.audit.test_rotation import FIRST, NEW, ROOTED, handed_over, life, pairs

BOTH = Policy.parse(f"log {LOG.verifier}\nwitness w1 {WITNESS.verifier}\nquorum w1\n")


# ---- forks ----


def test_an_older_copy_of_the_log_beside_the_public_files_of_today_is_refused(tmp_path: Path) -> None:
    """The public checkpoint was signed by this log's key: whatever is signed below its size is a second history."""
    life(tmp_path, [LOG], *pairs(0, 2))
    for name in ("entries", "signed"):
        (tmp_path / name).rename(tmp_path / f"{name}.old")
    with pytest.raises(GatewayError, match="older copy"):
        life(tmp_path, [LOG], *pairs(50, 1))
    assert Checkpoint.parse(Note.parse((tmp_path / "public/checkpoint").read_bytes()).text).size == 4


def test_a_path_mistyped_at_the_terminal_begins_no_second_log(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(LOG.private())
    (tmp_path / "new").write_text(NEW.private())
    (tmp_path / "statement").write_bytes(bytes(FIRST.signed(NEW)))
    life(tmp_path / "log", [LOG], *pairs(0, 2))
    public, policy = tmp_path / "log" / "public", tmp_path / "policy"
    policy.write_text(str(LOG.verifier))
    typo, with_key = str(tmp_path / "lgo"), ["--key", str(key), "--by", "u:7"]
    statement = ["--new", str(tmp_path / "new"), "--statement", str(tmp_path / "statement")]
    assert main(["audit", "rotate", typo, *statement, *with_key]) == 5
    two = ["--approved-by", "u:8"]
    assert main(["audit", "archive", typo, str(tmp_path / "a"), "--below", "256", "--rule", "R", *with_key, *two]) == 5
    vault = ["--vault", str(tmp_path / "vault"), "--wrapping", str(tmp_path / "wrapping"), "--basis", "GDPR"]
    assert main(["audit", "erase", typo, "s:1", *vault, *with_key, *two]) == 5
    exported = ["audit", "export", str(public), str(tmp_path / "out"), "--policy", str(policy)]
    assert main([*exported, "--record", typo, *with_key]) == 5
    assert not (tmp_path / "lgo").exists()


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


# ---- the witness ----


def test_an_empty_log_has_one_root() -> None:
    with pytest.raises(NotProven):
        check_consistency(0, 0, [], EMPTY, b"\1" * 32)


@pytest.mark.parametrize("digits", ["9" * 5000])
def test_a_number_of_any_length_is_refused_in_a_sentence(digits: str) -> None:
    with pytest.raises(BadNote):
        Receipt.parse(f"c2sp.org/tlog-proof@v1\nindex {digits}\n\nx\n".encode())
    with pytest.raises(Refused):
        Request.parse(f"old {digits}\n\nx\n".encode())


def serve(status: int, *parts: bytes) -> Any:
    """A witness that answers so, in several packets."""

    async def answer(request: web.Request) -> web.StreamResponse:
        await request.read()
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        for part in parts:
            await response.write(part)
            await asyncio.sleep(0.05)
        return response

    return answer


async def cosigned(answer: Any, note: Note, node: Any) -> Note:
    application = web.Application()
    application.add_routes([web.post("/add-checkpoint", answer)])
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return await Cosigner(f"http://127.0.0.1:{runner.addresses[0][1]}", WITNESS.verifier).cosign(note, node)
    finally:
        await runner.cleanup()


def test_no_answer_of_a_witness_is_more_than_a_bad_answer(tmp_path: Path) -> None:
    """`keep_public` goes on after these; anything else would end the session of the log and of all witnesses."""
    note = life(tmp_path, [LOG], *pairs(0, 2))
    node = Tiles(folder(tmp_path / "public"), 4).node
    with pytest.raises((BadNote, Unavailable)):
        asyncio.run(cosigned(serve(409, b"9" * 5000), note, node))


def test_a_witness_whose_answer_comes_in_two_packets_has_signed(tmp_path: Path) -> None:
    note = life(tmp_path, [LOG], *pairs(0, 2))
    line = f"{WITNESS.sign(note.text, seconds=1)}\n".encode()
    node = Tiles(folder(tmp_path / "public"), 4).node
    assert asyncio.run(cosigned(serve(200, line[:40], line[40:]), note, node)) == note.signed(
        WITNESS.sign(note.text, seconds=1)
    )


def test_one_witness_is_not_two_under_two_names() -> None:
    same = Signer("witness.example/w2", bytes(range(1, 33)), COSIGNATURE)
    for second in (WITNESS, same):
        with pytest.raises(BadPolicy, match="line 3"):
            Policy.parse(
                f"log {LOG.verifier}\nwitness a {WITNESS.verifier}\nwitness b {second.verifier}\n"
                "group both 2 a b\nquorum both\n"
            )


def test_two_witnesses_do_not_serve_from_one_folder(tmp_path: Path) -> None:
    key, log = tmp_path / "key", tmp_path / "log"
    key.write_text(WITNESS.private())
    log.write_text(str(LOG.verifier))
    command = [sys.executable, "-m", "plantgate", "audit", "witness", str(tmp_path / "seen")]
    command += ["--key", str(key), "--log", str(log), "--listen", "127.0.0.1:0"]
    first = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout is not None
        assert first.stderr is not None
        told = first.stderr.readline() or first.stdout.readline()
        assert "witness serves" in told
        again = subprocess.run(["timeout", "20", *command], capture_output=True, text=True, check=False)
        assert again.returncode == 5
        assert "in use" in again.stderr
    finally:
        first.terminate()
        first.communicate()


# ---- verdicts ----


@pytest.mark.parametrize("ahead", [3600, 2**62], ids=["an hour", "beyond any calendar"])
def test_a_witness_whose_clock_is_ahead_makes_nothing_fresh(ahead: int, tmp_path: Path) -> None:
    note = life(tmp_path, [LOG], *pairs(0, 2))
    now = 1_800_000_000
    (tmp_path / "public/checkpoint").write_bytes(bytes(note.signed(WITNESS.sign(note.text, seconds=now + ahead))))
    report = verify(folder(tmp_path / "public"), BOTH, now_seconds=now, within_seconds=60)
    assert report.integrity.verdict is report.completeness.verdict is report.quorum.verdict is Verdict.YES
    assert report.freshness.verdict is Verdict.NO


def test_a_time_outside_the_calendar_does_not_end_the_verifier(tmp_path: Path) -> None:
    life(tmp_path, [LOG], msgspec.structs.replace(outcome(1), time="0001-01-01T00:00:00+23:59"))
    assert verify(folder(tmp_path / "public"), POLICY).integrity.verdict is Verdict.YES


def test_an_entry_nested_without_end_is_no_entry(tmp_path: Path) -> None:
    for content in (b'{"details":' + b"[" * 60000, b'{"x":' * 12000, b"[" * 65000):
        with pytest.raises(ValueError, match=r"Expected|Object|truncated"):
            decode(content)


@pytest.mark.parametrize("what", ["pipe", "endless", "huge"])
def test_a_hostile_folder_neither_hangs_nor_fills_the_verifier(what: str, tmp_path: Path) -> None:
    life(tmp_path, [LOG], *pairs(0, 2))
    for name in ("checkpoint", "tile/entries/000.p/4", "tile/0/000.p/4"):
        path = tmp_path / "public" / name
        path.unlink()
        if what == "pipe":
            os.mkfifo(path)
        elif what == "endless":
            path.symlink_to("/dev/zero")
        else:
            with path.open("wb") as file:
                file.truncate(2**36)
        (tmp_path / "policy").write_text(str(LOG.verifier))
        verifying = f"ulimit -v 4000000; exec {sys.executable} -m plantgate audit verify {tmp_path}/public"
        command = ["timeout", "20", "bash", "-c", f"{verifying} --policy {tmp_path}/policy"]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (said.returncode, said.stderr) == (3, ""), said
        life(tmp_path / what / name.replace("/", "-"), [LOG], *pairs(0, 2))
        path.unlink()
        path.write_bytes((tmp_path / what / name.replace("/", "-") / "public" / name).read_bytes())


def test_nothing_that_a_log_says_plays_with_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = b'{"\\u001b[2J":1}'

    async def run() -> None:
        async with await AuditLog.open(tmp_path, ORIGIN, [LOG]) as log:
            await log.append(msgspec.structs.replace(intent(1), id="\x1b]0;pwned\x07\u202e"))
            await log.append_bytes(bad)
            await log.publish()

    asyncio.run(run())
    (tmp_path / "policy").write_text(str(LOG.verifier))
    public = str(tmp_path / "public")
    for verb in (["verify", public, "--policy", str(tmp_path / "policy")], ["tail", public], ["show", public, "1"]):
        main(["audit", *verb])
        said = capsys.readouterr()
        assert not any(not each.isprintable() and each != "\n" for each in said.out + said.err), (verb, said)


# ---- a log that grows while it is read ----


def test_an_export_of_a_log_that_grows_meanwhile_is_of_one_checkpoint(tmp_path: Path) -> None:
    life(tmp_path / "log", [LOG], *pairs(0, 3))
    read = folder(tmp_path / "log/public")
    report = verify(read, POLICY)
    life(tmp_path / "log", [LOG], *pairs(3, 3))
    out = tmp_path / "out"
    for path, content in export(read, report, ExportOrder([0, 3], [], "", "2026-11-26T00:00:00Z")):
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_bytes(content)
    said = bare(out / "verify.py")
    assert said.returncode == 0, said.stdout


# ---- the verifier in one file ----


def with_payload(place: Path) -> Path:
    async def run() -> None:
        with Vault.open(place / "vault", place / "wrapping") as vault:
            payload = vault.put("s:1", "answer", b"not guilty")
        async with await AuditLog.open(place / "log", ORIGIN, [LOG]) as log:
            await log.append(msgspec.structs.replace(intent(1), payloads=(payload,)))
            await log.publish()

    asyncio.run(run())
    (place / "policy").write_text(str(LOG.verifier))
    log, out = str(place / "log/public"), place / "out"
    vaults = ["--vault", str(place / "vault"), "--wrapping", str(place / "wrapping")]
    assert main(["audit", "export", log, str(out), "--policy", str(place / "policy"), *vaults]) == 0
    assert bare(out / "verify.py").returncode == 0
    return out


def summed(out: Path) -> None:
    """As somebody would who made the export up."""
    names = [line.partition("  ")[2] for line in (out / "SHA256SUMS").read_text().splitlines()]
    sums = [f"{hashlib.sha256((out / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (out / "SHA256SUMS").write_text("".join(sums))


@pytest.mark.parametrize("moved", [4, -7])
def test_no_byte_of_a_payload_goes_over_into_its_salt(moved: int, tmp_path: Path) -> None:
    out = with_payload(tmp_path)
    about = json.loads((out / "payloads/0-0.json").read_text())
    content = out / "payloads" / about["file"]
    whole = bytes.fromhex(about["salt"]) + content.read_bytes()
    about["salt"] = whole[: 32 + moved].hex()
    content.write_bytes(whole[32 + moved :])
    assert content.read_bytes() != b"not guilty"
    (out / "payloads/0-0.json").write_text(json.dumps(about))
    summed(out)
    said = bare(out / "verify.py")
    assert said.returncode == 3, said.stdout


@pytest.mark.parametrize("content", ["[]", "[" * 100_000, '{"file":1}'], ids=["a list", "deep", "a number"])
def test_what_is_written_about_a_payload_does_not_end_the_verifier(content: str, tmp_path: Path) -> None:
    out = with_payload(tmp_path)
    (out / "payloads/0-0.json").write_text(content)
    summed(out)
    said = bare(out / "verify.py")
    assert (said.returncode, said.stderr) == (3, "")


def test_a_bundle_of_another_shape_is_found_by_the_verifier_in_one_file(tmp_path: Path) -> None:
    life(tmp_path, [LOG], *pairs(0, 2))
    policy, bundle = tmp_path / "policy", tmp_path / "public/tile/entries/000.p/4"
    policy.write_text(str(LOG.verifier))
    whole = bundle.read_bytes()
    last = len(whole) - len(encode(outcome(1))) - 2
    command = [Path(bare_verifier.__file__), "--log", tmp_path / "public", "--policy", policy]
    assert bare(*command).returncode == 0
    for changed in (whole + b"\0\0", whole[:last] + b"\xff\xff" + whole[last + 2 :]):
        bundle.write_bytes(changed)
        assert verify(folder(tmp_path / "public"), POLICY).integrity.verdict is Verdict.NO
        said = bare(*command)
        assert said.returncode == 3, said.stdout


def test_the_verifier_in_one_file_reads_text_the_same_on_every_machine(tmp_path: Path) -> None:
    out = with_payload(tmp_path)
    strict = [sys.executable, "-I", "-S", "-X", "warn_default_encoding", "-W", "error::EncodingWarning"]
    said = subprocess.run([*strict, out / "verify.py"], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr) == (0, "")


@pytest.mark.parametrize(
    "policy",
    [
        "log {log}\nwitness w1 {witness}\n",
        "log {log}\nwitness w1 {witness}\ngroup g 0 w1\nquorum g\n",
        "log {log} unitl 1\nquorum none\n",
        "log {log}\nwitness w1 {witness}\nwitness w2 {witness}\ngroup g 2 w1 w2\nquorum g\n",
        "log {log}\nwitness w1 {witness}\ngroup g any w1\ngroup h any w1\ngroup q all g h\nquorum q\n",
        "log {log}\nwitness w1 {witness}\ngroup g any w1\ngroup h all w1 g\nquorum h\n",
        "log {log}\nwitness w1 {witness}\ngroup g any w1 w1\nquorum g\n",
    ],
    ids=[
        "no quorum",
        "a group of none",
        "a misspelt term",
        "one witness twice",
        "one witness in two groups",
        "one witness beside its group",
        "a member twice in a group",
    ],
)
def test_a_policy_that_one_verifier_refuses_the_other_does_not_take(policy: str, tmp_path: Path) -> None:
    note = life(tmp_path, [LOG], *pairs(0, 2))
    (tmp_path / "public/checkpoint").write_bytes(bytes(note.signed(WITNESS.sign(note.text, seconds=1))))
    text = policy.format(log=LOG.verifier, witness=WITNESS.verifier)
    with pytest.raises(BadPolicy):
        Policy.parse(text)
    (tmp_path / "policy").write_text(text)
    said = bare(Path(bare_verifier.__file__), "--log", tmp_path / "public", "--policy", tmp_path / "policy")
    assert said.returncode != 0, said.stdout


# ---- emergencies ----


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


# ---- keys ----


def test_in_the_overlap_a_log_is_not_opened_without_its_old_key(tmp_path: Path) -> None:
    """Whatever it signed nobody would believe: until the overlap ends, both must sign."""
    life(tmp_path, [LOG, NEW], handed_over(FIRST))
    with pytest.raises(KeyMissing, match=LOG.verifier.key_id.hex()):
        life(tmp_path, [NEW], *pairs(0, 1))


def test_a_log_whose_hand_over_is_archived_is_not_opened_without_its_new_key() -> None:
    disk = SimulatedDisk()

    async def run() -> None:
        order = Order(Path("/archive"), 256, "SOP-12 §4", "u:7", "u:8")
        rotation = Rotation(ORIGIN, LOG.verifier, NEW.verifier, 0)
        async with await AuditLog.open(HERE, ORIGIN, [LOG, NEW], disk=disk, limits=LIMITS) as audit:
            await audit.append(handed_over(rotation))
            await filled(audit, 400)
            await archive(audit, order, clock=WallClock(), disk=disk, volume=256)
            await audit.publish()
            assert audit._entries.begin.sequence >= 1
        with pytest.raises(KeyMissing):
            await opened(disk)

    simulate(run)


def test_a_log_whose_hand_over_is_archived_is_still_believed_by_whoever_knows_the_root() -> None:
    disk = SimulatedDisk()

    async def run() -> None:
        order = Order(Path("/archive"), 256, "SOP-12 §4", "u:7", "u:8")
        rotation = Rotation(ORIGIN, LOG.verifier, NEW.verifier, 0)
        async with await AuditLog.open(HERE, ORIGIN, [LOG, NEW], disk=disk, limits=LIMITS) as audit:
            await audit.append(handed_over(rotation))
            await filled(audit, 400)
            await archive(audit, order, clock=WallClock(), disk=disk, volume=256)
        async with await AuditLog.open(HERE, ORIGIN, [NEW], disk=disk, limits=LIMITS) as audit:
            await filled(audit, 1)

    simulate(run)
    assert verify(reading(disk), ROOTED).exit_code in (0, 2)


# ---- the vault ----


def test_an_erasure_that_failed_and_is_tried_again_costs_nobody_elses_payloads() -> None:
    """The names were on the disk although the sync of their folder failed."""
    lost = []
    for cut in range(1, 12):
        disk = SimulatedDisk()
        place, wrapping = Path("/vault"), Path("/wrapping")
        vault = Vault.open(place, wrapping, disk=disk)
        kept = vault.put("s:1", "picture", b"kept")
        vault.put("s:2", "prompt", b"to be erased")
        disk.fail("sync_directory", errno.EIO, suffix="vault")
        with pytest.raises(OSError, match="Input/output"):
            vault.erase("s:2")
        disk.cut_after = disk.calls + cut
        with suppress(PowerCut):
            vault.erase("s:2")
        after = disk.restart()
        try:
            with Vault.open(place, wrapping, disk=after) as again:
                assert again.disclose(kept.commitment).content == b"kept"
        except GatewayError as error:
            lost.append((cut, str(error)))
    assert not lost


# ---- the terminal ----


@pytest.mark.parametrize("which", ["--policy", "--key", "show", "within"])
def test_a_file_or_number_that_is_none_is_named(which: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    life(tmp_path / "log", [LOG], *pairs(0, 2))
    binary, public = tmp_path / "binary", str(tmp_path / "log/public")
    binary.write_bytes(b"\xff\xfe\x00")
    (tmp_path / "policy").write_text(str(LOG.verifier))
    asked = {
        "--policy": ["verify", public, "--policy", str(binary)],
        "--key": ["rotate", public, "--key", str(binary), "--new", str(binary), "--statement", "s", "--by", "u"],
        "show": ["show", public, "9" * 5000],
        "within": ["verify", public, "--policy", str(tmp_path / "policy"), "--within", "9" * 5000 + "s"],
    }
    assert main(["audit", *asked[which]]) == 5
    assert "plantgate audit: " in capsys.readouterr().err


def test_closing_a_closed_log_is_harmless(tmp_path: Path) -> None:
    async def run() -> None:
        audit = await AuditLog.open(tmp_path, ORIGIN, [LOG])
        await audit.close()
        await audit.close()

    asyncio.run(run())


# ---- what only the witness knows ----


@pytest.mark.parametrize("back", ["at once", "later"])
def test_a_log_that_was_rolled_back_signs_nothing_when_its_witness_can_prove_it(back: str, tmp_path: Path) -> None:
    """What it has seen bears the log's own signature: that is proof, where its word alone would be none.

    A witness that is away at the start cannot prove anything; it does as soon as it is back.
    """

    async def run() -> None:
        seen = Witness(tmp_path / "witness", WITNESS, [LOG.verifier], OsDisk(), SystemClock())
        async with serving(seen, (ORIGIN,), "127.0.0.1", 0, RecordedLog()) as port:
            witness = Cosigner(f"http://127.0.0.1:{port}", WITNESS.verifier)
            async with await AuditLog.open(tmp_path / "today", ORIGIN, [LOG]) as audit:
                for number in range(3):
                    await audit.append(intent(number))
                note = await audit.publish()
                assert note is not None
                await witness.cosign(note, audit.node(3))
            async with await AuditLog.open(tmp_path / "backup", ORIGIN, [LOG]) as audit:
                await audit.append(intent(0))
                await audit.publish()
                again = Cosigner(witness.url if back == "at once" else "http://127.0.0.1:9", WITNESS.verifier)
                keeping = asyncio.create_task(
                    keep_public(audit, [again], stop=Stop(), clock=SystemClock(), log=RecordedLog(), gateway="box-1")
                )
                if back == "later":
                    await audit.reached(2)
                    again.url = witness.url
                with pytest.raises(Inconsistent, match="has signed 3 entries elsewhere, and knows of"):
                    await keeping
                size = audit.published.size if audit.published is not None else 0
                assert size == 1 or back == "later"
                with pytest.raises(Inconsistent, match="nothing is signed"):
                    await audit.publish()
                with pytest.raises(Inconsistent, match="an older copy"):
                    await audit.append(intent(7))
                assert await audit.append_in_emergency(intent(8)) is None, "people on the spot still leave a record"
                assert audit.published is None or audit.published.size == size

    asyncio.run(run())


@pytest.mark.parametrize("of", ["nobody", "the same past"])
def test_what_a_witness_says_and_we_have_not_signed_or_know_stops_nothing(of: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with await AuditLog.open(tmp_path, ORIGIN, [LOG]) as audit:
            for number in range(3):
                await audit.append(intent(number))
            note = await audit.publish()
            assert note is not None
            stranger = Signer(ORIGIN, bytes(31) + b"\7")
            text = str(Checkpoint(ORIGIN, 99, b"\1" * 32))
            await audit.heed(Note(text, (stranger.sign(text),)) if of == "nobody" else note)
            await audit.append(intent(3))
            assert await audit.publish() is not None

    asyncio.run(run())


def test_another_history_of_the_same_size_is_proof_too(tmp_path: Path) -> None:
    async def run() -> None:
        async with await AuditLog.open(tmp_path, ORIGIN, [LOG]) as audit:
            for number in range(3):
                await audit.append(intent(number))
            await audit.publish()
            text = str(Checkpoint(ORIGIN, 2, b"\1" * 32))
            with pytest.raises(Inconsistent, match="another history of 2 entries"):
                await audit.heed(Note(text, (LOG.sign(text),)))

    asyncio.run(run())


def test_a_checkpoint_of_more_entries_that_another_signed_keeps_nobody_from_the_log(tmp_path: Path) -> None:
    """Rubbish in the place of the checkpoint is put right, as ever."""
    life(tmp_path, [LOG], *pairs(0, 2))
    text = str(Checkpoint(ORIGIN, 99, b"\1" * 32))
    (tmp_path / "public/checkpoint").write_bytes(bytes(Note(text, (NEW.sign(text),))))
    life(tmp_path, [LOG], *pairs(2, 1))
    assert verify(folder(tmp_path / "public"), POLICY).exit_code == 0


@pytest.mark.parametrize("kind", ["rename", "pwrite", "datasync", "sync_directory", "unlink"])
def test_a_copy_taken_at_any_moment_checkpoint_first_is_what_was_signed(kind: Call) -> None:
    """`checkpoint` first and `tile/` at any later moment, over partial tiles that became full and were cleared."""
    copies: list[tuple[bytes, SimulatedDisk]] = []

    class Copied(SimulatedDisk):
        def happen(self, call: Call, path: Path) -> None:
            super().happen(call, path)
            if call == kind and "public" in path.parts:
                for checkpoint, _ in copies[-40:]:
                    with_public(checkpoint)
                if (HERE / "public/checkpoint") in self._entries:
                    copies.append((self.content(HERE / "public/checkpoint"), self))
                    with_public(copies[-1][0])

    disk = Copied()

    def with_public(checkpoint: bytes) -> None:
        def read(path: str) -> bytes:
            if path == "checkpoint":
                return checkpoint
            place = HERE / "public" / path
            if place not in disk._entries:
                raise FileNotFoundError(errno.ENOENT, "not there", path)
            return disk.content(place)

        report = verify(read, POLICY)
        assert report.integrity.verdict is Verdict.YES, report.integrity.said

    async def run() -> None:
        async with await opened(disk) as audit:
            for number in range(130):
                await audit.append(intent(number))
                await audit.append(outcome(number))
                if number > 122 or number % 50 == 0:
                    await audit.publish()

    simulate(run)
    assert copies


def test_those_who_append_publish_and_close_at_once_lose_nothing(tmp_path: Path) -> None:
    async def run() -> dict[int, bytes]:
        told: dict[int, bytes] = {}
        audit = await AuditLog.open(tmp_path, ORIGIN, [LOG])

        async def appending(first: int) -> None:
            for number in range(first, first + 60):
                content = encode(by_hand(number))
                index = (
                    await audit.append_in_emergency(by_hand(number))
                    if number % 3
                    else await audit.append_bytes(content)
                )
                assert index is not None
                told[index] = content

        async def publishing() -> None:
            while True:
                await audit.publish()
                await audit.backfill()
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            others = [group.create_task(publishing()) for _ in range(2)]
            writers = [group.create_task(appending(1000 * each)) for each in range(8)]
            await asyncio.wait(writers[:4])
            for task in others:
                task.cancel()
            closing = group.create_task(audit.close())
            await asyncio.wait([*writers, closing])
            for task in writers:
                task.cancelled() or task.exception()
        return told

    told: dict[int, bytes] = {}
    with suppress(BaseExceptionGroup):
        told = asyncio.run(run())
    life(tmp_path, [LOG], outcome(1))
    size = Checkpoint.parse(Note.parse((tmp_path / "public/checkpoint").read_bytes()).text).size
    assert told.items() <= dict(enumerate(Tiles(folder(tmp_path / "public"), size))).items()
    assert verify(folder(tmp_path / "public"), POLICY).integrity.verdict is Verdict.YES


def test_of_two_contradicting_outcomes_of_one_intent_the_second_is_named(tmp_path: Path) -> None:
    life(tmp_path, [LOG], intent(1), outcome(1), msgspec.structs.replace(outcome(1, Result.FAILED), id="another"))
    report = verify(folder(tmp_path / "public"), POLICY)
    assert report.completeness.verdict is Verdict.NO
    assert f"entry 2: another outcome of the intent {intent(1).id}" in report.completeness.said[0]
