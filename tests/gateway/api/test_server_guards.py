"""What a hostile client of the gateway's own server meets: raw bytes, in simulated time where time matters."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from plantgate.api.server import LIMITS, Seen, serving
from plantgate.observe.logging import News
from plantgate.observe.metrics import metrics_of
from plantgate.observe.tap import Tap
from plantgate.sdk.porter import Limits, Porter, names_this_machine, peer_of
from plantgate.testing.simloop import running
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
    logging.getLogger("plantgate.api").exception("ours", exc_info=RuntimeError())
    assert len(caplog.records) == 1


class Silent(asyncio.Protocol):
    """A server that takes everything and answers nothing, unless told to pour."""

    def __init__(self, pour: int = 0) -> None:
        self.pour = pour

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"x" * self.pour)


@pytest.mark.simulated(seeds=1)
@pytest.mark.parametrize("limit", [5.0, 50.0])
async def test_a_head_that_trickles_ends_at_the_limit_and_only_there(limit: float) -> None:
    porter = Porter(Silent, Limits(head_seconds=limit))
    await asyncio.get_running_loop().create_server(porter, "gate", 80)
    reader, writer = await asyncio.open_connection("gate", 80)
    started = running().elapsed

    async def trickle() -> None:
        while True:
            writer.write(b"x")
            await asyncio.sleep(1.0)

    trickling = asyncio.create_task(trickle())
    assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
    assert running().elapsed - started == pytest.approx(limit, abs=0.1)
    assert len(porter) == 0
    trickling.cancel()
    writer.close()


@pytest.mark.simulated(seeds=1)
async def test_who_reads_nothing_is_cut_off() -> None:
    told: list[tuple[str, str]] = []
    porter = Porter(
        lambda: Silent(pour=10_000_000), Limits(head_seconds=500.0, unread_seconds=20.0), lambda *who: told.append(who)
    )
    await asyncio.get_running_loop().create_server(porter, "gate", 80)
    reader, writer = await asyncio.open_connection("gate", 80)
    await asyncio.sleep(19.0)
    assert len(porter) == 1
    await asyncio.sleep(2.0)
    assert len(porter) == 0
    assert told == [("gateway", "unread")]
    writer.close()
    with pytest.raises(ConnectionError):
        await reader.read()


@pytest.mark.simulated(seeds=1)
async def test_a_request_that_is_being_answered_is_given_all_the_time_it_takes() -> None:
    porter = Porter(Silent, Limits(head_seconds=5.0))
    await asyncio.get_running_loop().create_server(porter, "gate", 80)
    reader, writer = await asyncio.open_connection("gate", 80)
    await asyncio.sleep(1.0)
    (transport,) = porter._inside
    with porter.answering(transport):
        await asyncio.sleep(100.0)
        assert len(porter) == 1
    await asyncio.sleep(100.0)  # idle: how long that may last is the server's own affair
    assert len(porter) == 1
    writer.write(b"G")
    assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
    writer.close()


class Named(asyncio.Transport):
    """A transport of a peer."""

    def __init__(self, host: str) -> None:
        super().__init__({"peername": (host, 1)})


@pytest.mark.parametrize(
    ("host", "peer"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_an_ipv6_customer_is_one_peer_with_all_its_addresses(host: str, peer: str) -> None:
    assert peer_of(Named(host)) == peer


@pytest.mark.parametrize("host", ["", ":80", "[::1", "localhost:80:80", "1", "0x7f.1", "::1:80", "127.0.0.1 evil"])
def test_a_host_that_is_none_names_nobody(host: str) -> None:
    assert not names_this_machine(host)


@pytest.mark.simulated(seeds=1)
async def test_without_a_porter_aiohttp_lets_a_head_trickle_for_as_long_as_an_idle_connection() -> None:
    """The mutation: what aiohttp itself has is one timer for idle connections and for heads, an hour by default."""

    async def handler(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response()

    server = web.Server(handler, access_log=None)
    door = await asyncio.get_running_loop().create_server(server, "gate", 80)
    reader, writer = await asyncio.open_connection("gate", 80)
    writer.write(b"GET / HTTP/1.1\r\nHost: gate\r\nX: ")
    for _ in range(300):
        writer.write(b"x")
        await asyncio.sleep(10.0)
    assert len(server.connections) == 1
    writer.write(b"\r\n\r\n")
    assert (await reader.readline()) == b"HTTP/1.1 200 OK\r\n"
    writer.close()
    door.close()
    await server.shutdown(1.0)
