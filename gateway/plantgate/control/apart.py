"""How far apart two values of a tag are, and whether they are the same."""

import math
from typing import Final

from plantgate.control.book import Limits
from plantgate.control.typed import DataType, vector
from plantgate.sdk import Setpoint

_FLOAT_BLUR: Final = 2.0**-23
_DOUBLE_BLUR: Final = 1e-9
"""Share of a value that its type cannot tell apart: of Float its own step, of others what scaling registers leaves."""
_ARITHMETIC_BLUR: Final = 2.0**-50
"""What a sum of two of them may be wrong by, as a share of the larger."""


def distance(one: Setpoint, other: Setpoint) -> float:
    """How far a write moves the tag, of a list of numbers the one that moves most; a switch or a text moves nowhere."""
    if isinstance(one, str) and isinstance(other, str):
        return _furthest(one, other)
    if isinstance(one, bool | str) or isinstance(other, bool | str):
        return 0.0
    return float(abs(one - other))


def same(one: Setpoint, other: Setpoint, limits: Limits) -> bool:
    """Whether two values of a tag are the same: within its tolerance, and within what its type can tell apart."""
    if isinstance(one, str) and isinstance(other, str) and limits.settings.numbers is not None:
        return _furthest(one, other) <= limits.settings.read_back.tolerance + _DOUBLE_BLUR
    if isinstance(one, bool | str) or isinstance(other, bool | str):
        return type(one) is type(other) and one == other
    if not (math.isfinite(one) and math.isfinite(other)):
        return False
    blur = _FLOAT_BLUR if limits.settings.data_type is DataType.FLOAT else _DOUBLE_BLUR
    floating = isinstance(one, float) or isinstance(other, float)
    return abs(one - other) <= limits.settings.read_back.tolerance + floating * blur * max(abs(one), abs(other))


def dust(one: Setpoint, other: Setpoint, limits: Limits) -> float:
    """How much too far apart two numbers may seem: 20.5 - 20.3 is more than 0.2."""
    if isinstance(one, str) or isinstance(other, str):
        return _DOUBLE_BLUR
    share = _FLOAT_BLUR if limits.settings.data_type is DataType.FLOAT else _ARITHMETIC_BLUR
    return share * max(abs(one), abs(other))


def _furthest(one: str, other: str) -> float:
    """Of two texts that are lists of as many numbers, how far apart the furthest two are; of others, beyond measure."""
    first, second = vector(one), vector(other)
    if first is None or second is None or len(first) != len(second):
        return 0.0 if one == other else math.inf
    return max(abs(a - b) for a, b in zip(first, second, strict=True))
