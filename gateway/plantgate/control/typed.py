"""A value at the border: exactly of the type that the plant file gives the tag, or refused."""

import math
import re
import struct
from collections.abc import Mapping
from enum import Enum
from typing import Final

from plantgate.sdk import Setpoint

LENGTH_MAX: Final = 1024
"""Characters of a text that is written to a machine."""


class DataType(Enum):
    """OPC UA built-in types (OPC 10000-6, 5.1.2) of values that can be written."""

    BOOLEAN = "Boolean"
    SBYTE = "SByte"
    BYTE = "Byte"
    INT16 = "Int16"
    UINT16 = "UInt16"
    INT32 = "Int32"
    UINT32 = "UInt32"
    INT64 = "Int64"
    UINT64 = "UInt64"
    FLOAT = "Float"
    DOUBLE = "Double"
    STRING = "String"


_NUMBER: Final = r"-?\d+(\.\d+)?([eE][-+]?\d+)?"
_INTEGERS: Final[Mapping[DataType, tuple[int, int]]] = {
    DataType.SBYTE: (-(2**7), 2**7 - 1),
    DataType.BYTE: (0, 2**8 - 1),
    DataType.INT16: (-(2**15), 2**15 - 1),
    DataType.UINT16: (0, 2**16 - 1),
    DataType.INT32: (-(2**31), 2**31 - 1),
    DataType.UINT32: (0, 2**32 - 1),
    DataType.INT64: (-(2**63), 2**63 - 1),
    DataType.UINT64: (0, 2**64 - 1),
}


def is_numeric(data_type: DataType) -> bool:
    """Whether it has a range, steps and a distance between two values."""
    return data_type not in (DataType.BOOLEAN, DataType.STRING)


def exact(value: object, data_type: DataType) -> Setpoint:
    """The value as that type. Nothing is coerced but a whole number to the floating type that holds it exactly.

    Raises `ValueError` with a sentence: NaN, infinities, booleans as numbers, numbers as text, out of the type's range.
    """
    if data_type is DataType.BOOLEAN:
        if type(value) is not bool:
            raise ValueError(f"{_shown(value)} is not a Boolean; write true or false")
        return value
    if data_type is DataType.STRING:
        return _text(value)
    if data_type in _INTEGERS:
        if type(value) is not int:
            raise ValueError(f"{_shown(value)} is not a whole number, which {data_type.value} asks for")
        least, most = _INTEGERS[data_type]
        if not least <= value <= most:
            raise ValueError(f"{value} does not fit {data_type.value} ({least} to {most})")
        return value
    return _floating(value, data_type)


def vector(text: str) -> tuple[float, ...] | None:
    """The numbers of a text such as ``[0.5,-0.25,0.01]``; None for any other text."""
    inner = text.strip()
    if not (inner.startswith("[") and inner.endswith("]")) or len(text) > LENGTH_MAX:
        return None
    parts = [part.strip() for part in inner[1:-1].split(",")]
    if not all(re.fullmatch(_NUMBER, part, re.ASCII) for part in parts):
        return None
    numbers = tuple(float(part) for part in parts)
    return numbers if all(map(math.isfinite, numbers)) else None


def vector_text(value: object) -> object:
    """A list of numbers as the text that `vector` reads; anything else as it is."""
    if not isinstance(value, list) or not all(type(part) in (int, float) for part in value):
        return value
    return "[" + ",".join(repr(float(part)) for part in value) + "]"


def written(value: Setpoint) -> str:
    """The value as text that says exactly what it is, for records: 20.0 is ``20.0``, true is ``true``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


def plain(text: str, most: int) -> str:
    """Text that a record can hold, whatever came: halves of characters are spelled out, and what is long is cut."""
    return text[:most].encode("utf-8", "backslashreplace").decode()


def read_back(text: str, data_type: DataType) -> Setpoint:
    """What `written` wrote. Raises `ValueError` for text that it did not."""
    if data_type is DataType.STRING:
        return _text(text)
    if data_type is DataType.BOOLEAN:
        if text not in ("true", "false"):
            raise ValueError(f"{_shown(text)} is not a Boolean; write true or false")
        return text == "true"
    pattern = r"-?\d+" if data_type in _INTEGERS else _NUMBER
    if len(text) > 400 or re.fullmatch(pattern, text, re.ASCII) is None:
        raise ValueError(f"{_shown(text)} is not a number, which {data_type.value} asks for")
    return exact(int(text) if data_type in _INTEGERS else float(text), data_type)


def _text(value: object) -> str:
    if type(value) is not str:
        raise ValueError(f"{_shown(value)} is not text, which String asks for")
    if len(value) > LENGTH_MAX:
        raise ValueError(f"a text of {len(value)} characters; at most {LENGTH_MAX} are written")
    if any(ord(mark) < 32 or 0xD800 <= ord(mark) <= 0xDFFF or ord(mark) == 127 for mark in value):
        raise ValueError("a text with control characters or halves of characters; it is not written")
    return value


def _floating(value: object, data_type: DataType) -> float:
    if type(value) is int:
        number = _float_of(value)
        if number != value:
            raise ValueError(f"{_shown(value)} is not exactly a {data_type.value}")
    elif type(value) is float:
        number = value
    else:
        raise ValueError(f"{_shown(value)} is not a number, which {data_type.value} asks for")
    if not math.isfinite(number):
        raise ValueError(f"{number} is not a number that can be written")
    if data_type is DataType.FLOAT:
        try:
            struct.pack("<f", number)
        except OverflowError:
            raise ValueError(f"{number!r} does not fit Float") from None
    return number


def _float_of(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _shown(value: object) -> str:
    """A few characters of whatever came; a hostile one must not fill a log."""
    text = repr(value) if isinstance(value, str | int | float | bool | None) else type(value).__name__
    return text if len(text) <= 60 else f"{text[:57]}..."
