"""Whatever lies in a copied log, whoever reads it comes to an end, and to a sentence."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from plantgate.audit.entry import decode
from plantgate.audit.log import AuditLog
from plantgate.audit.tiles import folder
from plantgate.audit.verify import Verdict, verify
from plantgate.cli import main
from tests.gateway.audit.given import LOG, ORIGIN, POLICY, intent, outcome
from tests.gateway.audit.test_rotation import life, pairs


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
