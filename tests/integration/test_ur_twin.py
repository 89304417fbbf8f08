"""The UR connector on real sockets, against our twin in a process of its own; no real robot was used."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk import Command, Deadline, OutcomeUnknown, Rejected, Unavailable
from plantgate.testing.contract import lent
from plantgate_connectors.ur import Ur, UrSettings
from tests.connectors.ur.given import OFFSET, OFFSET_WRITE, collect, of, to_the_end
from tests.peers.child import Child

pytestmark = pytest.mark.integration


@asynccontextmanager
async def twin_process(folder: Path) -> AsyncIterator[tuple[Child, dict[str, int], dict[str, int]]]:
    """The process, its ports, and what it says it did (filled in when the block has ended)."""
    command = [sys.executable, "-m", "tests.peers.ur_twin", "--port", "0"]
    child = await Child.start(command, log=folder / "twin.log", talks=True)
    done: dict[str, int] = {}
    assert child.process.stdout is not None
    try:
        async with asyncio.timeout(30):
            ports = json.loads(await child.process.stdout.readline())
        yield child, ports, done
    finally:
        await child.stop()
        printed = (await child.process.stdout.read()).splitlines()
        done.update(json.loads(printed[-1]) if printed else {})


def connector(folder: Path, ports: dict[str, int], **written: Any) -> Ur:
    whole = {
        "host": "127.0.0.1",
        "rtde_port": ports["rtde"],
        "dashboard_port": ports["dashboard"],
        "frequency_hz": 500,
        "silence_seconds": 1,
        "outputs": [{"field": "timestamp", "tag": "on"}, {"field": "output_int_register_28", "tag": "moves"}],
        "writes": [OFFSET_WRITE],
        **written,
    }
    return Ur(UrSettings.model_validate_json(json.dumps(whole)), lent(folder))


def test_commands_are_applied_once_each_and_seen_in_the_state(tmp_path: Path) -> None:
    async def play() -> tuple[list[int], dict[str, int]]:
        async with twin_process(tmp_path) as (_, ports, done):
            ur = connector(tmp_path, ports)
            async with ur.source() as source, ur.actuator() as actuator:
                for number in range(1, 21):
                    value = f"[{number / 10_000},0.0,0.0]"
                    await actuator.write(Command("id", OFFSET, value, Deadline.after(5.0)))
                    assert (await actuator.read(OFFSET, Deadline.after(5.0))).value == value
                with pytest.raises(Rejected, match="limits in the program"):
                    await actuator.write(Command("id", OFFSET, "[0.009,0,0]", Deadline.after(5.0)))
                moves = [0]
                async with asyncio.timeout(30):
                    while moves[-1] != 20:
                        moves += [value for value, _ in of(await collect(source, 2), "moves") if isinstance(value, int)]
        return moves, done

    moves, done = asyncio.run(play())
    assert moves == sorted(moves)
    assert done == {"applied": 20, "refused": 1, "passed_over": 0}


def test_a_robot_that_freezes_and_one_that_is_killed_are_noticed(tmp_path: Path) -> None:
    async def play() -> None:
        async with twin_process(tmp_path) as (child, ports, _):
            ur = connector(tmp_path, ports)
            async with ur.source() as source:
                await collect(source, 10)
                child.freeze()
                _, reason = await to_the_end(source)
                assert "has sent nothing for 1 s" in reason
            child.thaw()
            async with ur.source() as source:
                batch = await collect(source, 10)
                # On a busy machine the twin may skip packages besides.
                assert [gap.cause for gap in batch.gaps if gap.cause != "packages skipped"] == ["session lost"]
                async with ur.actuator() as actuator:
                    await actuator.write(Command("id", OFFSET, "[0.001,0,0]", Deadline.after(5.0)))
                    child.freeze()
                    with pytest.raises((OutcomeUnknown, Unavailable)):
                        await actuator.write(Command("id", OFFSET, "[0.002,0,0]", Deadline.after(0.3)))
                await child.kill()
                await to_the_end(source)
            with pytest.raises(Unavailable, match="cannot be reached"):
                async with ur.source():
                    pass

    asyncio.run(play())
