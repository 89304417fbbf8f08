"""Notices that the plant file, or a file it names, has changed: by its stamp, asked once a second."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from pydantic import BaseModel

from plantgate.config.model import Plant

Stamp: TypeAlias = tuple[tuple[str, int, int, int], ...]


def stamp(plant: Plant) -> Stamp:
    """Inode, size and time of every file the plan was read from; a missing file counts as a change too."""
    return tuple(_one(path) for path in (plant.file, *_named(plant)))


def _one(path: Path) -> tuple[str, int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return str(path), 0, 0, 0
    return str(path), found.st_ino, found.st_size, found.st_mtime_ns


def _named(plant: Plant) -> Iterator[Path]:
    for connection in plant.connections.values():
        yield from _files(connection.settings)


def _files(settings: BaseModel) -> Iterator[Path]:
    """The tag files a settings model names: fields called ``…_file``."""
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, Path) and name.endswith("_file"):
            yield value
        elif isinstance(value, BaseModel):
            yield from _files(value)
