"""The listening socket of a receiver, and the protocol behind it."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from aiohttp import web

from plantgate.sdk import Context, Unavailable
from plantgate.sdk.porter import Limits, Porter
from plantgate_connectors.http.intake import Guard, Intake
from plantgate_connectors.http.problem import Problem
from plantgate_connectors.http.receiver import HttpReceiver
from plantgate_connectors.http.settings import Receive
from plantgate_connectors.http.tls import server_context

LEAVE_SECONDS: Final = 2.0
"""How long answers may take to get out when the session ends, and how long an unread body is listened to."""
_HEAD_BYTES_MAX: Final = 8_190
_HEADERS_MAX: Final = 64
_SILENT: Final = logging.Logger("plantgate.http.silent", level=logging.CRITICAL + 1)
"""aiohttp would log what clients wrote, word for word; refusals are counted and told by us."""


class _Handler(web.RequestHandler):
    """aiohttp's protocol; what it cannot parse is refused in our words, and closes the connection."""

    __slots__ = ("_guard", "_peer")

    def __init__(self, manager: web.Server, guard: Guard, **options: Any) -> None:
        super().__init__(manager, **options)
        self._guard = guard

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Says nothing of what was sent."""
        peer = str(self.peername[0]) if isinstance(self.peername, tuple) else ""
        if status >= 500:
            problem = Problem(500, "this went wrong here, and is in the log", close=True)
            self._guard.failed(exc)
        else:
            problem = Problem(400, "this is not HTTP/1.1 as it must be", close=True)
        self._guard.refused(peer, "malformed", problem.detail)
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the answer is out already")
        return problem.answer()


class _Server(web.Server):
    """Makes such a protocol for each connection."""

    def __init__(self, intake: Intake, guard: Guard, settings: Receive) -> None:
        super().__init__(self._answer, handler_cancellation=True)
        self._intake, self._guard = intake, guard
        limits = Limits(settings.connections_max, settings.per_peer_max, settings.head_seconds)
        self.porter = Porter(self, limits, lambda peer, why: guard.refused(peer, why, why))
        self._options: dict[str, Any] = {
            "loop": asyncio.get_running_loop(),
            "logger": _SILENT,
            "access_log": None,
            "keepalive_timeout": settings.idle_seconds,
            "lingering_time": LEAVE_SECONDS,
            "max_line_size": _HEAD_BYTES_MAX,
            "max_field_size": _HEAD_BYTES_MAX,
            "max_headers": _HEADERS_MAX,
            "auto_decompress": False,
        }

    def __call__(self) -> web.RequestHandler:
        return _Handler(self, self._guard, **self._options)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        with self.porter.answering(request.transport):
            return await self._intake.answer(request)


@asynccontextmanager
async def listening(
    settings: Receive, context: Context, guard: Guard, receiver: HttpReceiver
) -> AsyncIterator[tuple[str, int]]:
    """Serve until the block ends; gives the address. What is not safe by then is answered 503."""
    where = f"{settings.host}:{settings.port}"
    server = _Server(Intake(settings, context, guard, receiver), guard, settings)
    encryption: dict[str, Any] = {}
    if settings.tls is not None:
        encryption = {
            "ssl": server_context(settings.tls, context.connection),
            "ssl_handshake_timeout": settings.head_seconds,
            "ssl_shutdown_timeout": LEAVE_SECONDS,
        }
    try:
        door = await asyncio.get_running_loop().create_server(server.porter, settings.host, settings.port, **encryption)
    except OSError as error:
        why = error.strerror or str(error)
        raise Unavailable(f"{context.connection}: cannot listen on {where}: {why}") from error
    try:
        bound = door.sockets[0].getsockname()
        yield bound[0], bound[1]
    finally:
        door.close()
        receiver.close()
        server.pre_shutdown()
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS + 1.0):
                await server.shutdown(LEAVE_SECONDS)
        server.porter.turn_out()
        await asyncio.sleep(0)  # so that what was broken is gone when the next session listens
