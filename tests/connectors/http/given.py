"""What the tests of the HTTP connector start from."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from plantgate.sdk import Batch, Context, Source
from plantgate.sdk.porter import Limits, Porter
from plantgate.testing.context import RecordedLog, lent
from plantgate_connectors.http import Http, HttpSettings

HOST = "127.0.0.1"
PORT = 8460
TOKEN = "0123456789abcdef-token-of-press3"
T0 = 1_767_225_600_000_000_000
"""2026-01-01T00:00:00Z, when every simulated run begins."""
BEARER = f"Authorization: Bearer {TOKEN}"


def settings(**written: Any) -> HttpSettings:
    """As from a plant file."""
    return HttpSettings.model_validate_json(json.dumps(written))


def receiver(folder: Path, **written: Any) -> Http:
    """A connector that receives; by default one path takes batches, another numbers, and press3 has a token."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "token").write_text(TOKEN + "\n")
    paths = [
        {"path": "/readings", "payload": "plantgate"},
        {"path": "/machines/{name}/temperature", "tag": "machines/{name}/temperature", "payload": "number"},
        {"path": "/json/{name#}", "tag": "{name}", "value": "/v", "time": "/t", "time_unit": "ns", "quality": "/q"},
        {"path": "/fields/{name}", "tag": "{name}", "payload": "fields"},
        {"path": "/text", "tag": "text", "payload": "text"},
    ]
    receive = {
        "port": PORT,
        "allow": [{"name": "press3", "bearer": f"${{file:{folder / 'token'}}}"}],
        "paths": paths,
        **written,
    }
    return Http(settings(receive={k: v for k, v in receive.items() if v is not None}), lent(folder, connection="hook"))


def said(context: Context) -> list[tuple[str, str, dict[str, object]]]:
    """What the connector logged."""
    assert isinstance(context.log, RecordedLog)
    return context.log.lines


@dataclass
class Answer:
    """A response as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def detail(self) -> str:
        """The sentence of a problem."""
        assert self.headers["content-type"] == "application/problem+json", (self.status, self.body)
        problem = json.loads(self.body)
        assert problem["status"] == self.status
        return str(problem["detail"])


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """The next response on a connection."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(head[0].split(" ")[1])
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    length = int(headers.get("content-length", "0"))
    return Answer(status, headers, await reader.readexactly(length))


def request(path: str, body: bytes, *headers: str, method: str = "POST", host: str = HOST) -> bytes:
    """A request, with the token of press3 unless other credentials are given."""
    if not any(header.lower().startswith("authorization") for header in headers):
        headers = (BEARER, *headers)
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}", *headers]
    return ("\r\n".join(line for line in lines if line and line != "Authorization:") + "\r\n\r\n").encode(
        "latin-1"
    ) + body


@asynccontextmanager
async def connected(port: int = PORT) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection of a client."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def talk(raw: bytes, *, port: int = PORT, seconds: float = 120.0) -> Answer:
    """Send bytes on a connection of their own, and read one answer."""
    async with asyncio.timeout(seconds), connected(port) as (reader, writer):
        writer.write(raw)
        return await read_answer(reader)


async def post(path: str, body: bytes | str | object, *headers: str, port: int = PORT) -> Answer:
    """Post, and read the answer."""
    if not isinstance(body, bytes):
        body = (body if isinstance(body, str) else json.dumps(body)).encode()
    return await talk(request(path, body, *headers), port=port)


@asynccontextmanager
async def pumping(source: Source, *, safe: Callable[[Batch], Awaitable[None]] | None = None) -> AsyncIterator[Batch]:
    """Reads and acknowledges beside the block; gives a batch that grows."""
    got = Batch.empty()

    async def pump() -> None:
        while True:
            batch = await source.read()
            if safe is not None:
                await safe(batch)
            got.extend(batch)
            await source.ack(batch.cursor)

    pumping = asyncio.create_task(pump())
    try:
        yield got
    finally:
        pumping.cancel()
        await asyncio.wait([pumping])


async def eventually(true: Callable[[], bool], seconds: float = 60.0) -> None:
    """Until it is so, in simulated time."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110  what it waits for has no event
            await asyncio.sleep(0.01)


@asynccontextmanager
async def server(handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], port: int) -> AsyncIterator[None]:
    """Another's server on the simulated network, a patient one."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        with porter.answering(request.transport):
            return await handler(request)

    served = web.Server(answer, access_log=None, handler_cancellation=True)
    porter = Porter(served, Limits(head_seconds=1000.0))  # lost connections trip aiohttp's server up: see there
    door = await asyncio.get_running_loop().create_server(porter, HOST, port)
    try:
        yield
    finally:
        door.close()
        await served.shutdown(1.0)


@pytest.fixture(autouse=True)
def dialling(monkeypatch: pytest.MonkeyPatch) -> None:
    """aiohttp's client makes its sockets itself, which a simulated network has not: here it dials through the loop."""

    async def dial(connector: Any, *args: Any, addr_infos: Any, req: Any, **more: Any) -> Any:
        host, port = addr_infos[0][4][:2]
        try:
            return await asyncio.get_running_loop().create_connection(args[0], host, port)
        except OSError as error:
            raise aiohttp.ClientConnectorError(req.connection_key, error) from error

    monkeypatch.setattr(aiohttp.TCPConnector, "_wrap_create_connection", dial)
