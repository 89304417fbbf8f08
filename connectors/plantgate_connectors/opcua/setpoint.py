"""A setpoint as the variant a node's type asks for; nothing is turned into another kind of value."""

import math
import struct
from typing import Final

from asyncua import ua

from plantgate.sdk import Rejected, Setpoint

_RANGES: Final = {
    ua.VariantType.SByte: (-(2**7), 2**7 - 1),
    ua.VariantType.Byte: (0, 2**8 - 1),
    ua.VariantType.Int16: (-(2**15), 2**15 - 1),
    ua.VariantType.UInt16: (0, 2**16 - 1),
    ua.VariantType.Int32: (-(2**31), 2**31 - 1),
    ua.VariantType.UInt32: (0, 2**32 - 1),
    ua.VariantType.Int64: (-(2**63), 2**63 - 1),
    ua.VariantType.UInt64: (0, 2**64 - 1),
}
_FLOAT_DIGITS: Final = 7
"""Decimal digits that a Float keeps: 21.1 stands for the one next to it, and 16777217.0 for none (IEEE 754)."""
_SHOWN_MOST: Final = 60


def variant(tag: str, value: Setpoint, built_in: int) -> ua.Variant:
    """Raises `Rejected`: another kind of value, out of the type's range, NaN, more digits than a Float keeps."""
    kind = ua.VariantType(built_in)
    if type(value) not in _TAKES[kind]:
        raise _refused(tag, value, f"the node holds {kind.name}")
    if kind in _RANGES:
        least, most = _RANGES[kind]
        assert isinstance(value, int)
        if not least <= value <= most:
            raise _refused(tag, value, f"{kind.name} has room for {least} to {most}")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise _refused(tag, value, "it is no finite number")
        if kind is ua.VariantType.Float:
            value = _single(tag, value)
    elif isinstance(value, str):
        _encodable(tag, value)
    return ua.Variant(value, kind)


_TAKES: Final = {
    ua.VariantType.Boolean: (bool,),
    ua.VariantType.Float: (float,),
    ua.VariantType.Double: (float,),
    ua.VariantType.String: (str,),
    **dict.fromkeys(_RANGES, (int,)),
}


def _single(tag: str, value: float) -> float:
    try:
        (held,) = struct.unpack("<f", struct.pack("<f", value))
    except OverflowError:
        raise _refused(tag, value, "it does not fit a Float") from None
    if held != value and float(f"{held:.{_FLOAT_DIGITS}g}") != value:
        raise _refused(tag, value, f"a Float would hold {held!r}")
    assert isinstance(held, float)
    return held


def _encodable(tag: str, value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _refused(tag, value, "it cannot be written as UTF-8") from None


def _refused(tag: str, value: object, why: str) -> Rejected:
    text = repr(value)
    shown = text if len(text) <= _SHOWN_MOST else f"{text[: _SHOWN_MOST - 3]}..."
    return Rejected(f"{tag}: {shown} cannot be written: {why}")
