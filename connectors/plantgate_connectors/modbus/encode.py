"""From a value to the bytes of its registers, so that reading them gives that value again; or not at all."""

import math
import struct
from typing import Final

from plantgate.sdk import Rejected, Setpoint, Value
from plantgate_connectors.modbus.pdu import Write
from plantgate_connectors.modbus.registers import Field, Type
from plantgate_connectors.modbus.values import CODES, DECIMAL, decoder, places, scaling

_FLOATS: Final = (Type.FLOAT32, Type.FLOAT64)
_STEP_MOST: Final = 1e-6
"""A scaled value may lie this part of a register's step beside one: what is left by arithmetic, and nothing more."""
_DIGITS: Final = {Type.FLOAT32: 7, Type.FLOAT64: 15}
"""Decimal digits that a type keeps: 21.1 stands for the float32 next to it, and 16777217 for none (IEEE 754)."""
_SHOWN_MOST: Final = 60


def encoded(field: Field, value: Setpoint) -> Write:
    """The request that writes it. Raises `Rejected`: nothing is coerced but a whole number that a float holds exactly.

    NaN, infinities, what is out of the type's range and what lies between two values of the register are refused.
    """
    if field.table.of_bits:
        if type(value) is not bool:
            raise _refused(field, value, "a coil is true or false")
        return Write.coil(field.address, value)
    data = _placed(field, _text(field, value) if field.type is Type.STRING else _number(field, value))
    values, _ = decoder(field.table, (field,), field.address)(data)
    if not _same(field, values[0], value):
        raise _refused(field, value, f"the register would hold {_shown(values[0])}; write that, or what it can hold")
    return Write.registers(field.address, data)


def _placed(field: Field, packed: bytes) -> bytes:
    """In the device's order of bytes, from the order of the network."""
    data = bytearray(len(packed))
    for place, byte in zip(places(field, field.address), packed, strict=True):
        data[place] = byte
    return bytes(data)


def _text(field: Field, value: Setpoint) -> bytes:
    if type(value) is not str:
        raise _refused(field, value, "it holds text")
    try:
        text = value.encode()
    except UnicodeEncodeError as error:
        raise _refused(field, value, f"it cannot be written as UTF-8: {error.reason}") from None
    if len(text) > field.length:
        raise _refused(field, value, f"{len(text)} bytes, and there is room for {field.length}")
    return text.ljust(2 * field.span, b"\0")


def _number(field: Field, value: Setpoint) -> bytes:
    if type(value) is not int and type(value) is not float:
        raise _refused(field, value, f"it holds a number, {field.type.value}")
    if type(value) is float and not math.isfinite(value):
        raise _refused(field, value, "it is no finite number")
    try:
        return struct.pack(f">{CODES[field.type]}", _raw(field, value))
    except (OverflowError, ValueError, struct.error):
        raise _refused(field, value, f"it does not fit {field.type.value}") from None


def _raw(field: Field, value: float) -> float:
    """The number in the registers. Raises `OverflowError`, `ValueError` where there is none."""
    raw = value
    if (scale := scaling(field)) is not None:
        factor, divisor, offset = scale
        if float(value) != value:
            raise ValueError("scaling is done in floats, which would round it")
        raw = (value - offset) * divisor / factor
        if field.type not in _FLOATS:
            raw = round(raw)
    elif field.type not in _FLOATS and type(value) is not int:
        raise _refused(field, value, "it holds whole numbers")
    if field.type not in DECIMAL:
        return raw
    if raw < 0:
        raise ValueError("no sign")
    return int(f"{raw}", 16)


def _same(field: Field, held: Value, value: Setpoint) -> bool:
    if type(held) is str or type(value) is str:
        return held == value
    assert isinstance(held, int | float)
    assert isinstance(value, int | float)
    scale = scaling(field)
    if scale is None:
        digits = _DIGITS.get(field.type)
        return held == value or (digits is not None and float(f"{held:.{digits}g}") == value)
    factor, divisor, offset = scale
    largest = max(abs(value), abs(offset))
    if field.type in _FLOATS:
        return abs(held - value) <= 10.0 ** -_DIGITS[field.type] * largest
    return abs(held - value) <= _STEP_MOST * abs(factor / divisor)


def _refused(field: Field, value: Setpoint, why: str) -> Rejected:
    return Rejected(f"{field.tag}: {_shown(value)} cannot be written to {field.table.value} {field.address}: {why}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_MOST else f"{text[: _SHOWN_MOST - 3]}..."
