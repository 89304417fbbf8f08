"""Serves the gateway's own view with the demo's story beside it, and goes on serving while the gateway is down."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Final

from aiohttp import ClientError, ClientSession, ClientTimeout, web

_TYPES: Final = {"index.html": "text/html", "view.css": "text/css", "view.js": "text/javascript"}
_POLICY: Final = "default-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'; form-action 'none'"
_STREAM: Final = {"Content-Type": "text/event-stream", "Cache-Control": "no-store"}

Story = Callable[[], list[tuple[str, dict[str, object]]]]
"""Named events that say how the demo stands now."""


@asynccontextmanager
async def serving(host: str, port: int, gateway: str, story: Story) -> AsyncIterator[str]:
    """Gives the address of the page; on a port that is taken it takes a free one instead."""
    async with ClientSession(timeout=ClientTimeout(total=None, sock_connect=1.0, sock_read=5.0)) as session:
        runner = web.AppRunner(_application(session, gateway, story), access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        try:
            try:
                await web.TCPSite(runner, host, port).start()
            except OSError:
                await web.TCPSite(runner, host, 0).start()
            bound = runner.addresses[0]
            yield f"http://{bound[0]}:{bound[1]}/"
        finally:
            await runner.cleanup()


def _application(session: ClientSession, gateway: str, story: Story) -> web.Application:
    streams: set[asyncio.Task[object]] = set()

    async def stream(
        request: web.Request, write: Callable[[web.StreamResponse], Awaitable[None]]
    ) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        streams.add(task)
        response = web.StreamResponse(headers=_STREAM)
        try:
            await response.prepare(request)
            await write(response)
        except (ConnectionError, ClientError, TimeoutError):
            pass  # the browser has gone, or the gateway has: the page notices, and comes back
        finally:
            streams.discard(task)
        return response

    async def live(request: web.Request) -> web.StreamResponse:
        try:
            async with session.get(f"{gateway}/live") as upstream:
                if upstream.status != 200:
                    return web.Response(status=503, text="the gateway is not ready")

                async def copy(response: web.StreamResponse) -> None:
                    async for block in upstream.content.iter_any():
                        await response.write(block)

                return await stream(request, copy)
        except (ClientError, TimeoutError, OSError):
            return web.Response(status=503, text="the gateway does not answer")

    async def tell(response: web.StreamResponse) -> None:
        while True:
            for name, body in story():
                await response.write(f"event: {name}\ndata: {json.dumps(body)}\n\n".encode())
            await asyncio.sleep(1.0)

    async def told(request: web.Request) -> web.StreamResponse:
        return web.Response(headers=_STREAM) if request.method == "HEAD" else await stream(request, tell)

    async def status(_: web.Request) -> web.Response:
        try:
            async with session.get(f"{gateway}/status") as upstream:
                return web.Response(body=await upstream.read(), status=upstream.status, content_type="application/json")
        except (ClientError, TimeoutError, OSError):
            return web.Response(status=503, text="the gateway does not answer")

    async def end_streams(_: web.Application) -> None:
        for task in tuple(streams):
            task.cancel()

    application = web.Application()
    application.on_shutdown.append(end_streams)
    application.add_routes(
        [
            web.get("/live", live),
            web.get("/story", told),
            web.get("/status", status),
            web.get("/", _file("index.html")),
            *(web.get(f"/{name}", _file(name)) for name in ("view.css", "view.js")),
        ]
    )
    return application


def _file(name: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def file(_: web.Request) -> web.Response:
        body = files("plantgate.api").joinpath("view", name).read_bytes()
        headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        return web.Response(body=body, content_type=_TYPES[name], charset="utf-8", headers=headers)

    return file
