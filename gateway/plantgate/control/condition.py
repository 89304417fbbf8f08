"""Conditions and values in CEL (https://cel.dev) over names that are declared."""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from plantgate.sdk import Value

_LENGTH_MAX: Final = 2000
_DEPTH_MAX: Final = 8
_BOUND: Final = re.compile(r"\.(?:all|exists|exists_one|map|filter)\(\s*([A-Za-z_]\w*)\s*,")
"""Names that a macro binds, as in ``defects.exists(d, d.score > 0.5)``; cel counts them among the variables."""


class Expression:
    """Something that can be reckoned from facts."""

    def __init__(self, text: str, names: Collection[str]) -> None:
        """Raises `ValueError` with a sentence for what is not CEL, or uses a name that is not declared."""
        if len(text) > _LENGTH_MAX:
            raise ValueError(f"an expression of {len(text)} characters; at most {_LENGTH_MAX} are read")
        import cel  # late: only those who act pay for it

        try:
            self._program = cel.compile(text)
        except ValueError as error:
            raise ValueError(f"`{text}` is not CEL: {_first_line(error)}") from None
        undeclared = sorted(set(self._program.variables()) - set(names) - set(_BOUND.findall(text)))
        if undeclared:
            there = ", ".join(sorted(names)) or "none"
            raise ValueError(f"`{text}` speaks of `{undeclared[0]}`, which is not declared; declared are: {there}")
        self.text = text

    def of(self, facts: Mapping[str, Value]) -> object:
        """What it comes to. Raises `ValueError` with a sentence where it comes to nothing."""
        for name, value in facts.items():
            if not _is_sound(value, 0):
                raise ValueError(f"`{name}` is not a value that can be judged")
        try:
            answer: object = self._program.execute(dict(facts))
        except (RuntimeError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            raise ValueError(f"`{self.text}` cannot be judged: {_first_line(error)}") from None
        return answer


class Condition:
    """Holds, or does not; an error and an answer that is neither true nor false are no."""

    def __init__(self, text: str, names: Collection[str]) -> None:
        """Raises `ValueError` with a sentence for what is not CEL, or uses a name that is not declared."""
        self.expression = Expression(text, names)
        self.text = text

    def objection(self, facts: Mapping[str, Value]) -> str:
        """Why it does not hold, in a sentence; empty where it does.

        Numbers that are none (NaN, infinities) would make ``!(x > 60)`` true: with one of them among the facts it does
        not hold.
        """
        try:
            answer = self.expression.of(facts)
        except ValueError as error:
            return str(error)
        if answer is True:
            return ""
        return f"`{self.text}` is not so" if answer is False else f"`{self.text}` is neither true nor false"


def _is_sound(value: Value, depth: int) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, str | bytes | int):
        return not isinstance(value, int) or -(2**63) <= value < 2**63
    if depth == _DEPTH_MAX:
        return False
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_sound(part, depth + 1) for key, part in value.items())
    return isinstance(value, Sequence) and all(_is_sound(part, depth + 1) for part in value)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")
