"""What an operator may write, and what is refused with a sentence."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from plantgate_connectors.camera import Cameras
from tests.connectors.camera.given import settings

FOLDER: dict[str, Any] = {"path": "/in"}
SNAPSHOT: dict[str, Any] = {"url": "https://camera/snap"}
STREAM: dict[str, Any] = {"url": "rtsp://camera/line"}
SECRET = "${env:CAMERA}"

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "write one of folder, snapshot and stream"),
    ({"folder": FOLDER, "snapshot": SNAPSHOT}, "write one of folder, snapshot and stream"),
    ({"folder": {**FOLDER, "take": "all"}}, "Input should be 'newest', 'each' or 'once'"),
    ({"folder": {**FOLDER, "template": {"ending": "_test", "becomes": "../_temp"}}}, "should match pattern"),
    ({"folder": {**FOLDER, "settle_ms": -1}}, "greater than or equal to 0"),
    ({"folder": FOLDER, "pixels_max": 10**9}, "less than or equal to 89478485"),
    ({"snapshot": {"url": "ftp://camera/snap"}}, "write https://host/path or http://host/path"),
    ({"snapshot": {"url": "http://me:secret@camera/snap"}}, "a password in a URL ends up in logs"),
    ({"snapshot": {"url": "http://camera/snap#1"}}, "leave #1 out"),
    ({"snapshot": {"url": "http://camera:99999/"}}, "is not a URL"),
    ({"snapshot": {**SNAPSHOT, "username": "me"}}, "write both or neither"),
    ({"snapshot": {**SNAPSHOT, "username": "me", "password": SECRET, "bearer": SECRET}}, "write one of them"),
    ({"snapshot": {**SNAPSHOT, "bearer": "a token"}}, "a secret is written as a reference"),
    ({"stream": {"url": "http://camera/line"}}, "write rtsp://host/path"),
    ({"stream": {"url": "rtsp://me:secret@camera/line"}}, "a password in a URL ends up in logs"),
    ({"stream": {**STREAM, "silence_seconds": 0}}, "greater than or equal to 0.1"),
]


@pytest.mark.parametrize(("written", "told"), REFUSED, ids=[told for _, told in REFUSED])
def test_what_cannot_be_is_refused_with_a_sentence(written: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(told)):
        settings(**written)


def test_what_goes_over_a_network_unencrypted_is_remarked_on() -> None:
    def remarks(**written: Any) -> str:
        return " ".join(Cameras.remarks(settings(**written)))

    assert remarks(folder=FOLDER) == ""
    assert remarks(snapshot={"url": "http://camera/snap"}) == ""
    assert remarks(snapshot={**SNAPSHOT, "bearer": SECRET}) == ""
    assert "use https" in remarks(snapshot={"url": "http://camera/snap", "bearer": SECRET})
    assert remarks(snapshot={"url": "http://127.0.0.1/snap", "bearer": SECRET}) == ""
    assert "RTSP is not encrypted" in remarks(stream=STREAM)
    assert remarks(stream={"url": "rtsp://127.0.0.1/line"}) == ""


def test_a_camera_sees_and_is_neither_source_nor_sink() -> None:
    assert (Cameras.reads(), Cameras.writes(), Cameras.acts(), Cameras.sees()) == (False, False, False, True)


def test_the_example_is_sound() -> None:
    from plantgate.config.load import check
    from plantgate.config.problems import Severity

    example = Path(__file__).parents[3] / "connectors" / "plantgate_connectors" / "camera" / "example.yaml"
    plant, problems = check(example)
    assert plant is not None
    assert not [problem for problem in problems if problem.severity is Severity.ERROR]
