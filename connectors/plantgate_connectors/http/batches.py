"""Batches that another plantgate sends, back to batches: values, qualities, times and gaps as they were."""

from typing import Any, Final

from plantgate.sdk import Batch, Gap, Value
from plantgate_connectors.http.strict_json import as_value, parse
from plantgate_connectors.payloads.documents import Unreadable
from plantgate_connectors.payloads.relayed import UNSAYABLE, relayed_quality, relayed_time

_MOST: Final = 2**63
_NUMBERS: Final = frozenset((int, float, bool))
_LEAST: Final = -(2**63)
_BEYOND: Final = 2**64
"""What a whole number may be; infinities lie outside, as they must."""


def read_batch(payload: bytes) -> Batch:
    """The samples and gaps of a payload: rows, columns, one sample, gaps, and a CloudEvent around any of them.

    Raises `Unreadable`.
    """
    document = _object(parse(payload), "it")
    if "specversion" in document:
        document = _object(document.get("data"), "data")
    gaps = tuple(_gap(_object(gap, "a gap")) for gap in _list(document.get("gaps", []), "gaps"))
    if "samples" in document:
        rows = _list(document["samples"], "samples")
        if not all(type(row) is dict for row in rows):
            raise Unreadable("a sample is not an object")
    elif "tags" in document:
        return _columns(document, gaps)
    elif "tag" in document:
        rows = [document]
    elif "gaps" in document:
        rows = []
    else:
        raise Unreadable("it has neither samples, nor tags, nor gaps")
    return Batch(
        _tags([row.get("tag") for row in rows]),
        _values([row.get("value") for row in rows]),
        _qualities([row.get("quality") if row.get("code") is None else row["code"] for row in rows]),
        _times([row.get("time") for row in rows]),
        gaps=gaps,
    )


def _columns(document: dict[str, object], gaps: tuple[Gap, ...]) -> Batch:
    tags, values, qualities, times = (
        _list(document.get(name), name) for name in ("tags", "values", "qualities", "times")
    )
    if not len(tags) == len(values) == len(qualities) == len(times):
        raise Unreadable("tags, values, qualities and times are not equally long")
    return Batch(_tags(tags), _values(values), _qualities(qualities), _times(times), gaps=gaps)


def _object(found: object, what: str) -> dict[str, object]:
    if not isinstance(found, dict):
        raise Unreadable(f"{what} is not an object")
    return found


def _list(found: object, what: str) -> list[Any]:
    if not isinstance(found, list):
        raise Unreadable(f"{what} is not a list")
    return found


def _text(found: object, what: str) -> str:
    if not isinstance(found, str):
        raise Unreadable(f"{what} is not text")
    return found


# Columns: most hold nothing odd, which is seen at once; one that does is looked at value by value.


def _tags(found: list[Any]) -> list[str]:
    if not set(map(type, found)) <= {str}:
        raise Unreadable("a tag is not text")
    return found


def _values(found: list[Any]) -> list[Value]:
    if found and set(map(type, found)) <= _NUMBERS and min(found) >= _LEAST and max(found) < _BEYOND:
        return found
    return list(map(_value, found))


def _qualities(found: list[Any]) -> list[int]:
    if found and set(map(type, found)) == {int} and min(found) >= 0 and max(found) < 2**32:
        return found
    return list(map(relayed_quality, found))


def _times(found: list[Any]) -> list[int | None]:
    return list(map(_time, found))


def _value(found: object) -> Value:
    """Text that can only be a float JSON cannot say is that float again."""
    if isinstance(found, str) and found in UNSAYABLE:
        return UNSAYABLE[found]
    return as_value(found)


def _time(written: object) -> int | None:
    if written is None:
        return None
    time = relayed_time(written)
    if time is None:
        raise Unreadable("a time is neither RFC 3339 text nor whole nanoseconds since 1970")
    return time


def _gap(found: dict[str, object]) -> Gap:
    tags = tuple(_text(tag, "a gap's tag") for tag in _list(found.get("tags"), "a gap's tags"))
    lost, recovered = found.get("lost"), found.get("recovered", 0)
    if not isinstance(recovered, int) or not (lost is None or isinstance(lost, int)):
        raise Unreadable("a gap's lost and recovered are not whole numbers")
    if not 0 <= recovered < _MOST or not 0 <= (lost or 0) < _MOST:
        raise Unreadable("a gap's lost and recovered are not numbers of samples")
    cause = as_value(_text(found.get("cause"), "a gap's cause"))
    assert isinstance(cause, str)
    return Gap(tags, _time(found.get("since")), _time(found.get("until")), cause[:200], lost, recovered)
