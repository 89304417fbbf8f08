"""Where a destination is in an outbox, on disk.

``NAME.cursor`` has two sectors, written in turn: a crash in the middle of one leaves the other. Each, little-endian:

    0   4   magic ``CUR1``
    4   4   CRC32 of bytes 8..104
    8   8   generation; the larger one counts
    16  8   sequence of the next record, and
    24  8   weight of all records before it: everything before is settled
    32  8   weight at which the destination joined
    40  8   samples delivered
    48  8   samples dropped
    56  8   number of its last file of things owed
    64  8   1 if that file still counts
    72  8   gaps of that file already told
    80  8   samples in that file
    88  8   of these, already delivered
    96  8   number under which these samples are given (their origin)

``NAME.owed-N`` holds what a destination must still be given before the records of the journal: gaps, and where the
backlog was shrunk, the newest sample of each tag. A CRC32 and a batch. Written whole, before a cursor speaks of it.
"""

import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from plantgate.sdk.errors import GatewayError
from plantgate.sdk.sample import Batch
from plantgate.store.codec import Unreadable, decode, encode
from plantgate.store.disk import SECTOR, Disk, File, Open, replace_file
from plantgate.store.record import Position

_MAGIC: Final = b"CUR1"
_HEAD = struct.Struct("<4sI")
_BODY = struct.Struct("<12Q")
_CRC = struct.Struct("<I")
_CURSOR: Final = ".cursor"
_OWED: Final = ".owed-"


@dataclass(frozen=True, slots=True)
class Saved:
    """What is kept of a destination."""

    position: Position
    joined: int
    """Weight of the outbox when it joined."""
    delivered: int = 0
    dropped: int = 0
    owed: int = 0
    owing: bool = False
    gaps_told: int = 0
    latest: int = 0
    latest_done: int = 0
    latest_number: int = 0


class CursorLost(GatewayError):
    """Neither half of a cursor file can be read."""


class CursorFile:
    """One destination's cursor. Blocking; one thread at a time."""

    def __init__(self, disk: Disk, path: Path, file: File, generation: int) -> None:
        self._disk = disk
        self._path = path
        self._file = file
        self._generation = generation
        self._holds = 0
        """Number of the file of things owed that the cursor speaks of."""

    @classmethod
    def create(cls, disk: Disk, directory: Path, name: str, saved: Saved) -> "CursorFile":
        """A durable cursor for a new destination."""
        path = directory / (_stem(name) + _CURSOR)
        with suppress(FileNotFoundError):  # one that a crash left half made, or that cannot be read any more
            disk.unlink(path)
        file = disk.open(path, Open.NEW)
        file.allocate(2 * SECTOR)
        cursor = cls(disk, path, file, 0)
        cursor.save(saved)
        disk.sync_directory(directory)
        return cursor

    @classmethod
    def load(cls, disk: Disk, directory: Path, name: str) -> "tuple[CursorFile, Saved]":
        """Raises `CursorLost`."""
        path = directory / (_stem(name) + _CURSOR)
        file = disk.open(path, Open.WRITE)
        halves = [_unpack(file.pread(SECTOR, offset)) for offset in (0, SECTOR)]
        readable = [half for half in halves if half is not None]
        if not readable:
            file.close()
            raise CursorLost(f"{path}: neither half can be read")
        generation, saved = max(readable, key=lambda half: half[0])
        # It may be in memory only, if the last process died between write and sync, or its sync failed.
        offset = generation % 2 * SECTOR
        file.pwrite(file.pread(SECTOR, offset), offset)
        file.datasync()
        cursor = cls(disk, path, file, generation)
        cursor._holds = saved.owed if saved.owing else 0
        cursor._forget_owed()
        return cursor, saved

    def keep(self, saved: Saved, owed: Batch | None = None) -> None:
        """Durable on return: first what is owed, where it has changed, then the cursor, which speaks of it.

        Raises `OSError`; the files then hold the old state or the new one.
        """
        if owed is not None and saved.owing:
            self._write_owed(saved.owed, owed)
        self.save(saved)
        holds = saved.owed if saved.owing else 0
        if self._holds not in (0, holds):
            self._disk.unlink(self._owed_path(self._holds))
        self._holds = holds

    def save(self, saved: Saved) -> None:
        """Durable on return. Raises `OSError`; the file holds the old cursor or the new one."""
        self._generation += 1
        body = _BODY.pack(
            self._generation,
            *saved.position,
            saved.joined,
            saved.delivered,
            saved.dropped,
            saved.owed,
            saved.owing,
            saved.gaps_told,
            saved.latest,
            saved.latest_done,
            saved.latest_number,
        )
        sector = (_HEAD.pack(_MAGIC, zlib.crc32(body)) + body).ljust(SECTOR, b"\0")
        self._file.pwrite(sector, self._generation % 2 * SECTOR)
        self._file.datasync()

    def close(self) -> None:
        self._file.close()

    def _write_owed(self, number: int, owed: Batch) -> None:
        content = encode(owed)
        replace_file(self._disk, self._owed_path(number), _CRC.pack(zlib.crc32(content)) + content)

    def read_owed(self, number: int) -> Batch | None:
        """What is owed; None if it cannot be read any more."""
        try:
            file = self._disk.open(self._owed_path(number), Open.READ)
        except FileNotFoundError:
            return None
        try:
            content = file.pread(file.size(), 0)
        finally:
            file.close()
        if len(content) < _CRC.size or _CRC.unpack_from(content)[0] != zlib.crc32(content[_CRC.size :]):
            return None
        try:
            return decode(content[_CRC.size :])
        except Unreadable:
            return None

    def _forget_owed(self) -> None:
        """Remove files of things owed that the cursor does not speak of: a crash came between."""
        directory = self._path.parent
        for name in self._disk.names(directory):
            if name.startswith(self._path.stem + _OWED) and name != self._owed_path(self._holds).name:
                self._disk.unlink(directory / name)

    def remove(self) -> None:
        """The destination is gone for good."""
        self.close()
        self._disk.unlink(self._path)
        self._holds = 0
        self._forget_owed()
        self._disk.sync_directory(self._path.parent)

    def _owed_path(self, number: int) -> Path:
        return self._path.parent / f"{self._path.stem}{_OWED}{number}"


def names(disk: Disk, directory: Path) -> list[str]:
    """The destinations that have a cursor."""
    return [unquote(name.removesuffix(_CURSOR)) for name in disk.names(directory) if name.endswith(_CURSOR)]


def _stem(name: str) -> str:
    """A file name for any name; without dots, so that no name can look like another's file."""
    return quote(name, safe="").replace(".", "%2E")


def _unpack(sector: bytes) -> tuple[int, Saved] | None:
    if len(sector) < SECTOR:
        return None
    magic, checksum = _HEAD.unpack_from(sector)
    body = sector[_HEAD.size : _HEAD.size + _BODY.size]
    if magic != _MAGIC or checksum != zlib.crc32(body):
        return None
    generation, sequence, weight, joined, delivered, dropped, owed, owing, *of_owed = _BODY.unpack(body)
    return generation, Saved(Position(sequence, weight), joined, delivered, dropped, owed, bool(owing), *of_owed)
