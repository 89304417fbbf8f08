"""A subject is erased: the log says so, the vault is silent, and every proof is what it was."""

import asyncio
import errno
import random
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from plantgate.audit import archive as archiving
from plantgate.audit.entry import Entry, Kind, Phase, decode
from plantgate.audit.erasure import Order, _lists, erase
from plantgate.audit.log import AuditLog
from plantgate.audit.receipt import Receipt
from plantgate.audit.tiles import Tiles, folder
from plantgate.audit.tree import inclusion_proof
from plantgate.audit.vault import Erased, Vault
from plantgate.audit.verify import verify
from plantgate.cli import main
from plantgate.sdk import GatewayError, Rejected, SystemClock
from plantgate.testing.clock import WallClock
from plantgate.testing.disk import PowerCut, SimulatedDisk
from plantgate.testing.simloop import simulate
from tests.gateway.audit.given import LOG, ORIGIN, POLICY, intent, outcome
from tests.gateway.audit.test_log import opened, reading
from tests.gateway.audit.test_vault import FOLDER, WRAPPING

ORDER = Order("s:1", "GDPR 17(1)(b), request 2026-17", "u:7", "u:8")


def about(number: int, vault: Vault, subject: str, content: bytes) -> Entry:
    """An entry with something in the vault."""
    return msgspec.structs.replace(intent(number), payloads=(vault.put(subject, "prompt", content),))


async def filled(audit: AuditLog, vault: Vault) -> None:
    for number in range(12):
        subject = "s:1" if number in (2, 3, 4, 9) else "s:2"
        await audit.append(about(number, vault, subject, f"content {number}".encode()))
        await audit.append(outcome(number))


def test_an_erasure_is_in_the_log_and_no_proof_minds(tmp_path: Path) -> None:
    place = tmp_path / "log" / "public"
    receipts: list[Receipt] = []

    async def main() -> None:
        with Vault.open(tmp_path / "vault", tmp_path / "wrapping") as vault:
            async with await AuditLog.open(tmp_path / "log", ORIGIN, [LOG]) as audit:
                await filled(audit, vault)
                note = await audit.publish()
                assert note is not None
                tiles = Tiles(folder(place), 24)
                receipts.extend(Receipt(at, tuple(inclusion_proof(at, 24, tiles.node)), note) for at in range(24))
                done = await erase(audit, vault, ORDER, clock=SystemClock())
                assert done.indexes == (4, 6, 8, 18)
                assert done.payloads == 4
                await audit.publish()
                for at in range(12):
                    entry = decode(tiles.entry(2 * at))
                    if 2 * at in done.indexes:
                        with pytest.raises(Erased):
                            vault.disclose(entry.payloads[0].commitment)
                    else:
                        assert vault.disclose(entry.payloads[0].commitment).content == f"content {at}".encode()

    asyncio.run(main())
    seen = receipts[0].checkpoint
    report = verify(folder(place), POLICY, seen=[seen])
    assert report.exit_code == 0
    tiles = Tiles(folder(place), report.entries)
    for receipt in receipts:
        assert Receipt.parse(bytes(receipt)).check(tiles.entry(receipt.index), POLICY)
    begun, ended = decode(tiles.entry(24)), decode(tiles.entry(25))
    assert (begun.kind, begun.phase) == (Kind.ERASURE, Phase.INTENT)
    assert begun.details == {"entries": "4, 6, 8, 18", "approved_by": "u:8"}
    assert begun.why is not None
    assert begun.why.cites == ORDER.basis
    assert ended.refers_to == begun.id


@pytest.mark.parametrize("mutation", ["none", "vault before intent"])
def test_an_erasure_cut_short_anywhere_is_ended_by_the_next_and_says_so_once(
    mutation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The property, and proof that it can fail."""

    async def life(disk: SimulatedDisk, luck: random.Random | None) -> None:
        with Vault.open(FOLDER, WRAPPING, disk=disk) as vault:
            async with await opened(disk) as audit:
                if audit.size == 0:
                    await filled(audit, vault)
                if luck is not None:
                    disk.cut_after = disk.calls + luck.randrange(1, 50)
                if mutation != "none":
                    vault.erase("s:1")
                with suppress(Rejected):  # all of it is done already
                    await erase(audit, vault, ORDER, clock=WallClock())
                await audit.publish()

    def run(seed: int) -> None:
        luck = random.Random(seed)
        disk = SimulatedDisk(seed=seed)
        for number in range(3):
            with suppress(PowerCut):
                simulate(lambda: life(disk, luck), seed=luck.random())  # noqa: B023  at once
            disk = disk.power_cut(f"{seed}/{number}")
        simulate(lambda: life(disk, None), seed=seed)
        report = verify(reading(disk), POLICY)
        assert report.exit_code == 0, report
        entries = [decode(content) for content in Tiles(reading(disk), report.entries)]
        erasures = [entry.phase for entry in entries if entry.kind is Kind.ERASURE]
        assert erasures == [Phase.INTENT, Phase.OUTCOME], "not once"
        with Vault.open(FOLDER, WRAPPING, disk=disk) as vault:
            assert vault.of("s:1") == ()
            assert len(vault.of("s:2")) == 8

    def every() -> None:
        for seed in range(40):
            run(seed)

    if mutation == "none":
        every()
    else:
        with pytest.raises(AssertionError, match="not once"):
            every()


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (Order("s:1", "GDPR", "u:7", "u:7"), "agreement of somebody other than u:7"),
        (Order("s:1", "GDPR", "u:7", ""), "agreement of somebody other than u:7"),
        (Order("s:1", "", "u:7", "u:8"), "names the law or rule"),
        (Order("s:3", "GDPR", "u:7", "u:8"), "the vault holds nothing about it"),
    ],
)
def test_what_is_no_order_is_refused_and_leaves_no_trace(order: Order, message: str) -> None:
    disk = SimulatedDisk()

    async def main() -> None:
        with Vault.open(FOLDER, WRAPPING, disk=disk) as vault:
            async with await opened(disk) as audit:
                await filled(audit, vault)
                await audit.append_bytes(b'not an entry, "payloads":')
                with pytest.raises(Rejected, match=message):
                    await erase(audit, vault, order, clock=WallClock())
                assert audit.size == 25
                assert len(vault.of("s:1")) == 4

    simulate(main)


def test_a_list_of_entries_too_long_for_one_entry_goes_on_in_the_next() -> None:
    indexes = range(0, 20_000, 2)
    pieces = _lists(indexes)
    assert max(map(len, pieces)) <= 8192
    assert ", ".join(pieces) == ", ".join(map(str, indexes))
    assert _lists([]) == [""]
    assert _lists([1, 2, 3, 7]) == ["1-3, 7"]


def test_a_subject_of_very_many_entries_is_erased_and_all_are_named() -> None:
    disk = SimulatedDisk()

    async def main() -> None:
        with Vault.open(FOLDER, WRAPPING, disk=disk) as vault:
            async with await opened(disk) as audit:
                entry = about(0, vault, "s:1", b"x")
                for _ in range(2000):
                    await asyncio.gather(audit.append(entry), audit.append(outcome(0)))
                await erase(audit, vault, ORDER, clock=WallClock())
                await audit.publish()

    simulate(main)
    entries = [decode(content) for content in Tiles(reading(disk), 4003)]
    listed = [entry for entry in entries if entry.kind is Kind.ERASURE]
    assert [entry.phase for entry in listed] == [Phase.OBSERVED, Phase.INTENT, Phase.OUTCOME]
    assert listed[0].details["erasure"] == listed[1].id
    named = ", ".join(entry.details["entries"] for entry in listed[:2])
    numbers: set[int] = set()
    for piece in named.split(", "):
        first, _, last = piece.partition("-")
        numbers |= set(range(int(first), int(last or first) + 1))
    assert numbers == {at for at, entry in enumerate(entries) if entry.payloads}


def test_what_is_archived_is_not_looked_into_and_the_entry_says_so() -> None:
    disk = SimulatedDisk()

    async def main() -> None:
        with Vault.open(FOLDER, WRAPPING, disk=disk) as vault:
            async with await opened(disk) as audit:
                for _ in range(100):
                    await filled(audit, vault)
                await audit.publish()
                order = archiving.Order(Path("/old"), 2048, "SOP-12", "u:7", "u:8")
                await archiving.archive(audit, order, clock=WallClock(), disk=disk, volume=256)
                done = await erase(audit, vault, ORDER, clock=WallClock())
                assert done.payloads == 400
                await audit.publish()

    simulate(main)
    entries = [decode(content) for _, content in Tiles(reading(disk), 2404).kept()]
    erasure = next(entry for entry in entries if entry.kind is Kind.ERASURE)
    looked_from = int(erasure.details["looked_from"])
    assert 0 < looked_from <= 2048
    assert int(erasure.details["entries"].split(",")[0]) >= looked_from


# ---- at the terminal ----


@pytest.fixture
def place(tmp_path: Path) -> Path:
    async def fill() -> None:
        with Vault.open(tmp_path / "vault", tmp_path / "wrapping") as vault:
            async with await AuditLog.open(tmp_path / "log", ORIGIN, [LOG]) as audit:
                await filled(audit, vault)
                hostile = "a\x1b[2Jb\u202e".encode()
                await audit.append(about(50, vault, "s:2", hostile))
                await audit.append(about(51, vault, "s:2", bytes((0xFF, 0))))
                await audit.append(about(52, vault, "s:2", b"x" * 5000))
                await audit.publish()

    asyncio.run(fill())
    (tmp_path / "log.key").write_text(LOG.private())
    return tmp_path


def test_an_entry_is_shown_with_its_payload_until_it_is_erased(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vault = ["--vault", str(place / "vault"), "--wrapping", str(place / "wrapping")]
    show = ["audit", "show", str(place / "log" / "public")]
    assert main([*show, "4", *vault]) == 0
    assert "prompt, 9 bytes, as the log commits to:\n  content 2\n" in capsys.readouterr().out
    command = ["audit", "erase", str(place / "log"), "s:1", *vault, "--key", str(place / "log.key")]
    people = ["--basis", "GDPR 17(1)(b)", "--by", "u:7", "--approved-by"]
    assert main([*command, *people, "u:7"]) == 5
    assert "agreement of somebody other than u:7" in capsys.readouterr().err
    assert main([*command, *people, "u:8"]) == 0
    assert "4 payloads of 4 entries can be read by nobody any more" in capsys.readouterr().out
    assert main([*show, "4", *vault]) == 0
    assert "is not in the vault: erased" in capsys.readouterr().out
    (place / "pub").write_text(str(LOG.verifier))
    assert main(["audit", "verify", str(place / "log" / "public"), "--policy", str(place / "pub")]) == 2
    assert "integrity     yes" in capsys.readouterr().out


def test_a_payload_cannot_play_with_the_terminal(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vault = ["--vault", str(place / "vault"), "--wrapping", str(place / "wrapping")]
    show = ["audit", "show", str(place / "log" / "public")]
    assert main([*show, "24", *vault]) == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "a\\x1b[2Jb\\u202e" in said
    assert main([*show, "25", *vault]) == 0
    assert "not a text" in capsys.readouterr().out
    assert main([*show, "26", *vault]) == 0
    assert "… and 1,000 characters more" in capsys.readouterr().out
    assert main([*show, "24", "--vault", str(place / "vault")]) == 5
    assert "--vault asks for --wrapping too" in capsys.readouterr().err
    assert main([*show, "24", "--vault", str(place / "vault"), "--wrapping", str(place)]) == 5
    assert "wrapping key is missing" in capsys.readouterr().err


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
