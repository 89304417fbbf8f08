"""What a hostile client of the gateway's own server meets: raw bytes, in simulated time where time matters."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from plantgate.api.server import LIMITS, Seen, serving
from plantgate.observe.logging import News
from plantgate.observe.metrics import metrics_of
from plantgate.observe.tap import Tap
from tests.gateway.api.test_server import STATUS


@asynccontextmanager
async def served() -> AsyncIterator[int]:
    """The server on a port of its own."""
    seen = Seen(
        status=lambda: STATUS,
        metrics=metrics_of(lambda: STATUS),
        plan=lambda: {"plant": "line3"},
        started=lambda: True,
        tap=Tap(),
        news=News(),
    )
    async with serving(seen, socket.create_server(("127.0.0.1", 0))) as (_, port):
        yield port


async def ask(port: int, raw: bytes) -> bytes:
    """Everything that comes back until the connection ends."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(raw)
        try:
            return await reader.read()
        finally:
            writer.close()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", b"200"),
        ("127.0.0.1:9480", b"200"),
        ("[::1]:9480", b"200"),
        ("evil.example", b"421"),
        ("evil.example:9480", b"421"),
        ("127.0.0.1.evil.example", b"421"),
        ("localhost@evil.example", b"421"),
        ("[::1].evil.example", b"421"),
        ("10.0.0.7", b"421"),
    ],
)
def test_a_page_whose_name_was_made_to_point_here_reads_nothing(host: str, status: bytes) -> None:
    async def main() -> None:
        async with served() as port:
            for path in ("/status", "/plan", "/live", "/nowhere"):
                if path == "/live" and status == b"200":
                    continue
                raw = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
                expected = b"404" if path == "/nowhere" and status == b"200" else status
                answer = await ask(port, raw)
                assert answer.split(b" ")[1] == expected
                assert status == b"200" or b"line3" not in answer

    asyncio.run(main())


def test_connections_beyond_the_cap_are_refused_and_those_of_others_are_served() -> None:
    async def main() -> None:
        async with served() as port:
            held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(LIMITS.per_peer_max)]
            request = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            assert (await ask(port, request)).startswith(b"HTTP/1.1 503 ")
            other = socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.2", 0))
            other.setblocking(False)
            reader, writer = await asyncio.open_connection(sock=other)
            writer.write(request)
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
            for _, closing in (*held, (reader, writer)):
                closing.close()

    asyncio.run(main())


def test_a_strangers_nonsense_is_answered_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with served() as port:
            for raw in (b"\x16\x03\x01nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET /\x1b[2J HTTP/1.1\r\n\r\n"):
                assert (await ask(port, raw)).split(b" ")[1] == b"400"

    asyncio.run(main())
    assert not caplog.records
    logging.getLogger("plantgate.served").exception("ours", exc_info=RuntimeError())
    assert len(caplog.records) == 1
