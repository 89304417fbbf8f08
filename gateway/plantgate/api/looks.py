"""The last pictures of closed loops, and what was done about them, for people who look on."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from aiohttp import web

from plantgate.control.png import png
from plantgate.sdk import Value

if TYPE_CHECKING:
    from plantgate.control.loop import Look

Looks: TypeAlias = Callable[[], Mapping[str, "Sequence[Look]"]]

_FACTS_MOST: Final = 100


def looking(looks: Looks) -> list[web.RouteDef]:
    """``/looks`` says what was seen and done; ``/looks/LOOP/NUMBER.png`` is the picture."""

    async def told(_: web.Request) -> web.Response:
        return web.json_response({name: [_told(look) for look in seen] for name, seen in looks().items()})

    async def picture(request: web.Request) -> web.Response:
        number = int(request.match_info["number"])
        for look in looks().get(request.match_info["loop"], ()):
            if look.number == number:
                # On a thread: a picture takes some milliseconds, and the loop beside it has a deadline to keep.
                return web.Response(body=await asyncio.to_thread(png, look.frame.pixels), content_type="image/png")
        raise web.HTTPNotFound(text="that picture is gone; only the last few are kept")

    return [web.get("/looks", told), web.get(r"/looks/{loop}/{number:\d{1,15}}.png", picture)]


def _told(look: "Look") -> dict[str, Any]:
    rows, columns, *_ = look.frame.pixels.shape or (0, 0)
    return {
        "number": look.number,
        "frame": look.frame.name[:120],
        "milliseconds": round(look.seconds * 1000, 2),
        "width": columns,
        "height": rows,
        "note": look.note[:300],
        "facts": {name: _plain(value) for name, value in look.facts.items()},
        "chosen": [_plain(fact) for fact in look.chosen],
        "answers": [
            {"standing": answer.standing.value, "reason": answer.reason[:300], "entry": answer.entry}
            for answer in look.answers
        ],
    }


def _plain(value: Value) -> Any:
    """What JSON can say: lists are cut, and what is no number becomes text."""
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, str | bool | int | None):
        return value[:200] if isinstance(value, str) else value
    if isinstance(value, float):
        return value if abs(value) < 1e300 else repr(value)  # NaN too: it compares as false
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return [_plain(part) for part in value[:_FACTS_MOST]]
