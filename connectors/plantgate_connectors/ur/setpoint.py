"""From what shall be written to the numbers of its registers, and back to what they say."""

import json
import math
from collections.abc import Sequence
from typing import Final

from plantgate.sdk import Rejected, Setpoint
from plantgate_connectors.ur.recipe import Held
from plantgate_connectors.ur.settings import Write

_INT32: Final = range(-(2**31), 2**31)
_TEXT_MAX: Final = 1024

Number = bool | int | float


def numbers(write: Write, value: Setpoint) -> tuple[Number, ...]:
    """A number for each register, within its limits. Raises `Rejected`: nothing is coerced but 1 to 1.0."""
    written: Sequence[object] = (value,) if len(write.registers) == 1 else _several(write, value)
    found = tuple(_number(write.tag, *pair) for pair in zip(write.registers, written, strict=True))
    for register, number, (low, high) in zip(write.registers, found, write.limits, strict=False):
        if not low <= number <= high:
            raise Rejected(f"{write.tag}: {number!r} for {register} is outside its limits, {low:g} to {high:g}")
    return found


def shown(write: Write, held: Sequence[Held]) -> Setpoint:
    """What the registers hold, in the form in which it is written."""
    single = held[0]
    if len(write.registers) == 1:
        assert not isinstance(single, tuple), "registers are no vectors"
        return single
    return json.dumps([*held], separators=(",", ":"))


def _several(write: Write, value: Setpoint) -> list[object]:
    example = json.dumps([0] * len(write.registers))
    if not isinstance(value, str) or len(value) > _TEXT_MAX:
        raise Rejected(f"{write.tag}: {len(write.registers)} registers take text like {example}, not {_told(value)}")
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        raise Rejected(f"{write.tag}: {_told(value)} is no list of numbers; write text like {example}") from None
    if not isinstance(found, list) or len(found) != len(write.registers):
        raise Rejected(f"{write.tag}: {_told(value)} is not {len(write.registers)} numbers; write text like {example}")
    return found


def _number(tag: str, register: str, value: object) -> Number:
    if register.startswith("input_bit"):
        if type(value) is not bool:
            raise Rejected(f"{tag}: {_told(value)} is no truth value, which {register} holds")
        return value
    if register.startswith("input_int"):
        if type(value) is not int or value not in _INT32:
            raise Rejected(f"{tag}: {_told(value)} is no whole number of 32 bits, which {register} holds")
        return value
    if type(value) not in (int, float) or not _finite(value):
        raise Rejected(f"{tag}: {_told(value)} is no finite number, which {register} holds")
    assert isinstance(value, int | float)
    if float(value) != value:
        raise Rejected(f"{tag}: {_told(value)} is more exact than a double, which {register} holds")
    return float(value)


def _finite(value: object) -> bool:
    try:
        return math.isfinite(value)  # type: ignore[arg-type]  # an int or a float by now
    except OverflowError:
        return False


def _told(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
