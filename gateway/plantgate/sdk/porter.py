"""The porter of a listening HTTP server: turns away whom it has no room for, and who keeps it waiting.

Servers for asyncio have no limits of this kind, or one for everyone together. The porter stands between the transport
and the server's own protocol, whichever library that is of, and needs no more of it than to be told when a request is
being answered.
"""

import asyncio
import ipaddress
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

_CROWDED: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 49\r\n\r\ntoo many connections are open; close one of them\n"
)
_LATE: Final = (
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 39\r\n\r\nthe head of the request took too long.\n"
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may take."""

    connections_max: int = 256
    """Connections open at a time, of all clients."""
    per_peer_max: int = 64
    """Connections open at a time from one address (IPv6: from one /64)."""
    head_seconds: float = 10.0
    """How long a request's head may take from its first byte, and a new connection's from the start."""
    unread_seconds: float = 20.0
    """How long a client may leave unread what was written to it."""


@dataclass(slots=True)
class Porter:
    """Make one for a listening socket, and give it to ``loop.create_server`` as the protocol factory."""

    serve: Callable[[], asyncio.BaseProtocol]
    """Makes the server's own protocol for one connection."""
    limits: Limits = Limits()
    turned_away: Callable[[str, str], None] = lambda peer, why: None
    """Told of each client turned away: its address, and ``crowded``, ``slow head`` or ``unread``."""
    _inside: dict[asyncio.BaseTransport, "_Guest"] = field(default_factory=dict)
    _of_peer: dict[str, int] = field(default_factory=dict)

    def __call__(self) -> asyncio.Protocol:
        """A protocol for one connection."""
        return _Guest(self)

    @contextmanager
    def answering(self, transport: asyncio.BaseTransport | None) -> Iterator[None]:
        """While a request of this connection is being answered; its head has come, so nobody waits for that."""
        guest = None if transport is None else self._inside.get(transport)
        if guest is None:
            yield
            return
        guest.begin()
        try:
            yield
        finally:
            guest.end()

    def turn_out(self) -> None:
        """Break every connection that is still open."""
        for transport in tuple(self._inside):
            assert isinstance(transport, asyncio.Transport)
            transport.abort()

    def __len__(self) -> int:
        return len(self._inside)

    def let_in(self, transport: asyncio.Transport, guest: "_Guest", peer: str) -> bool:
        """Whether there is room."""
        if len(self._inside) >= self.limits.connections_max or self._of_peer.get(peer, 0) >= self.limits.per_peer_max:
            return False
        self._inside[transport] = guest
        self._of_peer[peer] = self._of_peer.get(peer, 0) + 1
        return True

    def let_out(self, transport: asyncio.Transport, peer: str) -> None:
        """It has gone."""
        if self._inside.pop(transport, None) is not None:
            self._of_peer[peer] -= 1
            if not self._of_peer[peer]:
                del self._of_peer[peer]


class _Guest(asyncio.Protocol):
    """One connection: everything is passed on to the server's protocol, beside a look at the clock."""

    def __init__(self, porter: Porter) -> None:
        self._porter = porter
        self._server: asyncio.Protocol | None = None
        self._transport: asyncio.Transport | None = None
        self._peer = ""
        self._answering = False
        self._head: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._peer = transport, peer_of(transport)
        if not self._porter.let_in(transport, self, self._peer):
            self._porter.turned_away(self._peer, "crowded")
            transport.write(_CROWDED)
            transport.close()
            return
        server = self._porter.serve()
        assert isinstance(server, asyncio.Protocol)
        self._server = server
        self._await_head()
        server.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._server is None:
            return
        if not self._answering and self._head is None:
            self._await_head()
        self._server.data_received(data)

    def eof_received(self) -> bool | None:
        return None if self._server is None else self._server.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        self._forget_head()
        self._forget_unread()
        if self._server is not None and self._transport is not None:
            self._porter.let_out(self._transport, self._peer)
            # A turn later: aiohttp's task trips over a connection that is lost in the turn in which its request came
            # (aio-libs/aiohttp#6978).
            asyncio.get_running_loop().call_soon(self._server.connection_lost, error)

    def pause_writing(self) -> None:
        if self._server is not None:
            self._unread = self._later(self._porter.limits.unread_seconds, self._never_read)
            self._server.pause_writing()

    def resume_writing(self) -> None:
        self._forget_unread()
        if self._server is not None:
            self._server.resume_writing()

    # What the porter is told.

    def begin(self) -> None:
        """A request is being answered."""
        self._answering = True
        self._forget_head()

    def end(self) -> None:
        """It was answered. How long the next one may take to begin is the server's to say."""
        self._answering = False

    # The clock.

    def _await_head(self) -> None:
        self._head = self._later(self._porter.limits.head_seconds, self._slow_head)

    def _slow_head(self) -> None:
        assert self._transport is not None
        self._head = None
        self._porter.turned_away(self._peer, "slow head")
        if not self._transport.is_closing():
            self._transport.write(_LATE)
            self._transport.close()

    def _never_read(self) -> None:
        assert self._transport is not None
        self._unread = None
        self._porter.turned_away(self._peer, "unread")
        self._transport.abort()

    def _later(self, seconds: float, act: Callable[[], None]) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, act)

    def _forget_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _forget_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None


def peer_of(transport: asyncio.BaseTransport | None) -> str:
    """A client's address, as limits count it: an IPv6 customer has a whole /64, so that is one peer."""
    name = None if transport is None else transport.get_extra_info("peername")
    host = str(name[0]) if isinstance(name, tuple) and name else ""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.IPv6Network((address, 64), strict=False).network_address) + "/64"
    return host


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a socket bound to this name or address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def names_this_machine(host_header: str) -> bool:
    """Whether a ``Host`` header names loopback: a page whose own name was made to point here (DNS rebinding) does not.

    For servers on loopback, which otherwise every web page a person opens on that machine could talk to.
    """
    host = host_header.strip().lower()
    if host.startswith("["):
        name, closing, rest = host[1:].partition("]")
        if not closing or (rest and not rest.startswith(":")):
            return False
    else:
        name = host.rpartition(":")[0] if host.count(":") == 1 else host
    return is_loopback(name) or name.endswith(".localhost")
