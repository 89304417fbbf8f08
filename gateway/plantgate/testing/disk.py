"""A disk in memory that forgets what was not synced, tears writes, fills up and fails, all on request.

It fits `plantgate.store.disk.Disk`. What it models, and a real disk may do: a sector (512 bytes) is written whole or
not at all; sectors, file lengths and directory entries that were not synced survive a power cut or do not, each for
itself, in any combination; a failed sync forgets what it was to write, and the next one succeeds without it.
"""

import errno
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias

from plantgate.store.disk import SECTOR, Bytes, Open, in_use

Call: TypeAlias = Literal[
    "open", "pread", "pwrite", "allocate", "truncate", "datasync", "unlink", "rename", "sync_directory", "names"
]
_CHANGES: Final = frozenset({"pwrite", "allocate", "truncate", "datasync", "unlink", "rename", "sync_directory"})


class PowerCut(Exception):
    """The machine is off. Only `SimulatedDisk.power_cut` gives the disk back."""


@dataclass(slots=True)
class _Node:
    """A file: what programs see, and what is on the platter."""

    content: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    dirty: set[int] = field(default_factory=set)
    """Sectors that differ or may differ."""

    def sync(self) -> None:
        _fit(self.durable, len(self.content))
        for sector in self.dirty:
            self._keep(sector)
        self.dirty.clear()

    def survivor(self, luck: random.Random, share: float) -> "_Node":
        """The file after a power cut; each unsynced sector survives with the given probability."""
        if len(self.content) != len(self.durable) and luck.random() < share:
            _fit(self.durable, len(self.content))
        for sector in sorted(self.dirty):
            if luck.random() < share:
                self._keep(sector)
        return _Node(bytearray(self.durable), bytearray(self.durable))

    def _keep(self, sector: int) -> None:
        begin = sector * SECTOR
        end = min(begin + SECTOR, len(self.content))
        if begin < end:
            _fit(self.durable, max(end, len(self.durable)))
            self.durable[begin:end] = self.content[begin:end]


def _fit(content: bytearray, size: int) -> None:
    if size < len(content):
        del content[size:]
    else:
        content.extend(bytes(size - len(content)))


@dataclass(slots=True)
class _Fault:
    call: Call
    error: int
    after: int
    times: int
    suffix: str


@dataclass(slots=True)
class SimulatedDisk:
    """Files by path; directories exist when something made them."""

    capacity: int | None = None
    """Bytes that all files together may take; None is endless."""
    seed: object = 0
    calls: int = 0
    """Changes made so far; `cut_after` counts in these."""
    cut_after: int | None = None
    """Raise `PowerCut` at the change with this number, and at everything after it."""
    _entries: dict[Path, _Node] = field(default_factory=dict)
    _durable_entries: dict[Path, _Node] = field(default_factory=dict)
    _unsynced: list[dict[Path, _Node | None]] = field(default_factory=list)
    """Changes of names, in order; one change is atomic."""
    _directories: set[Path] = field(default_factory=set)
    _locks: set[Path] = field(default_factory=set)
    _faults: list[_Fault] = field(default_factory=list)
    _off: bool = False

    # What a test does to it.

    def power_cut(self, seed: object = 0) -> "SimulatedDisk":
        """The disk as the next start finds it: what was synced, and a seeded part of what was not."""
        luck = random.Random(f"{seed}/power cut")  # noqa: S311  a simulation must be repeatable, not secret
        self._off = True
        share = luck.choice((0.0, 0.5, 1.0, luck.random()))
        entries = dict(self._durable_entries)
        for change in self._unsynced:
            if luck.random() < share:
                _apply(entries, change)
        survivors = {id(node): node.survivor(luck, share) for node in entries.values()}
        nodes = {path: survivors[id(node)] for path, node in entries.items()}
        return SimulatedDisk(
            self.capacity, self.seed, _entries=dict(nodes), _durable_entries=nodes, _directories=set(self._directories)
        )

    def restart(self) -> "SimulatedDisk":
        """The disk after the process was killed and the machine was not: nothing is lost yet, locks are free.

        This one is off afterwards, so that what still runs of the killed process changes nothing.
        """
        self._off = True
        return SimulatedDisk(
            self.capacity,
            self.seed,
            _entries=self._entries,
            _durable_entries=self._durable_entries,
            _unsynced=self._unsynced,
            _directories=self._directories,
        )

    def fail(self, call: Call, error: int, *, after: int = 0, times: int = 1, suffix: str = "") -> None:
        """Let a call fail with an errno, the first `after` of them excepted, on paths that end with `suffix`."""
        self._faults.append(_Fault(call, error, after, times, suffix))

    def flip(self, path: Path, offset: int, bit: int = 0) -> None:
        """Bit rot: change one bit, in memory and on the platter."""
        node = self._entries[path]
        for content in (node.content, node.durable):
            if offset < len(content):
                content[offset] ^= 1 << bit

    def content(self, path: Path) -> bytes:
        """What a program would read."""
        return bytes(self._entries[path].content)

    def paths(self) -> Iterator[Path]:
        """All files, sorted."""
        return iter(sorted(self._entries))

    # What a program does with it.

    def open(self, path: Path, purpose: Open) -> "SimulatedFile":
        self.happen("open", path)
        if purpose is Open.NEW:
            if path in self._entries:
                raise _os_error(errno.EEXIST, path)
            if path.parent not in self._directories:
                raise _os_error(errno.ENOENT, path)
            self._change({path: _Node()})
        if path not in self._entries:
            raise _os_error(errno.ENOENT, path)
        return SimulatedFile(self, path, self._entries[path])

    def names(self, directory: Path) -> list[str]:
        self.happen("names", directory)
        return sorted(path.name for path in self._entries if path.parent == directory)

    def make_directory(self, directory: Path) -> None:
        self._directories |= {directory, *directory.parents}

    def unlink(self, path: Path) -> None:
        self.happen("unlink", path)
        if path not in self._entries:
            raise _os_error(errno.ENOENT, path)
        self._change({path: None})

    def rename(self, old: Path, new: Path) -> None:
        self.happen("rename", old)
        if old not in self._entries:
            raise _os_error(errno.ENOENT, old)
        self._change({old: None, new: self._entries[old]})

    def sync_directory(self, directory: Path) -> None:
        self.happen("sync_directory", directory)
        here = [change for change in self._unsynced if any(path.parent == directory for path in change)]
        for change in here:
            _apply(self._durable_entries, change)
        self._unsynced[:] = [change for change in self._unsynced if change not in here]

    def lock(self, directory: Path) -> "SimulatedLock":
        if directory in self._locks:
            raise in_use(directory, "simulated")
        self._locks.add(directory)
        return SimulatedLock(self._locks, directory)

    # What its files ask of it.

    def happen(self, call: Call, path: Path) -> None:
        """Count a call; raise what was asked for."""
        if call in _CHANGES:
            self.calls += 1
            self._off = self._off or (self.cut_after is not None and self.calls > self.cut_after)
        if self._off:
            raise PowerCut(f"the power went at {call} of {path}")
        for fault in self._faults:
            if fault.call == call and fault.times > 0 and str(path).endswith(fault.suffix):
                if fault.after > 0:
                    fault.after -= 1
                    continue
                fault.times -= 1
                raise _os_error(fault.error, path)

    def room(self, path: Path, more: int) -> None:
        """Raises ENOSPC if the disk cannot take `more` bytes."""
        if self.capacity is not None and more > 0:
            used = sum(len(node.content) for node in self._entries.values())
            if used + more > self.capacity:
                raise _os_error(errno.ENOSPC, path)

    def _change(self, change: dict[Path, _Node | None]) -> None:
        self._unsynced.append(change)
        _apply(self._entries, change)


def _apply(entries: dict[Path, _Node], change: dict[Path, _Node | None]) -> None:
    for path, node in change.items():
        if node is None:
            entries.pop(path, None)
        else:
            entries[path] = node


def _os_error(number: int, path: Path) -> OSError:
    return OSError(number, os.strerror(number), str(path))


class SimulatedLock:
    """Held until released, or until the process or the power goes."""

    def __init__(self, held: set[Path], directory: Path) -> None:
        self._held = held
        self._directory = directory

    def release(self) -> None:
        self._held.discard(self._directory)


class SimulatedFile:
    """An open file of a simulated disk."""

    def __init__(self, disk: SimulatedDisk, path: Path, node: _Node) -> None:
        self._disk = disk
        self._path = path
        self._node = node

    def pread(self, size: int, offset: int) -> bytes:
        self._disk.happen("pread", self._path)
        return bytes(memoryview(self._node.content)[offset : offset + size])

    def pwrite(self, content: Bytes, offset: int) -> None:
        try:
            self._disk.happen("pwrite", self._path)
            self._disk.room(self._path, offset + len(content) - len(self._node.content))
        except (OSError, PowerCut):
            luck = random.Random(f"{self._disk.seed}/{self._disk.calls}")  # noqa: S311  as above
            end = (offset + luck.randrange(len(content) + 1)) // SECTOR * SECTOR
            self._write(bytes(content)[: max(0, end - offset)], offset, grow=False)
            raise
        self._write(content, offset, grow=True)

    def allocate(self, size: int) -> None:
        self._disk.happen("allocate", self._path)
        self._disk.room(self._path, size - len(self._node.content))
        _fit(self._node.content, max(size, len(self._node.content)))

    def truncate(self, size: int) -> None:
        self._disk.happen("truncate", self._path)
        had = len(self._node.content)
        _fit(self._node.content, size)
        first, last = sorted((size, had))
        self._node.dirty |= set(range(first // SECTOR, -(-last // SECTOR)))

    def datasync(self) -> None:
        try:
            self._disk.happen("datasync", self._path)
        except OSError:
            self._node.dirty.clear()  # the kernel marks the pages clean: the next sync will not write them
            raise
        self._node.sync()

    def size(self) -> int:
        return len(self._node.content)

    def close(self) -> None:
        """Nothing to let go of."""

    def _write(self, content: Bytes, offset: int, *, grow: bool) -> None:
        end = offset + len(content)
        if end > len(self._node.content):
            if not grow:
                end = len(self._node.content)
                content = memoryview(content)[: max(0, end - offset)]
            _fit(self._node.content, end)
        if len(content):
            self._node.content[offset:end] = content
            self._node.dirty |= set(range(offset // SECTOR, -(-end // SECTOR)))
