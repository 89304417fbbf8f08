"""What must be known after a SIGKILL: how far each subscription was accepted, and each item's last source time.

A memory-mapped file: a change is in the kernel's hands the moment it is made, so that it survives the process (not a
power cut, after which a little more is fetched again: never less). Sequence numbers are kept in two slots written in
turn, each with a checksum, so that a kill in the middle of one leaves the other.

A subscription is known by its nonce, not by its id: servers begin to number anew when they restart, and the position in
a dead subscription must never be taken for one in its successor. Likewise the times belong to the items of one epoch.
"""

import mmap
import struct
import zlib
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

_HEAD: Final = struct.Struct("<8sQI")
_MAGIC: Final = b"plgtack2"
_SLOTS_AT: Final = 64
_SLOT_BYTES: Final = 4_032
_SLOT: Final = struct.Struct("<QI")
_ENTRY: Final = struct.Struct("<QI")
_MOST: Final = (_SLOT_BYTES - _SLOT.size - 4) // _ENTRY.size
"""Subscriptions a slot holds."""
_TIMES_AT: Final = 8_192
_NONE: Final = -(2**63)


@dataclass(frozen=True, slots=True)
class Kept:
    """What a ledger holds."""

    epoch: int
    positions: dict[int, int]
    """The last accepted sequence number, by the subscription's nonce."""
    times: dict[int, int]
    """The last accepted source time (ns UTC), by the item's handle."""


class Ledger:
    """Small, fixed in size, never waited for."""

    def __init__(self, mapped: mmap.mmap, items: int) -> None:
        self._map = mapped
        self._generation = 0
        self.items = items
        """How many items it has room for."""
        self._times = memoryview(mapped)[_TIMES_AT : _TIMES_AT + 8 * items].cast("q")

    @classmethod
    def make(
        cls, path: Path, epoch: int, positions: Mapping[int, int], times: Sequence[int | None], items: int
    ) -> Self:
        """A ledger at `path` with room for so many items, in place at once or not at all, that begins with this."""
        room = max(1, items)
        fresh = path.with_suffix(".new")
        with fresh.open("w+b") as file:
            file.truncate(_TIMES_AT + 8 * room)
            mapped = mmap.mmap(file.fileno(), _TIMES_AT + 8 * room)
        mapped[: _HEAD.size] = _HEAD.pack(_MAGIC, epoch, room)
        made = cls(mapped, room)
        made.remember([None] * room)
        made.accept(positions)
        made.remember(times)
        fresh.replace(path)
        return made

    def accept(self, positions: Mapping[int, int]) -> None:
        """The last accepted sequence number of each subscription there is, by nonce."""
        entries = list(positions.items())[-_MOST:]
        self._generation += 1
        content = _SLOT.pack(self._generation, len(entries)) + b"".join(_ENTRY.pack(*entry) for entry in entries)
        at = _SLOTS_AT + _SLOT_BYTES * (self._generation % 2)
        record = content + zlib.crc32(content).to_bytes(4, "little")
        self._map[at : at + len(record)] = record

    def remember(self, times: Sequence[int | None]) -> None:
        """Source times of the last accepted values, by handle; what goes beyond the room is left out."""
        known = array("q", [_NONE if time is None else time for time in times[: self.items]])
        self._times[: len(known)] = memoryview(known)

    def close(self) -> None:
        """Let go of the file; what was written stays."""
        self._times.release()
        self._map.close()


def read(path: Path) -> Kept | None:
    """What the ledger at `path` holds; None if there is none, or it is none."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    if len(raw) < _TIMES_AT or raw[: len(_MAGIC)] != _MAGIC:
        return None
    _, epoch, items = _HEAD.unpack_from(raw)
    slots = [slot for turn in (0, 1) if _holds(slot := raw[_SLOTS_AT + _SLOT_BYTES * turn :][:_SLOT_BYTES])]
    newest = max(slots, key=lambda slot: int(_SLOT.unpack_from(slot)[0]), default=None)
    positions: dict[int, int] = {}
    if newest is not None:
        _, count = _SLOT.unpack_from(newest)
        positions = dict(_ENTRY.iter_unpack(newest[_SLOT.size : _SLOT.size + _ENTRY.size * count]))
    times = struct.unpack_from(f"<{min(items, (len(raw) - _TIMES_AT) // 8)}q", raw, _TIMES_AT)
    return Kept(epoch, positions, {item: time for item, time in enumerate(times) if time != _NONE})


def _holds(slot: bytes) -> bool:
    generation, count = _SLOT.unpack_from(slot)
    end = _SLOT.size + _ENTRY.size * count
    return generation > 0 and count <= _MOST and zlib.crc32(slot[:end]).to_bytes(4, "little") == slot[end : end + 4]
