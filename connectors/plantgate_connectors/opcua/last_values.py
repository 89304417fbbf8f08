"""The last sample given of each item, and which samples are bound to come twice."""

from collections.abc import Iterable
from typing import Final, TypeAlias

from plantgate.sdk import Value
from plantgate_connectors.opcua.decode import Columns


class Unknown:
    """In place of a value that a former process gave."""


UNKNOWN: Final = Unknown()

Last: TypeAlias = tuple[int | None, Value | Unknown]
"""Source time and value."""


class LastValues:
    """By handle."""

    def __init__(self, times: dict[int, int]) -> None:
        # Two dictionaries, and no tuple for each value: those would keep the garbage collector busy.
        self._times: dict[int, int | None] = dict(times)
        self._values: dict[int, Value | Unknown] = dict.fromkeys(times, UNKNOWN)
        self._repeats: dict[int, dict[int | None, Value | Unknown]] = {}
        """Time and value of samples that will come once more."""

    def __contains__(self, handle: int) -> bool:
        return handle in self._times

    def __getitem__(self, handle: int) -> Last:
        return self._times[handle], self._values[handle]

    def handles(self) -> list[int]:
        """Items that have given anything, ever."""
        return list(self._times)

    def times(self, items: int) -> list[int | None]:
        """Source time of each item's last sample, by handle; None where there is none."""
        return list(map(self._times.get, range(items)))

    def latest(self, handles: Iterable[int]) -> int | None:
        """The latest source time among these items."""
        times = (self._times.get(handle) for handle in handles)
        return max((time for time in times if time is not None), default=None)

    def note(self, columns: Columns) -> None:
        """These are given now."""
        self._times.update(zip(columns.handles, columns.times, strict=True))
        self._values.update(zip(columns.handles, columns.values, strict=True))

    def expect_present(self, handles: Iterable[int]) -> None:
        """These items will report their present value: no news if it is the one given last."""
        for handle in handles:
            if handle in self._times:
                self._repeats.setdefault(handle, {})[self._times[handle]] = self._values[handle]

    def expect(self, columns: Columns) -> None:
        """What was fetched to fill a gap may be held once more by what comes after it."""
        for handle, time, value in zip(columns.handles, columns.times, columns.values, strict=True):
            self._repeats.setdefault(handle, {})[time] = value

    def repeated(self, columns: Columns) -> list[int]:
        """Rows that are such repeats; an item that has moved on is no longer looked at."""
        if not self._repeats:
            return []
        rows = []
        for row, handle in enumerate(columns.handles):
            known = self._repeats.get(handle)
            if known is None:
                continue
            time, value = columns.times[row], columns.values[row]
            if time in known and known[time] == value:
                rows.append(row)
            elif time is None or all(each is None or time > each for each in known):
                del self._repeats[handle]
        return rows
