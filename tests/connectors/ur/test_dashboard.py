"""The dashboard beside RTDE: read as tags, and no harm to the data packages when it is away."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk.quality import BAD_DECODING, GOOD
from plantgate.testing.simloop import running
from plantgate_connectors.ur.quality import BAD_NO_COMMUNICATION
from tests.connectors.ur.given import HOST, collect, of, ur, watched
from tests.peers.ur_twin import robot

pytestmark = pytest.mark.simulated(seeds=3)

BOARD: dict[str, Any] = {
    "robot_mode": "board/mode",
    "safety_status": "board/safety",
    "program_state": "board/program",
    "loaded_program": "board/loaded",
    "remote_control": "board/remote",
}


async def test_answers_become_tags(tmp_path: Path) -> None:
    async with robot(HOST) as twin, ur(tmp_path, dashboard=BOARD).source() as source:
        first = await watched(source, 0.5)
        twin.protective_stop()
        twin.board.remote = False
        twin.board.says["get loaded program"] = "No program loaded"
        later = await watched(source, 2.0)
    assert of(first, "board/mode") == [("RUNNING", GOOD)]
    assert of(first, "board/safety") == [("NORMAL", GOOD)]
    assert of(first, "board/program") == [("PLAYING mailbox.urp", GOOD)]
    assert of(first, "board/loaded") == [("/programs/mailbox.urp", GOOD)]
    assert of(first, "board/remote") == [(True, GOOD)]
    assert of(later, "board/safety")[-1] == ("PROTECTIVE_STOP", GOOD)
    assert of(later, "board/program")[-1] == ("PAUSED mailbox.urp", GOOD)
    assert of(later, "board/loaded")[-1] == (None, GOOD)
    assert of(later, "board/remote")[-1] == (False, GOOD)


async def test_an_answer_that_is_none_is_a_bad_value_and_the_next_is_right(tmp_path: Path) -> None:
    async with robot(HOST) as twin:
        twin.board.says |= {"robotmode": "could not understand: robotmode", "is in remote control": "perhaps"}
        async with ur(tmp_path, dashboard=BOARD).source() as source:
            batch = await watched(source, 0.5)
            twin.board.says.clear()
            later = await watched(source, 2.0)
    assert of(batch, "board/mode") == of(batch, "board/remote") == [(None, BAD_DECODING)]
    assert of(batch, "board/safety") == [("NORMAL", GOOD)]
    assert of(later, "board/mode")[-1] == ("RUNNING", GOOD)


async def test_a_dashboard_that_falls_silent_costs_its_own_tags_and_is_counted(tmp_path: Path) -> None:
    async with robot(HOST) as twin, ur(tmp_path, dashboard=BOARD).source() as source:
        await watched(source, 1.5)
        twin.board.mute = True
        silent = await watched(source, 20.0)
        twin.board.mute = False
        back = await watched(source, 60.0)
    assert of(silent, "board/safety")[-1] == (None, BAD_NO_COMMUNICATION)
    assert of(silent, "board/safety").count((None, BAD_NO_COMMUNICATION)) == 1
    assert len(of(silent, "pose")) == pytest.approx(200, abs=5), "RTDE goes on"
    [gap] = back.gaps
    assert (gap.cause, set(gap.tags)) == ("dashboard away", set(BOARD.values()))
    assert gap.lost is not None
    assert 5 * 18 <= gap.lost <= 5 * 60


async def test_a_dashboard_that_is_not_there_at_first_is_found_later(tmp_path: Path) -> None:
    async with robot(HOST):
        running().network.refuse((HOST, 29_999))
        async with ur(tmp_path, dashboard=BOARD).source() as source:
            batch = await watched(source, 5.0)
            assert of(batch, "board/mode") == [(None, BAD_NO_COMMUNICATION)]
            running().network.heal((HOST, 29_999))
            assert ("RUNNING", GOOD) in of(await watched(source, 60.0), "board/mode")


async def test_a_line_without_an_end_is_given_up(tmp_path: Path) -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not writer.transport.is_closing():
                writer.write(b"x" * 1000)
                await writer.drain()
                await asyncio.sleep(0.01)
        except OSError:
            pass
        finally:
            writer.transport.abort()

    async with robot(HOST, dashboard_port=1):
        server = await asyncio.start_server(flood, HOST, 29_999)
        async with ur(tmp_path, dashboard=BOARD).source() as source:
            batch = await watched(source, 5.0)
        server.close()
        await server.wait_closed()
    assert of(batch, "board/mode") == [(None, BAD_NO_COMMUNICATION)]
    assert len(of(batch, "pose")) > 40


async def test_only_the_dashboard_can_be_read_too(tmp_path: Path) -> None:
    async with robot(HOST), ur(tmp_path, outputs=[], dashboard=BOARD).source() as source:
        batch = await collect(source, 15)
    assert set(batch.tags) == set(BOARD.values())
