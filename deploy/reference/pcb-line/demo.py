"""The PCB line on your machine: boards come, a model finds their defects, a robot's tool moves, and all is on record.

scripts/demo pcb-line                 until Ctrl-C
scripts/demo pcb-line --seconds 30    ends by itself; exit code 0 if boards were acted on and the record is sound

Boards of DeepPCB where PLANTGATE_DATA has them, else boards that this reference draws. The robot is a twin of ours.
"""

import argparse
import asyncio
import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import string
import subprocess
import sys
import tempfile
import time
import webbrowser
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path
from typing import Any, Final

from aiohttp import ClientError, ClientSession
from PIL import Image

from plantgate.control.loop import BOUNDS_MS

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[2]
sys.path.insert(0, str(HERE))

from pcb_line.deeppcb import HELD_OUT, pairs  # noqa: E402 (beside this file)
from pcb_line.draw import drawn_pair  # noqa: E402
from pcb_line.pair import Pair  # noqa: E402

EVERY_SECONDS: Final = 0.5
TOLD_EVERY: Final = 10
"""Boards between two lines about how it goes."""
START_SECONDS: Final = 30.0


class CannotRun(Exception):
    """Something is missing, and the sentence says what."""


def boards() -> tuple[str, Iterator[Pair]]:
    """Boards without end, and what they are."""
    folder = Path(os.environ.get("PLANTGATE_DATA", ROOT.parent / "shared" / "data")) / "deeppcb"
    if folder.is_dir():
        return "boards of DeepPCB that the model has never seen", cycle(pairs(folder, HELD_OUT))
    return "boards that this reference draws", cycle(drawn_pair(seed) for seed in range(200))


async def run(chosen: argparse.Namespace, folder: Path) -> int:
    """The line, from its first board to its last."""
    what, coming = boards()
    for name in ("boards", "templates", "history"):
        (folder / name).mkdir()
    port = _free_port()
    async with _twin() as robot:
        _write_plant(folder, robot, port)
        _plantgate(folder, "audit", "keys", "gateway.example/pcb-line", "--out", "audit.key", quiet=True)
        async with _gateway(folder, port) as url:
            _plantgate(folder, "control", "arm", "--reason", "the demo begins", quiet=True)
            print(f"demo: {what}; look at {url}loops.html", flush=True)
            print(f"demo: {'until Ctrl-C' if chosen.seconds is None else f'for {chosen.seconds:g} s'}", flush=True)
            if not chosen.no_browser:
                webbrowser.open(f"{url}loops.html")
            await _bring(coming, folder, chosen.seconds, url)
            await asyncio.sleep(1.5)
            status = await _status(url)
    return _sum_up(folder, status, chosen.keep)


async def _bring(coming: Iterator[Pair], folder: Path, seconds: float | None, url: str) -> None:
    """One board after the other, as a camera saves them, until the time is over or somebody has had enough."""
    enough = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, enough.set)
    end = None if seconds is None else time.monotonic() + seconds
    count = 0
    while not enough.is_set() and (end is None or time.monotonic() < end):
        pair = next(coming)
        count += 1
        name = f"{count:05d}-{pair.name}.png"
        Image.fromarray(pair.template).save(folder / "templates" / name)
        fresh = folder / f"{name}.part"
        Image.fromarray(pair.board).save(fresh, format="PNG")
        fresh.rename(folder / "boards" / name)
        _forget(folder, count)
        if count % TOLD_EVERY == 0:
            with contextlib.suppress(ClientError):
                print(f"  {_so_far(await _status(url))}", flush=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(EVERY_SECONDS):
                await enough.wait()


def _forget(folder: Path, count: int) -> None:
    """Pictures of the last minute are kept, so that a demo left alone does not fill a disk."""
    for name in ("boards", "templates"):
        for old in (folder / name).glob(f"{count - 120:05d}-*"):
            old.unlink()


def _so_far(status: dict[str, Any]) -> str:
    figures = status["deeds"]["loops"]["rework"]
    held, done, late = figures["decided"], figures["done"], figures["late"]
    return f"pictures {figures['frames']}, the rule held for {held}, acted on {done}, too late {late}"


def _sum_up(folder: Path, status: dict[str, Any], keep: Path | None) -> int:
    figures = status["deeds"]["loops"]["rework"]
    print(f"\n{_so_far(status)}")
    most = max(1, *figures["bins"])
    for at, count in enumerate(figures["bins"]):
        label = f"<= {BOUNDS_MS[at]:g} ms" if at < len(BOUNDS_MS) else f"> {BOUNDS_MS[-1]:g} ms"
        print(f"  {label:>9} {count:6} {'#' * round(50 * count / most)}".rstrip())
    print("\nthe last decision, out of the audit log:", flush=True)
    public = "audit/public"
    if (last := _last_intent(folder, public)) is not None:
        _plantgate(folder, "explain", public, last)
    print("\nis the record sound?", flush=True)
    sound = _plantgate(folder, "audit", "verify", public, "--policy", "audit.key.pub") == 0
    if keep is None:
        print("\nplant file, log and record end with the demo; --keep FOLDER keeps them")
    else:
        print(f"\nkept in {keep}; as a page with the boards, to hand to somebody:")
        print(
            f"  .venv/bin/plantgate audit export {keep}/audit/public {keep}/seen --policy {keep}/audit.key.pub "
            f"--kind write --vault {keep}/vault --wrapping {keep}/wrapping"
        )
    return 0 if sound and figures["done"] else 3


def _last_intent(folder: Path, public: str) -> str | None:
    lines = _said(folder, "audit", "tail", public, "--last", "200", "--json").splitlines()
    intents = [entry for entry in map(json.loads, lines) if (entry["kind"], entry["phase"]) == ("write", "intent")]
    return str(intents[-1]["id"]) if intents else None


def _write_plant(folder: Path, robot: dict[str, int], port: int) -> None:
    template = string.Template((HERE / "plant.yaml").read_text(encoding="utf-8"))
    me = pwd.getpwuid(os.getuid()).pw_name
    names = {"RTDE_PORT": robot["rtde"], "DASHBOARD_PORT": robot["dashboard"], "USER": me}
    text = template.safe_substitute(names) + f"\nhttp: {{ listen: 127.0.0.1:{port} }}\n"
    (folder / "plant.yaml").write_text(text, encoding="utf-8")


@asynccontextmanager
async def _twin() -> AsyncIterator[dict[str, int]]:
    """The robot: a twin of ours, in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.peers.ur_twin", "--port", "0", stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_SECONDS):
            ports = json.loads(await process.stdout.readline())
        yield ports
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def _gateway(folder: Path, port: int) -> AsyncIterator[str]:
    """The gateway itself, once it answers; its log is `gateway.log` beside the plant file."""
    with (folder / "gateway.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "plantgate", "run", "plant.yaml", cwd=folder, stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}/"
    try:
        await _answering(url, process, folder)
        yield url
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _answering(url: str, process: asyncio.subprocess.Process, folder: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.returncode is None:
        with contextlib.suppress(ClientError):
            uses = (await _status(url))["connections"]
            if all(use["state"] == "up" for name in ("robot", "camera") for use in uses[name]["uses"]):
                return
        await asyncio.sleep(0.2)
    raise CannotRun(f"the gateway did not come up:\n{(folder / 'gateway.log').read_text()[-2000:]}")


async def _status(url: str) -> dict[str, Any]:
    async with ClientSession() as session, session.get(f"{url}status") as answer:
        told: dict[str, Any] = await answer.json()
        return told


def _plantgate(folder: Path, *words: str, quiet: bool = False) -> int:
    done = subprocess.run(
        [sys.executable, "-m", "plantgate", *words], cwd=folder, check=False, capture_output=quiet, text=True
    )
    if quiet and done.returncode:
        raise CannotRun(f"plantgate {' '.join(words)}: {done.stdout}{done.stderr}")
    return done.returncode


def _said(folder: Path, *words: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "plantgate", *words], cwd=folder, check=True, capture_output=True, text=True
    ).stdout


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def main(written: Sequence[str] | None = None) -> int:
    """The command line."""
    arguments = argparse.ArgumentParser(prog="scripts/demo pcb-line", description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--seconds", type=float, help="end after so long; without it, at Ctrl-C")
    arguments.add_argument("--no-browser", action="store_true", help="open no browser")
    arguments.add_argument("--keep", type=Path, metavar="FOLDER", help="keep plant file, log and record in this folder")
    chosen = arguments.parse_args(written)
    if chosen.keep is not None and chosen.keep.exists():
        print(f"demo: {chosen.keep} is there already, and two records do not mix; name another folder", file=sys.stderr)
        return 2
    folder = Path(tempfile.mkdtemp(prefix="plantgate-pcb-"))
    try:
        return asyncio.run(run(chosen, folder))
    except CannotRun as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    finally:
        if chosen.keep is not None:
            shutil.copytree(folder, chosen.keep, ignore=shutil.ignore_patterns("*.sock"))
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
