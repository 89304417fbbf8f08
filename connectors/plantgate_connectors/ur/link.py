"""One RTDE connection: agrees on version and recipes, then hears data packages until it is over."""

import asyncio
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from plantgate.sdk import Log, Unavailable
from plantgate_connectors.leaving import drop_unsent
from plantgate_connectors.ur.frames import Frames, Kind, Malformed, package
from plantgate_connectors.ur.recipe import Held, Recipe, answered

_PROTOCOL: Final = 2
_LEVELS: Final = ("exception", "error", "warning", "info")
_TEXTS_MOST: Final = 100
"""Of one connection are logged; a controller can send one with every package."""
_FIELDS_BYTES_MAX: Final = 2048
"""Most bytes of a list of field names that a controller takes."""
_OLD_HZ_MAX: Final = 125.0
"""CB-series controllers (software 3) run their loop so often; e-Series ones 500 times a second."""
"""Closing drops what the kernel has not sent yet, instead of sending it whenever the line is back."""

Heard = Callable[[list[Held]], None]


@dataclass(frozen=True, slots=True)
class Version:
    """Of the controller's software."""

    major: int
    minor: int
    bugfix: int
    build: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.bugfix}.{self.build}"


class Link(asyncio.Protocol):
    """Enter with `connected`; every wait for the controller has an end."""

    def __init__(self, name: str, log: Log, heard: Heard) -> None:
        self.name = name
        """Host and port, for messages."""
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()
        self.gone: asyncio.Future[str] = loop.create_future()
        """Done when the connection is over, with the reason in words."""
        self._log = log
        self._heard = heard
        self._frames = Frames()
        self._outputs: Recipe | None = None
        self._asked: tuple[Kind, asyncio.Future[bytes]] | None = None
        self._transport: asyncio.Transport | None = None
        self._texts = 0

    # The conversation.

    async def agree(self, seconds: float) -> Version:
        """Protocol version 2, and what software the controller has. Raises `Unavailable`."""
        if not (await self._ask(Kind.PROTOCOL_VERSION, struct.pack(">H", _PROTOCOL), seconds))[0]:
            raise Unavailable(
                f"{self.name} refuses RTDE protocol version {_PROTOCOL}; it needs PolyScope 3.10, 5.4 or later"
            )
        return Version(*struct.unpack(">4I", await self._ask(Kind.CONTROLLER_VERSION, b"", seconds)))

    async def outputs(self, fields: Sequence[str], frequency_hz: float, seconds: float) -> Recipe:
        """What the controller shall send, and how often; its types can be `NOT_FOUND`. Raises `Unavailable`."""
        recipe = await self._agree_on(Kind.OUTPUTS, struct.pack(">d", frequency_hz), fields, seconds)
        self._outputs = recipe
        return recipe

    async def inputs(self, fields: Sequence[str], seconds: float) -> Recipe:
        """What we shall send; its types can be `NOT_FOUND` or `IN_USE`. Raises `Unavailable`."""
        return await self._agree_on(Kind.INPUTS, b"", fields, seconds)

    async def start(self, seconds: float) -> None:
        """From now on data packages come, and may be sent. Raises `Unavailable`."""
        assert self._outputs is not None, "there is something to send before the controller is told to begin"
        self._frames.data_bytes = self._outputs.data_bytes
        if not (await self._ask(Kind.START, b"", seconds))[0]:
            raise Unavailable(f"{self.name} refuses to begin the exchange")

    @property
    def clear(self) -> bool:
        """Whether what is written now leaves now: the connection is open, and nothing waits in it to be sent."""
        transport = self._transport
        return transport is not None and not transport.is_closing() and transport.get_write_buffer_size() == 0

    def send(self, recipe: Recipe, values: Sequence[bool | int | float]) -> None:
        """One data package. There is no answer to it."""
        assert self._transport is not None
        self._transport.write(package(Kind.DATA, recipe.pack(values)))

    async def heard_within(self, seconds: float, heard_at: Callable[[], float]) -> None:
        """Until the connection is gone; it is given up when nothing has been heard for so long."""
        loop = asyncio.get_running_loop()
        while not self.gone.done():
            left = heard_at() + seconds - loop.time()
            if left <= 0:
                self.end(f"{self.name} has sent nothing for {seconds:g} s")
            else:
                await asyncio.wait((self.gone,), timeout=left)

    def leave(self, why: str) -> None:
        """Over; what was written is still delivered, unless it waits here to be sent."""
        if self._transport is not None and self.clear:
            self._transport.close()
            self._over(why)
        else:
            self.end(why)

    def end(self, why: str) -> None:
        """Over at once; what was not sent yet never is."""
        transport = self._transport
        if transport is not None:
            if not transport.is_closing():
                drop_unsent(transport)
            transport.abort()
        self._over(why)

    async def _agree_on(self, kind: Kind, head: bytes, fields: Sequence[str], seconds: float) -> Recipe:
        names = ",".join(fields).encode()
        if len(names) > _FIELDS_BYTES_MAX:
            raise Unavailable(
                f"{self.name} takes field names of {_FIELDS_BYTES_MAX} bytes together, and these are {len(names)};"
                " read fewer fields, or the rest through another connection"
            )
        payload = await self._ask(kind, head + names, seconds)
        try:
            return answered(fields, payload)
        except Malformed as error:
            self.end(f"{self.name} sent {error}")
            raise Unavailable(f"{self.name} sent {error}") from error

    async def _ask(self, kind: Kind, payload: bytes, seconds: float) -> bytes:
        if self.gone.done() or self._transport is None:
            raise Unavailable(self._reason)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._asked = (kind, answer)
        self._transport.write(package(kind, payload))
        try:
            async with asyncio.timeout(seconds):
                await asyncio.wait((answer, self.gone), return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError as error:
            raise Unavailable(f"{self.name}: no answer to {kind.name.lower()} within {seconds:g} s") from error
        finally:
            self._asked = None
        if not answer.done():
            raise Unavailable(self._reason)
        return answer.result()

    @property
    def _reason(self) -> str:
        return self.gone.result() if self.gone.done() else f"{self.name} is not connected"

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """By the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self.gone.done():  # given up while it was being made
            transport.abort()
        elif not self.ready.done():
            self.ready.set_result(None)

    def data_received(self, data: bytes) -> None:
        """By the transport. Whatever is no RTDE ends the connection."""
        try:
            for kind, payload in self._frames.feed(data):
                self._take(kind, payload)
                if self.gone.done():
                    return
        except Malformed as error:
            self.end(f"{self.name} sent {error}")

    def connection_lost(self, error: Exception | None) -> None:
        """By the transport."""
        told = "closed the connection" if error is None else str(getattr(error, "strerror", None) or error)
        self._over(f"{self.name}: {told}")

    def _take(self, kind: Kind, payload: bytes) -> None:
        if kind is Kind.DATA:
            assert self._outputs is not None, "a data package has a length only once there is a recipe"
            self._heard(self._outputs.unpack(payload))
        elif kind is Kind.TEXT:
            self._say(payload)
        elif self._asked is not None and self._asked[0] is kind and not self._asked[1].done():
            self._asked[1].set_result(payload)
        else:
            raise Malformed(f"an answer {chr(kind)!r} that nobody asked for")

    def _say(self, payload: bytes) -> None:
        """What the controller has to tell people; it can explain a refusal that follows."""
        text, rest = payload[1 : 1 + payload[0]], payload[1 + payload[0] :]
        if len(text) < payload[0] or len(rest) < 2 or len(rest) != rest[0] + 2:
            raise Malformed("a text whose lengths do not fit it")
        self._texts += 1
        if self._texts > _TEXTS_MOST:
            return
        source, level = rest[1:-1], rest[-1]
        say = self._log.info if level >= len(_LEVELS) - 1 else self._log.warning
        say(
            "the controller says",
            text=text.decode("utf-8", "replace"),
            source=source.decode("utf-8", "replace"),
            level=_LEVELS[min(level, len(_LEVELS) - 1)],
        )

    def _over(self, why: str) -> None:
        if not self.gone.done():
            self.gone.set_result(why)


async def connected(host: str, port: int, log: Log, heard: Heard, seconds: float) -> Link:
    """A connection, nothing said yet; whoever gets it ends it. Raises `Unavailable` with the reason in words."""
    link = Link(f"{host}:{port}", log, heard)
    try:
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().create_connection(lambda: link, host, port)
            await link.ready
    except TimeoutError as error:
        link.end("given up")
        raise Unavailable(f"no connection to {link.name} within {seconds:g} s") from error
    except UnicodeError as error:
        raise Unavailable(f"{link.name} is no host name: {error}") from error
    except OSError as error:
        raise Unavailable(f"{link.name} cannot be reached: {error.strerror or error}") from error
    except BaseException:
        link.end("given up")
        raise
    return link


def reachable(frequency_hz: float, version: Version) -> float:
    """The frequency that a controller of this software can keep."""
    return frequency_hz if version.major >= 5 else min(frequency_hz, _OLD_HZ_MAX)
