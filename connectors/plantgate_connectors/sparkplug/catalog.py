"""Every metric an edge node has announced, or is about to: names, aliases, types, and the last value of each."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from plantgate.sdk import Batch, Log, Unavailable, Value
from plantgate_connectors.sparkplug.datatypes import DataType, holds, wider
from plantgate_connectors.sparkplug.placing import Place, place
from plantgate_connectors.sparkplug.quality import BAD_WAITING
from plantgate_connectors.sparkplug.wire import varint

FIRST_ALIAS: Final = 128
"""Aliases of tags begin here: nearly all are then two bytes long, and metrics of one length are written fastest."""
_FOR_TYPE: Final = {
    float: DataType.DOUBLE,
    bool: DataType.BOOLEAN,
    int: DataType.INT64,
    str: DataType.STRING,
    bytes: DataType.BYTES,
}
"""What the commonest kinds of values go out as; the others are looked at one by one."""
_INT64: Final = range(-(2**63), 2**63)

NOTHING_YET: Final = (None, BAD_WAITING, None)


class _Kept(msgspec.Struct):
    tag: str
    alias: int
    datatype: int | None


@dataclass(slots=True, eq=False)
class Metric:
    """A tag as a metric."""

    tag: str
    place: Place
    alias: int
    datatype: DataType | None
    """None until a value has come; announced as a String without value."""
    field: bytes
    """Its alias as a field, and the key of the timestamp that follows."""

    @property
    def announced_as(self) -> DataType:
        """What a birth certificate says."""
        return DataType.STRING if self.datatype is None else self.datatype


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
        self._last: dict[str, tuple[Value, int, int | None]] = {}
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
        metrics = self._metrics
        fresh = False
        try:
            known = [metrics[tag].datatype for tag in batch.tags]
        except KeyError:
            for tag in batch.tags:
                if tag not in metrics:
                    self._add(tag, self._next, None)
            fresh = True
            known = [metrics[tag].datatype for tag in batch.tags]
        kinds = list(map(type, batch.values))
        usual = list(map(_FOR_TYPE.get, kinds)) == known and None not in known
        if usual and int in kinds:
            usual = all(value in _INT64 for value in batch.values if type(value) is int)
        if usual and str in kinds:
            usual = all(value.isascii() for value in batch.values if type(value) is str)
        if usual:
            return fresh
        for tag, value in zip(batch.tags, batch.values, strict=True):
            metric = metrics[tag]
            if value is not None and (metric.datatype is None or not holds(metric.datatype, value)):
                metric.datatype = wider(metric.datatype, value)
                fresh = True
        return fresh

    def taken(self, batch: Batch) -> None:
        """The broker has these: they are the last values now."""
        self._last.update(zip(batch.tags, zip(batch.values, batch.qualities, batch.times, strict=True), strict=True))

    def _add(self, tag: str, alias: int, datatype: DataType | None) -> None:
        where = place(tag, self._device_levels)
        while where in self._places:  # two tags whose names differ only in what Sparkplug cannot say
            where = Place(None, f"tags/{where.metric if where.device is None else tag}")
        self._places.add(where)
        self._metrics[tag] = Metric(tag, where, alias, datatype, b"\x10" + varint(alias) + b"\x18")
        self._next = max(self._next, alias + 1)

    # What there is.

    def __len__(self) -> int:
        return len(self._metrics)

    def of(self, tags: Iterable[str]) -> list[Metric]:
        """The metrics of tags that were learned."""
        metrics = self._metrics
        return [metrics[tag] for tag in tags]

    def last(self, tag: str) -> tuple[Value, int, int | None]:
        """Value, quality and source time."""
        return self._last.get(tag, NOTHING_YET)

    def by_device(self) -> dict[str | None, list[Metric]]:
        """All metrics; the edge node's own under None, which is always there."""
        found: dict[str | None, list[Metric]] = {None: []}
        for metric in self._metrics.values():
            found.setdefault(metric.place.device, []).append(metric)
        return found
