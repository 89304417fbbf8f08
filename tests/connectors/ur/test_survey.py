"""What `plantgate plan` says of a robot, and that asking changes nothing."""

from pathlib import Path

import pytest

from plantgate.sdk import Survey
from plantgate.testing.simloop import running
from tests.connectors.ur.given import HOST, POSE, writer
from tests.peers.ur_twin import robot

pytestmark = pytest.mark.simulated(seeds=3)


def said(survey: Survey) -> dict[str, tuple[str, bool]]:
    return {finding.subject: (finding.granted, finding.fine) for finding in survey.findings}


async def test_everything_granted(tmp_path: Path) -> None:
    async with robot(HOST) as twin:
        survey = await writer(tmp_path).survey()
        assert twin.received == []
    assert survey.fine
    assert "software 5.11.0.108" in said(survey)[f"{HOST}:30004"][0]
    assert said(survey)["register input_int_register_24"] == ("granted", True)
    assert said(survey)["dashboard robotmode"] == ("Robotmode: RUNNING", True)


async def test_what_is_missing_or_held_is_named(tmp_path: Path) -> None:
    async with robot(HOST) as twin:
        twin.in_use.add("input_double_register_30")
        twin.version = (3, 15, 0, 0)
        twin.board.says["is in remote control"] = "could not understand: is in remote control"
        outputs = [POSE, {"field": "actual_tcp_pose", "tag": "typo"}]
        survey = await writer(tmp_path, outputs=outputs, frequency_hz=500).survey()
    found = said(survey)
    assert "1 fields at 125 Hz" in found[f"{HOST}:30004"][0]
    assert not found[f"{HOST}:30004"][1]
    assert not found["field actual_tcp_pose"][1]
    assert "fieldbus" in found["register input_double_register_30"][0]
    assert not found["dashboard is in remote control"][1]


async def test_a_robot_that_is_away_is_a_finding(tmp_path: Path) -> None:
    running().network.refuse(HOST)
    survey = await writer(tmp_path).survey()
    assert not survey.fine
    assert "cannot be reached" in survey.findings[0].granted


async def test_a_dashboard_that_is_away_is_a_finding_and_hides_no_other(tmp_path: Path) -> None:
    async with robot(HOST):
        running().network.refuse((HOST, 29_999))
        survey = await writer(tmp_path).survey()
    assert said(survey)[f"dashboard {HOST}"][1] is False
    assert said(survey)[f"{HOST}:30004"][1]
