"""What a witness answers, whatever it is, is worth what it is worth and no more."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from plantgate.audit.cosign import Cosigner
from plantgate.audit.note import COSIGNATURE, BadNote, Note, Signer
from plantgate.audit.policy import BadPolicy, Policy
from plantgate.audit.receipt import Receipt
from plantgate.audit.tiles import Tiles, folder
from plantgate.audit.tree import EMPTY, NotProven, check_consistency
from plantgate.audit.verify import Verdict, verify
from plantgate.audit.witness import Refused, Request
from plantgate.sdk import Unavailable
from tests.gateway.audit.given import LOG, WITNESS
from tests.gateway.audit.test_rotation import life, pairs

BOTH = Policy.parse(f"log {LOG.verifier}\nwitness w1 {WITNESS.verifier}\nquorum w1\n")


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


@pytest.mark.parametrize("ahead", [3600, 2**62], ids=["an hour", "beyond any calendar"])
def test_a_witness_whose_clock_is_ahead_makes_nothing_fresh(ahead: int, tmp_path: Path) -> None:
    note = life(tmp_path, [LOG], *pairs(0, 2))
    now = 1_800_000_000
    (tmp_path / "public/checkpoint").write_bytes(bytes(note.signed(WITNESS.sign(note.text, seconds=now + ahead))))
    report = verify(folder(tmp_path / "public"), BOTH, now_seconds=now, within_seconds=60)
    assert report.integrity.verdict is report.completeness.verdict is report.quorum.verdict is Verdict.YES
    assert report.freshness.verdict is Verdict.NO
