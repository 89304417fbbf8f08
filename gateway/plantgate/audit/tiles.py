"""A log as static files: tiles of hashes, bundles of entries, a checkpoint.

Source: c2sp.org/tlog-tiles v0.1.0. A tile holds up to 256 hashes of one level, a bundle up to 256 entries; what is not
full yet stands under ``.p/<width>``, and stays there for whoever holds an older checkpoint.
"""

import errno
import os
import stat
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Final

from plantgate.audit.tree import HASH_SIZE, node_hash

WIDTH: Final = 256
LEVEL_BITS: Final = 8
VOLUME: Final = WIDTH * WIDTH
"""Entries that are archived together: their hash is one of level 2."""
ENTRY_BYTES_MAX: Final = 65_535
_FILE_BYTES_MAX: Final = WIDTH * (ENTRY_BYTES_MAX + 2)
"""Of the largest file that there can be: a bundle."""


Read = Callable[[str], bytes]
"""The content of a published file, by its path in the log's folder. Raises `OSError`."""


class Unreadable(ValueError):
    """A published file is missing, or is not what its place says; the message names it."""


def folder(path: Path) -> Read:
    """A log that lies in a folder: plain files of a size that a log's can have, and nothing else is waited for."""

    def read(name: str) -> bytes:
        descriptor = os.open(path / name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "not a plain file", str(path / name))
            content = file.read(_FILE_BYTES_MAX + 1)
        if len(content) > _FILE_BYTES_MAX:
            raise OSError(errno.EFBIG, "larger than any file of a log", str(path / name))
        return content

    return read


def with_archive(read: Read, archive: Path) -> Read:
    """Bundles and tiles that are not in the log any more are read from its archive, a folder of volumes."""

    def read_either(name: str) -> bytes:
        try:
            return read(name)
        except FileNotFoundError:
            number = _archivable(name)
            if number is None:
                raise
            return folder(archive / volume_name(number * WIDTH))(name)

    return read_either


def volume_name(index: int) -> str:
    """The folder in an archive with the entry of this index."""
    return f"volume-{index // VOLUME:06d}"


def _archivable(name: str) -> int | None:
    """The number of a whole bundle, or of a tile of the lowest level."""
    for kind in ("tile/entries/", "tile/0/"):
        if name.startswith(kind) and (digits := name.removeprefix(kind).replace("/", "").replace("x", "")).isdecimal():
            return int(digits)
    return None


def number_path(number: int) -> str:
    """``1234067`` as ``x001/x234/067``."""
    groups = [f"{number % 1000:03d}"]
    while number := number // 1000:
        groups.insert(0, f"x{number % 1000:03d}")
    return "/".join(groups)


def tile_path(level: int, number: int, width: int = WIDTH) -> str:
    """Where a tile of hashes is."""
    return f"tile/{level}/{number_path(number)}{_partial(width)}"


def bundle_path(number: int, width: int = WIDTH) -> str:
    """Where a bundle of entries is."""
    return f"tile/entries/{number_path(number)}{_partial(width)}"


def _partial(width: int) -> str:
    if not 1 <= width <= WIDTH:
        raise ValueError(f"a tile {width} wide")
    return "" if width == WIDTH else f".p/{width}"


def widths(size: int, level: int) -> Iterator[tuple[int, int]]:
    """The tiles of a level in a log of `size` entries, as (number, width)."""
    hashes = size >> LEVEL_BITS * level
    for number in range(hashes // WIDTH):
        yield number, WIDTH
    if hashes % WIDTH:
        yield hashes // WIDTH, hashes % WIDTH


def pack_bundle(entries: Sequence[bytes]) -> bytes:
    """Entries of up to `ENTRY_BYTES_MAX` bytes, each behind its length."""
    return b"".join([len(entry).to_bytes(2, "big") + entry for entry in entries])


def unpack_bundle(content: bytes, width: int, where: str = "a bundle") -> list[bytes]:
    """Exactly `width` entries and nothing behind them. Raises `Unreadable`."""
    entries: list[bytes] = []
    at = 0
    for _ in range(width):
        start = at + 2
        if start > len(content):
            raise Unreadable(f"{where}: ends after {len(entries)} of {width} entries")
        at = start + int.from_bytes(content[at:start], "big")
        if at > len(content):
            raise Unreadable(f"{where}: entry {len(entries)} is longer than the file")
        entries.append(content[start:at])
    if at != len(content):
        raise Unreadable(f"{where}: {len(content) - at} bytes behind the last entry")
    return entries


class Tiles:
    """The files of a log of a given size, read as they are needed. Nothing is believed; whoever reads must check."""

    def __init__(self, read: Read, size: int) -> None:
        self._read_file = read
        self.size = size
        self._tile = lru_cache(maxsize=64)(self._read_tile)
        self._bundle = lru_cache(maxsize=8)(self._read_bundle)

    def node(self, level: int, index: int) -> bytes:
        """As `plantgate.audit.tree.Node`. Raises `Unreadable`."""
        row, above = divmod(level, LEVEL_BITS)
        first = index << above
        tile = self.tile(row, first // WIDTH)
        at = first % WIDTH
        stop = at + (1 << above)
        if stop * HASH_SIZE > len(tile):
            raise Unreadable(f"a log of {self.size} entries has no node {index} on level {level}")
        hashes = [tile[place * HASH_SIZE : (place + 1) * HASH_SIZE] for place in range(at, stop)]
        while len(hashes) > 1:
            hashes = [node_hash(*pair) for pair in zip(hashes[::2], hashes[1::2], strict=True)]
        return hashes[0]

    def tile(self, level: int, number: int) -> bytes:
        """The hashes of a tile, one behind the other. Raises `Unreadable`."""
        return self._tile(level, number)

    def bundle(self, number: int) -> list[bytes]:
        """The entries of a bundle. Raises `Unreadable`."""
        return self._bundle(number)

    def entry(self, index: int) -> bytes:
        """One entry. Raises `Unreadable`, and `IndexError` beyond the end."""
        if not 0 <= index < self.size:
            raise IndexError(f"there is no entry {index} in a log of {self.size}")
        return self.bundle(index // WIDTH)[index % WIDTH]

    def __iter__(self) -> Iterator[bytes]:
        """Every entry in order, without keeping them."""
        for number, _ in widths(self.size, 0):
            yield from self._read_bundle(number)

    def kept_from(self) -> int:
        """The first entry that is here; what is before it was archived. `size` where there is none at all."""
        begin = bisect_left(range(-(-self.size // WIDTH)), True, key=self._has_bundle)
        return min(self.size, begin * WIDTH)

    def kept(self) -> Iterator[tuple[int, bytes]]:
        """Index and bytes of every entry that is here. Raises `Unreadable`."""
        begin = self.kept_from()
        for number in range(begin // WIDTH, -(-self.size // WIDTH)):
            yield from enumerate(self._read_bundle(number), number * WIDTH)

    def width(self, level: int, number: int) -> int:
        """How wide a tile is in a log of this size; 0 where there is none."""
        return max(0, min(WIDTH, (self.size >> LEVEL_BITS * level) - number * WIDTH))

    def _has_bundle(self, number: int) -> bool:
        with suppress(OSError, Unreadable):
            self._read(bundle_path(number, self._due(0, number)), bundle_path(number))
            return True
        return False

    def _read_tile(self, level: int, number: int) -> bytes:
        width = self._due(level, number)
        path, content = self._read(tile_path(level, number, width), tile_path(level, number))
        due = width if path.endswith(f".p/{width}") else WIDTH
        if len(content) != due * HASH_SIZE:
            raise Unreadable(f"{path}: {len(content)} bytes, where {due} hashes were due")
        return content[: width * HASH_SIZE]

    def _read_bundle(self, number: int) -> list[bytes]:
        width = self._due(0, number)
        path, content = self._read(bundle_path(number, width), bundle_path(number))
        due = width if path.endswith(f".p/{width}") else WIDTH
        return unpack_bundle(content, due, path)[:width]

    def _due(self, level: int, number: int) -> int:
        width = self.width(level, number)
        if not width:
            raise Unreadable(f"a log of {self.size} entries has no tile {number} on level {level}")
        return width

    def _read(self, path: str, instead: str) -> tuple[str, bytes]:
        """`instead` is the full tile, which may stand for a partial one that was cleared away."""
        for each in dict.fromkeys((path, instead)):
            try:
                return each, self._read_file(each)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise Unreadable(f"{each}: {error.strerror}") from error
        raise Unreadable(f"{path}: missing")
