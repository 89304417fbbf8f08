"""From metrics to samples in a batch, and what was last said of each tag."""

import struct
from collections.abc import Callable, Mapping, Sequence
from operator import add
from typing import Final

from plantgate.sdk import Batch, Severity, Value, severity
from plantgate.sdk.quality import BAD_DECODING, GOOD, UNCERTAIN
from plantgate_connectors.sparkplug.announced import Announced, Stretch, members
from plantgate_connectors.sparkplug.layouts import Block
from plantgate_connectors.sparkplug.quality import (
    BAD_WAITING,
    NO_TIME,
    UNCERTAIN_NO_COMMUNICATION,
    read_quality,
    submilliseconds,
)
from plantgate_connectors.sparkplug.reading import Reading, Template
from plantgate_connectors.sparkplug.said import LastSaid, Said
from plantgate_connectors.sparkplug.stamps import NS
from plantgate_connectors.sparkplug.usual import LONG_KEY, READERS, Run, number_of
from plantgate_connectors.sparkplug.values import interpret
from plantgate_connectors.sparkplug.wire import Malformed

MILLISECONDS_MOST: Final = 253_402_300_800_000
"""The year 10,000; a time beyond it is no time."""
_CACHED_MOST: Final = 4_096


class _Times(dict[bytes, int]):
    """Nanoseconds since 1970 for a time in milliseconds as it is written: neighbours mostly share theirs."""

    def __init__(self, unit: int) -> None:
        super().__init__()
        self._unit = unit

    def __missing__(self, written: bytes) -> int:
        if len(self) > _CACHED_MOST:
            self.clear()
        found = self[written] = number_of(written) * self._unit
        return found


class Samples:
    """Writes into batches. Remembers the last of each tag: for births that repeat it, and for deaths."""

    def __init__(self, undecodable: Callable[[str, str], None]) -> None:
        """`undecodable` is told a tag and what is wrong with a value of it."""
        self._undecodable = undecodable
        self._times = _Times(NS)
        self._high = _Times(NS << 14)
        self.last = LastSaid()

    def run(self, batch: Batch, run: Run, usual: Mapping[bytes, str], *, doubtful: bool) -> bool:
        """All metrics of a run; False, and nothing done, if one of them wants a closer look."""
        times = self._moments(run.stamps, run.nanoseconds) if run.plain else None
        if times is None:
            return False
        try:
            tags = list(map(usual.__getitem__, map(add, run.aliases, run.keys)))
            values = run.values()
        except (KeyError, UnicodeDecodeError):
            return False
        self._many(batch, tags, values, run.qualities, times, doubtful, None)
        return True

    def block(self, batch: Batch, block: Block, stretch: Stretch, *, doubtful: bool) -> bool:
        """All metrics of a stretch; False, and nothing done, if one of them wants a closer look."""
        exact = block.nanoseconds
        more = None if exact is None else list(map(READERS[LONG_KEY].__getitem__, exact))
        times = self._moments(block.stamps, more)  # type: ignore[arg-type]  # whole numbers
        if times is None:
            return False
        try:
            values = block.values()
        except UnicodeDecodeError:
            return False
        self._many(batch, stretch.tags, values, block.layout.qualities, times, doubtful, stretch)
        return True

    def _many(
        self,
        batch: Batch,
        tags: list[str],
        values: Sequence[Value],
        qualities: list[int],
        times: list[int],
        doubtful: bool,
        whom: Stretch | None,
    ) -> None:
        if doubtful:
            qualities = [max(quality, UNCERTAIN) for quality in qualities]
        batch.tags += tags
        batch.values += values
        batch.qualities += qualities
        batch.times += times
        self.last.many(tags, values, qualities, times, whom=whom)

    def _moments(self, stamps: Sequence[bytes], nanoseconds: Sequence[int] | None) -> list[int] | None:
        """Times in ns UTC; None if one of them is none."""
        if stamps.count(stamps[0]) == len(stamps):  # of one poll
            times = [self._times[stamps[0]]] * len(stamps)
        else:
            times = self._each_moment(stamps)
        if max(times) >= MILLISECONDS_MOST * NS:
            return None
        if nanoseconds is None:
            return times
        return list(map(add, times, nanoseconds)) if max(nanoseconds) < NS else None

    def _each_moment(self, stamps: Sequence[bytes]) -> list[int]:
        """The lower 14 bits of a time are its first two bytes; the rest is the same for 16 seconds."""
        halves = struct.unpack("<" + "H4s" * len(stamps), b"".join(stamps))
        high = self._high
        return [
            (low & 0x7F | (low & 0x7F00) >> 1) * NS + high[rest]
            for low, rest in zip(halves[0::2], halves[1::2], strict=True)
        ]

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
        value, quality, _ = self.last.get(tag) or (None, BAD_WAITING, None)
        if severity(quality) is not Severity.BAD:
            quality = UNCERTAIN_NO_COMMUNICATION
        self._add(batch, tag, (value, quality, time))

    def _add(self, batch: Batch, tag: str, said: Said) -> None:
        batch.tags.append(tag)
        batch.values.append(said[0])
        batch.qualities.append(said[1])
        batch.times.append(said[2])
        self.last.one(tag, said)

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
