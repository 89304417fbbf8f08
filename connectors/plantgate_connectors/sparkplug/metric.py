"""A tag as a metric: where it stands, under which alias, of which type, and how its usual values are written."""

import dataclasses
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from plantgate_connectors.sparkplug.datatypes import DataType
from plantgate_connectors.sparkplug.placing import Place
from plantgate_connectors.sparkplug.wire import DOUBLE, U64, varint

_CACHED_MOST: Final = 20_000
_TEXT_MOST: Final = 100
"""Longer texts are not remembered."""

Way: TypeAlias = tuple[type | None, bytes, Callable[[Any], bytes]]
"""The kind of value a type is usually given, the key of the field it goes into, and what writes the rest."""


class _Numbers(dict[int, bytes]):
    """Whole numbers as an Int64 has them."""

    def __missing__(self, number: int) -> bytes:
        if len(self) > _CACHED_MOST:
            self.clear()
        written = self[number] = varint(number & U64)
        return written


class _Texts(dict[str, bytes]):
    """Texts with their length in front."""

    def __missing__(self, text: str) -> bytes:
        encoded = text.encode()
        written = varint(len(encoded)) + encoded
        if len(written) <= _TEXT_MOST:
            if len(self) > _CACHED_MOST:
                self.clear()
            self[text] = written
        return written


def _unusual(value: object) -> bytes:
    raise AssertionError(f"{value!r} is written as a column")


_WAYS: Final[dict[DataType | None, Way]] = {
    DataType.DOUBLE: (float, b"\x69", DOUBLE.pack),
    DataType.BOOLEAN: (bool, b"\x70", {False: b"\0", True: b"\1"}.__getitem__),
    DataType.INT64: (int, b"\x58", _Numbers().__getitem__),
    DataType.STRING: (str, b"\x7a", _Texts().__getitem__),
}
_NO_WAY: Final[Way] = (None, b"", _unusual)


@dataclasses.dataclass(slots=True, eq=False)
class Metric:
    """A tag as a metric."""

    tag: str
    place: Place
    alias: int
    datatype: DataType | None
    """None until a value has come; announced as a String without value."""
    field: bytes = dataclasses.field(init=False)
    """Its alias as a field, and the key of the timestamp that follows."""
    way: Way = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.field = b"\x10" + varint(self.alias) + b"\x18"
        self.become(self.datatype)

    def become(self, datatype: DataType | None) -> None:
        """It has another type from now on."""
        self.datatype = datatype
        self.way = _WAYS.get(datatype, _NO_WAY)

    @property
    def announced_as(self) -> DataType:
        """What a birth certificate says."""
        return DataType.STRING if self.datatype is None else self.datatype
