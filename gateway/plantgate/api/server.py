"""What the gateway serves over HTTP: health, metrics, status, and a page to look at."""

import asyncio
import json
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from plantgate.api.looks import Looks, looking
from plantgate.observe.logging import NEWS_MOST, News
from plantgate.observe.status import GatewayStatus
from plantgate.observe.tap import Tap
from plantgate.sdk import Value, iso, quality_name
from plantgate.sdk.porter import Limits, is_loopback, names_this_machine
from plantgate.served import served

VIEWERS_MOST: Final = 16
"""Live views open at once; one more gets 503, so that a forgotten wall of browsers cannot slow the gateway."""

LIMITS: Final = Limits(connections_max=256, per_peer_max=64, head_seconds=5.0, unread_seconds=20.0)
"""What clients may take; aiohttp has no such limits of its own."""

_LIVE_SECONDS: Final = 1.0
_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_POLICY: Final = "default-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'; form-action 'none'"


@dataclass(frozen=True, slots=True)
class Seen:
    """What the server may look at."""

    status: Callable[[], GatewayStatus]
    metrics: Callable[[], bytes]
    plan: Callable[[], dict[str, object]]
    """The running plant file as a document, secrets as their references."""
    started: Callable[[], bool]
    tap: Tap
    news: News
    looks: Looks = dict
    """The last pictures of closed loops."""


@asynccontextmanager
async def serving(seen: Seen, door: socket.socket) -> AsyncIterator[tuple[str, int]]:
    """Serve on a listening socket until the block ends; gives its address."""
    host, port = door.getsockname()[:2]
    application = _application(seen, _guarded(local=is_loopback(host)))
    loop = asyncio.get_running_loop()
    async with served(application, LIMITS, lambda porter: loop.create_server(porter, sock=door)):
        yield host, port


def _application(seen: Seen, guard: Middleware) -> web.Application:
    application = web.Application(client_max_size=64 * 1024, middlewares=[guard])
    viewers: set[asyncio.Task[object]] = set()

    async def livez(_: web.Request) -> web.Response:
        return _verdict(True)  # a loop that stands still does not get here: no answer is the answer

    async def readyz(_: web.Request) -> web.Response:
        return _verdict(seen.status().ready)

    async def startupz(_: web.Request) -> web.Response:
        return _verdict(seen.started())

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=seen.metrics(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def status(_: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(seen.status()), content_type="application/json")

    async def plan(_: web.Request) -> web.Response:
        return web.json_response(seen.plan())

    async def live(request: web.Request) -> web.StreamResponse:
        if len(viewers) >= VIEWERS_MOST:
            raise web.HTTPServiceUnavailable(text=f"{VIEWERS_MOST} live views are open already; close one")
        me = asyncio.current_task()
        assert me is not None
        viewers.add(me)
        try:
            return await _live(request, seen)
        finally:
            viewers.discard(me)

    async def close_viewers(_: web.Application) -> None:
        for task in tuple(viewers):
            task.cancel()

    application.on_shutdown.append(close_viewers)
    application.add_routes(
        [
            web.get("/livez", livez),
            web.get("/readyz", readyz),
            web.get("/startupz", startupz),
            web.get("/metrics", metrics),
            web.get("/status", status),
            web.get("/plan", plan),
            web.get("/live", live),
            *looking(seen.looks),
            web.get("/", _page("index.html")),
            *(
                web.get(f"/{name}", _page(name))
                for name in ("view.css", "view.js", "loops.html", "loops.js", "loops.css")
            ),
        ]
    )
    return application


def _guarded(*, local: bool) -> Middleware:
    """Nothing here changes anything, so only reading is let in; a page may load nothing from elsewhere.

    On loopback (`local`), a page from elsewhere, whose name was made to point here, must not read from us either.
    """

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if local and not names_this_machine(request.headers.get("Host", "localhost")):
            raise web.HTTPMisdirectedRequest(text="this page is for this machine only; call it by localhost")
        if request.method not in ("GET", "HEAD"):
            raise web.HTTPMethodNotAllowed(request.method, ("GET", "HEAD"))
        return _without_trust(await handler(request))

    return guard


def _without_trust(response: web.StreamResponse) -> web.StreamResponse:
    if not response.prepared:
        response.headers.setdefault("Content-Security-Policy", _POLICY)
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("Cache-Control", "no-store")
    return response


def _verdict(fine: bool) -> web.Response:
    return web.json_response({"ok": fine}, status=200 if fine else 503)


def _page(name: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def page(_: web.Request) -> web.Response:
        body = files("plantgate.api").joinpath("view", name).read_bytes()
        return web.Response(body=body, content_type=_TYPES[name[name.rindex(".") :]], charset="utf-8")

    return page


async def _live(request: web.Request, seen: Seen) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    pending = deque(seen.news.lines, maxlen=NEWS_MOST)
    seen.news.listeners.add(pending.append)
    try:
        with seen.tap.look() as look:
            while True:
                await response.write(_event("status", msgspec.json.encode(seen.status())))
                for line in tuple(pending):
                    await response.write(_event("news", json.dumps(_news(line)).encode()))
                pending.clear()
                changed = {tag: _shown(*latest) for tag, latest in look.take().items()}
                if changed:
                    await response.write(_event("tags", json.dumps(changed).encode()))
                await asyncio.sleep(_LIVE_SECONDS)
    except ConnectionError:
        return response
    finally:
        seen.news.listeners.discard(pending.append)


def _event(name: str, body: bytes) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + body + b"\n\n"


def _news(line: dict[str, object]) -> dict[str, object]:
    known = ("time", "level", "event", "connection", "flow")
    rest = ", ".join(f"{key} {value}" for key, value in line.items() if key not in known)
    return {key: line.get(key, "") for key in known} | {"text": rest}


def _shown(value: Value, quality: int, time: int | None) -> tuple[object, str, str | None]:
    """Safe for any JSON reader: what JSON cannot say, and what is long, becomes text."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        shown: object = repr(value)
    elif isinstance(value, bool | int | float | None):
        shown = value if not isinstance(value, int) or abs(value) < 2**53 else str(value)
    else:
        shown = (value if isinstance(value, str) else repr(value))[:200]
    return shown, quality_name(quality), iso(time)
