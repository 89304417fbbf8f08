"""The porter of a listening server: who is turned away, when, and who is not."""

import asyncio

import pytest
from aiohttp import web

from plantgate.sdk.porter import Limits, Porter, names_this_machine, peer_of
from plantgate.testing.simloop import running


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
