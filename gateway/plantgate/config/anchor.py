"""Makes the paths of a settings model absolute: a relative path in a plant file starts at that file."""

import os
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from plantgate.config.shape import classes_in

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


def _same_or(before: Any, after: Any) -> Any:
    """The old container if nothing in it moved, so that ten thousand tags are not copied for nothing."""
    old, new = (before.values(), after.values()) if isinstance(before, dict) else (before, after)
    return before if all(one is other for one, other in zip(old, new, strict=True)) else after


@cache
def _with_paths(model: type[BaseModel]) -> tuple[str, ...]:
    """The fields that hold a path, or something that does."""
    return tuple(name for name, field in model.model_fields.items() if _holds_path(field.annotation, {model}))


def _holds_path(annotation: Any, seen: set[type[BaseModel]]) -> bool:
    for found in classes_in(annotation):
        if issubclass(found, Path):
            return True
        if issubclass(found, BaseModel) and found not in seen:
            seen.add(found)
            if any(_holds_path(field.annotation, seen) for field in found.model_fields.values()):
                return True
    return False
