"""The acting journey: proposals → gate → machine, with a gateway that is killed, and a machine that does not answer."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plantgate.audit.entry import Entry, Phase, Result, Who, decode
from plantgate.audit.log import AuditLog
from plantgate.audit.note import Signer
from plantgate.control.acting import Acting
from plantgate.control.hand import Hand
from plantgate.control.past import Past
from plantgate.control.proposal import Answer, Proposal
from plantgate.control.record import Ledger
from plantgate.control.settings import ControlSettings
from plantgate.control.switches import EVERYTHING
from plantgate.flow.stop import Stop
from plantgate.sdk import Backoff, Batch, Deadline, GatewayError, Log
from plantgate.store.disk import Disk
from plantgate.testing.clock import WallClock
from plantgate.testing.disk import SimulatedDisk
from plantgate.testing.process import Process
from plantgate.testing.simloop import running
from tests.journeys.machine import Arrival, Machine

FOLDER = Path("/plant")
ORIGIN = "gateway.example/plant1/line3"
KEY = Signer(ORIGIN, bytes(range(32)))
OVEN, DOOR, FAN = "line3/oven/setpoint", "line3/oven/door_closed", "line3/oven/fan"
AGAIN = Backoff(first_seconds=0.05, most_seconds=1.0)

SETTINGS = ControlSettings.model_validate_json("""{
  "writes": {
    "line3/oven/setpoint": {
      "connection": "plc", "data_type": "Double", "unit": "degC", "range": [20, 80], "step_max": 15, "class": "W1",
      "interlocks": {"door": {"when": "closed", "over": {"closed": "line3/oven/door_closed"}, "age_max_seconds": 3}},
      "read_back": {"settle_seconds": 1.0}, "writes_max_per_minute": 200,
      "lease": {"seconds": 5, "fallback": 20.0}},
    "line3/oven/fan": {"connection": "plc", "data_type": "Boolean", "class": "W1", "writes_max_per_minute": 200,
                       "read_back": {"settle_seconds": 1.0}}
  },
  "rules": {
    "R-1": {"when": "defect.score > 0.5", "facts": ["defect"], "cites": "WI-0421 3.2", "confidence_min": 0.8,
            "allows": ["line3/oven/setpoint", "line3/oven/fan"], "proposers": ["model"]}
  }
}""")


class Witnessing:
    """A `Ledger` before the log that tells the machine what is durable."""

    def __init__(self, log: Ledger, machine: Machine) -> None:
        self._log, self._machine = log, machine

    async def append(self, entry: Entry) -> int:
        index = await self._log.append(entry)
        self._machine.durable.add(entry.id)
        return index

    async def append_in_emergency(self, entry: Entry) -> int | None:
        return await self.append(entry)


@dataclass
class Gateway:
    """One life of what acts. Everything a mutation may want to be otherwise is a member."""

    machine: Machine
    disk: Disk
    luck: random.Random
    news: Log
    ledger: Callable[[Ledger, Machine], Ledger] = Witnessing
    hand: Callable[..., Hand] = Hand
    began: Callable[[Acting], None] = lambda acting: None
    stop: Stop = field(default_factory=Stop)
    answers: list[Answer] = field(default_factory=list)
    acting: Acting | None = None

    async def run(self) -> None:
        """Until asked to stop."""
        past = Past()
        log = await AuditLog.open(FOLDER / "audit", ORIGIN, [KEY], disk=self.disk, clock=WallClock(), hear=past.hear)
        async with log, AsyncExitStack() as stack:
            hand = self.hand("plc", self.machine.session)
            acting = self.acting = await Acting.begin(
                SETTINGS,
                log,
                past,
                {"plc": hand},
                connections={},
                loops={},
                folder=FOLDER,
                disk=self.disk,
                clock=WallClock(),
                news=self.news,
                ledger=self.ledger(log, self.machine),
            )
            self.began(acting)
            if EVERYTHING in acting.gate.switches.thrown():
                acting.gate.switches.release(EVERYTHING)
            group = await stack.enter_async_context(asyncio.TaskGroup())
            group.create_task(self._keep(hand.session))
            for _, service in acting.services():
                group.create_task(service(self.stop))
            group.create_task(self._live(acting))
            group.create_task(self._propose(acting))
            group.create_task(self._publish(log))
            await self.stop.wait()
            await acting.gate.close()

    async def _keep(self, session: Callable[[Stop], Coroutine[Any, Any, None]]) -> None:
        attempt = 0
        while not self.stop.is_set():
            try:
                await session(self.stop)
            except (GatewayError, TimeoutError):
                await self.stop.sleep(AGAIN.delay(attempt))
                attempt += 1

    async def _live(self, acting: Acting) -> None:
        """The door, as the telemetry brings it: mostly closed; now and then the telemetry stands still."""
        while not await self.stop.sleep(self.luck.choice((0.5, 0.5, 0.5, 6.0))):
            closed = not self.machine.trouble or self.luck.random() < 0.85
            acting.gate.latest.see(Batch([DOOR], [closed], [0], [WallClock().now()]))

    async def _propose(self, acting: Acting) -> None:
        while self.machine.trouble and not await self.stop.sleep(self.luck.expovariate(8.0)):
            async with asyncio.TaskGroup() as group:
                for _ in range(self.luck.choice((1, 1, 1, 3))):
                    group.create_task(self._one(acting))

    async def _one(self, acting: Acting) -> None:
        tag = self.luck.choice((OVEN, FAN))
        value: object = self.luck.choice((True, False, 1, float("nan"), 95.0, "on"))
        if tag == OVEN and self.luck.random() < 0.9:
            value = round(self.luck.uniform(20, 60), 1)
        elif tag == FAN and self.luck.random() < 0.9:
            value = self.luck.random() < 0.5
        seconds, trace = self.luck.choice((0.02, 0.05, 0.12, 1.0)), f"proposal {len(self.machine.deadlines)}"
        self.machine.deadlines[trace] = running().elapsed + seconds
        proposal = Proposal(
            tag=tag,
            trace=trace,
            value=value,
            unit="degC" if tag == OVEN else "",
            rule=self.luck.choice(("R-1",) * 9 + ("R-9",)),
            who=Who(kind="model", id="oven-control"),
            deadline=Deadline.after(seconds),
            facts={"defect": {"score": self.luck.choice((0.9,) * 9 + (0.3,))}},
            confidence=self.luck.choice((0.95,) * 8 + (0.5, float("nan"))),
        )
        self.answers.append(await acting.gate.act(proposal))

    async def _publish(self, log: AuditLog) -> None:
        while not await self.stop.sleep(1.0):
            await log.publish()


@dataclass
class Acted:
    """What happened, for the judge."""

    machine: Machine
    entries: list[Entry] = field(default_factory=list)
    lives: list[str] = field(default_factory=list)

    @property
    def executed(self) -> list[Arrival]:
        return [arrival for arrival in self.machine.arrivals if arrival.executed.is_set()]

    def twice(self) -> int:
        """Commands that reached the machine more than once."""
        return len(self.machine.arrivals) - len({arrival.intent for arrival in self.machine.arrivals})

    def unruled(self) -> int:
        """Commands without a durable intent at that moment, or whose intent names no rule that all guards bore out."""
        intents = {entry.id: entry for entry in self.entries if entry.phase is Phase.INTENT}
        return sum(
            not arrival.on_record or arrival.intent not in intents or not _ruled(intents[arrival.intent])
            for arrival in self.machine.arrivals
        )

    def late(self) -> int:
        """Commands that arrived after the deadline that whoever proposed them asked for."""
        traces = {entry.id: entry.trace for entry in self.entries if entry.phase is Phase.INTENT}
        deadlines = self.machine.deadlines
        return sum(
            arrival.at > deadlines.get(traces.get(arrival.intent, ""), arrival.deadline)
            for arrival in self.machine.arrivals
        )

    def open(self) -> int:
        """Intents of which nobody knows what became of them."""
        settled = {
            entry.refers_to
            for entry in self.entries
            if entry.phase is Phase.OUTCOME and entry.result is not Result.UNKNOWN
        }
        return sum(entry.phase is Phase.INTENT and entry.id not in settled for entry in self.entries)

    def untrue(self) -> list[str]:
        """Outcomes that say something else than what happened at the machine."""
        executed = {arrival.intent for arrival in self.executed}
        last: dict[str, Entry] = {}
        for entry in self.entries:
            if entry.phase is Phase.OUTCOME and entry.result is not Result.UNKNOWN:
                last[entry.refers_to] = entry
        before = {entry.id: entry for entry in self.entries if entry.phase is Phase.INTENT}
        wrong = []
        for intent, entry in last.items():
            moved = before[intent].before != before[intent].after
            if moved and (entry.result is Result.OK) != (intent in executed):
                wrong.append(f"{intent}: {entry.result} {entry.note}")
        return wrong


def _ruled(intent: Entry) -> bool:
    why = intent.why
    asked = {check.guard for check in why.checks} if why is not None else set()
    needed = {"rule", "range", "type", "deadline", "people", "switch", "hold"}
    if intent.target is not None and intent.target.address == OVEN:
        needed |= {"interlock door", "step"}
    return why is not None and bool(why.digest) and needed <= asked and all(check.passed for check in why.checks)


class Quiet:
    """A log that nobody reads."""

    def info(self, event: str, **facts: object) -> None: ...
    def warning(self, event: str, **facts: object) -> None: ...
    def error(self, event: str, **facts: object) -> None: ...


async def act(living: Callable[..., Gateway] = Gateway) -> Acted:
    """Some lives that end in every way, with clock steps; then calm, until all that is open is known."""
    luck = running().random("journey")
    machine = Machine(running().random("machine"), {OVEN: 20.0, FAN: False})
    acted = Acted(machine)
    disk = SimulatedDisk(seed=running().seed)
    weather, working = asyncio.create_task(machine.weather()), asyncio.create_task(machine.work())
    for _ in range(luck.randrange(1, 5)):
        gateway = living(machine, disk, running().random(f"life {len(acted.lives)}"), Quiet())
        process = Process(gateway.run, name="gateway")
        await asyncio.sleep(luck.uniform(0.2, 12.0))
        if luck.random() < 0.2:
            WallClock().step(luck.choice((-3600.0, 5.0, 86400.0 * 365)))
            await asyncio.sleep(luck.uniform(0.0, 3.0))
        acted.lives.append(luck.choice(("killed", "power cut", "stopped")))
        if acted.lives[-1] == "stopped":
            gateway.stop.set()
            await process.wait()
        # Of a killed process what it had sent is still under way.
        disk = disk.power_cut(luck.random()) if acted.lives[-1] == "power cut" else disk.restart()
        process.kill()
        await asyncio.sleep(luck.uniform(0.0, 3.0))
    machine.calm()
    await weather
    gateway = living(machine, disk, running().random("calm"), Quiet())
    process = Process(gateway.run, name="gateway")
    async with asyncio.timeout(120):
        while not _quiet(gateway):  # noqa: ASYNC110  simulated time costs nothing
            await asyncio.sleep(0.5)
    gateway.stop.set()
    await process.wait()
    working.cancel()
    log = await AuditLog.open(FOLDER / "audit", ORIGIN, [KEY], disk=disk.restart(), clock=WallClock())
    acted.entries = [decode(content) for content in log.entries()]
    await log.close()
    return acted


def _quiet(gateway: Gateway) -> bool:
    """Nothing is held, and the lease has ended."""
    acting = gateway.acting
    return acting is not None and not any(acting.gate.held.values()) and acting.leases.left(OVEN) is None
