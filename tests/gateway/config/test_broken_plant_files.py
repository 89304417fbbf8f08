"""Every file in `tests/examples/broken` has beside it what `plantgate check` says of it, word for word.

``PLANTGATE_UPDATE_EXPECTED=1 pytest`` writes them anew; read them then as the engineer who is called at night would.
"""

import os
import re
from pathlib import Path

import pytest

from plantgate.cli import main

BROKEN = Path(__file__).parents[2] / "examples" / "broken"
FILES = sorted(BROKEN.glob("*.yaml"))
JARGON = re.compile(
    r"input should|value error|valid (string|integer|number|boolean)|pydantic|validat|extra inputs", re.I
)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_check_says_where_what_and_what_instead(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(BROKEN)

    assert main(["check", file.name]) == 2

    said = capsys.readouterr().out
    expected = file.with_suffix(".expected")
    if os.environ.get("PLANTGATE_UPDATE_EXPECTED"):
        expected.write_text(said, encoding="utf-8")
    assert said == expected.read_text(encoding="utf-8")
    assert not JARGON.search(said)


def test_check_of_the_whole_folder_finds_every_file_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(BROKEN.parent)

    assert main(["check", "broken"]) == 2

    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"{len(FILES)} files, {len(FILES)} of them with errors"
    unlocated = [line for line in lines[:-1] if not re.match(r"broken/[\w.]+:\d+:\d+: ", line)]
    assert unlocated == []


def test_there_are_enough_of_them_and_none_is_left_over() -> None:
    assert len(FILES) >= 45
    assert {file.stem for file in FILES} == {file.stem for file in BROKEN.glob("*.expected")}
