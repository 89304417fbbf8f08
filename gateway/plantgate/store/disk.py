"""The few file operations the store needs, behind a door, so that a test can pull the plug at any of them."""

import fcntl
import os
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Protocol, TypeAlias

from plantgate.sdk.errors import GatewayError

SECTOR = 512
"""Bytes a disk writes whole or not at all. Larger sectors (4,096) keep the promise too, being made of these."""


Bytes: TypeAlias = bytes | bytearray | memoryview


class Open(Enum):
    """What a file is opened for."""

    NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL
    WRITE = os.O_RDWR
    READ = os.O_RDONLY


class File(Protocol):
    """An open file, addressed by offset. Every call may raise `OSError`."""

    def pread(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes; fewer only at the end of the file."""
        ...

    def pwrite(self, content: Bytes, offset: int) -> None:
        """All of it, or an error after an unknown part of it. Not durable before `datasync`."""
        ...

    def allocate(self, size: int) -> None:
        """Reserve the blocks up to `size`; they read as zeros."""
        ...

    def truncate(self, size: int) -> None: ...

    def datasync(self) -> None:
        """Content and length are durable on return. After an error nobody knows what is: never try twice."""
        ...

    def size(self) -> int: ...

    def close(self) -> None: ...


class Lock(Protocol):
    """A directory held for one user."""

    def release(self) -> None: ...


class InUse(GatewayError):
    """Another instance holds the directory."""


class Disk(Protocol):
    """Where journals live: `OsDisk`, or a simulated one. Every call may raise `OSError`."""

    def open(self, path: Path, purpose: Open) -> File: ...

    def names(self, directory: Path) -> list[str]:
        """The names in a directory, sorted."""
        ...

    def make_directory(self, directory: Path) -> None:
        """With its parents, durable on return; harmless if it is there."""
        ...

    def unlink(self, path: Path) -> None:
        """Not durable before `sync_directory`."""
        ...

    def rename(self, old: Path, new: Path) -> None:
        """Replaces `new` whole. Not durable before `sync_directory`."""
        ...

    def sync_directory(self, directory: Path) -> None:
        """Names created, renamed and removed in it are durable on return."""
        ...

    def lock(self, directory: Path) -> Lock:
        """Raises `InUse` if another instance holds it. The lock ends with the process, however it ends."""
        ...


class OsFile:
    """A file descriptor."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def pread(self, size: int, offset: int) -> bytes:
        content = os.pread(self._descriptor, size, offset)
        if len(content) in (0, size):
            return content
        parts = [content]
        have = len(content)
        while have < size and (content := os.pread(self._descriptor, size - have, offset + have)):
            parts.append(content)
            have += len(content)
        return b"".join(parts)

    def pwrite(self, content: Bytes, offset: int) -> None:
        view = memoryview(content)
        while view:
            written = os.pwrite(self._descriptor, view, offset)
            view = view[written:]
            offset += written

    def allocate(self, size: int) -> None:
        os.posix_fallocate(self._descriptor, 0, size)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    def datasync(self) -> None:
        os.fdatasync(self._descriptor)

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        os.close(self._descriptor)


class OsDisk:
    """The operating system's file system. Files are readable by their owner only: they hold the plant's values."""

    def open(self, path: Path, purpose: Open) -> OsFile:
        return OsFile(os.open(path, purpose.value | os.O_CLOEXEC, 0o600))

    def names(self, directory: Path) -> list[str]:
        return sorted(path.name for path in directory.iterdir())

    def make_directory(self, directory: Path) -> None:
        missing = [directory, *directory.parents]
        missing = missing[: next(i for i, level in enumerate(missing) if level.is_dir())]
        for level in reversed(missing):
            level.mkdir(mode=0o700, exist_ok=True)
            self.sync_directory(level.parent)

    def unlink(self, path: Path) -> None:
        path.unlink()

    def rename(self, old: Path, new: Path) -> None:
        old.replace(new)

    def sync_directory(self, directory: Path) -> None:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def lock(self, directory: Path) -> Lock:
        path = directory / "lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise in_use(directory, holder) from error
        with suppress(OSError):  # a full disk has no room for who holds it; the block there is kept, not given back
            os.ftruncate(descriptor, os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0))
        return _OsLock(descriptor)


class _OsLock:
    """Holds flock(2) by keeping the file open; a killed process lets go by itself."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        os.close(self._descriptor)


def in_use(directory: Path, holder: str) -> InUse:
    """The sentence an operator sees who starts a second instance."""
    return InUse(
        f"{directory} is in use by another plantgate (process {holder}); "
        "two writers would destroy each other's records: stop the other one, or give this one its own directory"
    )


def replace_file(disk: Disk, path: Path, content: Bytes) -> None:
    """The file has this content, durable on return; until then it is as it was, or not there. Raises `OSError`."""
    fresh = path.with_name(path.name + ".new")
    with suppress(FileNotFoundError):  # of a try that was cut short
        disk.unlink(fresh)
    file = disk.open(fresh, Open.NEW)
    try:
        file.pwrite(content, 0)
        file.datasync()
    finally:
        file.close()
    disk.rename(fresh, path)
    disk.sync_directory(path.parent)
