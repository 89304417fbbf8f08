"""Opens a connection that writes: its state agreed on, its registers ours, a first state heard."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from plantgate.sdk import Context, Deadline, Unavailable
from plantgate_connectors.ur.granted import TIMESTAMP, advice, granted
from plantgate_connectors.ur.interlocks import STATE_FIELDS
from plantgate_connectors.ur.link import Link, connected, reachable
from plantgate_connectors.ur.recipe import IN_USE, NOT_FOUND, Recipe
from plantgate_connectors.ur.settings import UrSettings, Write
from plantgate_connectors.ur.state import Live

_KINDS: Final = {"double": "DOUBLE", "int": "INT32", "bit": "BOOL"}
_STATE_KINDS: Final = ("INT32", "UINT32", "UINT8")


@dataclass(frozen=True, slots=True)
class Opened:
    """A connection on which data packages go both ways."""

    link: Link
    writes: Mapping[str, Write]
    """By tag."""
    inputs: Mapping[str, Recipe]
    """By tag: what its data package looks like."""
    period_seconds: float
    """Between two states."""


@asynccontextmanager
async def opened(settings: UrSettings, context: Context, live: Live) -> AsyncIterator[Opened]:
    """Raises `Unavailable` with what to do about it."""
    link = await connected(settings.host, settings.rtde_port, context.log, live.heard, settings.connect_seconds)
    try:
        live.link = link
        open_ = await _agreed(settings, link, live)
        await _first_state(link, live, settings.connect_seconds)
        yield open_
    finally:
        link.leave("closed")


async def _first_state(link: Link, live: Live, seconds: float) -> None:
    try:
        await live.next(Deadline.after(seconds))
    except TimeoutError as error:
        raise Unavailable(f"{link.name} has begun, and sent nothing within {seconds:g} s") from error


async def _agreed(settings: UrSettings, link: Link, live: Live) -> Opened:
    seconds = settings.connect_seconds
    frequency = reachable(settings.write_frequency_hz, await link.agree(seconds))
    wanted = [*STATE_FIELDS, *(name for write in settings.writes for name in write.outputs)]
    recipe, missing = await granted(link, wanted, frequency, seconds)
    if missing:
        raise Unavailable(f"{link.name} has no field {missing[0]!r}: {advice(missing[0])}")
    for name, kind in zip(recipe.fields, recipe.types, strict=True):
        _check(link, name, kind)
    live.fields = recipe.fields
    inputs = {write.tag: await _ours(link, write, seconds) for write in settings.writes}
    await link.start(seconds)
    return Opened(link, {write.tag: write for write in settings.writes}, inputs, 1 / frequency)


async def _ours(link: Link, write: Write, seconds: float) -> Recipe:
    recipe = await link.inputs(write.inputs, seconds)
    for name, kind in zip(recipe.fields, recipe.types, strict=True):
        if kind == IN_USE:
            raise Unavailable(
                f"{link.name}: {name} of {write.tag} is in use by another RTDE client or by a fieldbus (EtherNet/IP,"
                " PROFINET): end that client, switch the fieldbus off in the robot's installation, or take another"
                " register. After a lost connection it can be our own, until the controller has noticed."
            )
        if kind == NOT_FOUND:
            raise Unavailable(f"{link.name} has no register {name}, which {write.tag} wants: take another")
        _check(link, name, kind)
    return recipe


def _check(link: Link, name: str, kind: str) -> None:
    """Raises `Unavailable` where the controller's type is not the one that the name stands for."""
    if name == TIMESTAMP:
        fits = kind == "DOUBLE"
    elif name in STATE_FIELDS:
        fits = kind in _STATE_KINDS
    else:
        fits = kind == _KINDS[name.split("_")[1]]
    if not fits:
        raise Unavailable(f"{link.name} says that {name} is a {kind}, which it cannot be; is it a UR controller?")
