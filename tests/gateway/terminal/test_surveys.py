"""Every peer is asked at once; one that is silent, away or badly written hides nothing of the others."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from plantgate.config.model import Connection, FlowSettings, Plant, StoreSettings
from plantgate.sdk import Connector, Finding, Settings, Source, Survey, Unavailable
from plantgate.terminal.surveys import Surveyed, survey_all


class Nothing(Settings):
    """No settings."""


def asking(answer: Callable[[], Awaitable[Survey]]) -> type[Connector[Nothing]]:
    class Asked(Connector[Nothing]):
        Settings = Nothing

        def source(self) -> AbstractAsyncContextManager[Source]:
            raise AssertionError("a survey opens no session")

        async def survey(self) -> Survey:
            return await answer()

    return Asked


def surveyed(folder: Path, **answers: Callable[[], Awaitable[Survey]]) -> list[Surveyed]:
    connections = {name: Connection("twin", asking(answer), Nothing()) for name, answer in answers.items()}
    flow = FlowSettings.model_validate({"from": tuple(name for name in answers if name != "spare"), "to": ("sink",)})
    plant = Plant(
        plant="line3",
        file=folder / "plant.yaml",
        store=StoreSettings(folder=folder),
        connections=connections,
        flows={"f": flow},
    )
    return asyncio.run(survey_all(plant, seconds=0.05))


FINDING = Finding("line3/a", "100 values", "10 values", fine=False)


async def frank() -> Survey:
    return Survey((FINDING,))


async def silent() -> Survey:
    await asyncio.Event().wait()
    raise AssertionError


async def away() -> Survey:
    raise Unavailable("away: no answer from 10.0.0.5:4840")


async def buggy() -> Survey:
    raise ZeroDivisionError("division by zero")


def test_each_answer_or_its_absence_is_told_in_the_order_of_the_file(tmp_path: Path) -> None:
    assert surveyed(tmp_path, silent=silent, frank=frank, away=away, buggy=buggy, spare=frank) == [
        Surveyed("silent", "twin", trouble="did not answer within 0.05 s"),
        Surveyed("frank", "twin", (FINDING,)),
        Surveyed("away", "twin", trouble="no answer from 10.0.0.5:4840"),
        Surveyed("buggy", "twin", trouble="the connector failed, which is a bug: ZeroDivisionError: division by zero"),
    ]
