"""Break-glass: for a person, for a while, past what can be passed and no further, and always on record."""

import asyncio
from contextlib import suppress

import pytest

from plantgate.audit.entry import Kind, Phase, Result, Who
from plantgate.control.proposal import Standing
from plantgate.control.record import GATEWAY
from plantgate.control.switches import Thrown
from plantgate.sdk import Command, OutcomeUnknown, Rejected
from plantgate.sdk.quality import BAD
from plantgate.store.writer import DiskFull
from plantgate.testing.clock import WallClock
from plantgate.testing.disk import SimulatedDisk
from tests.gateway.control.given import ANNA, BERT, DORA, MODEL, OVEN, SAFETY, Oven, Plant, plant, run, settings

RULE = "gateway.emergency"
WRITE = {"tag": OVEN, "unit": "degC", "rule": RULE}


def test_who_has_declared_an_emergency_writes_past_people_interlocks_switches_steps_and_clock() -> None:
    async def main() -> None:
        async with plant(written=settings(oven={"class": "W3"})) as here:
            here.door(closed=False)
            here.acting.gate.switches.throw("everything", Thrown("p-x", "smoke", ""))
            WallClock().step(-86400)
            assert "has not declared an emergency" in (await here.ask(ANNA, "write", value="79.0", **WRITE))["reason"]
            assert "15 minutes" in (await here.ask(ANNA, "emergency", reason="fire"))["said"]
            told = await here.ask(ANNA, "write", value="79.0", **WRITE)
            assert (told["standing"], here.oven.values[OVEN]) == ("done", 79.0), told
            declared = next(entry for entry in here.entries() if entry.kind is Kind.EMERGENCY)
            assert (declared.who.id, declared.note) == ("p-anna", "fire")
            intent = next(entry for entry in here.entries() if entry.phase is Phase.INTENT)
            assert intent.why is not None
            assert intent.why.rule == RULE
            assert any("an emergency" in line for line in here.news.lines)

    run(main)


@pytest.mark.parametrize(
    ("value", "tag", "unit", "saw"),
    [
        ("80.1", OVEN, "degC", "range: "),
        ("nan", OVEN, "degC", "type: "),
        ("50.0", OVEN, "degF", "unit: "),
        ("50.05", OVEN, "degC", "resolution: "),
        ("true", SAFETY, "", "class: class W4"),
    ],
)
def test_what_an_emergency_does_not_pass(value: str, tag: str, unit: str, saw: str) -> None:
    async def main() -> None:
        async with plant() as here:
            await here.ask(ANNA, "emergency", reason="fire")
            told = await here.ask(ANNA, "write", tag=tag, value=value, unit=unit, rule=RULE)
            assert (told["standing"], here.oven.written) == ("denied", [])
            assert saw in told["reason"]

    run(main)


def test_it_is_for_that_person_for_that_time_and_that_rule_alone() -> None:
    async def main() -> None:
        async with plant() as here:
            with pytest.raises(Rejected, match="neither operator nor engineer"):
                await here.ask(DORA, "emergency", reason="fire")
            with pytest.raises(Rejected, match="say why"):
                await here.ask(ANNA, "emergency")
            await here.ask(ANNA, "emergency", reason="fire")
            assert "has not declared" in (await here.ask(BERT, "write", value="50.0", **WRITE))["reason"]
            assert (await here.propose(rule=RULE, who=MODEL)).standing is Standing.DENIED
            assert (await here.propose(rule=RULE, who=Who(kind="system", id="p-anna"))).standing is Standing.DENIED
            here.door(closed=False)
            other = await here.ask(ANNA, "write", value="50.0", tag=OVEN, unit="degC", rule="R-2")
            assert "interlock door" in other["reason"]
            await asyncio.sleep(901)
            assert "has not declared" in (await here.ask(ANNA, "write", value="50.0", **WRITE))["reason"]
            await here.ask(ANNA, "emergency", reason="fire again")
            await here.ask(ANNA, "emergency", reason="it is out", over="yes")
            assert "has not declared" in (await here.ask(ANNA, "write", value="50.0", **WRITE))["reason"]
            assert not here.oven.written

    run(main)


@pytest.mark.parametrize("step", [-3600.0, 86400.0])
def test_a_clock_that_is_set_makes_it_no_longer_and_no_shorter(step: float) -> None:
    async def main() -> None:
        async with plant() as here:
            await here.ask(ANNA, "emergency", reason="fire")
            WallClock().step(step)
            await asyncio.sleep(890)
            assert (await here.ask(ANNA, "write", value="50.0", **WRITE))["standing"] == "done"
            await asyncio.sleep(11)
            assert "has not declared" in (await here.ask(ANNA, "write", value="60.0", **WRITE))["reason"]

    run(main)


def test_it_does_not_survive_a_restart() -> None:
    async def main() -> None:
        disk = SimulatedDisk()
        async with plant(disk) as here:
            await here.ask(ANNA, "emergency", reason="fire")
        async with plant(disk) as here:
            assert "has not declared" in (await here.ask(ANNA, "write", value="50.0", **WRITE))["reason"]

    run(main)


async def fill(here: Plant) -> None:
    """Until the log takes nothing any more."""
    here.disk.capacity = sum(len(here.disk.content(path)) for path in here.disk.paths())
    with suppress(DiskFull):
        while True:
            await here.acting.record.observed(Kind.HEARTBEAT, GATEWAY, details={"filling": "x" * 12_000})


def test_on_a_full_disk_people_still_act_and_the_record_of_it_is_taken_in_later() -> None:
    async def main() -> None:
        disk = SimulatedDisk()
        async with plant(disk) as here:
            await fill(here)
            automatic = await here.propose(50.0)
            assert (automatic.standing, here.oven.written) == (Standing.DENIED, [])
            assert "the audit log takes no entry" in automatic.reason
            await here.ask(ANNA, "emergency", reason="fire")
            told = await here.ask(ANNA, "write", value="60.0", **WRITE)
            assert (told["standing"], here.oven.values[OVEN]) == ("done", 60.0), told
            assert here.log.waiting == 3, "the declaration, the intent, the outcome"
            disk.capacity = None
            await here.log.backfill()
            late = [(entry.kind, entry.phase) for entry in here.entries() if entry.late]
            assert late == [
                (Kind.EMERGENCY, Phase.OBSERVED),
                (Kind.WRITE, Phase.INTENT),
                (Kind.WRITE, Phase.OUTCOME),
            ]

    run(main)


def test_what_a_person_did_on_a_full_disk_is_asked_for_after_a_crash_though_it_stands_in_the_reserve_alone() -> None:
    async def main() -> None:
        disk, oven = SimulatedDisk(), Oven()
        async with plant(disk, oven=oven) as here:

            async def lose(command: Command) -> None:
                oven.values[command.tag] = command.value
                raise OutcomeUnknown("plc: no answer")

            oven.fate = lose
            await fill(here)
            await here.ask(ANNA, "emergency", reason="fire")
            assert (await here.ask(ANNA, "write", value="60.0", **WRITE))["standing"] == "unknown"
            disk.capacity = None
        oven.fate = None
        async with plant(disk.restart(), oven=oven) as here:
            assert here.log.waiting, "nobody has taken it in yet"
            (held,) = [intent for intents in here.acting.gate.held.values() for intent in intents.values()]
            assert held.late
            await asyncio.sleep(5)
            assert not any(here.acting.gate.held.values())

    run(main)


async def lost(here: Plant) -> str:
    """An emergency's write on a full disk that nobody answers for; its entry."""

    async def lose(command: Command) -> None:
        here.oven.values[command.tag] = command.value
        here.oven.fate = None
        raise OutcomeUnknown("plc: no answer")

    here.oven.fate = lose
    await fill(here)
    await here.ask(ANNA, "emergency", reason="fire")
    told = await here.ask(ANNA, "write", value="60.0", **WRITE)
    assert told["standing"] == "unknown"
    return str(told["entry"])


@pytest.mark.parametrize("room", [False, True])
def test_on_a_full_disk_a_lost_reply_does_not_end_what_people_may_do(room: bool) -> None:
    """What came of it could not be recorded, the machine stayed held; with room again it stood before its intent."""

    async def main() -> None:
        async with plant() as here:
            await lost(here)
            here.disk.capacity = None if room else here.disk.capacity
            await asyncio.sleep(10)
            assert (await here.ask(ANNA, "write", value="70.0", **WRITE))["standing"] == "done"
            here.disk.capacity = None
            await here.log.backfill()
            told = [(entry.phase, entry.result) for entry in here.entries() if entry.kind is Kind.WRITE]
            assert told == [
                (Phase.INTENT, None),
                (Phase.OUTCOME, Result.UNKNOWN),
                (Phase.OUTCOME, Result.OK),
                (Phase.INTENT, None),
                (Phase.OUTCOME, Result.OK),
            ]

    run(main)


def test_on_a_full_disk_a_person_says_what_became_of_an_emergency_where_the_machine_cannot_be_asked() -> None:
    async def main() -> None:
        async with plant() as here:
            entry = await lost(here)
            here.oven.quality = BAD
            with pytest.raises(Rejected, match="is not held"):
                await here.ask(ANNA, "settle", entry=here.entries()[0].id, happened="yes", reason="seen")
            assert await here.ask(ANNA, "settle", entry=entry, happened="yes", reason="seen") == {"settled": entry}
            here.oven.quality = 0
            await asyncio.sleep(1)
            assert (await here.ask(ANNA, "write", value="70.0", **WRITE))["standing"] == "done"

    run(main)
