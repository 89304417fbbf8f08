"""What `plantgate check` says about connectors that cannot live in another process."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import ClassVar

from pydantic import PrivateAttr

from plantgate.config.load import check
from plantgate.registry import Kind, Registry
from plantgate.sdk import Connector, Settings, Sink, Source

PLANT = """\
plant: line3
connections:
  press3: {{ type: {kind} }}
  archive: {{ type: plain }}
flows:
  copy: {{ from: press3, to: archive }}
cells:
  hall: {{ connections: press3 }}
"""


class PlainSettings(Settings):
    """None."""


class LockedSettings(Settings):
    """Hold what no other process can have."""

    _lock: object = PrivateAttr(default_factory=threading.Lock)


class Plain(Connector[PlainSettings]):
    """Reads and writes nothing."""

    Settings: ClassVar[type[Settings]] = PlainSettings

    @asynccontextmanager
    async def source(self) -> AsyncIterator[Source]:
        raise NotImplementedError
        yield

    @asynccontextmanager
    async def sink(self) -> AsyncIterator[Sink]:
        raise NotImplementedError
        yield


class Locked(Plain):
    """The same, with settings that hold a lock."""

    Settings: ClassVar[type[Settings]] = LockedSettings


def checked(folder: Path, kind: str) -> list[str]:
    here = {"plain": Plain, "locked": Locked}
    offers = [EntryPoint(name, f"{__name__}:{made.__name__}", Kind.CONNECTOR.value) for name, made in here.items()]
    file = folder / "plant.yaml"
    file.write_text(PLANT.format(kind=kind))
    return [str(problem) for problem in check(file, plugins=Registry(offers))[1]]


def test_settings_that_hold_a_lock_cannot_be_given_to_a_cell(tmp_path: Path) -> None:
    assert checked(tmp_path, "plain") == []
    (said,) = checked(tmp_path, "locked")
    assert (
        "plant.yaml:8:24: cells.hall.connections: `press3` cannot live in a cell: its settings cannot be given" in said
    )
    assert "which is for locked to mend" in said
