"""Makes the paths of a settings model absolute: a relative path in a plant file starts at that file."""

from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)


def anchored(settings: M, folder: Path) -> M:
    """The same settings with every relative path, however deep, joined to `folder` (absolute)."""
    moved = {
        name: after
        for name in _with_paths(type(settings))
        if (after := _anchored(before := getattr(settings, name), folder)) is not before
    }
    return settings.model_copy(update=moved) if moved else settings


def _anchored(value: Any, folder: Path) -> Any:
    if isinstance(value, Path):
        # normpath: what `plantgate check` prints should be what the operator would type.
        return value if value.is_absolute() else Path(os.path.normpath(folder / value))
    if isinstance(value, BaseModel):
        return anchored(value, folder)
    if isinstance(value, tuple | list):
        return _same_or(value, type(value)(_anchored(member, folder) for member in value))
    if isinstance(value, dict):
        return _same_or(value, {key: _anchored(member, folder) for key, member in value.items()})
    return value
