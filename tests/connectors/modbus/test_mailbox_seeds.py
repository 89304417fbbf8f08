"""A PLC's mailbox over seeds: two gateways, every fault at once, and what the other side must keep to."""

import asyncio
import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk import Actuator, Command, Deadline, OutcomeUnknown, Rejected, Unavailable
from plantgate.testing.process import Process
from plantgate.testing.simloop import running
from plantgate_connectors.modbus.mailbox import Order
from tests.connectors.modbus.given import HOST
from tests.connectors.modbus.mailboxed import BELT, command, gateway, plc, values
from tests.peers.plc_mailbox import FALLBACK, Applied, Plc, Program


@dataclass
class Seen:
    """What became of every command of a run."""

    deadlines: dict[float, float] = field(default_factory=dict)
    outcomes: dict[float, str] = field(default_factory=dict)
    late: list[Applied] = field(default_factory=list)
    sessions: dict[float, int] = field(default_factory=dict)
    """The session of each command, counted as they were settled by their first read."""
    settled: list[tuple[int, int]] = field(default_factory=list)
    """Session, and how many commands had been applied when its first read came back."""
    numbers: int = 0

    def faults(self, machine: Plc) -> list[str]:
        """In words; empty if all is as promised."""
        done = machine.applied
        found = []
        if len(set(values(machine))) < len(done):
            found.append("twice")
        if self.late:
            found.append("late")
        if [each.epoch for each in done] != sorted(each.epoch for each in done):
            found.append("from an older epoch after a newer one")
        for session, count in self.settled:
            if any(self.sessions.get(each.value, session) < session for each in done[count:]):
                found.append("from an older session after a newer one had read")
                break
        for value, outcome in self.outcomes.items():
            if outcome != "unknown" and (value in values(machine)) != (outcome == "done"):
                found.append(f"{value} was said to be {outcome}")
        return found


Run = Callable[[Path, Plc, Seen, random.Random], Any]


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


async def act(folder: Path, machine: Plc, seen: Seen, luck: random.Random, most: int) -> None:
    """A gateway: sessions one after the other, each reads first; a session ends when its outcome is unknown."""
    connector = gateway(folder)
    while seen.numbers < most:
        try:
            async with connector.actuator() as actuator:
                await actuator.read(BELT, Deadline.after(5.0))
                session = len(seen.settled)
                seen.settled.append((session, len(machine.applied)))
                while seen.numbers < most:
                    seen.numbers += 1
                    value = seen.numbers / 4
                    asked = command(value, luck.choice((0.03, 0.2, 1.0)))
                    seen.deadlines[value], seen.sessions[value] = asked.deadline.at, session
                    seen.outcomes[value] = "unknown"  # until something better is known: a killed gateway says nothing
                    seen.outcomes[value] = await outcome(actuator, asked)
                    if seen.outcomes[value] in ("unknown", "not sent") or luck.random() < 0.1:
                        break
                    await asyncio.sleep(luck.uniform(0.0, 0.5))
        except (Unavailable, Rejected):
            await asyncio.sleep(luck.uniform(0.1, 0.5))


async def trouble(machine: Plc, luck: random.Random) -> None:
    """Faults and their ends, one after the other, until cancelled."""
    network = running().network
    while True:
        await asyncio.sleep(luck.uniform(0.0, 1.0))
        match luck.randrange(10):
            case 0:
                network.reset(HOST)
            case 1:
                network.hold(HOST)
            case 2:
                network.cut(HOST)
            case 3:
                network.link(HOST).breaks_after_bytes = luck.randrange(1, 2000)
            case 4:
                machine.freeze()
            case 5:
                machine.takes = False
            case 6:
                machine.twin.reply = lambda question, pdu: [] if question.data else [machine.twin.frame(question, pdu)]
            case 7:
                machine.twin.close()
            case 8:
                machine.start()
            case _ if machine.frames:
                machine.deliver(luck.choice(machine.frames[-6:]))
            case _:
                pass
        await asyncio.sleep(luck.choice((0.0, 0.05, 0.5, 2.0)))
        network.heal(HOST)
        network.link(HOST).breaks_after_bytes = None
        machine.thaw()
        machine.takes, machine.twin.reply = True, None
        for _ in range(luck.choice((0, 0, 1, 3))):  # late and doubled frames
            if machine.frames:
                machine.deliver(luck.choice(machine.frames[-6:]))
                await asyncio.sleep(luck.uniform(0.0, 0.02))


async def run(folder: Path, seed: object, program: Program, others: Sequence[Run] = ()) -> tuple[Plc, Seen]:
    """Two gateways at one mailbox, one of which is killed now and then, with everything that can fail."""
    luck, seen = random.Random(f"{seed}/mailbox"), Seen()
    loop = asyncio.get_running_loop()
    async with plc(program=program, luck=luck) as machine:

        def on_applied(done: Applied) -> None:
            if loop.time() > seen.deadlines.get(done.value, done.at):
                seen.late.append(done)

        machine.on_applied = on_applied
        async with asyncio.TaskGroup() as group:
            failing = group.create_task(trouble(machine, luck))
            other = group.create_task(_killed_now_and_then(folder / "b", machine, seen, luck))
            more = [group.create_task(each(folder, machine, seen, luck)) for each in others]
            await act(folder / "a", machine, seen, luck, 40)
            for task in (other, *more, failing):
                task.cancel()
        running().network.heal(HOST)
        machine.thaw()
        machine.takes, machine.twin.reply = True, None
        for frame in machine.frames[-6:]:
            machine.deliver(frame)
            await asyncio.sleep(0.05)
        await asyncio.sleep(60.0)
        machine.scan()
        return machine, seen


async def _killed_now_and_then(folder: Path, machine: Plc, seen: Seen, luck: random.Random) -> None:
    while True:
        process = Process(lambda: act(folder, machine, seen, luck, 40))
        await asyncio.sleep(luck.uniform(0.2, 4.0))
        process.kill()
        await asyncio.sleep(luck.uniform(0.0, 2.0))


@pytest.mark.simulated(seeds=200)
async def test_whatever_fails_nothing_is_applied_twice_or_late_or_by_an_older_session(
    tmp_path: Path, seed: object
) -> None:
    machine, seen = await run(tmp_path, seed, Program())
    assert seen.faults(machine) == []
    assert machine.program.setpoint == list(FALLBACK), "nobody is there any more"
    assert "done" in seen.outcomes.values()


async def _reuses_an_epoch(folder: Path, machine: Plc, seen: Seen, luck: random.Random) -> None:
    """A gateway that goes on with the epoch it finds, after a restart, where it should take the next."""
    while True:
        await asyncio.sleep(luck.uniform(0.0, 0.5))
        seen.settled.append((session := len(seen.settled), len(machine.applied)))
        seen.numbers += 1
        value, until = seen.numbers / 4, machine.clock + 5000
        seen.sessions[value] = session
        epoch, sequence = machine.program.epoch, machine.program.sequence + 1
        block = Order(epoch, sequence, luck.randrange(1 << 16), 1, struct.pack(">d", value), until).pack()
        machine.frames.append(block)
        if luck.random() < 0.5:  # or it is held up, and comes when the next session is under way
            machine.deliver(block)


@pytest.mark.simulated(seeds=1)
@pytest.mark.parametrize(
    ("program", "others", "fault"),
    [
        (lambda: Program(checks_sequence=False), (), "twice"),
        (lambda: Program(checks_clock=False), (), "late"),
        (lambda: Program(checks_epoch=False, checks_sequence=False), (), "from an older epoch after a newer one"),
        (Program, (_reuses_an_epoch,), "from an older session after a newer one had read"),
    ],
    ids=["no sequence", "no clock", "no epoch", "epoch reused"],
)
async def test_a_side_that_does_not_keep_to_it_is_found_out(
    tmp_path: Path, program: Callable[[], Program], others: Sequence[Run], fault: str
) -> None:
    found: list[str] = []
    for number in range(20):
        machine, seen = await run(tmp_path / str(number), number, program(), others)
        found += seen.faults(machine)
        if fault in found:
            return
    pytest.fail(f"20 runs, and found was only {set(found)}")
