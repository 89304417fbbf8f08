"""Break-glass: a person on the spot writes past rules and interlocks, for a while, and everybody can see it.

What stays: a tag that may be written at all, its type, unit and range, class W4, that people have armed the gateway,
these limits and this address, and a machine of which it is known what it has. What goes: people, interlocks, switches
that people threw, steps, pace, clock, and every rule but the one for emergencies.
"""

import asyncio
from typing import Final

from plantgate.audit.entry import Who

SECONDS_MAX: Final = 900.0
STAYS: Final = frozenset({"switch", "class", "type", "unit", "range", "resolution", "rule", "deadline", "hold"})
"""Guards of the first round that are asked all the same."""


class Emergencies:
    """Who has declared one, and until when; none survives a restart."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def declare(self, person: str) -> float:
        """For a quarter of an hour from now; seconds."""
        self._until[person] = asyncio.get_running_loop().time() + SECONDS_MAX
        return SECONDS_MAX

    def end(self, person: str) -> bool:
        """It is over; False where there was none."""
        return self._until.pop(person, 0.0) > asyncio.get_running_loop().time()

    def is_open(self, who: Who) -> bool:
        """Whether this person has declared one that is not over; a model or a system never has."""
        return who.kind == "person" and self._until.get(who.id, 0.0) > asyncio.get_running_loop().time()
