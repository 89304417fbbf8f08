"""Which pictures of a folder are new, and which of those are finished."""

import io
import os
import stat
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from plantgate_connectors.camera.picture import Unreadable
from plantgate_connectors.camera.settings import Folder, Order

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})


@dataclass(frozen=True, slots=True)
class State:
    """By what a file is known to have changed."""

    inode: int
    size: int
    changed: int
    """ns, by the clock of the disk; compared with itself only."""

    @classmethod
    def of(cls, found: os.stat_result) -> "State":
        """As the operating system tells it."""
        return cls(found.st_ino, found.st_size, found.st_mtime_ns)


def listed(folder: Folder) -> dict[str, State]:
    """Pictures by name, first to last. Raises `OSError` where there is no such folder."""
    found: dict[str, State] = {}
    with os.scandir(folder.path) as entries:
        for entry in entries:
            if _counts(entry.name, folder) and entry.is_file(follow_symlinks=False):
                try:
                    found[entry.name] = State.of(entry.stat(follow_symlinks=False))
                except FileNotFoundError:
                    continue  # gone since
    if folder.order is Order.NAME:
        return dict(sorted(found.items()))
    return dict(sorted(found.items(), key=lambda item: (item[1].changed, item[0])))


def template(name: str, folder: Folder) -> dict[str, str]:
    """What a picture's name says of its template, for its context."""
    if folder.template is None:
        return {}
    path = Path(name)
    stem = path.stem.removesuffix(folder.template.ending)
    return {"template": f"{stem}{folder.template.becomes}{path.suffix}"}


def read(folder: Folder, name: str, seen: State) -> bytes | None:
    """The whole file; None if it is not, or no longer, as it was `seen`. Raises `Unreadable`."""
    if seen.size > folder.file_bytes_max:
        raise Unreadable(f"the file has {seen.size} bytes, more than {folder.file_bytes_max} (file_bytes_max)")
    try:
        # Not blocking: since it was seen, a pipe may have taken its name.
        fd = os.open(folder.path / name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unreadable(f"the file cannot be opened: {error.strerror}") from error
    with io.FileIO(fd) as file:
        before = os.fstat(fd)
        if not stat.S_ISREG(before.st_mode) or State.of(before) != seen:
            return None
        try:
            packed = file.read(seen.size)
        except OSError as error:
            raise Unreadable(f"the file cannot be read: {error.strerror}") from error
        return packed if State.of(os.fstat(fd)) == seen and len(packed) == seen.size else None


def _counts(name: str, folder: Folder) -> bool:
    stem, _, suffix = name.rpartition(".")
    return (
        not name.startswith(".")
        and f".{suffix.lower()}" in SUFFIXES
        and fnmatchcase(name, folder.pattern)
        and (folder.template is None or stem.endswith(folder.template.ending))
    )
