"""Agrees on outputs with a controller that may not have all of them."""

from collections.abc import Sequence
from typing import Final

from plantgate.sdk import Unavailable
from plantgate_connectors.ur.link import Link
from plantgate_connectors.ur.recipe import IN_USE, NOT_FOUND, Recipe

TIMESTAMP: Final = "timestamp"
"""Seconds since the controller was switched on; in every recipe, as the first field."""


async def granted(link: Link, fields: Sequence[str], frequency_hz: float, seconds: float) -> tuple[Recipe, list[str]]:
    """A recipe of the fields that the controller has, and those that it has not. Raises `Unavailable`."""
    asked = list(dict.fromkeys((TIMESTAMP, *fields)))
    missing: list[str] = []
    while True:
        recipe = await link.outputs(asked, frequency_hz, seconds)
        unknown = [name for name, given in zip(asked, recipe.types, strict=True) if given in (NOT_FOUND, IN_USE)]
        if not unknown:
            return recipe, missing
        if TIMESTAMP in unknown:
            raise Unavailable(f"{link.name} has no field {TIMESTAMP!r}, which every controller has; is it one?")
        missing += unknown
        asked = [name for name in asked if name not in unknown]


def advice(field: str) -> str:
    """What to do about a field that the controller does not have."""
    if field == "safety_status":
        return "it needs PolyScope 3.10 or 5.4: update the controller"
    return "look its name up in the RTDE guide (capital letters count), and which software version brings it"
