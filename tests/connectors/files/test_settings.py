"""What an operator may write, and what the message says where it cannot be."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from plantgate_connectors.files import Files, FilesSettings
from tests.connectors.files.given import context


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "nothing to do: write a section read:"),
        ({"read": {"path": "a.csv", "decimal": ","}}, "a comma cannot both"),
        ({"read": {"path": "a.csv", "time_format": "%H:%M"}}, "does not say year, month and day"),
        ({"read": {"path": "a.csv", "time_zone": "Mars/Olympus"}}, "no time zone 'Mars/Olympus'"),
        ({"read": {"path": "a.csv", "time_zone": "+2"}}, "write it as \\+02:00"),
        ({"read": {"path": "a.csv", "encoding": "utf-16"}}, "cannot be read line by line"),
        ({"read": {"path": "a.csv", "delimiter": "\n"}}, "cannot separate cells"),
        ({"read": {"path": "a.csv", "layout": "long", "columns": {"a": "b"}}}, "columns belongs to layout wide"),
        ({"read": {"path": "a.csv", "columns": {"time": "b"}}}, "cannot be a tag as well"),
        ({"read": {"path": "a.csv", "names": ["a", "a"]}}, "every column needs a name of its own"),
        ({"read": {"path": "a.csv", "colums": {}}}, "colums"),
        ({"write": {"folder": "out", "name": "../up"}}, "name"),
    ],
)
def test_a_setting_that_cannot_be_says_what_to_write(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FilesSettings.model_validate(settings, strict=False)


@pytest.mark.parametrize(
    ("path", "expected"), [("a.csv", "wide csv"), ("a.jsonl", "long json_lines"), ("a.NDJSON", "long json_lines")]
)
def test_the_name_of_a_file_says_how_it_is_read(path: str, expected: str) -> None:
    read = FilesSettings.model_validate({"read": {"path": path}}, strict=False).read
    assert read is not None
    assert f"{read.placing.value} {read.reading.value}" == expected


def test_a_survey_says_what_the_first_rows_would_give_and_changes_nothing(tmp_path: Path) -> None:
    import asyncio

    (tmp_path / "a.csv").write_text("time,p\n2026-01-01,1\n")
    (tmp_path / "b.csv").write_text("time,p\n2026-01-01,one\n")
    settings = FilesSettings.model_validate(
        {"read": {"path": tmp_path / "*.csv"}, "write": {"folder": tmp_path / "new" / "out"}}, strict=False
    )
    found = asyncio.run(Files(settings, context(tmp_path / "state")).survey())
    assert [(finding.granted, finding.fine) for finding in found.findings] == [
        ("1 tags: p", True),
        ("cells without value: p: 'one' is not a number", False),
        ("can be written to", True),
    ]
    assert not found.fine
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "b.csv", "state"]
    assert list((tmp_path / "state").iterdir()) == []
