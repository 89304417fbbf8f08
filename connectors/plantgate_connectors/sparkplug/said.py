"""What was last said of each tag: kept batch by batch, taken apart when someone asks.

Most of it is never asked for: the same tags come again, and what they said before is forgotten as a whole.
"""

from collections.abc import Hashable, Sequence
from typing import TypeAlias

from plantgate.sdk import Value

Said: TypeAlias = tuple[Value, int, int | None]
"""Value, quality, source time."""
_Columns: TypeAlias = tuple[Sequence[str], Sequence[Value], Sequence[int], Sequence[int | None]]


class LastSaid:
    """Of every tag the newest; of a tag that a call brings twice, the later one."""

    def __init__(self) -> None:
        self._said: dict[str, Said] = {}
        self._whole: dict[Hashable, _Columns] = {}
        """Newer than `_said`. No tag is in two of them, so their order does not matter."""
        self._where: dict[str, Hashable] = {}
        """By tag, in which of `_whole` it is; or in which it was."""

    def __len__(self) -> int:
        return len(self._said)

    def get(self, tag: str) -> Said | None:
        """None for a tag that has said nothing."""
        where = self._where.get(tag)
        if where in self._whole:
            self._take_apart(where)
        return self._said.get(tag)

    def one(self, tag: str, said: Said) -> None:
        """A tag has said something."""
        where = self._where.get(tag)
        if where in self._whole:
            self._take_apart(where)
        self._said[tag] = said

    def many(
        self,
        tags: Sequence[str],
        values: Sequence[Value],
        qualities: Sequence[int],
        times: Sequence[int | None],
        *,
        whom: Hashable = None,
    ) -> None:
        """All of these. `whom` stands for the same tags whenever it comes: then the columns are kept as they are."""
        if whom is not None and whom in self._whole:
            self._whole[whom] = tags, values, qualities, times
            return
        for where in set(map(self._where.get, tags)):
            if where in self._whole:
                self._take_apart(where)
        self._said.update(zip(tags, zip(values, qualities, times, strict=True), strict=True))
        if whom is not None:
            self._where.update(dict.fromkeys(tags, whom))
            self._whole[whom] = tags, values, qualities, times

    def _take_apart(self, where: Hashable) -> None:
        tags, *columns = self._whole.pop(where)
        self._said.update(zip(tags, zip(*columns, strict=True), strict=True))
