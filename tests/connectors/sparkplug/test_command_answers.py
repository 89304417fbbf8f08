"""Commands to edge nodes: what counts as an answer, and what as what the machine has."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk import Deadline, OutcomeUnknown, Unavailable
from plantgate.testing.simloop import running
from tests.connectors.sparkplug.given import HOST
from tests.connectors.sparkplug.obedient_node import OTHER, SPEED, command, commanding, commands, machine, reads

pytestmark = pytest.mark.simulated(seeds=3)


async def test_a_value_that_did_not_change_is_asked_for(tmp_path: Path) -> None:
    """An edge node that reports by exception has nothing to say of it."""
    async with machine(SPEED) as plant:
        plant.node.report = lambda node, where, value: None
        async with commanding(tmp_path, SPEED, commands={"fresh_seconds": 0.5}).actuator() as actuator:
            before = plant.node.asked
            await actuator.write(command("press/speed", 0.5))
            assert plant.node.asked in (before + 1, before + 2)
        assert len(commands(plant.twin)) == 1


@pytest.mark.parametrize(("tolerance", "fine"), [(0.0, False), (0.1, True)])
async def test_a_machine_that_rounds_is_given_some_tolerance(tmp_path: Path, tolerance: float, fine: bool) -> None:
    async with machine(SPEED) as plant:
        plant.node.report = lambda node, where, value: node.change(where, round(value, 1))
        async with commanding(tmp_path, SPEED, each={"tolerance": tolerance}).actuator() as actuator:
            if fine:
                await actuator.write(command("press/speed", 2.53))
            else:
                with pytest.raises(OutcomeUnknown, match=r"did not report 2\.53"):
                    await actuator.write(command("press/speed", 2.53))


async def test_an_edge_node_that_dies_on_a_command_leaves_its_outcome_unknown(tmp_path: Path) -> None:
    async with machine(SPEED) as plant:
        plant.node.report = lambda node, where, value: node.death()
        async with commanding(tmp_path, SPEED).actuator() as actuator:
            with pytest.raises(OutcomeUnknown, match="is dead"):
                await actuator.write(command("press/speed", 2.5))
            with pytest.raises(Unavailable, match="open another session"):
                await actuator.read("press/speed", Deadline.after(5.0))


@pytest.mark.parametrize("by", ["alias", "name", None])
async def test_an_alias_that_changes_hands_under_a_command_is_told_and_a_name_does_not(
    tmp_path: Path, by: str | None
) -> None:
    """Birth and command pass each other: by the alias, as the specification wants it, another metric is written.

    Where nothing is said, the name is meant.
    """
    each = {} if by is None else {"by": by}
    async with machine(SPEED, OTHER) as plant, commanding(tmp_path, SPEED, each=each).actuator() as actuator:
        assert await reads(actuator, "press/speed") == 0.5
        running().network.link(HOST).latency_seconds = (0.1, 0.1)
        plant.node.metrics[SPEED], plant.node.metrics[OTHER] = (2, 10, 0.5), (1, 10, 0.5)
        plant.node.birth()
        if by == "alias":
            with pytest.raises(OutcomeUnknown, match="given its alias 1 to another metric meanwhile: look at both"):
                await actuator.write(command("press/speed", 2.5))
        else:
            await actuator.write(command("press/speed", 2.5))
        assert plant.node.done == [(OTHER if by == "alias" else SPEED, 2.5)]


async def test_a_young_word_is_what_the_machine_has_and_an_old_one_is_asked_for_anew(tmp_path: Path) -> None:
    async with machine(SPEED) as plant, commanding(tmp_path, SPEED).actuator() as actuator:
        await actuator.write(command("press/speed", 2.5))
        asked = plant.node.asked
        for _ in range(5):
            assert await reads(actuator, "press/speed") == 2.5
        assert plant.node.asked == asked
        plant.node.set(SPEED, 3.5)  # as one that has said it and was not heard
        await asyncio.sleep(6.0)
        assert await reads(actuator, "press/speed") == 3.5
        assert plant.node.asked == asked + 1


async def test_a_word_from_before_a_command_is_none_after_it(tmp_path: Path) -> None:
    """Or a write that was done and not reported would be taken for one that was not."""
    async with machine(SPEED) as plant:
        connector = commanding(tmp_path, SPEED, commands={"answer_seconds": 1.0, "fresh_seconds": 60.0})
        async with connector.actuator() as actuator:
            assert await reads(actuator, "press/speed") == 0.5
            plant.node.quiet = True
            with pytest.raises(OutcomeUnknown):
                await actuator.write(command("press/speed", 2.5))
        async with connector.actuator() as actuator:
            with pytest.raises(Unavailable):
                await actuator.read("press/speed", Deadline.after(5.0))


async def test_a_birth_that_tells_an_old_value_as_such_says_nothing_of_what_the_machine_has(tmp_path: Path) -> None:
    """It is marked historical: neither a confirmation of a command nor what is there now."""
    async with machine(SPEED) as plant:
        announce = plant.node.announce

        def historical(payload: Any, device: str | None) -> None:
            announce(payload, device)
            for metric in payload.metrics:
                metric.is_historical = metric.name == "speed"

        plant.node.announce = historical  # type: ignore[method-assign]  # of this one
        plant.node.report = lambda node, where, value: node.birth()
        plant.node.birth()
        async with commanding(tmp_path, SPEED).actuator() as actuator:
            with pytest.raises(Unavailable):
                await actuator.read("press/speed", Deadline.after(8.0))
            with pytest.raises(OutcomeUnknown):
                await actuator.write(command("press/speed", 2.5))
        assert plant.node.done == [(SPEED, 2.5)]


async def test_a_broker_that_refuses_is_named(tmp_path: Path) -> None:
    async with machine(SPEED) as plant:
        plant.twin.broker.subscribe = lambda session, wanted: ([0x87 for _ in wanted], [])  # type: ignore[method-assign]  # of this one
        with pytest.raises(Unavailable, match=r"refused our subscription 'spBv1\.0/plant/NBIRTH/line'"):
            async with commanding(tmp_path, SPEED).actuator():
                pass


@pytest.mark.parametrize("dropped", [True, False])
async def test_a_command_that_waits_for_the_line_is_taken_back(
    tmp_path: Path, dropped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that is put back later: what was not taken by then must not arrive. Without giving it up, it does."""
    if not dropped:
        monkeypatch.setattr("plantgate_connectors.mqtt.transport.Wire.drop", lambda wire: None)
        monkeypatch.setattr("plantgate_connectors.mqtt.transport.Wire.abort", lambda wire: None)
    async with machine(SPEED) as plant, commanding(tmp_path, SPEED).actuator() as actuator:
        assert await reads(actuator, "press/speed") == 0.5
        running().network.hold(HOST)
        with pytest.raises(OutcomeUnknown, match="sent in part, perhaps"):
            await actuator.write(command("press/speed", 2.5, seconds=2.0))
        await asyncio.sleep(5.0)
        running().network.heal(HOST)
        await asyncio.sleep(5.0)
        assert (plant.node.done == []) == dropped


async def test_a_command_the_broker_does_not_read_is_an_unknown_outcome_soon_after_its_deadline(tmp_path: Path) -> None:
    async with machine(SPEED), commanding(tmp_path, SPEED).actuator() as actuator:
        assert await reads(actuator, "press/speed") == 0.5
        running().network.mute(HOST)
        started = running().elapsed
        with pytest.raises(OutcomeUnknown, match="the broker has not read it in time"):
            await actuator.write(command("press/speed", 2.5, seconds=3.0))
        assert running().elapsed - started == pytest.approx(3.0, abs=0.1)
