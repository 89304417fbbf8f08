"""Every metric an edge node has announced, or is about to: names, aliases, types, and the last value of each."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from plantgate.sdk import Batch, Log, Unavailable, Value
from plantgate_connectors.sparkplug.datatypes import DataType, holds, wider
from plantgate_connectors.sparkplug.lineup import Lineup
from plantgate_connectors.sparkplug.metric import Metric
from plantgate_connectors.sparkplug.placing import Place, place
from plantgate_connectors.sparkplug.quality import BAD_WAITING
from plantgate_connectors.sparkplug.said import LastSaid, Said

FIRST_ALIAS: Final = 128
"""Aliases of tags begin here: nearly all are then two bytes long, and metrics of one length are written fastest."""
_LINEUPS_MOST: Final = 64
"""A poll of each of so many devices, and what was last said of their tags, is remembered as a whole."""

NOTHING_YET: Final = (None, BAD_WAITING, None)


class _Kept(msgspec.Struct):
    tag: str
    alias: int
    datatype: int | None


class Catalog:
    """Outlives the sessions, and, without values, the process: what was announced once is announced again.

    Values are those the broker has taken; `None` with BadWaitingForInitialData stands for none.
    """

    def __init__(self, folder: Path, device_levels: int) -> None:
        self._file = folder / "metrics.json"
        self._device_levels = device_levels
        self._metrics: dict[str, Metric] = {}
        self._places: set[Place] = set()
        self._next = FIRST_ALIAS
        self._lineups: dict[tuple[str, int], Lineup] = {}
        self._last = LastSaid()
        self._loaded = False

    def load(self, log: Log) -> None:
        """Read what an earlier process announced. A damaged file counts as none: tags come again with their values."""
        if self._loaded:
            return
        try:
            kept = msgspec.json.decode(self._file.read_bytes(), type=list[_Kept])
            for each in kept:
                self._add(each.tag, each.alias, None if each.datatype is None else DataType(each.datatype))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise Unavailable(f"cannot read {self._file}: {error.strerror or error}") from error
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
            log.error("list of metrics is damaged, begun anew", file=str(self._file), reason=str(error))
            self._metrics, self._places, self._next = {}, set(), FIRST_ALIAS
            self._lineups.clear()
        self._loaded = True

    def keep(self) -> None:
        """Write the list down; with each birth, so seldom."""
        kept = [_Kept(metric.tag, metric.alias, metric.datatype) for metric in self._metrics.values()]
        fresh = self._file.with_suffix(".new")
        try:
            with fresh.open("wb") as file:
                file.write(msgspec.json.encode(kept))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._file)
        except OSError as error:
            raise Unavailable(f"cannot write {self._file}: {error.strerror or error}") from error

    # What a batch brings.

    def learn(self, batch: Batch) -> bool:
        """Take in tags and types a batch has; True if something must be announced before the batch can go out."""
        fresh = False
        try:
            lineup = self.lineup(batch.tags)
        except KeyError:
            for tag in batch.tags:
                if tag not in self._metrics:
                    self._add(tag, self._next, None)
            fresh = True
            lineup = self.lineup(batch.tags)
        changed = False
        places: Iterable[int] = lineup.doubtful(batch.values)
        while self._widen(lineup, batch.values, places):
            changed = True
            places = range(len(batch))  # a tag may be there twice, and a new type may not hold what the old one did
        if changed:
            self._lineups.clear()
        return fresh or changed

    def _widen(self, lineup: Lineup, values: Sequence[Value], places: Iterable[int]) -> bool:
        changed = False
        for at in places:
            metric, value = lineup.metrics[at], values[at]
            if value is not None and (metric.datatype is None or not holds(metric.datatype, value)):
                metric.become(wider(metric.datatype, value))
                changed = True
        return changed

    def taken(self, batch: Batch) -> None:
        """The broker has these: they are the last values now."""
        lineup = self.lineup(batch.tags)
        columns = batch.values[:], batch.qualities[:], batch.times[:]
        self._last.many(lineup.tags, *columns, whom=lineup if lineup.again else None)
        lineup.again = True

    def _add(self, tag: str, alias: int, datatype: DataType | None) -> None:
        where = place(tag, self._device_levels)
        while where in self._places:  # two tags whose names differ only in what Sparkplug cannot say
            where = Place(None, f"tags/{where.metric if where.device is None else tag}")
        self._places.add(where)
        self._metrics[tag] = Metric(tag, where, alias, datatype)
        self._next = max(self._next, alias + 1)

    # What there is.

    def __len__(self) -> int:
        return len(self._metrics)

    def lineup(self, tags: list[str]) -> Lineup:
        """The metrics of tags that were learned. Those of an earlier batch are found again for next to nothing."""
        key = (tags[0] if tags else "", len(tags))
        found = self._lineups.get(key)
        if found is None or found.tags != tags:
            metrics = self._metrics
            found = Lineup.of([metrics[tag] for tag in tags], tags[:])
            if len(self._lineups) >= _LINEUPS_MOST:
                self._lineups.clear()
            self._lineups[key] = found
        return found

    def last(self, tag: str) -> Said:
        """Value, quality and source time."""
        return self._last.get(tag) or NOTHING_YET

    def by_device(self) -> dict[str | None, list[Metric]]:
        """All metrics; the edge node's own under None, which is always there."""
        found: dict[str | None, list[Metric]] = {None: []}
        for metric in self._metrics.values():
            found.setdefault(metric.place.device, []).append(metric)
        return found
