"""A witness that is not ours signs what we publish: litewitness, of the public witness network."""

import asyncio
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from plantgate.audit.cosign import Cosigner, WitnessDisagrees
from plantgate.audit.log import AuditLog
from plantgate.audit.note import Note, Verifier
from plantgate.audit.policy import Policy
from plantgate.audit.tiles import Tiles, folder
from plantgate.audit.verify import Verdict, verify
from tests.gateway.audit.given import LOG, ORIGIN, intent
from tests.peers.mosquitto import free_port
from tests.peers.require import find, require

pytestmark = pytest.mark.integration


@contextmanager
def running(*command: str | Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A program, ended at the end."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **environment}
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=10)


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Cosigner]:
    """litewitness, which knows our log; its key is in an ssh-agent."""
    require("litewitness", "witnessctl", "ssh-agent", "ssh-keygen", "ssh-add")
    base, agent, key, port = tmp_path / "w.db", tmp_path / "agent", tmp_path / "key", free_port()
    control = find("witnessctl")
    log: list[str | Path] = ["-db", base, "-origin", ORIGIN]
    subprocess.run([control, "add-log", *log], check=True, capture_output=True)
    subprocess.run([control, "add-key", *log, "-key", str(LOG.verifier)], check=True, capture_output=True)
    subprocess.run([find("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    listed = subprocess.run([find("ssh-keygen"), "-lf", key], check=True, capture_output=True, text=True)
    with running(find("ssh-agent"), "-D", "-a", agent) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it listens now
        subprocess.run([find("ssh-add"), "-q", key], check=True, env={**os.environ, "SSH_AUTH_SOCK": str(agent)})
        where: list[str | Path] = ["-db", base, "-ssh-agent", agent, "-listen", f"127.0.0.1:{port}"]
        who = ["-key", listed.stdout.split()[1], "-name", "witness.example/lite"]
        with running(find("litewitness"), *where, *who) as process:
            assert process.stdout is not None
            said = ""
            while "msg=listening" not in said:
                line = process.stdout.readline()
                assert line, f"it ended: {said}"
                said += line
            vkey = re.search(r"vkey=(\S+)", said)
            assert vkey is not None
            yield Cosigner(f"http://127.0.0.1:{port}", Verifier.parse(vkey[1].strip('"')))


async def grown(place: Path, *sizes: int, witness: Cosigner, first: int = 0) -> Note:
    """A log, published and signed by the witness at each of these sizes."""
    async with await AuditLog.open(place, ORIGIN, [LOG]) as log:
        for size in sizes:
            for number in range(log.size, size):
                await log.append(intent(first + number))
            published = await log.publish()
            assert published is not None
            note = await witness.cosign(published, log.node(size))
            assert await log.witnessed(note)
    return note


def test_a_witness_of_others_signs_a_log_that_grows_and_its_signature_counts(witness: Cosigner, tmp_path: Path) -> None:
    asyncio.run(grown(tmp_path / "log", 1, 2, 7, 300, 513, witness=witness))
    policy = Policy.parse(f"log {LOG.verifier}\nwitness lite {witness.verifier}\nquorum lite\n")
    report = verify(folder(tmp_path / "log" / "public"), policy)
    assert report.integrity.verdict is Verdict.YES
    assert report.quorum.verdict is Verdict.YES, report.quorum


def test_after_a_restart_of_ours_it_tells_us_what_it_saw(witness: Cosigner, tmp_path: Path) -> None:
    note = asyncio.run(grown(tmp_path / "log", 5, 300, witness=witness))
    fresh = Cosigner(witness.url, witness.verifier)
    again = Note(note.text, note.signatures[:1])
    node = Tiles(folder(tmp_path / "log" / "public"), 300).node
    assert asyncio.run(fresh.cosign(again, node)).signatures[1].name == "witness.example/lite"
    assert fresh.seen == 300


def test_it_signs_no_second_history_and_we_say_what_that_means(witness: Cosigner, tmp_path: Path) -> None:
    asyncio.run(grown(tmp_path / "log", 9, witness=witness))
    with pytest.raises(WitnessDisagrees, match="this log was rolled back"):
        asyncio.run(grown(tmp_path / "shorter", 5, witness=Cosigner(witness.url, witness.verifier), first=50))
    with pytest.raises(WitnessDisagrees, match="the witness saw another log at size 9"):
        asyncio.run(grown(tmp_path / "other", 12, witness=Cosigner(witness.url, witness.verifier), first=70))
