"""Commands to an edge node over seeds, with everything that can fail on the way; and what finds out a side that errs.

The edge node is a twin of ours. It does its commands in turn: what reached it while it stood still, it does afterwards.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk import Actuator, Command, Deadline, OutcomeUnknown, Rejected, Unavailable
from plantgate.testing.process import Process
from plantgate.testing.simloop import running
from plantgate_connectors.sparkplug.actuator import SparkplugActuator
from plantgate_connectors.sparkplug.command_link import CommandLink
from tests.connectors.sparkplug.given import HOST, Twin, twin
from tests.connectors.sparkplug.obedient_node import OTHER, SPEED, ObedientNode, commanding

_COMMANDS = 25
_TRANSIT_SECONDS = 0.05
"""More than a message is under way to the broker."""


@dataclass
class Moody(ObedientNode):
    """One that can stand still, miss what is said to it, and lose what it says."""

    frozen: bool = False
    deaf: bool = False
    arrived: dict[float, float] = field(default_factory=dict)
    """When each value first came to the broker."""
    _inbox: list[tuple[str | None, Any]] = field(default_factory=list)

    def command(self, device: str | None, payload: Any) -> None:
        for metric in payload.metrics:
            self.arrived.setdefault(metric.double_value, asyncio.get_running_loop().time())
        if self.frozen:
            self._inbox.append((device, payload))
        elif not self.deaf:
            super().command(device, payload)

    def thaw(self) -> None:
        """Go on."""
        self.frozen = False
        waited, self._inbox = self._inbox, []
        for device, payload in waited:
            super().command(device, payload)

    def restart(self, luck: random.Random) -> None:
        """Die and be born, with other aliases; what it had not done yet is gone."""
        self._inbox.clear()
        self.death()
        self.bdseq = (self.bdseq + 1) % 256
        self.reshuffle(luck)

    def reshuffle(self, luck: random.Random) -> None:
        """A birth out of the blue, with other aliases."""
        aliases = luck.sample(range(1, 4), len(self.metrics))
        for alias, (where, (_, datatype, value)) in zip(aliases, list(self.metrics.items()), strict=True):
            self.metrics[where] = (alias, datatype, value)
        self.birth()

    def lose_one(self) -> None:
        """One of its messages is lost, and the next shows it."""
        self.payload()
        self.data((OTHER[1], 0.125), device=OTHER[0])


@dataclass
class Seen:
    """What became of every command of a run."""

    deadlines: dict[float, float] = field(default_factory=dict)
    outcomes: dict[float, str] = field(default_factory=dict)
    sessions: dict[float, int] = field(default_factory=dict)
    settled: list[tuple[int, int]] = field(default_factory=list)
    """Session, and how many commands had been done when its first read came back."""
    numbers: int = 0

    def faults(self, node: Moody) -> list[str]:
        """In words; empty if all is as promised."""
        values = [value for _, value in node.done]
        found = []
        if len(set(values)) < len(values):
            found.append("twice")
        if any(at > self.deadlines[value] + _TRANSIT_SECONDS for value, at in node.arrived.items() if value):
            found.append("late")
        if any(where != SPEED for where, _ in node.done):
            found.append("to another metric")
        for session, count in self.settled:
            if any(self.sessions[value] < session for value in values[count:]):
                found.append("from an older session after a newer one had read")
                break
        for value, outcome in self.outcomes.items():
            if outcome != "unknown" and (value in values) != (outcome == "done"):
                found.append(f"said to be {outcome}, and it was not so")
        return found


async def outcome(actuator: Actuator, asked: Command) -> str:
    try:
        await actuator.write(asked)
    except Rejected:
        return "refused"
    except Unavailable:
        return "not sent"
    except OutcomeUnknown:
        return "unknown"
    return "done"


async def act(folder: Path, node: Moody, seen: Seen, luck: random.Random) -> None:
    """A gateway: sessions one after the other, each reads first; a session ends when its outcome is unknown."""
    connector = commanding(
        folder, SPEED, each={"by": "name"}, keep_alive_seconds=2, commands={"answer_seconds": 1.5, "fresh_seconds": 0.5}
    )
    while seen.numbers < _COMMANDS:
        try:
            async with connector.actuator() as actuator:
                await actuator.read("press/speed", Deadline.after(5.0))
                session = len(seen.settled)
                seen.settled.append((session, len(node.done)))
                while seen.numbers < _COMMANDS:
                    seen.numbers += 1
                    value = seen.numbers / 4
                    asked = Command(
                        f"intent-{value}", "press/speed", value, Deadline.after(luck.choice((0.003, 0.1, 2.0)))
                    )
                    seen.deadlines[value], seen.sessions[value] = asked.deadline.at, session
                    seen.outcomes[value] = "unknown"  # until something better is known: a killed gateway says nothing
                    seen.outcomes[value] = await outcome(actuator, asked)
                    if seen.outcomes[value] in ("unknown", "not sent") or luck.random() < 0.1:
                        break
                    await asyncio.sleep(luck.uniform(0.0, 0.5))
        except (Unavailable, Rejected):
            await asyncio.sleep(luck.uniform(0.1, 0.5))


async def trouble(node: Moody, luck: random.Random) -> None:
    """Faults and their ends, one after the other, until cancelled."""
    network = running().network
    while True:
        await asyncio.sleep(luck.uniform(0.0, 1.0))
        match luck.randrange(12):
            case 0:
                network.reset(HOST)
            case 1:
                network.hold(HOST)
            case 2:
                network.cut(HOST)
            case 3:
                network.link(HOST).breaks_after_bytes = luck.randrange(1, 600)
            case 4:
                node.frozen = True
            case 5:
                node.deaf = True
            case 6:
                node.report = lambda node, where, value: None
            case 7:
                node.report = lambda node, where, value: node.payload()
            case 8:
                node.restart(luck)
            case 9:
                node.reshuffle(luck)
            case 10:
                node.lose_one()
            case _:
                node.send("DDEATH", node.payload(), "press")
                node.dbirth("press")
        await asyncio.sleep(luck.choice((0.0, 0.05, 0.5, 2.0)))
        mended(node)


def mended(node: Moody) -> None:
    """All is well again."""
    running().network.heal(HOST)
    running().network.link(HOST).breaks_after_bytes = None
    node.deaf, node.report = False, None
    node.thaw()


@asynccontextmanager
async def moody() -> AsyncIterator[tuple[Twin, Moody]]:
    async with twin() as device:
        node = Moody(device.broker)
        node.has("speed", "other", device="press", value=0.125)
        node.listen()
        node.birth()
        yield device, node


async def run(folder: Path, seed: object) -> tuple[Moody, Seen]:
    """One gateway, killed now and then, with everything that can fail."""
    luck, seen = random.Random(f"{seed}/commands"), Seen()
    async with moody() as (_, node):
        failing = asyncio.create_task(trouble(node, luck))
        while seen.numbers < _COMMANDS:
            gateway = Process(lambda: act(folder, node, seen, luck))
            try:
                async with asyncio.timeout(luck.uniform(1.0, 30.0)):
                    await gateway.wait()
            except TimeoutError:
                gateway.kill()
        failing.cancel()
        mended(node)
        await asyncio.sleep(60.0)
        return node, seen


@pytest.mark.simulated(seeds=100)
async def test_whatever_fails_nothing_is_done_twice_or_late_or_by_an_older_session(
    tmp_path: Path, seed: object
) -> None:
    node, seen = await run(tmp_path, seed)
    assert seen.faults(node) == []
    assert "done" in seen.outcomes.values()


def _believes_what_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(*arguments: object) -> None:
        pass

    monkeypatch.setattr(SparkplugActuator, "_confirmed", at_once)


def _writes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    write = SparkplugActuator.write

    async def again(actuator: SparkplugActuator, command: Command) -> None:
        try:
            await write(actuator, command)
        except OutcomeUnknown:
            await write(actuator, replace(command, deadline=Deadline.after(2.0)))

    monkeypatch.setattr(SparkplugActuator, "write", again)
    monkeypatch.setattr(CommandLink, "drop", lambda link, why: None)


def _takes_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    write = SparkplugActuator.write

    async def late(actuator: SparkplugActuator, command: Command) -> None:
        await write(actuator, replace(command, deadline=Deadline(command.deadline.at + 5.0)))

    monkeypatch.setattr(SparkplugActuator, "write", late)


def _answers_before_it_acts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The edge node's fault, which nothing here can prevent: it says what it has before it does what it was told."""

    def thaw(node: Moody) -> None:
        node.frozen = False
        waited, node._inbox = node._inbox, []
        for device, payload in waited:
            rebirth = payload.metrics[0].name == "Node Control/Rebirth"
            asyncio.get_running_loop().call_later(0.0 if rebirth else 1.0, ObedientNode.command, node, device, payload)

    monkeypatch.setattr(Moody, "thaw", thaw)


@pytest.mark.simulated(seeds=1)
@pytest.mark.parametrize(
    ("mutation", "fault"),
    [
        (_believes_what_was_sent, "said to be done, and it was not so"),
        (_writes_again, "twice"),
        (_takes_more_time, "late"),
        (_answers_before_it_acts, "from an older session after a newer one had read"),
    ],
    ids=["believes what was sent", "writes again", "takes more time", "answers before it acts"],
)
async def test_a_side_that_does_not_keep_to_it_is_found_out(
    tmp_path: Path, mutation: Any, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutation(monkeypatch)
    found: list[str] = []
    for number in range(100):
        node, seen = await run(tmp_path / str(number), number)
        found += seen.faults(node)
        if fault in found:
            return
    pytest.fail(f"100 runs, and found was only {set(found)}")
