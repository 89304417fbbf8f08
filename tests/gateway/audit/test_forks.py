"""A log with a second history: its owner signs nothing of it, and whoever saw the first can prove it."""

import asyncio
from pathlib import Path

import pytest

from plantgate.audit.checkpoint import Checkpoint
from plantgate.audit.cosign import Cosigner
from plantgate.audit.keep import keep_public
from plantgate.audit.log import AuditLog
from plantgate.audit.note import Note, Signer
from plantgate.audit.publish import Inconsistent
from plantgate.audit.tiles import folder
from plantgate.audit.verify import verify
from plantgate.audit.witness import Witness
from plantgate.audit.witness_server import serving
from plantgate.cli import main
from plantgate.flow.stop import Stop
from plantgate.sdk import GatewayError, SystemClock
from plantgate.store.disk import OsDisk
from plantgate.testing.context import RecordedLog
from tests.gateway.audit.given import LOG, ORIGIN, POLICY, WITNESS, intent
from tests.gateway.audit.test_rotation import FIRST, NEW, life, pairs


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
