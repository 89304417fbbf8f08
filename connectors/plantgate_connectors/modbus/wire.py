"""One connection of a line, from its first byte to its last."""

import asyncio
from collections.abc import Callable

from plantgate_connectors.leaving import drop_unsent, under_way
from plantgate_connectors.modbus.mbap import Mbap
from plantgate_connectors.modbus.rtu import Rtu


class Wire(asyncio.Protocol):
    """A transport, the framing of what comes, and how it ended."""

    def __init__(self, received: "Callable[[Wire, bytes], None]", framing: Mbap | Rtu) -> None:
        self._received = received
        self.framing = framing
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()
        self.gone: asyncio.Future[bool] = loop.create_future()
        """Set when it is over: true when we ended it only to begin another."""
        self.heard = False
        """A right answer has come on it."""
        self.why = "the device closed the connection"
        self.transport: asyncio.Transport | None = None
        self._renewing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """By the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.ready.set_result(None)

    def data_received(self, data: bytes) -> None:
        """By the transport."""
        self._received(self, data)

    def connection_lost(self, error: Exception | None) -> None:
        """By the transport, or after `abort`."""
        if error is not None:
            self.why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        self._finish()

    def write(self, requests: bytes) -> None:
        """Send; nothing happens once the connection is gone."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(requests)

    @property
    def waits(self) -> bool:
        """Whether something that was written has not reached the other machine, as far as is known."""
        return self.transport is not None and under_way(self.transport) > 0

    def drop_unsent(self) -> None:
        """At `abort` the system forgets what the other end has not taken, where it would go on sending for minutes."""
        if self.transport is not None:
            drop_unsent(self.transport)

    def abort(self, why: str, *, renewing: bool = False) -> None:
        """End it at once."""
        self.why, self._renewing = why, renewing
        if self.transport is not None:
            self.transport.abort()
        self._finish()

    def _finish(self) -> None:
        if not self.gone.done():
            self.gone.set_result(self._renewing)
