"""The tiles of a log, computed from its entries: what is published, and what a verifier compares with it."""

from collections.abc import Iterator, Sequence

from plantgate.audit.tiles import WIDTH, Tiles
from plantgate.audit.tree import HASH_SIZE, fold, node_hash


class Rows:
    """One row of hashes a level, each up to a tile wide; a full one becomes one hash on the level above."""

    def __init__(self) -> None:
        self.size = 0
        self._rows: list[list[bytes]] = [[]]
        self._full: list[int] = [0]
        """Full tiles that went up, by level."""

    @classmethod
    def resume(cls, size: int, rows: Sequence[Sequence[bytes]]) -> "Rows":
        """As it stood at a size: the unfinished row of each level, lowest first."""
        made = cls()
        made.size = size
        made._rows = [list(row) for row in rows] or [[]]
        made._full = [size >> 8 * (level + 1) for level in range(len(made._rows))]
        return made

    @classmethod
    def at(cls, tiles: Tiles, size: int) -> "Rows":
        """As they stood at a multiple of 256 entries, from the tiles of a log at least as long. Raises `Unreadable`."""
        levels, level = [], 0
        while size >> 8 * level:
            number, width = divmod(size >> 8 * level, WIDTH)
            content = tiles.tile(level, number)[: width * HASH_SIZE] if width else b""
            levels.append([content[at : at + HASH_SIZE] for at in range(0, len(content), HASH_SIZE)])
            level += 1
        return cls.resume(size, levels)

    def extend(self, leaves: Sequence[bytes]) -> Iterator[tuple[int, int, bytes]]:
        """Add leaf hashes; gives each tile that became full: level, number, content. Read it to its end."""
        self.size += len(leaves)
        yield from self._add(0, leaves)

    def _add(self, level: int, hashes: Sequence[bytes]) -> Iterator[tuple[int, int, bytes]]:
        if level == len(self._rows):
            self._rows.append([])
            self._full.append(0)
        at = 0
        while at < len(hashes):
            row = self._rows[level]
            end = at + WIDTH - len(row)
            row.extend(hashes[at:end])
            at = end
            if len(row) == WIDTH:
                yield level, self._full[level], b"".join(row)
                self._full[level] += 1
                self._rows[level] = []
                yield from self._add(level + 1, (top(row),))

    def unfinished(self) -> Iterator[tuple[int, int, bytes]]:
        """The tiles that are not full: level, number, content."""
        for level, row in enumerate(self._rows):
            if row:
                yield level, self._full[level], b"".join(row)

    def root(self, more: Sequence[bytes] = ()) -> bytes:
        """The root; or, at a multiple of 256 entries, the root with up to 256 leaf hashes more."""
        assert not (more and self._rows[0])
        rows = [list(more), *self._rows[1:]] if more else self._rows
        return fold([each for row in reversed(rows) for each in _perfect(row)])


def top(row: Sequence[bytes]) -> bytes:
    """The root over as many hashes as a power of two."""
    while len(row) > 1:
        row = [node_hash(left, right) for left, right in zip(row[::2], row[1::2], strict=True)]
    return row[0]


def _perfect(row: Sequence[bytes]) -> Iterator[bytes]:
    """The perfect subtrees over a row, largest first."""
    at = 0
    while at < len(row):
        width = 1 << (len(row) - at).bit_length() - 1
        yield top(row[at : at + width])
        at += width
