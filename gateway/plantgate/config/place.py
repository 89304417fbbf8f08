"""Where in a file something stands."""

from dataclasses import dataclass
from typing import TypeAlias

Step: TypeAlias = str | int
"""A key, or a position in a list."""

Trail: TypeAlias = tuple[Step, ...]
"""From the top of a document down to a value: ``("connections", "press3", "tags", 0, "node")``."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A position in a file, as editors count: line and column from 1."""

    line: int
    column: int


def spell(trail: Trail) -> str:
    """A trail for people: ``connections.press3.tags[0].node``."""
    text = ""
    for step in trail:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text
