"""Metrics laid out as they were before, read at once: only the bits of their times and values are new.

An edge node that polls says the same metrics in the same order again and again, whatever their types. Once such a
stretch has been read metric by metric twice, it is remembered which of its bits are times and values (`Layout`). A
stretch whose every other bit is the same (keys, lengths, aliases, properties, and those that tell where a number ends)
is the same metrics, and all of its values lie where they lay. Any difference, and it is read metric by metric again.
"""

import struct
from dataclasses import dataclass
from operator import add
from typing import Any, Final, NamedTuple

from plantgate_connectors.sparkplug.nested import read_properties
from plantgate_connectors.sparkplug.quality import SUBMILLISECONDS
from plantgate_connectors.sparkplug.usual import (
    BOOLEAN_KEY,
    DOUBLE_KEY,
    FLOAT_KEY,
    HISTORICAL_KEY,
    LONG_KEY,
    READERS,
    STAMP_BYTES,
    STRING_KEY,
    Run,
    number_of,
)

_SHORTEST: Final = 8
"""Fewer metrics are read sooner one by one."""
_HEAD_BYTES: Final = 5
"""A stretch is looked for by how it begins: length and alias of its first metric."""
_PLACES_MOST: Final = 512
"""Of an edge node: some 30,000 metrics."""
_SHAPES_MOST: Final = 4_096
_TRIES: Final = 4
_HITS_PER_TRY: Final = 4
"""A stretch that is seldom laid out as before is not learned for ever."""
_NUMBER_BITS: Final = b"\x80"
"""Of each byte of a number, the one that is layout: whether another follows."""
_ALL_BITS: Final = b"\xff"
_VALUE_BITS: Final = b"\x00"
_MASKS: Final = {LONG_KEY: _NUMBER_BITS, BOOLEAN_KEY: b"\xfe"}
"""Bits that are layout, of each byte of a value; of those of other values, none."""
_WORDS: Final = {DOUBLE_KEY: "d", FLOAT_KEY: "f", BOOLEAN_KEY: "?"}
"""Values that `struct` can read."""
_INT32: Final = b"\x08\x03\x18"
"""What stands before the number in a property that is an Int32."""
_NS_BYTES_MAX: Final = 3


@dataclass(slots=True, eq=False)
class Layout:
    """How a stretch of metrics is laid out."""

    size: int
    """In bytes."""
    mask: int
    """The bits that are layout, not time or value; the first byte is the lowest."""
    bits: int
    """What these are."""
    values: struct.Struct
    """Takes out, of each metric, its time, then what is beyond the millisecond if `exact`, then its value."""
    exact: bool
    names: list[bytes]
    """Of each, its alias and the key of its value, as they are written."""
    qualities: list[int]
    whole: list[int]
    """Places of those that are whole numbers."""
    texts: list[int]
    """Places of those that are text."""


@dataclass(slots=True)
class Block:
    """A stretch of metrics, as columns."""

    layout: Layout
    stamps: tuple[bytes, ...]
    """Times in milliseconds, as they are written."""
    nanoseconds: tuple[bytes, ...] | None
    """What `ns` adds to each, as it is written; None for nothing."""
    written: tuple[Any, ...]
    start: int
    stop: int
    """Where they stand in the payload."""

    def values(self) -> list[Any]:
        """Floats, booleans, whole numbers and texts. Raises `UnicodeDecodeError` if one is no text."""
        found = list(self.written)
        numbers, texts = READERS[LONG_KEY], READERS[STRING_KEY]
        for at in self.layout.whole:
            found[at] = numbers[found[at]]
        for at in self.layout.texts:
            found[at] = texts[found[at]]
        return found


@dataclass(slots=True)
class _Place:
    """What came at the head of a stretch."""

    size: int = 0
    layout: Layout | None = None
    tries: int = 0
    hits: int = 0


class Layouts:
    """Of one edge node."""

    def __init__(self) -> None:
        self._places: dict[bytes, _Place] = {}

    def find(self, body: bytes, at: int, end: int) -> Block | None:
        """The stretch that begins here, if it is laid out as one that was."""
        place = self._places.get(body[at : at + _HEAD_BYTES])
        if place is None or place.layout is None:
            return None
        layout = place.layout
        stop = at + layout.size
        if stop > end or int.from_bytes(body[at:stop], "little") & layout.mask != layout.bits:
            return None
        place.hits += 1
        found = layout.values.unpack_from(body, at)
        if layout.exact:
            return Block(layout, found[0::3], found[1::3], found[2::3], at, stop)
        return Block(layout, found[0::2], None, found[1::2], at, stop)

    def saw(self, body: bytes, run: Run) -> None:
        """These were not known. They are learned when they come at the same size again, or if they often were known."""
        head = body[run.start : run.start + _HEAD_BYTES]
        size = run.stop - run.start
        place = self._places.get(head)
        if place is None:
            if len(self._places) >= _PLACES_MOST:
                self._places.clear()
            place = self._places[head] = _Place()
        settled = place.hits >= place.tries * _HITS_PER_TRY
        again = place.size == size or (place.layout is not None and settled)  # that text is only longer now
        place.size = size
        if again and (settled or place.tries < _TRIES):
            place.tries += 1
            place.layout = learn(body, run)


def learn(body: bytes, run: Run) -> Layout | None:
    """The layout of these metrics; None if some have a time to the nanosecond and others not, or they are too few."""
    count = len(run.keys)
    lengths = map(len, run.aliases), [len(extra or b"") for extra in run.extras], map(len, run.written)
    aliases, extras, values = lengths
    shapes = list(map(_SHAPES.__getitem__, zip(aliases, run.betweens, extras, run.keys, values, strict=True)))
    exact = {shape.exact for shape in shapes}
    if count < _SHORTEST or len(exact) > 1 or not run.plain:
        return None
    mask = int.from_bytes(b"".join([shape.mask for shape in shapes]), "little")
    return Layout(
        run.stop - run.start,
        mask,
        int.from_bytes(body[run.start : run.stop], "little") & mask,
        struct.Struct("<" + "".join([shape.written for shape in shapes])),
        exact.pop(),
        list(map(add, run.aliases, run.keys)),
        run.qualities,
        [place for place, key in enumerate(run.keys) if key == LONG_KEY],
        [place for place, key in enumerate(run.keys) if key == STRING_KEY],
    )


class _Shape(NamedTuple):
    """How one metric is laid out."""

    mask: bytes
    written: str
    """Its time and its value, in `struct`'s words."""
    exact: bool


class _Shapes(dict[tuple[int, bytes | None, int, bytes, int], _Shape]):
    """By length of the alias, what is between, length of the number of `ns`, key and length of the value."""

    def __missing__(self, parts: tuple[int, bytes | None, int, bytes, int]) -> _Shape:
        if len(self) > _SHAPES_MOST:
            self.clear()
        found = self[parts] = _shape(*parts)
        return found


_SHAPES: Final = _Shapes()


def _shape(alias: int, between: bytes | None, extra: int, key: bytes, size: int) -> _Shape:
    time = 4 + alias
    width = extra or _nanoseconds(between or b"")
    value = time + STAMP_BYTES + len(between or b"") + extra + 1
    mask = bytearray(_ALL_BITS * value + _MASKS.get(key, _VALUE_BITS) * size)
    mask[time : time + STAMP_BYTES] = _NUMBER_BITS * STAMP_BYTES
    mask[value - 1 - width : value - 1] = _NUMBER_BITS * width
    if key == STRING_KEY:
        mask[value : value + 1] = _ALL_BITS  # its length
    middle = value - time - STAMP_BYTES
    beyond = f"{middle - 1 - width}x{width}sx" if width else f"{middle}x"
    return _Shape(bytes(mask), f"{time}x{STAMP_BYTES}s{beyond}{_WORDS.get(key, f'{size}s')}", bool(width))


def _nanoseconds(between: bytes) -> int:
    """How many of the last bytes of a property set are the number of `ns`, and nothing but that; 0 for none."""
    written = between[4:] if between[:1] == HISTORICAL_KEY else between[2:]
    properties = read_properties(written, 0, len(written))
    for width in range(1, _NS_BYTES_MAX + 1):
        before, number = written[:-width], written[-width:]
        if before.endswith(bytes((0x12, 3 + width)) + _INT32) and _is_number(number):
            other = bytes(byte ^ 0x7F for byte in number)  # another number in its place must be all that changes
            if read_properties(before + other, 0, len(written)) == {**properties, SUBMILLISECONDS: number_of(other)}:
                return width
    return 0


def _is_number(written: bytes) -> bool:
    return written[-1] < 128 and all(byte > 127 for byte in written[:-1])
