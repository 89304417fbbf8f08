"""What is stopped stays stopped: whatever happens to the file, and whoever stops it once more."""

import asyncio
from collections.abc import Callable

import pytest

from plantgate.audit.entry import Entry, Kind
from plantgate.control.approvals import Person
from plantgate.control.proposal import Standing
from plantgate.control.settings import Role
from plantgate.control.switches import EVERYTHING, NotKept, Switches, Thrown
from plantgate.sdk import GatewayError, Rejected
from plantgate.testing.disk import SimulatedDisk
from tests.gateway.control.given import (
    ANNA,
    BERT,
    CARL,
    FOLDER,
    OVEN,
    SPEED,
    Address,
    Plant,
    plant,
    run,
    settings,
)
from tests.gateway.control.test_emergency import WRITE

FILE = FOLDER / "control" / "switches.json"
SMOKE = Thrown("p-dora", "smoke", "2026-01-01T00:00:00Z")


def opened(disk: SimulatedDisk) -> Switches:
    return Switches.open(disk, FILE, "now")


def stopped(names: tuple[str, ...] = (EVERYTHING,)) -> SimulatedDisk:
    """A disk of a gateway of which only these are stopped."""
    disk = SimulatedDisk()
    switches = opened(disk)
    switches.release(EVERYTHING)
    for name in names:
        switches.throw(name, SMOKE)
    return disk


@pytest.mark.parametrize("name", [EVERYTHING, "plc"])
def test_no_flipped_bit_of_what_is_kept_arms_anything(name: str) -> None:
    size = len(stopped((name,)).content(FILE))
    for bit in range(8 * size):
        disk = stopped((name,))
        disk.flip(FILE, bit // 8, bit % 8)
        assert opened(disk).objection((name,)), bit


@pytest.mark.parametrize(
    "spoil",
    [lambda content: b"", lambda content: content[:-1], lambda content: bytes(len(content)), lambda content: b"{}"],
)
def test_a_file_that_is_not_whole_stops_everything(spoil: Callable[[bytes], bytes]) -> None:
    disk = stopped(())
    node = disk._entries[FILE]
    node.content[:] = spoil(bytes(node.content))
    assert "cannot be read" in opened(disk).objection(())


def test_a_file_that_is_gone_stops_everything() -> None:
    disk = stopped(())
    disk.unlink(FILE)
    assert "has not been armed" in opened(disk).objection(())


@pytest.mark.parametrize("call", ["open", "pwrite", "datasync", "rename", "sync_directory"])
def test_what_could_not_be_armed_is_stopped_after_the_next_start_too(call: str) -> None:
    """The file may have its new content already when the disk says that it failed."""
    disk = stopped()
    switches = opened(disk)
    disk.fail(call, 5)  # type: ignore[arg-type]
    with pytest.raises(NotKept):
        switches.release(EVERYTHING)
    assert "smoke" in switches.objection(())
    assert "smoke" in opened(disk.restart()).objection(())


async def breaks_the_glass(here: Plant, value: str = "60.0") -> str:
    await here.ask(ANNA, "emergency", reason="fire")
    told = await here.ask(ANNA, "write", value=value, **WRITE)
    return str(told["reason"] or told["standing"])


def test_whoever_stops_a_gateway_that_was_never_armed_cannot_break_the_glass_then() -> None:
    async def main() -> None:
        async with plant(arm=False) as here:
            await here.ask(ANNA, "stop", reason="just so")
            assert "everything is stopped by p-anna: just so" in await breaks_the_glass(here)
            await here.ask(ANNA, "stop", reason=here.acting.gate.switches.thrown()[EVERYTHING].reason)
            assert "everything is stopped by p-anna: just so" in await breaks_the_glass(here)
            assert not here.oven.written

    run(main)


def test_limits_that_nobody_has_armed_are_none_for_an_emergency_either() -> None:
    """Whoever widens them, and declares one, would need nobody (ATK-05)."""

    async def main() -> None:
        disk = SimulatedDisk()
        async with plant(disk):
            pass
        async with plant(disk, settings(oven={"range": [0, 500]})) as here:
            await here.ask(ANNA, "stop", name=OVEN, reason="just so")
            assert f"{OVEN} is stopped by p-anna" in await breaks_the_glass(here, "300.0")
            told = await here.ask(ANNA, "write", tag=SPEED, value="60", rule="gateway.emergency")
            assert told["standing"] == "done", "its limits are as they were"
            for person in (ANNA, BERT):
                await here.ask(person, "arm", name=OVEN, reason="go")
            assert await breaks_the_glass(here, "300.0") == "done"

    run(main)


def test_an_address_that_nobody_has_armed_is_none_for_an_emergency_either() -> None:
    async def main() -> None:
        disk = SimulatedDisk()
        async with plant(disk):
            pass
        async with plant(disk, address=Address(register_number=666)) as here:
            assert "plc is stopped by gateway: its settings have changed" in await breaks_the_glass(here)
            assert not here.oven.written

    run(main)


def test_rules_that_have_changed_do_not_keep_people_from_acting_in_an_emergency() -> None:
    async def main() -> None:
        disk = SimulatedDisk()
        async with plant(disk):
            pass
        changed = settings()
        changed.rules["R-1"] = changed.rules["R-1"].model_copy(update={"cites": "WI-0421 3.3"})
        async with plant(disk, changed) as here:
            assert "its limits or rules have changed" in (await here.propose()).reason
            assert await breaks_the_glass(here) == "done"

    run(main)


def test_on_a_full_disk_whatever_has_changed_is_stopped_and_not_the_first_alone() -> None:
    async def main() -> None:
        disk = SimulatedDisk()
        async with plant(disk):
            pass
        disk.fail("pwrite", 28, times=1000, suffix="switches.json.new")
        wider = settings(oven={"range": [0, 500]}, speed={"range": [0, 500]})
        async with plant(disk, wider) as here:
            assert "have changed" in await breaks_the_glass(here, "300.0")
            told = await here.ask(ANNA, "write", tag=SPEED, value="300", rule="gateway.emergency")
            assert "have changed" in told["reason"]
            assert not here.oven.written

    run(main)


def test_a_word_for_arming_is_about_the_stop_that_was_seen() -> None:
    """A stop by the gateway itself, such as for another model, voids it as one by a person does."""

    async def main() -> None:
        async with plant() as here:
            await here.ask(CARL, "stop", name="model:eyes", reason="odd")
            await here.ask(ANNA, "arm", name="model:eyes", reason="go")
            here.acting.gate.switches.throw("model:eyes", Thrown("gateway", "it is another now", ""))
            assert "somebody else must too" in (await here.ask(BERT, "arm", name="model:eyes", reason="go"))["said"]
            with pytest.raises(Rejected, match="an operator and an engineer"):
                await here.ask(Person("p-eve", frozenset({Role.ENGINEER})), "arm", name="model:eyes", reason="go")
            await here.ask(CARL, "arm", name="model:eyes", reason="go")
            assert "model:eyes" not in here.acting.gate.switches.thrown()

    run(main)


def test_a_stop_that_could_not_be_kept_is_kept_with_the_next() -> None:
    async def main() -> None:
        disk = SimulatedDisk()
        async with plant(disk) as here:
            disk.fail("pwrite", 28, times=1, suffix="switches.json.new")
            with pytest.raises(GatewayError, match="could not be kept"):
                await here.ask(CARL, "stop", name="plc", reason="smoke")
            await here.ask(CARL, "stop", name="hall2", reason="smoke")
        async with plant(disk.restart()) as here:
            assert (await here.propose()).standing is Standing.DENIED
            assert {"plc", "hall2"} <= set(here.acting.gate.switches.thrown())

    run(main)


def test_people_that_have_changed_while_everything_was_stopped_are_seen_beside_the_stop() -> None:
    async def main() -> None:
        disk = SimulatedDisk()
        async with plant(disk) as here:
            await here.ask(CARL, "stop", reason="smoke")
        alone = settings().model_copy(update={"people_to_arm": 1})
        for _ in range(2):
            async with plant(disk, alone, arm=False) as here:
                assert "have changed; before that by p-carl: smoke" in await breaks_the_glass(here)
        async with plant(disk, alone, arm=False) as here:
            await here.ask(ANNA, "stop", reason="fire")
            assert "by p-anna: fire; before that by gateway: people, " in await breaks_the_glass(here)

    run(main)


def last_word(here: Plant) -> str:
    return [entry.details["switch"] for entry in here.entries() if entry.kind is Kind.SWITCH][-1]


def test_what_was_not_armed_after_all_is_not_armed_on_record_either() -> None:
    async def main() -> None:
        async with plant() as here:
            await here.ask(CARL, "stop", reason="smoke")
            await here.ask(ANNA, "arm", reason="go")
            here.disk.fail("pwrite", 5, suffix="switches.json.new")
            with pytest.raises(GatewayError, match="could not be kept"):
                await here.ask(BERT, "arm", reason="go")
            assert last_word(here) == "stopped"
            ledger = here.acting.record._ledger

            class Slow:
                append_in_emergency = ledger.append_in_emergency
                stopped = False

                async def append(self, entry: Entry) -> int:
                    if not self.stopped:
                        self.stopped = True
                        await here.ask(CARL, "stop", reason="fire")
                    return await ledger.append(entry)

            here.acting.record._ledger = Slow()
            with pytest.raises(Rejected, match="stopped something meanwhile"):
                await here.ask(BERT, "arm", reason="go")
            assert last_word(here) == "stopped"
            await here.ask(ANNA, "arm", reason="go")
            await here.ask(BERT, "arm", reason="go")
            assert last_word(here) == "armed"

    run(main)


def test_whoever_arms_everything_since_people_have_changed_has_not_agreed_to_other_limits() -> None:
    async def main() -> None:
        disk = SimulatedDisk()
        async with plant(disk):
            pass
        both = settings(oven={"range": [0, 500]}).model_copy(update={"people_to_arm": 1})
        async with plant(disk, both, arm=False) as here:
            assert (await here.ask(ANNA, "arm", reason="go"))["said"] == "everything is armed"
            assert "its limits or rules have changed" in (await here.propose(50.0)).reason
            await here.ask(ANNA, "arm", name=OVEN, reason="go")
            assert (await here.propose(50.0)).standing is Standing.DONE

    run(main)


def test_a_stop_while_an_arming_is_put_on_record_counts() -> None:
    async def main() -> None:
        async with plant() as here:
            await here.ask(CARL, "stop", reason="smoke")
            await here.ask(ANNA, "arm", reason="go")
            ledger = here.acting.record._ledger

            class Slow:
                append_in_emergency = ledger.append_in_emergency

                async def append(self, entry: Entry) -> int:
                    await here.ask(CARL, "stop", reason="fire")
                    return await ledger.append(entry)

            here.acting.record._ledger = Slow()
            with pytest.raises(Rejected, match="stopped something meanwhile"):
                await here.ask(BERT, "arm", reason="go")
            assert "everything is stopped by p-carl: fire" in (await here.propose()).reason

    run(main)


def test_limits_that_go_back_to_what_they_once_were_have_changed_all_the_same() -> None:
    async def main() -> None:
        disk = SimulatedDisk()
        wide = settings(oven={"range": [0, 500], "step_max": 400, "change_max_per_minute": 900})
        for written in (wide, settings()):
            async with plant(disk, written) as here:
                if OVEN in here.acting.gate.switches.thrown():
                    here.acting.gate.switches.release(OVEN)
        async with plant(disk, wide) as here:
            assert "its limits or rules have changed" in (await here.propose(300.0)).reason

    run(main)


def test_other_people_in_the_plant_file_stop_everything() -> None:
    async def main() -> None:
        disk = SimulatedDisk()
        async with plant(disk):
            pass
        alone = settings().model_copy(update={"people_to_arm": 1})
        async with plant(disk, alone, arm=False) as here:
            assert "people, or what they or models may do, have changed" in (await here.propose()).reason

    run(main)


def test_another_address_behind_a_tag_stops_its_connection_until_people_arm_it() -> None:
    """Whoever can change the register that a tag is written to can write to any other."""

    async def main() -> None:
        disk = SimulatedDisk()
        async with plant(disk):
            pass
        async with plant(disk) as here:
            assert (await here.propose()).standing is Standing.DONE, "nothing has changed"
        async with plant(disk, address=Address(register_number=101)) as here:
            assert "plc is stopped by gateway: its settings have changed" in (await here.propose(51.0)).reason
            for person in (ANNA, BERT):
                await here.ask(person, "arm", name="plc", reason="the new PLC is in")
            await asyncio.sleep(2.0)
            here.door()
            assert (await here.propose(51.0)).standing is Standing.DONE
            await asyncio.sleep(2.0)
        async with plant(disk, address=Address(register_number=101)) as here:
            assert (await here.propose(52.0)).standing is Standing.DONE, "armed is armed"

    run(main)


def test_a_new_gateway_is_armed_before_anybody_breaks_the_glass() -> None:
    async def main() -> None:
        async with plant(arm=False) as here:
            await here.ask(ANNA, "emergency", reason="fire")
            told = await here.ask(ANNA, "write", tag=OVEN, value="50.0", unit="degC", rule="gateway.emergency")
            assert "it has not been armed yet" in told["reason"]

    run(main)


def test_a_switch_thrown_again_says_who_threw_it_last() -> None:
    async def main() -> None:
        async with plant() as here:
            for name in ("p-1", "p-2"):
                here.acting.gate.switches.throw("plc", Thrown(name, "smoke", ""))
            assert "by p-2" in (await here.propose()).reason

    run(main)
