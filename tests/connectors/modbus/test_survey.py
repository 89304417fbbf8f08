"""What `plantgate plan` says of Modbus devices before the first poll."""

from pathlib import Path

import pytest

from tests.connectors.modbus.given import HOST, device, modbus, tag
from tests.connectors.modbus.twin import twin


@pytest.mark.simulated(seeds=2)
async def test_a_plan_names_the_requests_their_cost_and_what_is_refused(tmp_path: Path) -> None:
    async with twin(HOST) as plc:
        plc.refused[1, 3, 7] = 2
        plc.dead.add(2)
        tags = [tag(f"t{n}", n) for n in range(10)] + [tag("c", 0, table="coil"), tag("far", 400, type="float32")]
        devices = [device("press", 1, *tags), device("dead", 2, tag("d", 0))]
        survey = await modbus(tmp_path, devices=devices, poll_interval_ms=1000).survey()
        asked = len(plc.asked)
    press, refused, dead = survey.findings
    assert press.subject == "press (plc:502 unit 1)"
    assert press.wanted == "12 tags in 3 requests, 12 registers and 1 bits, 88 bytes every 1 s"
    assert press.granted.startswith("answered in ")
    assert press.fine
    assert (refused.subject, refused.wanted) == ("press holding 7", "t7")
    assert refused.granted == "exception 2 (illegal data address)"
    assert not refused.fine
    assert dead.granted == "no answer from plc:502 unit 2 in 0.5 s"
    assert not survey.fine
    assert asked < 20


@pytest.mark.simulated(seeds=2)
async def test_a_plan_of_a_host_that_is_not_there_says_so(tmp_path: Path) -> None:
    survey = await modbus(tmp_path).survey()
    [finding] = survey.findings
    assert "cannot be reached" in finding.granted
    assert not finding.fine


@pytest.mark.simulated(seeds=2)
async def test_a_device_slower_than_its_interval_is_not_fine(tmp_path: Path) -> None:
    async with twin(HOST) as plc:
        plc.delay_seconds = 0.15
        survey = await modbus(tmp_path).survey()
    assert not survey.fine
