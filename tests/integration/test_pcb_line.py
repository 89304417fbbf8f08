"""The reference line as a whole: boards, a model, a robot (our twin), and a record that others can check."""

import asyncio
import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parents[2] / "deploy" / "reference" / "pcb-line"
PLUGIN = "plantgate-pcb-line"

pytestmark = pytest.mark.integration


def environment(tmp_path: Path) -> dict[str, str]:
    """Where the plugin is not installed, it is found as if it were: by an entry point beside its own folder."""
    try:
        importlib.metadata.version(PLUGIN)
    except importlib.metadata.PackageNotFoundError:
        there = tmp_path / "site" / "plantgate_pcb_line-0.dist-info"
        there.mkdir(parents=True)
        (there / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PLUGIN}\nVersion: 0\n", encoding="utf-8")
        (there / "entry_points.txt").write_text(
            "[plantgate.models]\npcb_boards = pcb_line.boards:Boards\n", encoding="utf-8"
        )
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), str(HERE)])}


def test_the_line_runs_from_boards_to_robot_and_leaves_a_record_that_says_why(tmp_path: Path) -> None:
    kept, known = tmp_path / "kept", environment(tmp_path)

    def typed(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "plantgate", *words]
        return subprocess.run(command, cwd=kept, env=known, capture_output=True, text=True, check=False)

    async def play() -> tuple[int | None, str]:
        demo = await asyncio.create_subprocess_exec(
            sys.executable,
            str(HERE / "demo.py"),
            "--seconds",
            "12",
            "--no-browser",
            "--keep",
            str(kept),
            env=known,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await demo.communicate()
        return demo.returncode, printed.decode()

    code, said = asyncio.run(play())
    assert code == 0, said
    assert "The rule was PCB-7, which stands on WI-0731" in said
    tail = typed("audit", "tail", "audit/public", "--last", "500", "--json").stdout
    entries = [json.loads(line) for line in tail.splitlines()]
    moved = [entry for entry in entries if (entry["kind"], entry["phase"]) == ("write", "intent")]
    assert moved, said
    assert all(entry["why"]["rule"] == "PCB-7" and entry["model"]["model"] == "pcb-line/boards" for entry in moved)
    assert typed("audit", "verify", "audit/public", "--policy", "audit.key.pub").returncode == 0
    vault = ("--vault", "vault", "--wrapping", "wrapping")
    exported = typed("audit", "export", "audit/public", "seen", "--policy", "audit.key.pub", "--kind", "write", *vault)
    assert exported.returncode == 0, exported.stderr
    pictures = [path.read_bytes() for path in (kept / "seen" / "payloads").glob("*.content")]
    assert len(pictures) == len(moved), "the board behind each move"
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)
    command = [sys.executable, "-I", "seen/verify.py", "--policy", "audit.key.pub"]
    checked = subprocess.run(command, cwd=kept, capture_output=True, text=True, check=False)
    assert f"and {len(moved)} payloads are in the log" in checked.stdout, checked.stdout
