"""Room kept free for the worst hour: what a person does in an emergency is recorded also where the disk is full.

One file whose blocks are taken when the log is opened, in slots of one entry each. What stands in it goes into the log
as soon as that takes entries again, marked late. Nothing automatic is ever written here: where the log cannot take an
entry, what is automatic does not act. Blocking; one thread at a time.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self
from zlib import crc32

from plantgate.audit.entry import BYTES_MAX
from plantgate.sdk.errors import Unavailable
from plantgate.store.disk import SECTOR, Disk, File, Open, replace_file
from plantgate.store.segment import no_space

SLOTS: Final = 64
_MAGIC: Final = b"PGLATE1\n"
_HEADER_BYTES: Final = len(_MAGIC) + 8 + 4 + 4
_SLOT_BYTES: Final = -(-(BYTES_MAX + _HEADER_BYTES) // SECTOR) * SECTOR


class ReserveFull(Unavailable):
    """The disk is full, and so is the room that was kept for emergencies."""


class Reserve:
    """Open it with `Reserve.open`."""

    def __init__(self, file: File | None, slots: dict[int, tuple[int, bytes]], recovered: tuple[str, ...]) -> None:
        self._file = file
        self._slots = slots
        """Number and content of those in use."""
        self._next = max((number for number, _ in slots.values()), default=0) + 1
        self.recovered = recovered
        """What opening met, a sentence each: no room, a slot written and cut off by a crash, or damaged since."""

    @classmethod
    def open(cls, path: Path, disk: Disk) -> Self:
        """Made, with its blocks, if it is not there; without a slot where there is no room. Raises `OSError`."""
        try:
            file = _file(path, disk)
        except OSError as error:
            if not no_space(error):
                raise
            return cls(None, {}, (f"{path}: no room for the reserve: on a full disk nothing can be recorded at all",))
        slots, recovered = {}, []
        for slot in range(file.size() // _SLOT_BYTES):
            content = file.pread(_SLOT_BYTES, slot * _SLOT_BYTES)
            if (found := _unpack(content)) is not None:
                slots[slot] = found
            elif any(content[:SECTOR]):
                recovered.append(f"{path}: slot {slot} does not read back: an emergency entry cut off, or damaged")
        return cls(file, slots, tuple(recovered))

    def __len__(self) -> int:
        """Entries that wait for the log."""
        return len(self._slots)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()

    def keep(self, content: bytes) -> None:
        """Durable on return. Raises `ReserveFull`, `OSError`."""
        slots = self._file.size() // _SLOT_BYTES if self._file is not None else 0
        free = next((slot for slot in range(slots) if slot not in self._slots), None)
        if self._file is None or free is None:
            raise ReserveFull("the disk is full, and so is the room that was kept for emergencies: make room")
        self._file.pwrite(_pack(self._next, content), free * _SLOT_BYTES)
        self._file.datasync()
        self._slots[free] = self._next, content
        self._next += 1

    def waiting(self) -> list[bytes]:
        """What stands in it, oldest first."""
        return [content for _, content in sorted(self._slots.values())]

    def clear(self, contents: Sequence[bytes]) -> None:
        """These are in the log. Raises `OSError`."""
        for slot, (_, content) in list(self._slots.items()):
            if content in contents and self._file is not None:
                self._file.pwrite(bytes(SECTOR), slot * _SLOT_BYTES)
                self._file.datasync()
                del self._slots[slot]


def _file(path: Path, disk: Disk) -> File:
    try:
        return disk.open(path, Open.WRITE)
    except FileNotFoundError:
        replace_file(disk, path, bytes(SLOTS * _SLOT_BYTES))  # written, since a hole takes no blocks
        return disk.open(path, Open.WRITE)


def _pack(number: int, content: bytes) -> bytes:
    body = number.to_bytes(8, "big") + len(content).to_bytes(4, "big") + content
    packed = _MAGIC + crc32(body).to_bytes(4, "big") + body
    return packed + bytes(-len(packed) % SECTOR)


def _unpack(slot: bytes) -> tuple[int, bytes] | None:
    """Number and content; None for a slot that is free, or was not written to its end."""
    if not slot.startswith(_MAGIC):
        return None
    at = len(_MAGIC) + 4
    size = int.from_bytes(slot[at + 8 : at + 12], "big")
    body = slot[at : at + 12 + size]
    if size > BYTES_MAX or crc32(body) != int.from_bytes(slot[at - 4 : at], "big"):
        return None
    return int.from_bytes(body[:8], "big"), body[12:]
