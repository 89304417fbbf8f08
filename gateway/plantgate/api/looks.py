"""The last pictures of closed loops, and what was done about them, for people who look on."""

import asyncio
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from aiohttp import web

from plantgate.sdk import Value

if TYPE_CHECKING:
    from plantgate.control.loop import Look

Looks: TypeAlias = Callable[[], Mapping[str, "Sequence[Look]"]]

_FACTS_MOST: Final = 100
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"


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


def png(pixels: memoryview) -> bytes:
    """A picture (rows x columns, or x 3) as PNG (ISO/IEC 15948): no filter, quick to make."""
    rows, columns, *colours = pixels.shape or (0, 0)
    width = columns * (colours[0] if colours else 1)
    flat = pixels.cast("B") if pixels.contiguous else memoryview(pixels.tobytes())
    lines = b"".join(b"\0" + flat[at : at + width] for at in range(0, rows * width, width))
    head = struct.pack(">IIBBBBB", columns, rows, 8, 2 if colours else 0, 0, 0, 0)
    return _SIGNATURE + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(lines, 1)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


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
