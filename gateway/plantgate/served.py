"""Serves an aiohttp application with a porter at its door."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler, Middleware

from plantgate.sdk.porter import Limits, Porter

_LOG: Final = logging.getLogger("plantgate.served")


@asynccontextmanager
async def served(
    application: web.Application, limits: Limits, listen: Callable[[Porter], Awaitable[asyncio.Server]]
) -> AsyncIterator[asyncio.Server]:
    """Serve until the block ends; `listen` opens the door that the porter stands at, and what it raises is raised."""
    porter = Porter(lambda: _protocol(runner), limits)
    application.middlewares.insert(0, _known_to(porter))
    runner = web.AppRunner(application, access_log=None, logger=_LOG, shutdown_timeout=1.0, keepalive_timeout=15.0)
    await runner.setup()
    try:
        listening = await listen(porter)
        try:
            yield listening
        finally:
            listening.close()
    finally:
        await runner.cleanup()
        porter.turn_out()


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether a line is about a fault of ours: aiohttp writes a traceback for all that a stranger sends wrong, too."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


_LOG.addFilter(_is_ours)


def _protocol(runner: web.AppRunner) -> asyncio.BaseProtocol:
    assert runner.server is not None, "served() has set it up"
    return runner.server()


def _known_to(porter: Porter) -> Middleware:
    @web.middleware
    async def answering(request: web.Request, handler: Handler) -> web.StreamResponse:
        with porter.answering(request.transport):
            return await handler(request)

    return answering
