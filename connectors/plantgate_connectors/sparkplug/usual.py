"""Metrics of the usual kind, as one pattern: alias, time, perhaps properties, and a value, in this order and no more.

A regular expression takes dozens of them apart in one call, whatever types are mixed in it. It cannot count, so that a
metric's own length, and that of an exact time, is compared afterwards with what was found (`read_usual`).
"""

import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Final, NamedTuple

from plantgate.sdk.quality import GOOD
from plantgate_connectors.sparkplug.nested import read_properties
from plantgate_connectors.sparkplug.quality import NO_TIME, read_quality, submilliseconds
from plantgate_connectors.sparkplug.wire import FLOAT, U64

TOGETHER: Final = 64
"""Metrics that are taken apart at once, at most."""
STAMP_BYTES: Final = 6
"""Of every time between 1971 and 2109."""
ALIAS_KEY: Final = b"\x10"
HISTORICAL_KEY: Final = b"\x28"
DOUBLE_KEY: Final = b"\x69"
FLOAT_KEY: Final = b"\x65"
LONG_KEY: Final = b"\x58"
BOOLEAN_KEY: Final = b"\x70"
STRING_KEY: Final = b"\x7a"
_CACHED_MOST: Final = 20_000
_TEXT_MOST: Final = 100
_METRIC_BYTES_MAX: Final = 129

_LENGTHS: Final = "|".join(f"\\x{size:02x}.{{{size}}}" for size in range(1, 128))
_BLOB: Final = rf"(?:\x00|{_LENGTHS})"
"""Up to 127 bytes behind their length."""
_NUMBER: Final = r"[\x80-\xff]{0,9}[\x00-\x7f]"
_NS: Final = r"[\x80-\xff]{0,2}[\x00-\x7f]"
_KEY: Final = r"[\x65\x69\x58\x70\x7a]"
_PATTERN: Final = re.compile(
    (
        r"\x12([\x00-\x7f])("
        r"\x10([\x80-\xff]{0,4}[\x00-\x7f])"
        r"\x18([\x80-\xff]{5}[\x00-\x7f])"
        r"(?:(?=[\x28\x4a])((?:\x28[\x00\x01])?"
        rf"(?:\x4a(?:[\x0a-\x0c]\x0a\x02ns\x12[\x04-\x06]\x08\x03\x18(?={_NS}{_KEY})|{_BLOB}))?)"
        rf"((?<=\x08\x03\x18){_NS})?)?"
        rf"({_KEY})"
        rf"((?<=\x69).{{8}}|(?<=\x65).{{4}}|(?<=\x70)[\x00\x01]|(?<=\x58){_NUMBER}|(?<=\x7a){_BLOB})"
        r")|.+"
    ).encode(),
    re.DOTALL,
)
"""Length, all that it is of, alias, time, what is between, the number of `ns`, the key of the value, the value.

Whatever comes behind the last metric of this kind matches without any of them.
"""
_SIZE, _CONTENT, _ALIAS, _TIME, _BETWEEN, _EXTRA, _KEY_AT, _VALUE = range(1, 9)
_GROUPS: Final = 9


@dataclass(slots=True)
class Run:
    """Metrics that follow each other, as columns."""

    aliases: list[bytes]
    """As they are written."""
    stamps: list[bytes]
    """Times in milliseconds, as they are written."""
    nanoseconds: list[int] | None
    """What `ns` adds to each; None for nothing."""
    qualities: list[int]
    keys: list[bytes]
    written: list[bytes]
    """Values."""
    plain: bool
    """Whether none of them has more to say."""
    betweens: list[bytes | None]
    extras: list[bytes | None]
    """As they are written."""
    start: int
    stop: int
    """Where they stand in the payload."""

    def values(self) -> Sequence[float | bool | int | str]:
        """Raises `UnicodeDecodeError` if one of the texts is none."""
        floats = self.keys.count(DOUBLE_KEY)
        if floats == len(self.keys):
            return struct.unpack(f"<{floats}d", b"".join(self.written))
        together = b"".join(compress(self.written, map(DOUBLE_KEY.__eq__, self.keys)))
        doubles = iter(struct.unpack(f"<{floats}d", together))
        readers, rows = READERS, zip(self.keys, self.written, strict=True)
        return [next(doubles) if key == DOUBLE_KEY else readers[key][written] for key, written in rows]


def read_usual(body: bytes, at: int, end: int, most: int) -> Run | None:
    """The metrics of the usual kind that begin here, `most` at most; None if the first one is another.

    Raises `Malformed` for properties that are none.
    """
    if body[at + 2 : at + 3] != ALIAS_KEY:
        return None
    found = _PATTERN.split(body[at : min(end, at + most * _METRIC_BYTES_MAX)], most)
    sizes = found[_SIZE::_GROUPS]
    count = len(sizes) - (sizes[-1] is None)
    lengths = list(map(len, found[_CONTENT : count * _GROUPS : _GROUPS]))
    count = _alike(lengths, b"".join(sizes[:count]))
    stop = count * _GROUPS
    betweens: list[bytes | None] = found[_BETWEEN:stop:_GROUPS]
    extras: list[bytes | None] = found[_EXTRA:stop:_GROUPS]
    qualities, plain = [GOOD] * count, True
    nanoseconds: list[int] | None = None
    if betweens.count(None) < count:
        widths = list(map(len, extras)) if None not in extras else [len(extra or b"") for extra in extras]  # type: ignore[arg-type]
        count = _alike([_BETWEENS[between].width for between in betweens], widths)
        stop = count * _GROUPS
        del betweens[count:], extras[count:]
        kinds = {_BETWEENS[between] for between in set(betweens)}
        plain = all(kind.plain for kind in kinds)
        qualities = [GOOD] * count
        if any(kind.quality for kind in kinds):
            qualities = [_BETWEENS[between].quality for between in betweens]
        if None not in extras:
            nanoseconds = list(map(_NUMBERS.__getitem__, extras))  # type: ignore[arg-type]
        elif any(kind.width or kind.nanoseconds for kind in kinds):
            nanoseconds = [
                _BETWEENS[between].nanoseconds if extra is None else _NUMBERS[extra]
                for between, extra in zip(betweens, extras, strict=True)
            ]
    if not count:
        return None
    return Run(
        found[_ALIAS:stop:_GROUPS],
        found[_TIME:stop:_GROUPS],
        nanoseconds,
        qualities,
        found[_KEY_AT:stop:_GROUPS],
        found[_VALUE:stop:_GROUPS],
        plain,
        betweens,
        extras,
        at,
        at + 2 * count + sum(lengths[:count]),
    )


def _alike(some: Sequence[int], others: Sequence[int]) -> int:
    """How many are the same."""
    if list(some) == list(others):
        return len(some)
    for place, (one, other) in enumerate(zip(some, others, strict=True)):
        if one != other:
            return place
    return len(some)


class Between(NamedTuple):
    """What may stand between a metric's time and its value."""

    quality: int
    nanoseconds: int
    """Beyond the millisecond."""
    width: int
    """Of the number of `ns` that follows, in bytes; 0 for none."""
    plain: bool
    """Whether that is all there is to say of it."""


class _Betweens(dict[bytes | None, Between]):
    """There are few, and each comes often. Raises `Malformed`."""

    def __missing__(self, written: bytes | None) -> Between:
        if len(self) > _CACHED_MOST:
            self.clear()
        found = self[written] = _between(written or b"")
        return found


def _between(written: bytes) -> Between:
    if written[:1] == HISTORICAL_KEY:
        written = written[2:]
    if not written:
        return Between(GOOD, 0, 0, True)
    if len(written) != 2 + written[1]:  # nothing but `ns`, whose number follows
        width = 2 + written[1] - len(written)
        return Between(GOOD, 0, width if written[7] == 3 + width else -1, True)
    properties: Mapping[str, object] = read_properties(written, 2, len(written))
    return Between(read_quality(properties), submilliseconds(properties), 0, NO_TIME not in properties)


_BETWEENS: Final = _Betweens()


def number_of(written: bytes) -> int:
    """A number as it is written, which is known to end."""
    found = 0
    for byte in reversed(written):
        found = found << 7 | byte & 127
    return found


class _Numbers(dict[bytes, int]):
    """Whole numbers of 64 bits, as an Int64 means them."""

    def __missing__(self, written: bytes) -> int:
        if len(self) > _CACHED_MOST:
            self.clear()
        number = number_of(written) & U64
        found = self[written] = number - (1 << 64) if number >> 63 else number
        return found


_NUMBERS: Final = _Numbers()


class _Texts(dict[bytes, str]):
    """Texts behind their length. Raises `UnicodeDecodeError` for what is none."""

    def __missing__(self, written: bytes) -> str:
        text = written[1:].decode()
        if len(written) <= _TEXT_MOST:
            if len(self) > _CACHED_MOST:
                self.clear()
            self[written] = text
        return text


class _Floats(dict[bytes, float]):
    """Floats of four bytes, which are not remembered."""

    def __missing__(self, written: bytes) -> float:
        found: float = FLOAT.unpack(written)[0]
        return found


READERS: Final[dict[bytes, Mapping[bytes, float | bool | int | str]]] = {
    LONG_KEY: _NUMBERS,
    BOOLEAN_KEY: {b"\0": False, b"\1": True},
    STRING_KEY: _Texts(),
    FLOAT_KEY: _Floats(),
}
"""By the key of the field that a value is in, from what is written there; doubles are read together."""
