"""From metrics to samples in a batch, and what was last said of each tag."""

from collections.abc import Callable
from typing import Final

from plantgate.sdk import Batch, Severity, Value, severity
from plantgate.sdk.quality import BAD_DECODING, GOOD, UNCERTAIN
from plantgate_connectors.sparkplug.announced import Announced, members
from plantgate_connectors.sparkplug.datatypes import DataType
from plantgate_connectors.sparkplug.nested import BOOLEAN, DOUBLE_VALUE, STRING
from plantgate_connectors.sparkplug.plain import Plain, number_of
from plantgate_connectors.sparkplug.quality import (
    BAD_WAITING,
    NO_TIME,
    UNCERTAIN_NO_COMMUNICATION,
    read_quality,
    submilliseconds,
)
from plantgate_connectors.sparkplug.reading import Reading, Template
from plantgate_connectors.sparkplug.runs import Run
from plantgate_connectors.sparkplug.stamps import NS
from plantgate_connectors.sparkplug.values import interpret
from plantgate_connectors.sparkplug.wire import Malformed

MILLISECONDS_MOST: Final = 253_402_300_800_000
"""The year 10,000; a time beyond it is no time."""
_CACHED_MOST: Final = 4_096

Said = tuple[Value, int, int | None]
"""Value, quality, source time."""


class _Times(dict[bytes, int]):
    """Nanoseconds since 1970 for a time in milliseconds as it is written: neighbours mostly share theirs."""

    def __missing__(self, written: bytes) -> int:
        if len(self) > _CACHED_MOST:
            self.clear()
        found = self[written] = number_of(written) * NS
        return found


class _Numbers(dict[bytes, int]):
    """Small numbers as they are written."""

    def __missing__(self, written: bytes) -> int:
        if len(self) > _CACHED_MOST:
            self.clear()
        found = self[written] = number_of(written)
        return found


class Samples:
    """Writes into batches. Remembers the last of each tag: for births that repeat it, and for deaths."""

    def __init__(self, undecodable: Callable[[str, str], None]) -> None:
        """`undecodable` is told a tag and what is wrong with a value of it."""
        self._undecodable = undecodable
        self._times = _Times()
        self._numbers = _Numbers()
        self.last: dict[str, Said] = {}

    def run(self, batch: Batch, run: Run, floats: dict[bytes, str], *, doubtful: bool) -> bool:
        """All metrics of a run; False, and nothing done, if one of them is not a float that was announced."""
        try:
            tags = list(map(floats.__getitem__, run.aliases))
        except KeyError:
            return False
        times = list(map(self._times.__getitem__, run.stamps))
        if max(times) >= MILLISECONDS_MOST * NS:
            return False
        if run.nanoseconds is not None:
            more = list(map(self._numbers.__getitem__, run.nanoseconds))
            if max(more) >= NS:
                return False
            times = list(map(int.__add__, times, more))
        qualities = [UNCERTAIN if doubtful else GOOD] * len(tags)
        batch.tags += tags
        batch.values += run.values
        batch.qualities += qualities
        batch.times += times
        self.last.update(zip(tags, zip(run.values, qualities, times, strict=True), strict=True))
        return True

    def plain(self, batch: Batch, part: Plain, announced: Announced, *, doubtful: bool) -> bool:
        """A metric of the usual kind; False, and nothing done, for one that wants a closer look."""
        _, milliseconds, kind, value, properties = part
        datatype = announced.datatype
        if kind == DOUBLE_VALUE:
            fits = datatype == DataType.DOUBLE or datatype == DataType.FLOAT
        elif kind == BOOLEAN:
            fits = datatype == DataType.BOOLEAN
        elif kind == STRING:
            fits = datatype == DataType.STRING and type(value) is str
        else:
            fits = datatype == DataType.INT64
            if type(value) is int and value >> 63:
                value -= 1 << 64
        if not fits or milliseconds >= MILLISECONDS_MOST:
            return False
        quality, time = GOOD, milliseconds * NS
        if properties:
            if NO_TIME in properties:
                return False
            quality = read_quality(properties)
            time += submilliseconds(properties)
        if doubtful and quality < UNCERTAIN:
            quality = UNCERTAIN
        said: Said = (value, quality, time)  # type: ignore[assignment]  # a float, a bool, an int or a str
        batch.tags.append(announced.tag)
        batch.values.append(said[0])
        batch.qualities.append(quality)
        batch.times.append(time)
        self.last[announced.tag] = said
        return True

    def metric(self, batch: Batch, reading: Reading, announced: Announced, *, doubtful: bool) -> None:
        """One metric of a data message; a structure becomes a sample for each of its members."""
        if isinstance(reading.value, Template) and not reading.null:
            for member, tag in members(reading.value, announced.tag):
                member.time = reading.time if member.time is None else member.time
                self._add(batch, tag, self._read(member, tag, member.datatype, member.json, doubtful=doubtful))
            return
        datatype = announced.datatype if reading.datatype is None else reading.datatype
        said = self._read(reading, announced.tag, datatype, announced.json or reading.json, doubtful=doubtful)
        self._add(batch, announced.tag, said)

    def birth(self, batch: Batch, reading: Reading, announced: Announced) -> None:
        """One metric of a birth: left out if it only repeats what was said last, or has nothing to say yet."""
        if isinstance(reading.value, Template):
            if not reading.value.is_definition:
                self.metric(batch, reading, announced, doubtful=False)
            return
        said = self._read(reading, announced.tag, announced.datatype, announced.json, doubtful=False)
        if said != self.last.get(announced.tag) and not (said[0] is None and said[1] == BAD_WAITING):
            self._add(batch, announced.tag, said)

    def stale(self, batch: Batch, tag: str, time: int | None) -> None:
        """Its edge node or device is gone: the last value, said to be the last. `time` is when, if the plant said."""
        value, quality, _ = self.last.get(tag, (None, BAD_WAITING, None))
        if severity(quality) is not Severity.BAD:
            quality = UNCERTAIN_NO_COMMUNICATION
        self._add(batch, tag, (value, quality, time))

    def _add(self, batch: Batch, tag: str, said: Said) -> None:
        batch.tags.append(tag)
        batch.values.append(said[0])
        batch.qualities.append(said[1])
        batch.times.append(said[2])
        self.last[tag] = said

    def _read(self, reading: Reading, tag: str, datatype: int | None, json: bool, *, doubtful: bool) -> Said:
        properties = reading.properties
        quality = read_quality(properties) if properties else GOOD
        time = None if reading.time is None or properties.get(NO_TIME) is True else reading.time * NS
        if time is not None and time >= MILLISECONDS_MOST * NS:
            time, quality = None, max(quality, UNCERTAIN)
        elif time is not None and properties:
            time += submilliseconds(properties)
        try:
            value = interpret(reading, datatype or 0, json=json)
        except Malformed as error:
            self._undecodable(tag, str(error))
            return None, BAD_DECODING, time
        if doubtful and severity(quality) is Severity.GOOD:
            quality = UNCERTAIN
        return value, quality, time
