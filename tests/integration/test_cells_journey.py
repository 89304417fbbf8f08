import asyncio
from pathlib import Path

import pytest

from tests.integration.journey.plan import SHORT
from tests.integration.journey.travel import travel
from tests.peers.require import require


@pytest.mark.integration
def test_nothing_is_lost_while_cells_are_killed_and_frozen_and_plugs_are_pulled(tmp_path: Path) -> None:
    require("node-opcua", "mosquitto", "ett")
    seen = asyncio.run(travel(SHORT, 11, tmp_path, rows=SHORT.rows, cells=True))
    assert seen.fine, f"{seen}\n{seen.surprises}\n{seen.gaps}"
    assert seen.delivered == seen.rows
