"""The closed loop, from a picture in memory to the outcome on record: what it takes, and what a budget refuses.

    python -m benchmarks.loop [--json FILE] [--boards N] [--pause SECONDS]

Boards of DeepPCB where PLANTGATE_DATA has them (those no training has seen), else drawn ones. Each goes through the
gateway's own parts: detector, rule in CEL, guards with an interlock on the robot's live state, durable intent in the
audit log on disk, one command to a UR robot (our twin, in a process of its own; no real robot was used), read back,
durable outcome; the picture goes into the vault beside that, as the plant file wants it, or does not. Boards of which
no rule speaks reach no robot: they are counted, and are in none of these times. Templates are made ready before, as in
a gateway. Budgets differ in nothing but what is refused as late. Beside it, in the same run: one board again and again
(how even this computer is), the detector alone, and the gateway without detector and robot's confirmation (a machine in
memory).
"""

import argparse
import asyncio
import gc
import json
import os
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import structlog
import yaml

from benchmarks.meter import machine, percentile
from benchmarks.table import Row, save, show
from plantgate.audit.log import AuditLog
from plantgate.audit.note import Signer
from plantgate.audit.vault import Vault
from plantgate.control.acting import Acting
from plantgate.control.evidence import Evidence
from plantgate.control.hand import Hand
from plantgate.control.loop import Loop
from plantgate.control.past import Past
from plantgate.control.proposal import Answer, Standing
from plantgate.control.settings import ControlSettings
from plantgate.control.switches import EVERYTHING
from plantgate.flow.stop import Stop
from plantgate.sdk import (
    Command,
    Context,
    Deadline,
    Frame,
    GatewayError,
    Model,
    OneThread,
    Prediction,
    Sample,
    SystemClock,
    Value,
)
from plantgate.sdk import (
    Standing as State,
)
from plantgate.store.disk import OsDisk
from plantgate_connectors.ur import Ur, UrSettings

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "deploy" / "reference" / "pcb-line"))

from pcb_line.boards import BoardModel, BoardsSettings, kept  # noqa: E402 (the reference is no installed package)
from pcb_line.deeppcb import HELD_OUT, pairs  # noqa: E402
from pcb_line.detect import Detector  # noqa: E402
from pcb_line.draw import drawn_pair  # noqa: E402
from pcb_line.pair import Pair  # noqa: E402

OFFSET, SAFETY, MODE = "pcb/robot/offset", "pcb/robot/safety", "pcb/robot/mode"
WARM = 20
BUDGETS = (120.0, 60.0, 40.0)


def reference() -> dict[str, Any]:
    """The plant file of the reference, as it stands there."""
    text = (ROOT / "deploy" / "reference" / "pcb-line" / "plant.yaml").read_text(encoding="utf-8")
    plant: dict[str, Any] = yaml.safe_load(re.sub(r"\$\{\w+\}", "1", text))
    return plant


def control(budget_ms: float, *, pictures: bool) -> ControlSettings:
    """What it says about acting, with this budget and without a limit to how often boards may come."""
    written = reference()["control"]
    written["loops"]["rework"]["deadline_ms"] = budget_ms
    written["loops"]["rework"]["keep_pictures"] = pictures
    written["writes"][OFFSET]["writes_max_per_minute"] = 1_000_000
    return ControlSettings.model_validate_json(json.dumps({**written, "people": {}}))


_KEPT = {False: "", True: ", picture kept"}


@dataclass
class Memory:
    """A machine that costs nothing: what the gateway itself takes."""

    value: str = "[0.0,0.0,0.0]"

    @asynccontextmanager
    async def session(self) -> AsyncIterator["Memory"]:
        """There at once."""
        yield self

    async def write(self, command: Command) -> None:
        """At once."""
        self.value = str(command.value)

    async def read(self, tag: str, deadline: Deadline) -> Sample:
        """At once."""
        return Sample(tag, self.value, 0, None)


@dataclass
class Known:
    """A model that knows the answer: what is left is the gateway."""

    name: str = "known"
    digest: str = "sha256:" + "0" * 64
    target: str = "memory"

    async def predict(self, frame: Frame, deadline: Deadline) -> Prediction:
        """At once."""
        place = float(frame.context["x_mm"])
        defect: dict[str, Value] = {"kind": "short", "confidence": 0.99, "x_mm": place, "y_mm": 1.0}
        return Prediction({"defects": [defect]}, 0.99, "sha256:" + "1" * 64, "open 0.99")


@dataclass
class Run:
    """What came of some boards."""

    total: list[float] = field(default_factory=list)
    """Seconds, of boards for which a rule held or an answer was late: the others reach no robot."""
    answers: list[Answer] = field(default_factory=list)
    nothing: int = 0
    """Boards without a defect that the rule speaks of."""

    def row(self, name: str, boards: int) -> Row:
        """Of the table."""
        counted = {standing: sum(answer.standing is standing for answer in self.answers) for standing in Standing}
        other = len(self.answers) - counted[Standing.DONE] - counted[Standing.LATE]
        return {
            "what": name,
            "boards": boards,
            "done": counted[Standing.DONE],
            "late": boards - len(self.answers) - self.nothing + counted[Standing.LATE],
            "no rule": self.nothing,
            "refused": other,
            **{f"p{100 * share:g} ms": 1e3 * percentile(self.total, share) for share in (0.5, 0.99, 0.999)},
            "max ms": 1e3 * max(self.total),
        }


@asynccontextmanager
async def gateway(
    folder: Path, budget_ms: float, connector: Ur | None, *, pictures: bool = True
) -> AsyncIterator[tuple[Loop, Acting]]:
    """The acting half of a gateway, armed; with a robot, or a machine in memory."""
    log = structlog.get_logger()
    stop = Stop()
    signer = Signer("gateway.example/bench", bytes(range(32)))
    settings, which = control(budget_ms, pictures=pictures), f"{budget_ms:g}-{connector is None}-{pictures}"
    async with AsyncExitStack() as stack:
        audit = await AuditLog.open(folder / f"audit-{which}", signer.verifier.name, [signer])
        await stack.enter_async_context(audit)
        hand = Hand("robot", Memory().session if connector is None else connector.actuator)
        vault = Vault.open(folder / f"vault-{which}", folder / f"wrapping-{which}")
        stack.callback(vault.close)
        evidence = Evidence(vault, 0, 10 * 2**30, SystemClock(), log)
        acting = await Acting.begin(
            settings,
            audit,
            Past(),
            {"robot": hand},
            connections={},
            loops={},
            folder=folder,
            disk=OsDisk(),
            clock=SystemClock(),
            news=log,
            evidence=evidence,
        )
        if EVERYTHING in acting.gate.switches.thrown():
            acting.gate.switches.release(EVERYTHING)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        group.create_task(_kept(hand, stop))
        group.create_task(_public(audit, stop))
        group.create_task(_state(acting, connector, stop))
        group.create_task(evidence.keep(stop))
        await hand.there()
        async with asyncio.timeout(10):
            while acting.gate.latest.get(SAFETY) is None:  # noqa: ASYNC110  it is looked at, not told
                await asyncio.sleep(0.05)
        gc.freeze()  # as `plantgate run` does
        try:
            yield Loop("rework", settings.loops["rework"], acting, log), acting
        finally:
            stop.set()


async def _kept(hand: Hand, stop: Stop) -> None:
    while not stop.is_set():
        try:
            await hand.session(stop)
        except GatewayError:
            await stop.sleep(0.2)


async def _public(audit: AuditLog, stop: Stop) -> None:
    while not await stop.sleep(1.0):
        await audit.publish()


async def _state(acting: Acting, connector: Ur | None, stop: Stop) -> None:
    """The robot's live state, as a flow brings it."""
    if connector is None:
        from plantgate.sdk import Batch

        while not await stop.sleep(0.1):
            acting.gate.latest.see(Batch([SAFETY, MODE], [1, 7], [0, 0], [None, None]))
        return
    async with connector.source() as source:
        while (batch := await stop.unless(source.read)) is not None:
            acting.gate.latest.see(batch)
            await source.ack(batch.cursor)


async def looked(loop: Loop, model: Model, frames: Sequence[Frame], pause: float) -> Run:
    """Every picture, one after the other, as a line brings them."""
    run = Run()
    clock = asyncio.get_running_loop().time
    for turn, frame in enumerate(frames):
        begin = clock()
        late = loop.figures.late
        answers = await loop.look(Frame(frame.name, frame.pixels, begin, context=frame.context), model)
        took, spoken_of = clock() - begin, bool(answers) or loop.figures.late > late
        if turn >= WARM:
            run.total += [took] * spoken_of
            run.answers += answers
            run.nothing += not spoken_of
        await asyncio.sleep(pause)
    return run


def boards(count: int) -> tuple[str, list[Pair]]:
    """Those no training has seen."""
    folder = Path(os.environ.get("PLANTGATE_DATA", ROOT.parent / "shared" / "data")) / "deeppcb"
    found = list(pairs(folder, HELD_OUT)) if folder.is_dir() else []
    return ("DeepPCB, held out", found) if found else ("drawn", [drawn_pair(seed) for seed in range(min(count, 100))])


async def measure(count: int, pause: float, folder: Path) -> list[Row]:
    """All rows."""
    name, known = boards(count)
    frames = [
        Frame(
            pair.name,
            memoryview(pair.board),  # type: ignore[arg-type]  # numpy's arrays are buffers
            0.0,
            context={"template": pair.name, "x_mm": repr(round((number % 80) / 20 - 2, 3))},
        )
        for number, pair in enumerate(known)
    ]
    frames = list(islice(cycle(frames), count + WARM))
    templates = {pair.name: kept(pair.template) for pair in known}  # as the gateway has them when a loop begins
    robot = {name: value for name, value in reference()["connections"]["robot"].items() if name != "type"}
    rows: list[Row] = []
    detector = Detector()
    with OneThread("boards") as thread:
        model = BoardModel(detector, thread, BoardsSettings(templates=folder), templates.__getitem__)
        rows.append(await _alone(model, [frames[0]] * len(frames), "one of these boards again and again"))
        rows.append(await _alone(model, frames, name))
        for pictures in (False, True):
            async with gateway(folder, BUDGETS[0], None, pictures=pictures) as (loop, _):
                run = await looked(loop, Known(), frames, 0.0)
                rows.append(run.row(f"gateway alone: rule, guards, intent, write, outcome{_KEPT[pictures]}", count))
        for budget, pictures in ((BUDGETS[0], False), (BUDGETS[1], False), *((budget, True) for budget in BUDGETS)):
            async with _twin(folder) as ports:
                ur = Ur(UrSettings.model_validate_json(json.dumps({**robot, **ports})), _lent(folder))
                async with gateway(folder, budget, ur, pictures=pictures) as (loop, _):
                    run = await looked(loop, model, frames, pause)
                    rows.append(run.row(f"{name}, to the robot's outcome, {budget:g} ms{_KEPT[pictures]}", count))
    return rows


async def _alone(model: BoardModel, frames: Sequence[Frame], name: str) -> Row:
    times = []
    clock = asyncio.get_running_loop().time
    for turn, frame in enumerate(frames):
        begin = clock()
        await model.predict(frame, Deadline.after(10))
        if turn >= WARM:
            times.append(clock() - begin)
    run = Run(total=times, nothing=len(times))
    return run.row(f"{name}: detector alone", len(times))


@asynccontextmanager
async def _twin(folder: Path) -> AsyncIterator[dict[str, int]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.peers.ur_twin", "--port", "0", stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    assert process.stdout is not None
    try:
        ports = json.loads(await process.stdout.readline())
        yield {"rtde_port": ports["rtde"], "dashboard_port": ports["dashboard"]}
    finally:
        process.terminate()
        await process.wait()


def _lent(folder: Path) -> Context:
    log = structlog.get_logger()
    return Context("robot", folder, folder, SystemClock(), log, State(log))


def main() -> None:
    """Measure and show."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--json", type=Path, help="where to keep the figures")
    arguments.add_argument("--boards", type=int, default=1000)
    arguments.add_argument("--pause", type=float, default=0.01, metavar="SECONDS", help="between two boards (0.01)")
    chosen = arguments.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    with tempfile.TemporaryDirectory() as folder:
        rows = asyncio.run(measure(chosen.boards, chosen.pause, Path(folder)))
    title = "The closed loop"
    print(machine())
    show(title, rows)
    save(chosen.json, title, machine(), rows)


if __name__ == "__main__":
    main()
