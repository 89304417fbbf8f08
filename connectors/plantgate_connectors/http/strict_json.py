"""JSON from strangers: one meaning, or none.

Readers of JSON differ in what they make of a key that stands twice, of NaN, of a number too large to be held, of half a
surrogate pair and of a byte order mark. None of it is a reading, so all of it is refused, with the reason.
"""

import json
import math

from plantgate.sdk import Value
from plantgate_connectors.payloads.documents import DEPTH_MOST, Unreadable


def parse(payload: bytes) -> object:
    """Raises `Unreadable`."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        raise Unreadable("it is not UTF-8") from None
    if text.startswith("\ufeff"):
        raise Unreadable("it begins with a byte order mark, which JSON must not (RFC 8259, 8.1)")
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except RecursionError:
        raise Unreadable(f"it is nested deeper than {DEPTH_MOST} levels") from None
    except json.JSONDecodeError as error:
        raise Unreadable(f"it is not JSON: {error.msg} at character {error.pos}") from None
    except ValueError:  # sys.set_int_max_str_digits
        raise Unreadable("a number in it has thousands of digits") from None


def as_value(found: object, depth: int = 0) -> Value:
    """What JSON gave, as a value. Raises `Unreadable` for what nobody downstream could hold."""
    if found is None or isinstance(found, bool):
        return found
    if isinstance(found, int):
        if not -(2**63) <= found < 2**64:
            raise Unreadable("a whole number in it needs more than 64 bits")
        return found
    if isinstance(found, float):
        if math.isinf(found):  # 1e999 is not infinity, it is too large to be held
            raise Unreadable("a number in it is too large")
        return found
    if isinstance(found, str):
        return _whole(found)
    if depth >= DEPTH_MOST:
        raise Unreadable(f"it is nested deeper than {DEPTH_MOST} levels")
    if isinstance(found, dict):
        return {_whole(str(name)): as_value(inner, depth + 1) for name, inner in found.items()}
    assert isinstance(found, list), f"JSON gave a {type(found).__name__}"
    return [as_value(inner, depth + 1) for inner in found]


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Unreadable(f"the key {twice[:40]!a} stands twice in one object")
    return found


def _no_constant(name: str) -> object:
    raise Unreadable(f"{name} is not JSON; write it as text, or null")


def _whole(text: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Unreadable("text in it has half a surrogate pair, which is no character") from None
    return text
