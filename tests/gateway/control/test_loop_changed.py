"""Whoever changes what a loop looks at, by what, or what it makes of it, changes what is written."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from plantgate.audit.entry import Kind
from plantgate.control.loop import Loop
from plantgate.control.proposal import Answer, Standing
from plantgate.control.settings import ControlSettings
from plantgate.flow.stop import Stop
from plantgate.sdk import Settings
from plantgate.testing.disk import SimulatedDisk
from tests.gateway.control.given import ANNA, BERT, OVEN, Plant, Quiet, plant, run
from tests.gateway.control.test_loop import LOOP, Eyes, Pictures, defect, picture, written


class Lens(Settings):
    """A camera's settings, or a model's."""

    pixels_per_mm: float = 48.0


def parts(**changed: Lens) -> Mapping[str, Mapping[str, Settings]]:
    return {"heat": {"camera": Lens(), "model": Lens(), **changed}}


async def seen(here: Plant, how: ControlSettings, eyes: Eyes | None = None) -> Answer:
    """What comes of one picture."""
    loop = Loop("heat", how.loops["heat"], here.acting, Quiet())
    here.door()
    (answer,) = await loop.look(picture(), eyes or Eyes([defect()]))
    return answer


DECIDED = {**LOOP["decisions"][0], "value": "80.0 - defect.shift"}  # type: ignore[index]


@pytest.mark.parametrize(
    ("how", "there"),
    [
        (written(decisions=[DECIDED]), parts()),
        (written(camera="another"), parts()),
        (written(), parts(model=Lens(pixels_per_mm=4.8))),
        (written(), parts(camera=Lens(pixels_per_mm=4.8))),
    ],
    ids=["decision", "camera", "model's settings", "camera's settings"],
)
def test_a_loop_that_has_changed_writes_nothing_until_people_have_armed_its_tags(how: Any, there: Any) -> None:
    async def main() -> None:
        disk = SimulatedDisk()
        for _ in range(2):
            async with plant(disk, written(), loops=parts()) as here:
                await asyncio.sleep(1)
                assert (await seen(here, written())).standing is Standing.DONE, "what did not change is not stopped"
        async with plant(disk, how, loops=there) as here:
            await asyncio.sleep(1)
            assert "oven/setpoint is stopped by gateway: its loops have changed" in (await seen(here, how)).reason
            for person in (ANNA, BERT):
                assert (await seen(here, how)).standing is Standing.DENIED
                await here.ask(person, "arm", name=OVEN, reason="looked at")
            assert (await seen(here, how)).standing is Standing.DONE

    run(main)


@pytest.mark.parametrize(
    "other", [Eyes([defect()], digest="sha256:" + "d" * 64), Eyes([defect()], name="eyes/2")], ids=["digest", "name"]
)
def test_another_model_than_the_last_is_judged_and_not_written_until_people_have_armed_it(other: Eyes) -> None:
    """Its file was swapped, or its package; the plant file is the same (ATK-13)."""

    async def looked(here: Plant, eyes: Eyes) -> Answer:
        loop = Loop("heat", written().loops["heat"], here.acting, Quiet())
        await loop.run(Pictures(0), eyes, Stop())
        return await seen(here, written(), eyes)

    async def main() -> None:
        disk, first = SimulatedDisk(), Eyes([defect()])
        for _ in range(2):
            async with plant(disk, written()) as here:
                await asyncio.sleep(1)
                assert (await looked(here, first)).standing is Standing.DONE
                assert (await looked(here, first)).standing is Standing.DONE, "a camera that was away changes nothing"
        for _ in range(2):
            async with plant(disk, written()) as here:
                await asyncio.sleep(1)
                answer = await looked(here, other)
                assert f"model:{other.name} is stopped by gateway: loop heat had another before" in answer.reason
        async with plant(disk, written()) as here:
            for person in (ANNA, BERT):
                await here.ask(person, "arm", name=f"model:{other.name}", reason="validated")
            assert (await looked(here, other)).standing is Standing.DONE
            told = [entry.details["text"] for entry in here.entries() if entry.kind is Kind.RULE_CHANGE]
            assert [text for text in told if "model of loop heat" in text][-1].count(other.digest) == 1

    run(main)
