"""The grades: each mistake costs the one it should; and every connector of ours is gold, or its README says why not."""

import json
from pathlib import Path
from typing import Any

import pytest

from plantgate.cli import main
from plantgate.kit.grade import CannotGrade, Grade, Report, Verdict, contract_tests, grade
from plantgate.registry import Kind, registry


def ours(name: str, *, run: bool = False, seeds: int = 1) -> Report:
    connector = registry().connector(name)
    return grade(name, connector, contract_tests(name, connector), seeds=seeds, run=run)


@pytest.mark.parametrize("name", registry().names(Kind.CONNECTOR))
def test_every_connector_of_ours_is_gold_or_its_readme_says_why_not(name: str) -> None:
    """The tests themselves run with the suite; here they only have to be there."""
    report = ours(name)
    assert report.grade is Grade.GOLD or report.excuse, [each.what for each in report.missing()]
    assert report.grade >= Grade.BRONZE


def test_the_tests_are_run_and_a_failure_is_named(tmp_path: Path) -> None:
    report = ours("files", run=True)
    assert report.grade >= Grade.BRONZE
    broken = tmp_path / "test_broken.py"
    broken.write_text(
        "from tests.contracts.test_files import TestFilesSinkCsv as Good\n\n"
        "class TestBroken(Good):\n"
        "    async def arrived(self, device):\n"
        "        return []\n"
    )
    root = Path(__file__).parents[3]
    (tmp_path / "pyproject.toml").write_text(f"[tool.pytest.ini_options]\npythonpath = ['{root}']\n")
    graded = grade("files", registry().connector("files"), broken, seeds=1)
    assert graded.grade is Grade.NONE
    failed = next(each for each in graded.checks if each.what == "what it writes is held to the contract")
    assert failed.verdict is Verdict.MISSING
    assert "fail; test_" in failed.said


def test_tests_that_are_not_there_or_do_not_run_are_a_sentence(tmp_path: Path) -> None:
    connector = registry().connector("files")
    with pytest.raises(CannotGrade, match="is not there; name the contract tests with --tests"):
        grade("files", connector, tmp_path / "nothing.py")
    (tmp_path / "test_none.py").write_text("def test_nothing(): pass\n")
    report = grade("files", connector, tmp_path / "test_none.py", seeds=1)
    assert report.grade is Grade.NONE
    assert "no test class inherits SourceContract or LiveSourceContract" in [each.said for each in report.checks]


def test_the_command_prints_a_table_and_obeys_at_least(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-plugin", "mqtt", "--collect", "--seeds", "1", "--at-least", "gold"]) == 0
    assert "mqtt: gold" in capsys.readouterr().out
    assert main(["check-plugin", "mqtt", "--collect", "--seeds", "1", "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert document["grade"] == "gold"
    assert main(["check-plugin", "nothing"]) == 2
    assert "no connector `nothing`; see `plantgate list`" in capsys.readouterr().err
