import asyncio
from pathlib import Path

import pytest

from tests.integration.journey.act import ROUGH, act
from tests.integration.journey.plan import SHORT
from tests.integration.journey.travel import travel
from tests.peers.require import require


@pytest.mark.integration
def test_nothing_is_lost_while_cells_are_killed_and_frozen_and_plugs_are_pulled(tmp_path: Path) -> None:
    require("node-opcua", "mosquitto", "ett")
    seen = asyncio.run(travel(SHORT, 11, tmp_path, rows=SHORT.rows, cells=True))
    assert seen.fine, f"{seen}\n{seen.surprises}\n{seen.gaps}"
    assert seen.delivered == seen.rows


@pytest.mark.integration
def test_nothing_is_done_twice_unruled_or_late_while_cells_that_write_are_killed_and_frozen(tmp_path: Path) -> None:
    require("modbus-slave")
    seen = asyncio.run(act(ROUGH, 7, tmp_path, at=("modbus",), cells=True))
    assert seen.fine, f"{seen}\n{seen.surprises}"
    assert seen.applied > 10, "or hardly anything happened"
    assert seen.ends["outcome unknown"] > 0, "or no trouble met a write"
