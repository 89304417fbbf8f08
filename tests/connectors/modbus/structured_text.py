"""Structured text as Python, statement by statement: what the sample program for PLCs uses of it, and no more.

Numbers go round where their type ends, and whole ones divide without rest. ``AND`` before a number of base 16 is the
one of bits, every other is that of conditions.
"""

import re
from collections.abc import Callable, Collection, Mapping
from types import SimpleNamespace
from typing import Any, Self

_STATEMENT = re.compile(r"\s*((?:IF|ELSIF) .*? THEN|ELSE\b|(?:FOR|WHILE) .*? DO|END_\w+;|[^;]*?;)", re.DOTALL)
_VARIABLE = re.compile(r"(\w+) : (\w+)(?: := (.+?))?;")
_WORDS = {"AND": "and", "OR": "or", "NOT": "not", "XOR": "^", "MOD": "%", "TRUE": "True", "FALSE": "False"}


class Whole(int):
    """INT: none of the sample comes near its ends."""

    mask = -1

    def __new__(cls, value: int) -> Self:
        return super().__new__(cls, value & cls.mask)

    def __add__(self, other: int) -> Self:
        return type(self)(int(self) + other)

    def __sub__(self, other: int) -> Self:
        return type(self)(int(self) - other)

    def __mul__(self, other: int) -> Self:
        return type(self)(int(self) * other)

    def __truediv__(self, other: int) -> Self:
        return type(self)(int(self) // other)


class Word(Whole):
    """WORD and UINT."""

    mask = 0xFFFF


class Udint(Whole):
    """UDINT."""

    mask = 0xFFFF_FFFF


_TYPES: dict[str, Callable[[Any], Any]] = {
    "INT": Whole,
    "WORD": Word,
    "UINT": Word,
    "UDINT": Udint,
    "LREAL": float,
    "BOOL": bool,
    "PLANTGATE_BLOCK": list,
    "PLANTGATE_VALUES": dict,
}
_BEGIN: dict[str, Any] = {"PLANTGATE_BLOCK": [Word(0)] * 12, "PLANTGATE_VALUES": {1: 0.0, 2: 0.0}}


def function_block(source: str) -> tuple[SimpleNamespace, Callable[[SimpleNamespace], None]]:
    """Its variables as they are in the beginning, and its body, which is given them and changes them."""
    code = re.sub(r"\(\*.*?\*\)", "", source, flags=re.DOTALL)
    known: dict[str, Any] = {"types": _TYPES, "SHR": lambda word, by: Word(word >> by), "whole": Whole}
    known |= {f"{one}_TO_{other}": _TYPES[other] for one in _TYPES for other in _TYPES}
    for name, gives, text in re.findall(r"FUNCTION (\w+) : (\w+)(.+?)END_FUNCTION$", code, re.DOTALL | re.MULTILINE):
        inputs, variables, body = _parts(text)
        lines = _lines(body, {name: gives, **{each: kind for each, (kind, _) in variables.items()}}, ())
        exec("\n".join([f"def {name}({', '.join(inputs)}):", *lines, f"    return {name}"]), known)
    (block,) = re.findall(r"FUNCTION_BLOCK \w+\n(.+?)END_FUNCTION_BLOCK", code, re.DOTALL)
    _, variables, body = _parts(block)
    lines = _lines(body, {each: kind for each, (kind, _) in variables.items()}, variables)
    exec("\n".join(["def scan(its):", *lines]), known)
    return SimpleNamespace(**{each: _begin(*variable) for each, variable in variables.items()}), known["scan"]


def _parts(text: str) -> tuple[list[str], dict[str, tuple[str, str]], str]:
    """Names of the inputs, type and first value of every variable, and the statements."""
    *declared, body = text.split("END_VAR")
    variables = {name: (kind, first) for name, kind, first in _VARIABLE.findall("".join(declared))}
    return [name for name, *_ in _VARIABLE.findall(declared[0])], variables, body


def _begin(kind: str, first: str) -> Any:
    if kind in _BEGIN:
        numbers = re.findall(r"[\d.]+(?=[,\]])", first)
        return _TYPES[kind]({at: float(number) for at, number in enumerate(numbers, 1)} if numbers else _BEGIN[kind])
    return _TYPES[kind](eval(_expression(first or "0", ())))


def _lines(body: str, types: Mapping[str, str], own: Collection[str]) -> list[str]:
    lines, depth = [], 1
    for statement in _STATEMENT.findall(body):
        word, *_ = re.split(r"[ ;]", statement)
        inner = _expression(re.sub(r"^\w+ | THEN$| DO$", "", statement), own)
        depth -= word in ("ELSIF", "ELSE") or word.startswith("END_")
        if word in ("IF", "ELSIF", "ELSE", "WHILE"):
            line = {"IF": f"if {inner}:", "ELSIF": f"elif {inner}:", "ELSE": "else:", "WHILE": f"while {inner}:"}[word]
        elif word == "FOR":
            name, first, last = re.split(" := | TO ", inner)
            line = f"for {name} in map(whole, range({first}, {last} + 1)):"
        elif word.startswith("END_"):
            continue
        else:
            target, value = (_expression(side, own) for side in statement[:-1].split(" := "))
            whole_one = "[" not in target
            line = (
                f"{target} = types[{types[target.removeprefix('its.')]!r}]({value})"
                if whole_one
                else f"{target} = {value}"
            )
        lines.append("    " * depth + line)
        depth += line.endswith(":")
    return lines


def _expression(text: str, own: Collection[str]) -> str:
    text = re.sub(r"16#(\w+)", r"0x\1", text).replace("<>", "!=")
    text = re.sub(r"(?<![<>!:])=", "==", text)
    text = re.sub(r"AND (?=0x)", "& ", text)
    return re.sub(
        r"[A-Za-z_]\w*", lambda found: _WORDS.get(found[0], f"its.{found[0]}" if found[0] in own else found[0]), text
    )
