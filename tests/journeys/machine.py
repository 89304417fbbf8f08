"""A machine that is written to: it remembers every command that reached it, and answers as machines do: not always."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NoReturn

from plantgate.sdk import Command, Deadline, OutcomeUnknown, Rejected, Sample, Setpoint, Unavailable
from plantgate.testing.simloop import running


@dataclass
class Arrival:
    """A command that reached the machine, and so may be executed."""

    intent: str
    tag: str
    value: Setpoint
    at: float
    """Simulated seconds."""
    deadline: float
    on_record: bool
    """Whether its intent was durable when it arrived."""
    refused: bool = False
    executed: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Machine:
    """Executes what arrives, late where it is frozen; a frozen one takes it into a buffer and answers nobody."""

    luck: random.Random
    values: dict[str, Setpoint]
    durable: set[str] = field(default_factory=set)
    """Ids of the entries that the log has acknowledged, of all lives of the gateway."""
    arrivals: list[Arrival] = field(default_factory=list)
    trouble: bool = True
    frozen_until: float = 0.0
    away_until: float = 0.0
    deadlines: dict[str, float] = field(default_factory=dict)
    """Of every proposal, by its trace, in simulated seconds: what whoever proposed it asked for."""
    buffer: asyncio.Queue[Arrival] = field(default_factory=asyncio.Queue)
    """What has arrived and is not executed; whoever sent it may be dead by then."""

    async def work(self) -> None:
        """Execute what arrives, in order, whenever it is not frozen. Cancel it at the end."""
        while True:
            arrival = await self.buffer.get()
            await self.thawed()
            self.values[arrival.tag] = arrival.value
            arrival.executed.set()

    @asynccontextmanager
    async def session(self) -> AsyncIterator["MachineSession"]:
        """What an actuator would be to it."""
        await self._travel()
        if running().elapsed < self.away_until:
            raise Unavailable("machine: away")
        yield MachineSession(self, notices=self.luck.random() < 0.7)

    async def weather(self) -> None:
        """Freeze and go away at seeded moments, until there is to be no more trouble."""
        while self.trouble:
            await asyncio.sleep(self.luck.expovariate(0.4))
            match self.luck.choice(("frozen", "away", "fine", "fine")):
                case "frozen":
                    self.frozen_until = running().elapsed + self.luck.uniform(0.1, 8.0)
                case "away":
                    self.away_until = running().elapsed + self.luck.uniform(0.1, 4.0)

    def calm(self) -> None:
        """From now on all is well."""
        self.trouble, self.frozen_until, self.away_until = False, 0.0, 0.0

    async def thawed(self) -> None:
        """Until it goes on."""
        while running().elapsed < self.frozen_until:  # noqa: ASYNC110  it can freeze anew, or thaw early, meanwhile
            await asyncio.sleep(0.002)

    async def _travel(self) -> None:
        await asyncio.sleep(self.luck.uniform(0.0005, 0.01))


@dataclass
class MachineSession:
    """An `Actuator`. Where trouble is on, answers get lost, come late, or the connection breaks at any point."""

    machine: Machine
    notices: bool = False
    """Whether it notices that the machine goes away before it is asked something."""

    async def lost(self) -> NoReturn:
        while not self.notices or running().elapsed >= self.machine.away_until:  # noqa: ASYNC110  weather has no event
            await asyncio.sleep(0.05)
        raise Unavailable("machine: away")

    async def write(self, command: Command) -> None:
        machine = self.machine
        await asyncio.sleep(machine.luck.uniform(0.0, 0.003))
        if running().elapsed < machine.away_until:
            raise Unavailable("machine: away")
        if command.deadline.passed():
            raise Unavailable("too late to send")
        fate = machine.luck.random() if machine.trouble else 1.0
        if fate < 0.05:
            raise Unavailable("machine: not one byte was sent")
        if fate < 0.10:
            raise OutcomeUnknown("machine: the connection broke while it was sent")
        arrival = Arrival(
            command.id,
            command.tag,
            command.value,
            running().elapsed,
            command.deadline.left() + running().elapsed,
            command.id in machine.durable,
        )
        machine.arrivals.append(arrival)
        if fate < 0.15:
            arrival.refused = True
            raise Rejected("machine: refuses")
        machine.buffer.put_nowait(arrival)
        if fate < 0.30:
            raise OutcomeUnknown("machine: the answer was lost")
        await arrival.executed.wait()
        await machine._travel()

    async def read(self, tag: str, deadline: Deadline) -> Sample:
        machine = self.machine
        await machine._travel()
        if running().elapsed < machine.away_until or (machine.trouble and machine.luck.random() < 0.03):
            raise Unavailable("machine: away")
        async with deadline.timeout():
            await machine.thawed()
            await machine._travel()
        return Sample(tag, machine.values[tag], 0, None)
