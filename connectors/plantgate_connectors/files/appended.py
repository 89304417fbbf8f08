"""A file that only grows, by whole appends that are on disk when they return."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

_BLOCK: Final = 1024 * 1024


class Appended:
    """One open file. What a crash or a full disk left half-written at its end is set aside when it is opened."""

    def __init__(self, path: Path, fd: int, size: int) -> None:
        self.path, self._fd, self.size = path, fd, size
        self._whole = True

    @classmethod
    def create(cls, path: Path, head: bytes = b"") -> Self:
        """A new file; its name is on disk too."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        made = cls(path, fd, 0)
        try:
            made.append(head)
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except BaseException:
            made.close()
            raise
        return made

    @classmethod
    def reopen(cls, path: Path) -> tuple[Self, int]:
        """A file written before, and how many bytes of a torn last line were moved to `<name>.torn`."""
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            size = os.fstat(fd).st_size
            whole = _last_line_end(fd, size)
            if whole < size:
                with path.with_name(path.name + ".torn").open("ab") as torn:
                    torn.write(os.pread(fd, min(size - whole, _BLOCK), whole) + b"\n")
                    torn.flush()
                    os.fsync(torn.fileno())
                os.ftruncate(fd, whole)
                os.fsync(fd)
        except BaseException:
            os.close(fd)
            raise
        return cls(path, fd, whole), size - whole

    def append(self, data: bytes) -> None:
        """On disk on return. Raises `OSError`; the file then ends where it ended before."""
        if not self._whole:
            os.ftruncate(self._fd, self.size)
            self._whole = True
        self._whole = False
        written = 0
        while written < len(data):
            written += os.pwrite(self._fd, memoryview(data)[written:], self.size + written)
        os.fdatasync(self._fd)
        self._whole = True
        self.size += len(data)

    def is_there(self) -> bool:
        """False once someone has moved or deleted it: what is written then would be written for nobody."""
        try:
            found, mine = self.path.stat(), os.fstat(self._fd)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == (mine.st_dev, mine.st_ino)

    def lines(self) -> Iterator[bytes]:
        """Its whole lines, in order."""
        at, rest = 0, b""
        while at < self.size:
            block = os.pread(self._fd, min(_BLOCK, self.size - at), at)
            if not block:
                return
            at += len(block)
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                yield line + b"\n"

    def close(self) -> None:
        """Cut off what a failed append left, and close."""
        try:
            if not self._whole:
                os.ftruncate(self._fd, self.size)
        except OSError:
            self._whole = False  # what is left is a torn line: the next opening sets it aside
        finally:
            os.close(self._fd)


def _last_line_end(fd: int, size: int) -> int:
    """Offset after the last line end; 0 if there is none."""
    end = size
    while end > 0:
        start = max(0, end - _BLOCK)
        found = os.pread(fd, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
