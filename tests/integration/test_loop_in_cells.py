"""A whole gateway whose loop looks from one cell and acts from another, and both cells end in the midst of it."""

import asyncio
import io
import itertools
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from PIL import Image

from plantgate.audit.vault import VaultReader
from plantgate.control.door import ask
from tests.connectors.camera.given import packed
from tests.integration.test_acting_gateway import House, house
from tests.peers.require import require

pytestmark = pytest.mark.integration

LOOKING = """\
    R-2:
      cites: shift book
      when: spot.level <= 80
      facts: [spot]
      allows: [oven/setpoint]
      proposers: [model]
      confidence_min: 0.9
  loops:
    heat:
      camera: eye
      model: brightness
      deadline_ms: 5000
      keep_pictures: true
      decisions:
        - { of: spots, fact: spot, rule: R-2, tag: oven/setpoint, unit: degC, value: double(spot.level) }
models: { brightness: { type: brightness } }
cells:
  eyes: { connections: eye, stall_seconds: 2 }
  hall: { connections: plc, stall_seconds: 2 }
"""


def installed(folder: Path) -> Path:
    """The model's package."""
    info = folder / "site" / "brightness-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: brightness\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[plantgate.models]\nbrightness = brightness:Brightness\n")
    shutil.copy(Path(__file__).with_name("brightness.py"), info.parent)
    return info.parent


def with_eyes(here: House) -> None:
    """Its plant file, with a camera, a model and a loop."""
    plant = here.folder / "plant.yaml"
    written = plant.read_text(encoding="utf-8") + LOOKING
    eye = "connections:\n  eye: { type: camera, folder: { path: in, settle_ms: 0 }, grey: true }\n"
    written = written.replace("connections:\n", eye, 1)
    written = written.replace("key: audit.key }", "key: audit.key, vault: { wrapping: wrapping } }")
    plant.write_text(written, encoding="utf-8")
    (here.folder / "in").mkdir()


async def status(here: House) -> dict[str, Any]:
    async with ClientSession() as client, client.get(f"http://127.0.0.1:{here.port}/status") as answer:
        found: dict[str, Any] = await answer.json()
        return found


async def shown(here: House, numbers: Iterator[int]) -> int:
    """Boards, each of another brightness, until the machine has what belongs to the last one; that brightness."""
    async with asyncio.timeout(90):
        while True:
            level = await board(here, numbers)
            for _ in range(20):
                if await here.slave.get(1, 10, 1) == [10 * level]:
                    return level
                await asyncio.sleep(0.1)


async def board(here: House, numbers: Iterator[int]) -> int:
    number = next(numbers)
    name, level = f"{number:03}.png", 30 + number % 50
    (here.folder / name).write_bytes(packed(level, mode="L"))
    (here.folder / name).rename(here.folder / "in" / name)
    return level


async def ended(here: House, cell: str, how: signal.Signals) -> None:
    """The process of a cell, and another is there."""
    before = (await status(here))["cells"][cell]
    os.kill(before["pid"], how)
    async with asyncio.timeout(90):
        while True:
            now = (await status(here))["cells"][cell]
            if now["restarts"] > before["restarts"] and now["state"] == "up":
                return
            await asyncio.sleep(0.1)


async def entries(here: House) -> list[dict[str, Any]]:
    code, said = await here.type("audit", "tail", "audit/public", "--last", "1000", "--json")
    assert code == 0, said
    return [json.loads(line) for line in said.splitlines()]


def test_a_loop_goes_on_when_the_cell_it_looks_from_and_the_one_it_acts_from_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("modbus-slave")
    monkeypatch.setenv("PYTHONPATH", str(installed(tmp_path)))
    numbers = itertools.count(1)

    async def play() -> tuple[int, list[dict[str, Any]]]:
        async with house(tmp_path) as here:
            with_eyes(here)
            code, said = await here.type("check", "plant.yaml")
            assert code == 0, said
            async with here.gateway():
                await ask(here.folder / "s", "arm", {"reason": "go"})
                await shown(here, numbers)
                await ended(here, "eyes", signal.SIGKILL)
                await shown(here, numbers)
                await ended(here, "eyes", signal.SIGSTOP)
                await shown(here, numbers)
                await ended(here, "hall", signal.SIGKILL)
                await shown(here, numbers)
                await ended(here, "hall", signal.SIGSTOP)
                level = await shown(here, numbers)
                await ask(here.folder / "s", "stop", {"name": "model:brightness/1", "reason": "it hunts"})
                before = (await status(here))["deeds"]["answers"].get("denied", 0)
                await board(here, numbers)
                async with asyncio.timeout(90):
                    while (await status(here))["deeds"]["answers"].get("denied", 0) == before:  # noqa: ASYNC110
                        await asyncio.sleep(0.1)
                assert await here.slave.get(1, 10, 1) == [10 * level]
            written = (await here.slave.count(1)).written
            code, said = await here.type("audit", "verify", "audit/public", "--policy", "audit.key.pub")
            assert code == 0, said
            return written, await entries(here)

    written, told = asyncio.run(play())
    intents = {entry["id"]: entry for entry in told if (entry["kind"], entry["phase"]) == ("write", "intent")}
    last = {entry["refers_to"]: entry["result"] for entry in told if entry["phase"] == "outcome"}
    assert last.keys() == intents.keys()
    assert written == list(last.values()).count("ok"), "each of them once"
    assert {entry["why"]["rule"] for entry in intents.values()} == {"R-2"}
    reader = VaultReader(tmp_path / "vault", tmp_path / "wrapping")
    for intent in intents.values():
        (picture,) = intent["payloads"]
        with Image.open(io.BytesIO(reader.disclose(picture["commitment"]).content)) as seen:
            assert float(intent["after"]["value"]) == seen.getpixel((0, 0)), "the board behind the write"
