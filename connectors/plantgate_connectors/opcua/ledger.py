"""What must be known after a SIGKILL: how far each subscription was acknowledged, and each item's last source time.

A memory-mapped file: a change is in the kernel's hands the moment it is made, so that it survives the process (not a
power cut, after which a little more is fetched again: never less). The acknowledgements are kept in two slots written
in turn, each with a checksum, so that a kill in the middle of one leaves the other.
"""

import mmap
import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Self

_SLOTS_AT: Final = 64
_SLOT_BYTES: Final = 4_032
_MOST: Final = (_SLOT_BYTES - 16) // 8
"""Subscriptions a slot holds."""
_TIMES_AT: Final = 8_192
_HEAD: Final = struct.Struct("<8sI")
_MAGIC: Final = b"plgtack1"
_SLOT: Final = struct.Struct("<QI")
_NONE: Final = -(2**63)


class Ledger:
    """Small, fixed in size, never waited for."""

    def __init__(self, path: Path, mapped: mmap.mmap, items: int) -> None:
        self._path = path
        self._map = mapped
        self._items = items
        self._generation = 0
        self._times = memoryview(mapped)[_TIMES_AT : _TIMES_AT + 8 * items].cast("q")

    @classmethod
    def open(cls, path: Path, items: int) -> Self:
        """The ledger at `path` with room for this many items; a new one where there is none or it does not fit."""
        kept = read(path)
        size = _TIMES_AT + 8 * max(1, items)
        fresh = path.with_suffix(".new")
        with fresh.open("w+b") as file:
            file.truncate(size)
            mapped = mmap.mmap(file.fileno(), size)
        mapped[: _HEAD.size] = _HEAD.pack(_MAGIC, max(1, items))
        made = cls(path, mapped, max(1, items))
        made._times[:] = memoryview(struct.pack(f"<{made._items}q", *[_NONE] * made._items)).cast("q")
        if kept is not None:
            made.acknowledge(kept[0])
            made.remember((item, time) for item, time in kept[1].items() if item < made._items)
        fresh.replace(path)
        return made

    @property
    def items(self) -> int:
        """How many items it has room for."""
        return self._items

    def acknowledge(self, upto: Mapping[int, int]) -> None:
        """The last accepted sequence number of each subscription."""
        entries = list(upto.items())[-_MOST:]
        self._generation += 1
        content = _SLOT.pack(self._generation, len(entries)) + b"".join(struct.pack("<II", *entry) for entry in entries)
        at = _SLOTS_AT + _SLOT_BYTES * (self._generation % 2)
        record = content + zlib.crc32(content).to_bytes(4, "little")
        self._map[at : at + len(record)] = record

    def remember(self, times: Iterable[tuple[int, int | None]]) -> None:
        """Source times (ns UTC) of the last accepted values, by item."""
        kept, room = self._times, self._items
        for item, time in times:
            if item < room:
                kept[item] = _NONE if time is None else time

    def close(self) -> None:
        """Let go of the file; what was written stays."""
        self._times.release()
        self._map.close()


def read(path: Path) -> tuple[dict[int, int], dict[int, int]] | None:
    """What a ledger holds: acknowledged sequence numbers by subscription, times by item. None if it is not one."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    if len(raw) < _TIMES_AT or raw[: len(_MAGIC)] != _MAGIC:
        return None
    _, items = _HEAD.unpack_from(raw)
    slots = [slot for slot in map(raw.__getitem__, _slots()) if _holds(slot)]
    newest = max(slots, key=lambda slot: int(_SLOT.unpack_from(slot)[0]), default=None)
    upto: dict[int, int] = {}
    if newest is not None:
        _, count = _SLOT.unpack_from(newest)
        upto = dict(struct.iter_unpack("<II", newest[_SLOT.size : _SLOT.size + 8 * count]))
    held = min(items, (len(raw) - _TIMES_AT) // 8)
    times = struct.unpack_from(f"<{held}q", raw, _TIMES_AT)
    return upto, {item: time for item, time in enumerate(times) if time != _NONE}


def _slots() -> Iterable[slice]:
    return (slice(_SLOTS_AT + _SLOT_BYTES * turn, _SLOTS_AT + _SLOT_BYTES * (turn + 1)) for turn in (0, 1))


def _holds(slot: bytes) -> bool:
    _, count = _SLOT.unpack_from(slot)
    end = _SLOT.size + 8 * count
    return count <= _MOST and zlib.crc32(slot[:end]).to_bytes(4, "little") == slot[end : end + 4] and any(slot[:12])
