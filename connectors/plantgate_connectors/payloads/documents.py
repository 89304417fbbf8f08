"""Finding things in a JSON document: by JSON Pointer (RFC 6901), beside a value, or every leaf."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from plantgate.sdk import Value
from plantgate.sdk.quality import GOOD, UNCERTAIN
from plantgate_connectors.payloads.quality import read_quality
from plantgate_connectors.payloads.times import read_time
from plantgate_connectors.payloads.words import Meaning, TimeUnit

DEPTH_MOST: Final = 32
MISSING: Final = object()


class Unreadable(Exception):
    """This payload is not what the operator said it would be; the text, if any, says why."""


def pointer(written: str) -> tuple[str, ...]:
    """A JSON Pointer as steps."""
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in written.split("/")[1:])


def at(document: object, path: Sequence[str]) -> object:
    """What stands there, or `MISSING`."""
    for step in path:
        if isinstance(document, dict):
            document = document.get(step, MISSING)
        elif isinstance(document, list) and step.isdecimal() and len(step) < 10 and int(step) < len(document):
            document = document[int(step)]
        else:
            return MISSING
    return document


@dataclass(frozen=True, slots=True)
class Beside:
    """Where a document keeps time and quality."""

    time: tuple[str, ...] | None
    time_unit: TimeUnit
    quality: tuple[str, ...] | None

    @classmethod
    def of(cls, meaning: Meaning) -> "Beside":
        """As the operator wrote it."""
        return cls(
            None if meaning.time is None else pointer(meaning.time),
            meaning.time_unit,
            None if meaning.quality is None else pointer(meaning.quality),
        )

    @property
    def places(self) -> set[tuple[str, ...]]:
        """What is no value, then."""
        return {path for path in (self.time, self.quality) if path is not None}

    def look(self, document: object, quality: int = GOOD, time: int | None = None) -> tuple[int, int | None]:
        """Quality and time. What was promised and is not there, or makes no sense, turns good into `UNCERTAIN`.

        `quality` is that of a good value without a time, `time` that of a value whose time nobody promised.
        """
        said, doubt = GOOD, False
        if self.quality is not None:
            found = read_quality(at(document, self.quality))
            doubt = found is None
            said = GOOD if found is None else found
        if self.time is not None:
            time = read_time(at(document, self.time), self.time_unit)
            doubt = doubt or time is None
        if said == GOOD:
            said = UNCERTAIN if doubt else quality if time is None else GOOD
        return said, time


def leaves(
    found: Mapping[str, object],
    path: tuple[str, ...],
    tag: str,
    apart: set[tuple[str, ...]],
    as_value: Callable[[object], Value],
) -> Iterator[tuple[str, Value]]:
    """Every value below `tag`, objects opened, without those at the places `apart`. Raises `Unreadable`."""
    if len(path) > DEPTH_MOST:
        raise Unreadable(f"it is nested deeper than {DEPTH_MOST} levels")
    for name, value in found.items():
        place = (*path, name)
        if place in apart:
            continue
        if isinstance(value, dict):
            yield from leaves(value, place, f"{tag}/{name}", apart, as_value)
        else:
            yield f"{tag}/{name}", as_value(value)
