"""A witness on the network: another box in the plant signs what this one publishes.

Source: c2sp.org/tlog-witness v1.0.0: ``POST /add-checkpoint``, and ``GET /<sha256 of the origin>/checkpoint`` for those
who monitor. Small requests, one at a time, each within a deadline, its head by the porter's; it holds no secret but its
own key.
"""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Final

from aiohttp import web

from plantgate.audit.note import Note
from plantgate.audit.witness import REQUEST_BYTES_MAX, Refused, Request, Witness
from plantgate.sdk.porter import Limits
from plantgate.sdk.standing import Log
from plantgate.served import served

LIMITS: Final = Limits(connections_max=64, per_peer_max=16, head_seconds=5.0, unread_seconds=10.0)
"""What clients may take; aiohttp has no such limits of its own."""
_BODY_SECONDS: Final = 10.0
_SIZE_TYPE: Final = "text/x.tlog.size"


@asynccontextmanager
async def serving(witness: Witness, origins: tuple[str, ...], host: str, port: int, log: Log) -> AsyncIterator[int]:
    """Serve until the block ends; gives the port. Raises `OSError` if it cannot listen."""
    loop = asyncio.get_running_loop()
    application = _application(witness, origins, log)
    async with served(application, LIMITS, lambda porter: loop.create_server(porter, host, port)) as listening:
        bound: int = listening.sockets[0].getsockname()[1]
        yield bound


def _application(witness: Witness, origins: tuple[str, ...], log: Log) -> web.Application:
    thread = ThreadPoolExecutor(1, thread_name_prefix="witness")
    names = {sha256(origin.encode()).hexdigest(): origin for origin in origins}

    async def blocking(work: object, *about: object) -> object:
        return await asyncio.get_running_loop().run_in_executor(thread, work, *about)  # type: ignore[arg-type]  # any

    async def add_checkpoint(request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                body = await request.read()
            asked = Request.parse(body)
            signature = await blocking(witness.add, asked)
        except TimeoutError:
            return web.Response(status=408, text="the request took too long\n")
        except Refused as refused:
            log.warning("checkpoint not signed", reason=str(refused), status=refused.refusal.value)
            if refused.size is not None:
                return web.Response(status=409, body=f"{refused.size}\n".encode(), headers={"Content-Type": _SIZE_TYPE})
            return web.Response(status=refused.refusal.value, text=f"{refused}\n")
        except OSError as error:
            log.error("checkpoint not signed", reason=str(error))
            return web.Response(status=503, text="the witness cannot keep it\n")
        return web.Response(text=f"{signature}\n")

    async def last(request: web.Request) -> web.Response:
        origin = names.get(request.match_info["log"])
        note = await blocking(witness.last, origin) if origin is not None else None
        if not isinstance(note, Note):
            raise web.HTTPNotFound(text="no checkpoint of such a log\n")
        return web.Response(body=bytes(note), content_type="text/plain", charset="utf-8")

    async def closing(_: web.Application) -> None:
        thread.shutdown(wait=False)

    application = web.Application(client_max_size=REQUEST_BYTES_MAX)
    application.add_routes([web.post("/add-checkpoint", add_checkpoint), web.get("/{log}/checkpoint", last)])
    application.on_cleanup.append(closing)
    return application
