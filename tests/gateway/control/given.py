"""A plant that is written to, for the tests of what acts: one oven, one machine that remembers."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plantgate.audit.entry import Entry, Who, decode
from plantgate.audit.log import AuditLog
from plantgate.audit.note import Signer
from plantgate.audit.vault import Vault
from plantgate.control.acting import Acting
from plantgate.control.approvals import Person
from plantgate.control.evidence import Evidence
from plantgate.control.hand import Hand
from plantgate.control.past import Past
from plantgate.control.proposal import Answer, Proposal
from plantgate.control.settings import ControlSettings, Role
from plantgate.control.switches import EVERYTHING
from plantgate.flow.stop import Stop
from plantgate.sdk import Actuator, Batch, Command, Deadline, GatewayError, Sample, Setpoint, Settings
from plantgate.testing.clock import WallClock
from plantgate.testing.disk import SimulatedDisk
from plantgate.testing.simloop import simulate

OVEN, DOOR, SPEED, ADVICE, SAFETY = "oven/setpoint", "oven/door_closed", "belt/speed", "oven/advice", "press/e_stop"
FOLDER = Path("/plant")
ORIGIN = "gateway.example/plant1"
ANNA = Person("p-anna", frozenset({Role.OPERATOR}))
BERT = Person("p-bert", frozenset({Role.ENGINEER}))
CARL = Person("p-carl", frozenset({Role.OPERATOR}))
DORA = Person("p-dora", frozenset({Role.ADMIN}))
MODEL = Who(kind="model", id="oven-control")

WRITTEN: dict[str, Any] = {
    "writes": {
        OVEN: {
            "connection": "plc",
            "data_type": "Double",
            "unit": "degC",
            "range": [20, 80],
            "resolution": 0.1,
            "step_max": 30,
            "change_max_per_minute": 60,
            "interval_seconds": 1,
            "writes_max_per_minute": 5,
            "class": "W1",
            "interlocks": {"door": {"when": "closed", "over": {"closed": DOOR}, "age_max_seconds": 5}},
        },
        SPEED: {"connection": "plc", "data_type": "Int16", "range": [0, 100], "class": "W2"},
        ADVICE: {"connection": "plc", "data_type": "String", "class": "W0"},
        SAFETY: {"connection": "plc", "data_type": "Boolean", "class": "W4"},
    },
    "rules": {
        "R-1": {
            "when": "defect.score > 0.5 && !(defect.score > 1.0)",
            "facts": ["defect"],
            "cites": "WI-0421 3.2",
            "allows": [OVEN, ADVICE],
            "proposers": ["model"],
            "confidence_min": 0.8,
        },
        "R-2": {"when": "true", "cites": "shift book", "allows": [OVEN, SPEED, SAFETY], "proposers": ["person"]},
    },
    "people_to_arm": 2,
}

BELT: dict[str, Any] = {"connection": "belt", "class": "W1"}
"""What makes the speed a tag of a machine of its own, which nobody has to agree to."""


def settings(**changed: Any) -> ControlSettings:
    """The plant's, with some tags' settings changed: ``oven={"class": "W3"}``; ``more``: tags that R-1 allows too."""
    written = json.loads(json.dumps(WRITTEN))
    more = changed.pop("more", {})
    written["writes"].update(more)
    written["rules"]["R-1"]["allows"] += more
    for name, change in changed.items():
        tag = {"oven": OVEN, "speed": SPEED}[name]
        written["writes"][tag].update(change)
    return ControlSettings.model_validate_json(json.dumps(written))


class Address(Settings):
    """Where the oven's setpoint lies."""

    register_number: int = 100


@dataclass
class Oven:
    """A machine that does what it is told, unless `write` says otherwise."""

    values: dict[str, Setpoint] = field(default_factory=lambda: {OVEN: 40.0, SPEED: 50, ADVICE: "", SAFETY: False})
    quality: int = 0
    written: list[Command] = field(default_factory=list)
    fate: Callable[[Command], Coroutine[Any, Any, None]] | None = None
    """Awaited instead of doing what it is told."""

    @asynccontextmanager
    async def session(self) -> AsyncIterator["Oven"]:
        yield self

    async def write(self, command: Command) -> None:
        self.written.append(command)
        if self.fate is not None:
            return await self.fate(command)
        self.values[command.tag] = command.value
        return None

    async def read(self, tag: str, deadline: Deadline) -> Sample:
        await asyncio.sleep(0.001)
        return Sample(tag, self.values[tag], self.quality, None)


class Quiet:
    """A log that remembers what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, event: str, **facts: object) -> None:
        self.lines.append(f"{event} {facts}")

    warning = error = info


@dataclass
class Plant:
    """All of it, running and armed, the door closed."""

    oven: Oven
    acting: Acting
    log: AuditLog
    news: Quiet
    disk: SimulatedDisk

    async def propose(self, value: object = 50.0, *, tag: str = OVEN, **changed: Any) -> Answer:
        """A model's proposal that nothing objects to, but for what is changed."""
        return await self.acting.gate.act(self.proposal(value, tag=tag, **changed))

    async def faster(self) -> Answer:
        """A person sets the speed."""
        who = Who(kind="person", id=CARL.id)
        return await self.propose(60, tag=SPEED, rule="R-2", who=who, deadline=Deadline.after(5.0))

    def proposal(self, value: object = 50.0, *, tag: str = OVEN, **changed: Any) -> Proposal:
        parts: dict[str, Any] = {
            "unit": {OVEN: "degC"}.get(tag, ""),
            "rule": "R-1",
            "who": MODEL,
            "deadline": Deadline.after(0.5),
            "facts": {"defect": {"score": 0.9}},
            "confidence": 0.9,
            **changed,
        }
        return Proposal(tag=tag, value=value, **parts)

    def door(self, closed: object = True, *, quality: int = 0, seconds_ago: float = 0.0) -> None:
        time = WallClock().now() - int(seconds_ago * 1e9)
        self.acting.gate.latest.see(Batch([DOOR], [closed], [quality], [time]))  # type: ignore[list-item]

    def entries(self) -> list[Entry]:
        return [decode(content) for content in self.log.entries()]

    async def ask(self, person: Person, do: str, **asked: str) -> dict[str, Any]:
        return await self.acting.desk.requests[do](person, asked)


@asynccontextmanager
async def plant(
    disk: SimulatedDisk | None = None,
    written: ControlSettings | None = None,
    *,
    oven: Oven | None = None,
    belt: Oven | None = None,
    arm: bool = True,
    address: Address | None = None,
    vault: Vault | None = None,
    vault_bytes_max: int = 2**30,
    session: Callable[[], AbstractAsyncContextManager[Actuator]] | None = None,
    loops: Mapping[str, Mapping[str, Settings]] = {},
) -> AsyncIterator[Plant]:
    """One life of it; `session`: how the oven is reached, if not directly; `belt`: another machine, behind ``belt``."""
    disk, oven, news, stop = disk or SimulatedDisk(), oven or Oven(), Quiet(), Stop()
    signer = Signer(ORIGIN, bytes(range(32)))
    past = Past()
    opening = AuditLog.open(FOLDER / "audit", ORIGIN, [signer], disk=disk, clock=WallClock(), hear=past.hear)
    async with await opening as log:
        hands = {"plc": Hand("plc", session or oven.session)}
        if belt is not None:
            hands["belt"] = Hand("belt", belt.session)
        acting = await Acting.begin(
            written or settings(),
            log,
            past,
            hands,
            connections={name: address or Address() for name in hands},
            loops=loops,
            folder=FOLDER,
            disk=disk,
            clock=WallClock(),
            news=news,
            cells=lambda connection: ("hall2",),
            evidence=None if vault is None else Evidence(vault, vault.bytes_used(), vault_bytes_max, WallClock(), news),
        )
        if arm and EVERYTHING in acting.gate.switches.thrown():
            acting.gate.switches.release(EVERYTHING)
        running = Plant(oven, acting, log, news, disk)
        running.door()
        async with asyncio.TaskGroup() as group:
            for hand in hands.values():
                group.create_task(_keep(hand, stop))
            for _, service in acting.services():
                group.create_task(service(stop))
            for hand in hands.values():
                await hand.there()
            try:
                yield running
            finally:
                stop.set()
                await acting.gate.close()


async def _keep(hand: Hand, stop: Stop) -> None:
    while not stop.is_set():
        try:
            await hand.session(stop)
        except (GatewayError, OSError):
            await asyncio.sleep(0.1)


def run(main: Callable[[], Coroutine[Any, Any, Any]], seed: int = 0) -> Any:
    """In simulated time."""
    return simulate(main, seed=seed, seconds_max=7200)
