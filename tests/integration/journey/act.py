"""One acting journey: people's writes through the gateway to machines, while plugs are pulled, and the verdict."""

import asyncio
import os
import pwd
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from plantgate.audit.entry import decode
from plantgate.audit.note import Signer
from plantgate.audit.policy import Policy
from plantgate.audit.tiles import Tiles
from plantgate.audit.tiles import folder as files_of
from plantgate.audit.verify import Verdict, verify
from plantgate.control.door import ask
from plantgate.sdk import GatewayError
from tests.integration.journey.acted import Acted, Machined, judge
from tests.integration.journey.gateway import Gateway
from tests.integration.journey.machines import MACHINES, Machine
from tests.integration.journey.proposer import VALUE_MOST, Proposer
from tests.integration.journey.travel import tell
from tests.integration.journey.weather import weather
from tests.peers.mosquitto import free_port

ORIGIN: Final = "gateway.example/journey"
PLANT: Final = """\
plant: journey
http: {{ listen: "127.0.0.1:{http}" }}
store: {{ folder: data }}
audit: {{ origin: {origin}, key: audit.key }}
connections:
{connections}  archive: {{ type: files, write: {{ folder: out }} }}
flows:
  telemetry: {{ from: [{names}], to: archive }}
cells: {{ {cells} }}
control:
  socket: {socket}
  people: {{ p-1: {{ user: {user}, roles: [operator, engineer] }} }}
  people_to_arm: 1
  rules:
    R-1: {{ when: "true", cites: what the journey asks for, allows: [{tags}] }}
  writes:
"""
WRITE: Final = """\
    {name}/speed:
      connection: {name}
      data_type: {data_type}
      unit: rpm
      range: [0, {most}]
      resolution: 1
      class: W1
      writes_max_per_minute: 100000
      read_back: {{ settle_seconds: 1 }}
"""


@dataclass(frozen=True, slots=True)
class Roughness:
    """How long and how rough."""

    kills: int
    lives_seconds: tuple[float, float]
    """Shortest and longest life of a gateway that is killed, from when it can be asked."""
    per_second: float = 8.0
    """Commands to each machine."""
    fair_seconds: float = 4.0
    """Longest while without trouble at a machine or its cable."""
    writes_least: int = 0
    """The trouble goes on after the last kill until this many writes have come to each machine, and some met it."""


ROUGHEST: Final = Roughness(kills=100, lives_seconds=(0.5, 6.0))
ROUGH: Final = Roughness(kills=5, lives_seconds=(2.0, 6.0), writes_least=20)


async def act(
    rough: Roughness,
    seed: int,
    folder: Path,
    *,
    at: Sequence[str] = tuple(MACHINES),
    cells: bool = False,
    program: Sequence[str | Path] = (Path(sys.executable).parent / "plantgate",),
) -> Acted:
    """With everything it needs, from start to verdict. `program`: the gateway's, if another than the shipped one.

    With `cells`, each machine's connection lives in one of its own, which is killed and frozen besides.
    """
    tell(f"acting on {' and '.join(at)}: {rough.kills} gateway kills; seed {seed}")
    async with AsyncExitStack() as stack:
        entries = folder / "audit" / "entries"
        machines = [await stack.enter_async_context(MACHINES[name](folder, entries)) for name in at]
        short = stack.enter_context(tempfile.TemporaryDirectory(prefix="act-"))  # a socket's path is short
        socket = Path(short) / "control"
        signer = Signer(ORIGIN, random.Random(seed).randbytes(32))
        (folder / "audit.key").write_text(f"{signer.private()}\n")
        (folder / "audit.key").chmod(0o600)
        gateway = Gateway(folder / "plant.yaml", free_port(), program)
        gateway.plant.write_text(_plant(gateway.port, machines, socket, cells=cells))
        stack.push_async_callback(gateway.kill)
        await gateway.start()
        await _answered(socket, gateway)
        await ask(socket, "arm", {"reason": "the journey begins"})
        over = asyncio.Event()
        proposers = [
            Proposer(socket, machine, random.Random(f"{seed} commands to {machine.name}")) for machine in machines
        ]
        met: Counter[str] = Counter()
        async with asyncio.TaskGroup() as group:
            for proposer in proposers:
                group.create_task(proposer.propose(rough.per_second, over))
            for machine in machines:
                luck = random.Random(f"{seed} weather of {machine.name}")
                group.create_task(weather(machine, luck, over, met, rough.fair_seconds))
                if cells:
                    group.create_task(
                        _hurt(gateway, machine, random.Random(f"{seed} cell of {machine.name}"), over, met)
                    )
            met["SIGKILL"] = await _kill(rough, gateway, socket, machines, random.Random(f"{seed} kills"))
            await _enough(rough, gateway, machines, met)
            over.set()
        tell(f"calm; what met a write: {', '.join(f'{name} {times}' for name, times in met.items())}")
        await _settled(socket, gateway)
        code = await gateway.stop()
        parts = [
            Machined(each.machine.name, each.asked, each.machine.heard.arrivals, await each.machine.applied())
            for each in proposers
        ]
    tell(f"gateway started {gateway.starts} times, last exit code {code}")
    public = files_of(folder / "audit" / "public")
    report = verify(public, Policy.of_key(str(signer.verifier)))
    acted = judge(parts, [decode(content) for content in Tiles(public, report.entries)])
    for question, answer in (("integrity", report.integrity), ("completeness", report.completeness)):
        tell(f"audit log of {report.entries} entries, {question}: {answer.verdict.value}")
        if answer.verdict is not Verdict.YES:
            acted.untrue += 1
            acted.surprises.append(f"the audit log's {question}: {'; '.join(answer.said)}")
    tell(", ".join(f"{name} {count}" for name, count in sorted(acted.ends.items())))
    sent = sum(len(part.arrivals) for part in parts)
    tell(f"writes sent {sent}, the latest {acted.margin * 1000:.0f} ms before its deadline; untrue {acted.untrue}")
    for line in acted.surprises[:20]:
        tell(f"SURPRISE {line}")
    return acted


def _plant(http: int, machines: Sequence[Machine], socket: Path, *, cells: bool) -> str:
    head = PLANT.format(
        http=http,
        origin=ORIGIN,
        connections="".join(machine.connection() for machine in machines),
        names=", ".join(machine.name for machine in machines),
        cells=", ".join(f"{each.name}: {{ connections: {each.name}, stall_seconds: 1 }}" for each in machines if cells),
        socket=socket,
        user=pwd.getpwuid(os.getuid()).pw_name,
        tags=", ".join(f"{machine.name}/speed" for machine in machines),
    )
    writes = (WRITE.format(name=each.name, data_type=each.data_type, most=VALUE_MOST) for each in machines)
    return head + "".join(writes)


async def _status(socket: Path) -> dict[str, Any] | None:
    with suppress(OSError, asyncio.IncompleteReadError, GatewayError):
        return await ask(socket, "status", {})
    return None


async def _answered(socket: Path, gateway: Gateway) -> None:
    """Until the desk answers."""
    async with gateway.patience("the desk to answer", 60):
        while await _status(socket) is None:  # noqa: ASYNC110  a socket that is not there yet tells nobody
            await asyncio.sleep(0.05)


async def _settled(socket: Path, gateway: Gateway) -> None:
    """Until it is known of every write whether it happened."""
    async with gateway.patience("all that is held to be known", 120):
        while (status := await _status(socket)) is None or status["held"]:  # noqa: ASYNC110  nor does this
            await asyncio.sleep(0.2)


async def _enough(rough: Roughness, gateway: Gateway, machines: Sequence[Machine], met: Counter[str]) -> None:
    """However slow this computer is."""
    async with gateway.patience("enough writes to come to the machines", 120):
        while not met.total() or any(len(each.heard.arrivals) < rough.writes_least for each in machines):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def _hurt(
    gateway: Gateway, machine: Machine, luck: random.Random, over: asyncio.Event, met: Counter[str]
) -> None:
    """End and freeze the cell of a machine, half of the times when a write is on its way; some thaw before they are
    ended for standing still."""
    while not over.is_set():
        await asyncio.sleep(luck.uniform(0.3, 4.0))
        status = await gateway.status()
        cell = (status or {"cells": {}})["cells"].get(machine.name)
        if cell is None or not cell["pid"]:
            continue
        how = luck.choice((signal.SIGKILL, signal.SIGSTOP))
        hurt = partial(_tell_cell, cell["pid"], how)
        if luck.random() < 0.5:
            machine.heard.then.append(hurt)
            await asyncio.sleep(luck.uniform(0.3, 1.5))
            if hurt in machine.heard.then:
                machine.heard.then.remove(hurt)
            else:
                met[f"{how.name} of a cell"] += 1
        else:
            hurt()
        await asyncio.sleep(luck.uniform(0.05, 1.5))
        _tell_cell(cell["pid"], signal.SIGCONT)


def _tell_cell(pid: int, what: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, what)


async def _kill(
    rough: Roughness, gateway: Gateway, socket: Path, machines: Sequence[Machine], luck: random.Random
) -> int:
    """Each at a random time of the gateway's life, half of them when a write is on its way; and start it again.

    Answers how many met a write.
    """
    met = 0
    for number in range(rough.kills):
        if luck.random() < 0.9:
            await _answered(socket, gateway)
        await asyncio.sleep(luck.uniform(*rough.lives_seconds))
        pid = gateway.pid
        if luck.random() < 0.5:
            heard = asyncio.Event()
            luck.choice(machines).heard.then.append(heard.set)
            with suppress(TimeoutError):
                async with asyncio.timeout(3.0):
                    await heard.wait()
                    met += 1
            await asyncio.sleep(luck.choice((0.0, luck.uniform(0.0, 0.02))))
        os.kill(pid, signal.SIGKILL)
        await gateway.kill()
        if (number + 1) % 10 == 0 or rough.kills < 10:
            tell(f"SIGKILL of the gateway, {number + 1} of {rough.kills}")
        await asyncio.sleep(luck.choice((0.0, 0.0, luck.uniform(0.0, 1.0))))
        await gateway.start()
    return met
