"""Which files a path stands for, and where a file has gone that was renamed."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from plantgate_connectors.files.positions import Position

_PATTERN_MARKS: Final = frozenset("*?[")


def matching(path: Path) -> tuple[Path, ...]:
    """The regular files that a path or pattern stands for, in order of their names."""
    if not _PATTERN_MARKS.intersection(str(path)):
        return (path,) if path.is_file() else ()
    parts = path.parts
    first = next(index for index, part in enumerate(parts) if _PATTERN_MARKS.intersection(part))
    base = Path(*parts[:first]) if first else Path()
    return tuple(sorted(file for file in base.glob(str(Path(*parts[first:]))) if file.is_file()))


def renamed(positions: Iterable[Position]) -> dict[str, str]:
    """Old name to new, for every file that is now found under another name in its folder.

    A name that still stands for the same content (a file saved anew as a whole) has not been renamed.
    """
    strayed = [position for position in positions if position.inode and not _is_at(position)]
    inodes = {folder: _inodes(folder) for folder in {Path(position.path).parent for position in strayed}}
    moves = {}
    for position in strayed:
        candidate = inodes[Path(position.path).parent].get(position.inode)
        if candidate is not None and candidate != position.path and _holds(candidate, position):
            moves[position.path] = candidate
    return moves


def _is_at(position: Position) -> bool:
    try:
        if Path(position.path).stat().st_ino == position.inode:
            return True
    except OSError:
        return False
    return _holds(position.path, position)


def _holds(path: str, position: Position) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return position.is_in(fd)
    finally:
        os.close(fd)


def _inodes(folder: Path) -> dict[int, str]:
    try:
        with os.scandir(folder) as entries:
            return {
                entry.inode(): str(folder / entry.name) for entry in entries if entry.is_file(follow_symlinks=False)
            }
    except OSError:
        return {}
