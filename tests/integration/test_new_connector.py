"""As a vendor does it: plantgate from a built wheel, in an environment of its own, and a new connector made there."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path, seconds: float = 300.0, expect: int = 0) -> str:
    """Run to its end; its output."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    ended = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert ended.returncode == expect, ended.stdout
    return ended.stdout


@pytest.mark.integration
def test_a_vendor_makes_a_connector_tests_it_lists_it_and_runs_it(tmp_path: Path) -> None:
    tools = Path(sys.executable).parent
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "wheel", cwd=ROOT)
    (wheel,) = (tmp_path / "wheel").glob("plantgate-*.whl")
    theirs = tmp_path / "venv"
    run(tools / "uv", "venv", "-q", "--python", sys.executable, theirs, cwd=tmp_path)
    install = (tools / "uv", "pip", "install", "-q", "--python", theirs / "bin" / "python")
    locked = ("--constraint", ROOT / "locks" / "dev.txt")
    run(*install, *locked, wheel, "pytest", "hatchling", "editables", cwd=tmp_path)
    plantgate = theirs / "bin" / "plantgate"

    said = run(plantgate, "new", "connector", "acme_press", cwd=tmp_path)
    assert "plantgate check-plugin acme_press" in said
    package = tmp_path / "plantgate-acme-press"
    run(*install, "--no-deps", "--no-build-isolation", "-e", package, cwd=tmp_path)
    run(theirs / "bin" / "python", "-m", "pytest", "--plantgate-seeds", "2", cwd=package)

    listed = run(plantgate, "list", cwd=tmp_path)
    assert "acme_press" in listed
    assert "plantgate-acme-press 0.1.0" in listed
    run(plantgate, "docs", cwd=package)
    assert "| `silence_seconds` |" in (package / "README.md").read_text()
    graded = json.loads(run(plantgate, "check-plugin", "acme_press", "--seeds", "1", "--json", cwd=package))
    assert graded["grade"] == "bronze"
    missing = [each["what"] for each in graded["checks"] if each["verdict"] == "missing"]
    assert missing == [
        "`plantgate plan` can ask what the device would grant",
        "tried against software of others, or a real device",
    ]

    example = package / "plantgate_acme_press" / "example.yaml"
    assert "fine: 2 connections, 1 flow" in run(plantgate, "check", example, cwd=tmp_path)
    device = subprocess.Popen([theirs / "bin" / "python", "tests/device.py"], cwd=package)
    gateway = subprocess.Popen([plantgate, "run", example], cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        values: list[int] = []
        while len(values) < 20 and time.monotonic() < end:
            time.sleep(0.2)
            files = sorted((example.parent / "out").glob("*"))
            lines = [line for file in files for line in file.read_text().splitlines() if '"tag"' in line]
            values = [json.loads(line)["value"] for line in lines if line.endswith("}")]
        assert values[:20] == list(range(1, 21))
    finally:
        gateway.terminate()
        assert gateway.wait(20) == 0
        device.kill()
        device.wait()
