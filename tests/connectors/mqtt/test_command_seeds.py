"""Commands over seeds: lost confirmations, cuts, a broker that crashes, a device that comes and goes; two mutations."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk import Command, Deadline, GatewayError, OutcomeUnknown
from plantgate.testing.mqtt_fields import NO_ANSWER, Reason
from plantgate.testing.mqtt_packets import Message
from plantgate.testing.simloop import running, simulate
from plantgate_connectors.mqtt import Mqtt
from tests.connectors.mqtt.given import HOST, mqtt
from tests.connectors.mqtt.obeying import Device, commands, device

COMMANDS = 25
TRIES = 20
"""Seeds within which a mutation must have been found out."""
SLACK_SECONDS = 0.01
"""What left at the last moment is under way so long on the simulated network."""
Write = Callable[[Mqtt, Command], Awaitable[GatewayError | None]]


@dataclass
class Tally:
    """What became of a run."""

    machine: Device
    deadlines: dict[float, float] = field(default_factory=dict)
    verdicts: dict[float, GatewayError | None] = field(default_factory=dict)

    def twice(self) -> int:
        """Values that were written more than once."""
        values = self.machine.written["oven"]
        return len(values) - len(set(values))

    def late(self) -> int:
        """Values that were written after their deadline."""
        done = self.machine.done_at
        return sum(at > self.deadlines[float(value)] + SLACK_SECONDS for value, at in done)

    def untrue(self) -> list[float]:
        """Said not to have been done, and it was."""
        certain = (value for value, verdict in self.verdicts.items() if not isinstance(verdict, OutcomeUnknown | None))
        return [value for value in certain if value in self.machine.written["oven"]]

    def unknown(self) -> int:
        """So that a run in which nothing happened is seen."""
        return sum(isinstance(verdict, OutcomeUnknown) for verdict in self.verdicts.values())


async def once(ours: Mqtt, command: Command) -> GatewayError | None:
    try:
        async with ours.actuator() as actuator:
            await actuator.write(command)
    except GatewayError as verdict:
        return verdict
    return None


async def drive(folder: Path, write: Write = once, **written: Any) -> Tally:
    """One command after the other, with some trouble at some moment around each."""
    luck = running().random("trouble")
    answer = written.pop("answer", None)
    async with device("oven") as machine:
        asked = commands("oven", answer=answer, confirm_seconds=1.0)
        ours = mqtt(folder, commands=asked, connect_seconds=2, keep_alive_seconds=2, **written)
        tally = Tally(machine)
        for number in range(1, COMMANDS + 1):
            value, deadline = float(number), Deadline.after(luck.uniform(2.5, 8.0))
            trouble = asyncio.create_task(_trouble(machine, luck))
            tally.deadlines[value] = deadline.at
            tally.verdicts[value] = await write(ours, Command(f"c{number}", "oven", value, deadline))
            await trouble
            await _mended(machine, luck)
        machine.come_back()
        await asyncio.sleep(100.0)
        return tally


async def _trouble(machine: Device, luck: random.Random) -> None:
    broker, network = machine.broker, running().network
    await asyncio.sleep(luck.choice((0.0, luck.uniform(0.0, 0.02), luck.uniform(0.0, 3.0))))

    def lost(message: Message) -> int | None:
        """Done, and the confirmation is lost: nothing is said, or the connection breaks."""
        if not message.topic.endswith("/set"):
            return Reason.SUCCESS
        if luck.random() < 0.5:
            return None
        machine.do(message)
        return NO_ANSWER

    match luck.randrange(9):
        case 0:
            broker.answer = lost
        case 1:
            machine.leave()
        case 2:
            network.reset(HOST)
        case 3:
            network.cut(HOST)
        case 4:
            network.mute(HOST)
        case 5:
            network.link(HOST).breaks_after_bytes = luck.randrange(1, 400)
        case 6:
            network.link(HOST).latency_seconds = (0.2, 0.4)
        case 7:
            await broker.crash()
            await asyncio.sleep(luck.uniform(0.0, 2.0))
            await broker.listen(HOST, 1883)
            machine.session = broker._memory.sessions["device"]
            machine.come_back()
        case _:
            pass


async def _mended(machine: Device, luck: random.Random) -> None:
    await asyncio.sleep(luck.uniform(0.0, 10.0))
    network = running().network
    network.heal(HOST)
    network.link(HOST).breaks_after_bytes, network.link(HOST).latency_seconds = None, (0.0002, 0.002)
    machine.broker.answer = None
    machine.come_back()


@pytest.mark.simulated(seeds=20)
@pytest.mark.parametrize("answer", [None, {}, {"id": "/id", "topic": "answers"}])
async def test_nothing_is_done_twice_or_late_and_no_verdict_is_untrue(tmp_path: Path, answer: Any) -> None:
    tally = await drive(tmp_path, answer=answer)
    assert (tally.twice(), tally.late(), tally.untrue()) == (0, 0, [])
    assert len(tally.machine.done_at) > COMMANDS / 5
    assert any(tally.verdicts.values())


def found(figure: Callable[[Tally], int], drive: Callable[[Path], Any], folder: Path) -> bool:
    """Whether the mutation shows in that figure within some seeds."""
    return any(figure(simulate(partial(drive, folder), seed=seed, seconds_max=36_000)) for seed in range(TRIES))


def test_sending_again_in_the_next_session_would_be_found(tmp_path: Path) -> None:
    async def again(ours: Mqtt, command: Command) -> GatewayError | None:
        verdict = await once(ours, command)
        return await once(ours, command) if isinstance(verdict, OutcomeUnknown) else verdict

    assert found(Tally.twice, partial(drive, write=again), tmp_path)


def test_a_command_that_never_expires_would_be_found(tmp_path: Path) -> None:
    """As it is in MQTT 3.1.1, which is why `check` warns of it."""
    assert found(Tally.late, partial(drive, version="3.1.1"), tmp_path)
