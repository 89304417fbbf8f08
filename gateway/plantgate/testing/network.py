"""An in-memory network under the simulated loop: ordered byte pipes that are slow, cut, reset or refused on demand.

Bytes arrive late, in order, and cut at other places than they were written. A sender whose peer does not read is
held back as by TCP: a window fills, then the transport's buffer, then ``pause_writing``. Hosts are any names; a
connection belongs to the host and port that were dialled.

    network = running().network
    network.cut("plc")           # bytes vanish, both ends believe they are connected
    network.heal("plc")          # new connections work; an old one is reset at its next write
"""

import asyncio
import errno
import itertools
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from plantgate.testing.pipes import Pipe, SimServer, SimTransport, reset_by_peer
from plantgate.testing.process import Process

if TYPE_CHECKING:
    from plantgate.testing.event_loop import SimLoop

SYN_SECONDS: Final = 127.0
"""How long connecting to a host that does not answer takes to fail (Linux: six SYN retries)."""
RETRY_SECONDS: Final = 120.0
"""Longest pause between retransmissions (Linux TCP_RTO_MAX): when a sender learns that its peer has forgotten it."""

Where = str | tuple[str, int]
"""A host, or one port of it."""


@dataclass
class Link:
    """How one host or address behaves; change the fields at any time."""

    latency_seconds: tuple[float, float] = (0.0002, 0.002)
    """Each piece takes a seeded time between these, one way."""
    bytes_per_second: float | None = None
    """None: as fast as the latency lets."""
    split: float = 0.15
    """Share of the pieces that arrive in two parts, 0..1."""
    breaks_after_bytes: int | None = None
    """After so many bytes more, in either direction, the connection that carries the last of them breaks there."""
    noise: float = 0.0
    """Share of the pieces that come damaged from the end that was dialled, 0..1: bytes changed, missing, too many."""
    noise_from_dialler: bool = False
    """Noise in the other direction: where the gateway listens and its devices dial."""
    state: str = "open"
    """``open``; ``cut``: bytes vanish; ``mute``: the same, and connecting works; ``held``: bytes wait for
    `Network.heal`; ``refused``: nobody listens."""
    healed: asyncio.Event = field(default_factory=asyncio.Event)


class Network:
    """Every connection of one simulated run."""

    def __init__(self, loop: "SimLoop") -> None:
        self._loop = loop
        self._random = loop.random("network")
        self._listeners: dict[tuple[str, int], SimServer] = {}
        self._links: dict[Where, Link] = {}
        self._open: dict[int, tuple[SimTransport, SimTransport]] = {}
        self._numbers = itertools.count(1)
        self._free_ports = itertools.count(49152)
        self.context = Context()
        """Of everything that happens on the wire: it belongs to no process."""
        self.dialled: list[tuple[float, str, int]] = []
        """Every attempt to connect: when (simulated seconds since the start), host, port."""

    # Faults.

    def link(self, where: Where) -> Link:
        """The link of a host, or of one address of it; made on first use. An address's own link wins."""
        if where not in self._links:
            self._links[where] = Link()
        return self._links[where]

    def cut(self, where: Where) -> None:
        """From now on bytes vanish and connecting hangs, as when a cable is pulled and the state behind it is lost.

        Connections of before never work again: they stay half-open, and are reset when written to after `heal`.
        """
        self._turn(where, "cut")
        for client, server in self._of(where):
            client.severed = server.severed = True

    def mute(self, where: Where) -> None:
        """From now on bytes vanish, yet connecting works: a program that hangs, whose system still answers."""
        self._turn(where, "mute")
        for client, server in self._of(where):
            client.severed = server.severed = True

    def hold(self, where: Where) -> None:
        """From now on bytes wait, and arrive after `heal`: a cable that is put back before TCP gives up."""
        self._turn(where, "held")

    def refuse(self, where: Where) -> None:
        """New connections are refused, as when the program is not running; open ones stay."""
        self._turn(where, "refused")

    def reset(self, where: Where) -> None:
        """Every open connection breaks with `ConnectionResetError` at both ends; new ones work."""
        for client, server in self._of(where):
            client.break_with(reset_by_peer())
            server.break_with(reset_by_peer())

    def lose(self, where: Where) -> None:
        """Every open connection breaks as after a pulled cable, once the kernel has repeated itself in vain.

        Both ends are told "no route to host", which is no `ConnectionError`; new ones work.
        """
        for end in itertools.chain.from_iterable(self._of(where)):
            end.break_with(OSError(errno.EHOSTUNREACH, "no route to host"))

    def heal(self, where: Where) -> None:
        """End `cut`, `mute`, `hold` and `refuse`."""
        self._turn(where, "open")
        link = self.link(where)
        link.healed.set()
        link.healed = asyncio.Event()
        for end in itertools.chain.from_iterable(self._of(where)):
            if end.severed and end.outward.lost_bytes:
                end.break_later(self._random.uniform(0.2, RETRY_SECONDS), reset_by_peer())
            end.outward.release()

    def collapse(self) -> None:
        """Every connection breaks at once: the world of this run has ended."""
        for end in list(itertools.chain.from_iterable(self._open.values())):
            end.break_with(reset_by_peer())

    def connections(self, where: Where | None = None) -> int:
        """How many are open, at either end."""
        return len(self._open) if where is None else len(self._of(where))

    def _turn(self, where: Where, state: str) -> None:
        self.link(where).state = state
        self._loop.witness(f"{where} {state}".encode())

    def _of(self, where: Where) -> list[tuple[SimTransport, SimTransport]]:
        return [ends for ends in self._open.values() if where in (ends[0].address, ends[0].address[0])]

    def behaviour(self, address: tuple[str, int]) -> Link:
        """The link that rules this address now."""
        return self._links.get(address) or self.link(address[0])

    # What the loop calls.

    async def connect(
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], host: str, port: int
    ) -> tuple[SimTransport, asyncio.BaseProtocol]:
        """A connection to a listener, after a round trip."""
        address = (host, port)
        self.dialled.append((self._loop.elapsed, host, port))
        await self._reach(address)
        listener = self._listeners.get(address) or self._listeners.get(("", port))
        if self.behaviour(address).state == "refused" or listener is None or not listener.is_serving():
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"connect call failed {address}")

        number = next(self._numbers)
        here = ("gateway", next(self._free_ports))
        client = SimTransport(self._loop, self, number, address, here, address, copy_context())
        server = SimTransport(self._loop, self, number, address, address, here, listener.context.copy())
        client.outward, server.outward = Pipe(client, server), Pipe(server, client)
        client.severed = server.severed = self.behaviour(address).state == "mute"
        self._open[number] = (client, server)
        listener.greet(server)
        protocol = protocol_factory()
        await client.begin(protocol)
        return client, protocol

    async def _reach(self, address: tuple[str, int]) -> None:
        await asyncio.sleep(2 * self.latency(address))
        try:
            async with asyncio.timeout(SYN_SECONDS):
                while self.behaviour(address).state in ("cut", "held"):
                    await self.behaviour(address).healed.wait()
        except TimeoutError as error:
            raise TimeoutError(errno.ETIMEDOUT, f"connect call timed out {address}") from error

    def listen(self, protocol_factory: Callable[[], asyncio.BaseProtocol], host: Any, port: int) -> SimServer:
        """A server, listening at once."""
        names = [host] if host is None or isinstance(host, str) else list(host)
        port = port or next(self._free_ports)
        addresses = [("" if name in (None, "", "0.0.0.0", "::") else str(name), port) for name in names]  # noqa: S104
        for address in addresses:
            if address in self._listeners:
                raise OSError(errno.EADDRINUSE, f"address already in use: {address}")
        server = SimServer(self._loop, self, protocol_factory, addresses)
        for address in addresses:
            self._listeners[address] = server
        return server

    def unlisten(self, addresses: list[tuple[str, int]]) -> None:
        """Called by a server that closes."""
        for address in addresses:
            self._listeners.pop(address, None)

    def latency(self, address: tuple[str, int]) -> float:
        """Seconds one piece is under way."""
        return self._random.uniform(*self.behaviour(address).latency_seconds)

    def transfer(self, address: tuple[str, int], length: int) -> float:
        """Seconds the line is taken by this many bytes."""
        rate = self.behaviour(address).bytes_per_second
        return length / rate if rate else 0.0

    def pieces(self, address: tuple[str, int], chunk: bytes) -> list[bytes]:
        """The chunk as it arrives: whole, or cut at a seeded place."""
        if len(chunk) < 2 or self._random.random() >= self.behaviour(address).split:
            return [chunk]
        place = self._random.randrange(1, len(chunk))
        return [chunk[:place], chunk[place:]]

    def damaged(self, address: tuple[str, int], piece: bytes) -> bytes:
        """The piece as noise leaves it; mostly as it was."""
        noise = self.behaviour(address).noise
        if not piece or not noise or self._random.random() >= noise:
            return piece
        place = self._random.randrange(len(piece))
        match self._random.randrange(4):
            case 0:  # another byte
                return piece[:place] + bytes([piece[place] ^ self._random.randrange(1, 256)]) + piece[place + 1 :]
            case 1:  # some missing
                return piece[:place] + piece[place + self._random.randrange(1, 9) :]
            case 2:  # some too many
                return piece[:place] + self._random.randbytes(self._random.randrange(1, 9)) + piece[place:]
            case _:  # something else altogether
                return self._random.randbytes(len(piece))

    def up_to_the_break(self, address: tuple[str, int], piece: bytes) -> tuple[bytes, bool]:
        """What of the piece still arrives, and whether the connection breaks after it."""
        link = self.behaviour(address)
        if link.breaks_after_bytes is None:
            return piece, False
        if len(piece) < link.breaks_after_bytes:
            link.breaks_after_bytes -= len(piece)
            return piece, False
        arrives, link.breaks_after_bytes = piece[: link.breaks_after_bytes], None
        return arrives, True

    def bereave(self, process: Process) -> None:
        """A process was killed: its listeners are gone, and its connections are reset."""
        for server in set(self._listeners.values()):
            if server.belongs_to(process):
                server.close()
        for end in list(itertools.chain.from_iterable(self._open.values())):
            if end.belongs_to(process):
                end.abort()

    def forget(self, number: int) -> None:
        """Called when both ends of a connection are gone."""
        self._open.pop(number, None)
