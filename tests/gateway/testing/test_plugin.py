"""The pytest plugin, seen from a vendor's test run."""

import subprocess
import sys
from pathlib import Path

import pytest

_TESTS = """
import pytest
from plantgate.testing.simloop import running, simulate

@pytest.mark.simulated(seeds=4)
async def test_fails_for_one_seed(seed):
    assert running().seed == seed
    assert seed != 2

@pytest.mark.simulated
class TestClass:
    async def test_default(self, tmp_path):
        assert running().elapsed == 0

    @pytest.mark.simulated(seeds=1)
    def test_plain_function(self, seed):
        async def main():
            return running().seed
        assert simulate(main, seed=seed) == seed

    @pytest.mark.bad_network
    async def test_of_a_host_it_does_not_name(self):
        assert False
"""


def _pytest(folder: Path, *options: str) -> str:
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_vendor.py").write_text(_TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(folder), *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


def test_each_seed_is_a_case_and_a_failure_says_how_to_repeat_it(tmp_path: Path) -> None:
    output = _pytest(tmp_path)
    assert "1 failed, 9 passed, 5 deselected" in output
    assert "repeat with: --plantgate-seed 2" in output
    assert "seed 2, 0.000000 simulated seconds after the start" in output


def test_the_command_line_chooses_the_seeds(tmp_path: Path) -> None:
    assert "1 failed, 23 passed" in _pytest(tmp_path, "--plantgate-seeds", "8")
    assert "1 failed, 2 passed" in _pytest(tmp_path, "--plantgate-seed", "2")
    assert "3 passed" in _pytest(tmp_path, "--plantgate-seed", "an-incident")


def test_the_seed_fixture_is_refused_without_the_mark(request: pytest.FixtureRequest) -> None:
    with pytest.raises(pytest.UsageError, match=r"mark\.simulated"):
        request.getfixturevalue("seed")
