"""A published log, judged by software that is not ours: Go's transparency log packages, and Tessera's fsck."""

import asyncio
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from plantgate.audit import archive as archiving
from plantgate.audit.entry import Entry
from plantgate.audit.erasure import Order, erase
from plantgate.audit.log import AuditLog
from plantgate.audit.note import Note, Signer
from plantgate.audit.policy import Policy
from plantgate.audit.receipt import Receipt
from plantgate.audit.rotation import Rotation, entry_of
from plantgate.audit.tiles import Tiles, folder
from plantgate.audit.tree import inclusion_proof
from plantgate.audit.vault import Vault
from plantgate.audit.verify import Verdict, verify
from plantgate.sdk import SystemClock
from tests.gateway.audit.given import LOG, ORIGIN, WITNESS, intent, outcome
from tests.peers.require import find, require

VKEY = str(LOG.verifier)

pytestmark = pytest.mark.integration


def published(place: Path, *sizes: int) -> Path:
    """A log that was published at each of these sizes, in one life each."""

    async def life(size: int) -> None:
        async with await AuditLog.open(place, ORIGIN, [LOG]) as log:
            await asyncio.gather(*(log.append(intent(number)) for number in range(log.size, size)))
            note = await log.publish()
            assert note is not None
            log._publisher.release(note.signed(WITNESS.sign(note.text, seconds=1_760_000_000)))

    for size in sizes:
        asyncio.run(life(size))
    return place / "public"


def receipts(place: Path, size: int, indexes: set[int]) -> list[Path]:
    tiles = Tiles(folder(place), size)
    note = Note.parse((place / "checkpoint").read_bytes())
    made = []
    for index in sorted(indexes):
        file = place.parent / f"{index}.tlog-proof"
        file.write_bytes(bytes(Receipt(index, tuple(inclusion_proof(index, size, tiles.node)), note)))
        made.append(file)
    return made


def go(place: Path, *files: Path, vkey: str = VKEY) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [find("tlog-verify"), place, vkey, *files]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def fsck(place: Path) -> str:
    """What it says: its exit code is 0 also when the log is bad, and with one worker it then hangs (1.0.4)."""
    key = place.parent / "log.vkey"
    key.write_text(VKEY)
    command: list[str | Path] = [
        find("tessera-fsck"),
        "-N=4",
        f"--storage_url=file://{place}/",
        f"--public_key={key}",
        "--ui=false",
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stderr


@pytest.mark.parametrize(
    "sizes",
    [(1,), (2,), (255,), (256,), (257,), (511, 512), (3, 300, 513), (1000, 5000), (65_535, 65_536, 65_537)],
    ids=str,
)
def test_go_and_tessera_accept_what_we_publish(sizes: tuple[int, ...], tmp_path: Path) -> None:
    require("tlog-verify", "tessera-fsck")
    place, size = published(tmp_path, *sizes), sizes[-1]
    files = receipts(place, size, {0, size // 2, size - 1})
    said = go(place, *files)
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith(f"verified {size} entries, ")
    assert said.stdout.endswith(f" {len(files)} receipts\n")
    assert f"Successfully fsck'd log with size {size}" in fsck(place)


def test_go_and_tessera_refuse_a_log_in_which_one_byte_was_changed(tmp_path: Path) -> None:
    """So that their yes means something."""
    require("tlog-verify", "tessera-fsck")
    place = published(tmp_path, 300)
    bundle = place / "tile" / "entries" / "000"
    whole = bundle.read_bytes()
    bundle.write_bytes(whole.replace(b'"0.0625"', b'"0.0626"', 1))
    assert bundle.read_bytes() != whole
    assert "entry 1 is not the one in the tree" in go(place).stderr
    assert "fsck failed" in fsck(place)
    bundle.write_bytes(whole)
    checkpoint = place / "checkpoint"
    checkpoint.write_bytes(checkpoint.read_bytes().replace(b"\n300\n", b"\n299\n"))
    assert go(place).returncode != 0
    assert "Successfully" not in fsck(place)


def test_go_refuses_a_receipt_for_another_entry(tmp_path: Path) -> None:
    require("tlog-verify")
    place = published(tmp_path, 300)
    (file,) = receipts(place, 300, {7})
    file.write_bytes(file.read_bytes().replace(b"index 7\n", b"index 8\n"))
    assert go(place, file).returncode != 0


def test_go_and_tessera_agree_after_an_erasure(tmp_path: Path) -> None:
    require("tlog-verify", "tessera-fsck")

    async def life() -> None:
        with Vault.open(tmp_path / "vault", tmp_path / "wrapping") as vault:
            async with await AuditLog.open(tmp_path / "log", ORIGIN, [LOG]) as log:
                for number in range(300):
                    payload = vault.put("s:1", "prompt", b"what") if number % 100 == 0 else None
                    await log.append(msgspec.structs.replace(intent(number), payloads=(payload,) if payload else ()))
                await log.publish()
                files.extend(receipts(tmp_path / "log" / "public", 300, {0, 7, 200}))
                await erase(log, vault, Order("s:1", "GDPR 17", "u:7", "u:8"), clock=SystemClock())
                await log.publish()

    files: list[Path] = []
    asyncio.run(life())
    place = tmp_path / "log" / "public"
    said = go(place, *files)
    assert said.returncode == 0, said.stderr
    assert said.stdout == "verified 302 entries, 204 proofs, 3 receipts\n"
    assert "Successfully fsck'd log with size 302" in fsck(place)


def test_go_believes_a_log_that_was_handed_over_by_its_new_key(tmp_path: Path) -> None:
    require("tlog-verify")
    new, root = Signer(ORIGIN, bytes(range(7, 39))), Signer("gateway.example/root", bytes(range(3, 35)))
    statement = Rotation(ORIGIN, LOG.verifier, new.verifier, 5).signed(root)

    async def life(signers: list[Signer], *entries: Entry) -> None:
        async with await AuditLog.open(tmp_path / "log", ORIGIN, signers) as log:
            for entry in entries:
                await log.append(entry)
            await log.publish()

    place, keys = tmp_path / "log" / "public", (VKEY, str(new.verifier))
    asyncio.run(life([LOG], intent(0), intent(1)))
    assert [go(place, vkey=key).returncode for key in keys] == [0, 1]
    asyncio.run(life([LOG, new], entry_of(statement, by="u:7", clock=SystemClock())))
    assert [go(place, vkey=key).returncode for key in keys] == [0, 0]
    asyncio.run(life([LOG, new], *(intent(number) for number in range(5))))  # the overlap
    asyncio.run(life([new], *(intent(number) for number in range(5, 10))))
    assert [go(place, vkey=key).returncode for key in keys] == [1, 0]


def test_go_and_tessera_agree_when_an_archived_volume_is_put_back(tmp_path: Path) -> None:
    require("tlog-verify", "tessera-fsck")
    place = published(tmp_path / "log", 65_800)
    order = archiving.Order(tmp_path / "old", 65_536, "SOP-12", "u:7", "u:8")

    async def life() -> None:
        async with await AuditLog.open(tmp_path / "log", ORIGIN, [LOG]) as log:
            await asyncio.gather(*(log.append(outcome(number)) for number in range(65_800)))  # nothing open goes
            await log.publish()
            await archiving.archive(log, order, clock=SystemClock())
            await log.publish()

    asyncio.run(life())
    assert not (place / "tile" / "entries" / "000").exists()
    assert go(place).returncode != 0
    report = verify(folder(place), Policy.of_key(VKEY))
    assert (report.integrity.verdict, report.archived) == (Verdict.YES, 65_536)
    over = place / "tile" / "1" / "000"
    whole = over.read_bytes()
    over.write_bytes(whole[:-1] + b"!")
    wrong = verify(folder(place), Policy.of_key(VKEY)).integrity.said
    assert "tile/1/000: not the hashes below those of the next level" in wrong
    over.write_bytes(whole)
    shutil.copytree(tmp_path / "old" / "volume-000000", place, dirs_exist_ok=True)
    said = go(place)
    assert said.returncode == 0, said.stderr
    assert "Successfully fsck'd log with size 131602" in fsck(place)
