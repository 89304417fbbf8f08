"""What a cell says: a value of the kind it must be, or a `ValueError`; never the nearest guess."""

import base64
import json
import math
import re
from collections.abc import Callable
from typing import Final

from plantgate.sdk import Value
from plantgate.sdk.quality import BAD, BAD_DECODING, BAD_NO_DATA, BAD_TYPE, GOOD, UNCERTAIN, UNCERTAIN_LAST_USABLE
from plantgate_connectors.files.settings import DecimalMark, Kind

_INTEGER: Final = re.compile(r"[+-]?\d+", re.ASCII)
_FRACTION: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_SPECIAL: Final = {
    "nan": math.nan,
    "inf": math.inf,
    "+inf": math.inf,
    "-inf": -math.inf,
    "infinity": math.inf,
    "-infinity": -math.inf,
}
_BOOLEAN: Final = {"true": True, "false": False}
_HEX_CODE: Final = re.compile(r"(?:[A-Za-z]+ )?0x([0-9A-Fa-f]{1,8})")
_QUALITIES: Final = {
    "good": GOOD,
    "uncertain": UNCERTAIN,
    "uncertainlastusablevalue": UNCERTAIN_LAST_USABLE,
    "bad": BAD,
    "baddecodingerror": BAD_DECODING,
    "badtypemismatch": BAD_TYPE,
    "badnodata": BAD_NO_DATA,
}

ReadCell = Callable[[str], Value]


def cell_reader(kind: Kind, decimal: DecimalMark = DecimalMark.POINT) -> ReadCell:
    """From the text of a CSV cell that is not empty. Whole numbers stay whole; more than 64 bits are refused."""
    comma = decimal is DecimalMark.COMMA
    match kind:
        case Kind.TEXT:
            return lambda cell: cell
        case Kind.BOOLEAN:
            return _boolean
        case Kind.NUMBER:
            return lambda cell: _number(cell, comma)
        case Kind.ANY:
            return lambda cell: _any(cell, comma)


def labelled(cell: object, label: str, decimal: DecimalMark) -> Value:
    """A value whose row says what it is: `number`, `boolean`, `text`, `bytes` (base64) or `json`."""
    if not isinstance(cell, str):
        return native(cell)
    match label:
        case "number":
            return _number(cell, decimal is DecimalMark.COMMA)
        case "boolean":
            return _boolean(cell)
        case "text":
            return cell
        case "bytes":
            return base64.b64decode(cell, validate=True)
        case "json":
            return native(parsed(cell))
    raise ValueError(f"kind {label[:20]!r} is not number, boolean, text, bytes or json")


def native(value: object) -> Value:
    """A value as JSON gave it; whole numbers beyond 64 bits are refused."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _writable(value)
    if isinstance(value, int):
        return _whole(value)
    if isinstance(value, float):
        return value
    if isinstance(value, list):
        return [native(item) for item in value]
    if isinstance(value, dict):
        return {_writable(str(key)): native(item) for key, item in value.items()}
    raise ValueError(f"{type(value).__name__} is not a value")


def of_kind(value: Value, kind: Kind) -> Value:
    """The value, if it is of the kind that was asked for."""
    if kind is Kind.ANY:
        return value
    number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = {Kind.NUMBER: number, Kind.BOOLEAN: isinstance(value, bool), Kind.TEXT: isinstance(value, str)}
    if not fits[kind]:
        raise ValueError(f"{str(value)[:40]!r} is not a {kind.value}")
    return value


def quality_of(cell: object) -> int:
    """A StatusCode from a number, a name, or name and number (``Bad 0x80340000``); an empty cell is good."""
    if isinstance(cell, int) and not isinstance(cell, bool):
        return _code(cell)
    text = str(cell).strip() if cell is not None else ""
    if not text:
        return GOOD
    if match := _HEX_CODE.fullmatch(text):
        return int(match[1], 16)
    if _INTEGER.fullmatch(text):
        return _code(int(text))
    try:
        return _QUALITIES[text.lower()]
    except KeyError:
        raise ValueError(f"quality {text[:40]!r} is neither a StatusCode nor one of its names") from None


def parsed(text: str) -> object:
    """JSON that means one thing: a key twice, a number out of range, or nesting without end is refused."""
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _writable(text: str) -> str:
    """Half a surrogate pair, which a JSON escape can hold, is no character and could not be sent on."""
    if not text.isascii():
        text.encode()
    return text


def _number(cell: str, comma: bool) -> int | float:
    text = cell.strip()
    if comma:
        text = text.replace(",", ".") if "." not in text else ""
    if _INTEGER.fullmatch(text):
        return _whole_text(text)
    if _FRACTION.fullmatch(text):
        return _finite(text)
    try:
        return _SPECIAL[text.lower()]
    except KeyError:
        raise ValueError(f"{cell.strip()[:40]!r} is not a number") from None


def _boolean(cell: str) -> bool:
    try:
        return _BOOLEAN[cell.strip().lower()]
    except KeyError:
        raise ValueError(f"{cell.strip()[:40]!r} is neither true nor false") from None


def _any(cell: str, comma: bool) -> Value:
    text = cell.strip()
    if text[:1] in "+-.0123456789" or text.lower() in _SPECIAL:
        try:
            return _number(text, comma)
        except ValueError:
            return cell
    flag = _BOOLEAN.get(text.lower())
    return cell if flag is None else flag


def _whole_text(text: str) -> int:
    if len(text) > 21:
        raise ValueError(f"{text[:20]}… needs more than 64 bits")
    return _whole(int(text))


def _whole(value: int) -> int:
    if not -(2**63) <= value < 2**64:
        raise ValueError(f"{str(value)[:20]}… needs more than 64 bits")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:40]} is too large for a number")
    return value


def _code(number: int) -> int:
    if not 0 <= number < 2**32:
        raise ValueError(f"quality {number} is not a 32-bit StatusCode")
    return number


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    keys = dict(pairs)
    if len(keys) < len(pairs):
        raise ValueError("a key stands twice")
    return keys


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_once, parse_float=_finite, parse_int=_whole_text)
