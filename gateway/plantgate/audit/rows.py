"""The tiles of a log, computed from its entries: what is published, and what a verifier compares with it."""

from collections.abc import Iterator, Sequence

from plantgate.audit.tiles import WIDTH
from plantgate.audit.tree import fold, node_hash


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

    def extend(self, leaves: Sequence[bytes]) -> Iterator[tuple[int, int, bytes]]:
        """Add leaf hashes; gives each tile that became full: level, number, content. Read it to its end."""
        for leaf in leaves:
            self.size += 1
            yield from self._add(0, leaf)

    def _add(self, level: int, hash_: bytes) -> Iterator[tuple[int, int, bytes]]:
        if level == len(self._rows):
            self._rows.append([])
            self._full.append(0)
        row = self._rows[level]
        row.append(hash_)
        if len(row) == WIDTH:
            yield level, self._full[level], b"".join(row)
            self._full[level] += 1
            self._rows[level] = []
            yield from self._add(level + 1, _top(row))

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


def _top(row: Sequence[bytes]) -> bytes:
    while len(row) > 1:
        row = [node_hash(left, right) for left, right in zip(row[::2], row[1::2], strict=True)]
    return row[0]


def _perfect(row: Sequence[bytes]) -> Iterator[bytes]:
    """The perfect subtrees over a row, largest first."""
    at = 0
    while at < len(row):
        width = 1 << (len(row) - at).bit_length() - 1
        yield _top(row[at : at + width])
        at += width
