"""What `plantgate new connector` makes passes its own tests, the type checker and the linter, whatever its roles."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from plantgate.cli import main

ROOT = Path(__file__).parents[3]


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def mypy_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What mypy knows of plantgate, which is most of its work and the same each time."""
    return tmp_path_factory.mktemp("mypy")


@pytest.mark.parametrize("roles", [(), ("--source",), ("--sink",)], ids=["both", "source", "sink"])
def test_a_new_connector_passes_its_own_tests_as_it_is(
    roles: tuple[str, ...], tmp_path: Path, mypy_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "made"
    assert main(["new", "connector", "acme_press", "--folder", str(folder), *roles]) == 0
    assert "plantgate check-plugin acme_press" in capsys.readouterr().out
    tested = run(folder, "pytest", "-q", "-p", "no:cacheprovider", "--plantgate-seeds", "2")
    assert tested.returncode == 0, tested.stdout
    checked = run(folder, "mypy", "--strict", "--cache-dir", str(mypy_cache), "plantgate_acme_press")
    assert checked.returncode == 0, checked.stdout
    for ruff in (["check", "--no-cache", "--select", "E,F,I,B,UP,RUF"], ["format", "--check", "--no-cache"]):
        linted = subprocess.run(
            [Path(sys.executable).parent / "ruff", *ruff, "."], cwd=folder, capture_output=True, text=True, check=False
        )
        assert linted.returncode == 0, linted.stdout


def test_what_is_there_already_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text("precious")
    assert main(["new", "connector", "acme_press", "--folder", str(tmp_path)]) == 2
    assert "is there already and holds something" in capsys.readouterr().err
    assert main(["new", "connector", "Acme Press", "--folder", str(tmp_path / "x")]) == 2
    assert "write for example acme_press" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
