"""Keeps publish requests waiting at the server, and hands on the bytes that come back undecoded.

asyncua's own publish loop keeps one request outstanding, acknowledges on receipt and decodes everything into objects.
This one rides on asyncua's connection and secure channel instead: it puts an encoded request on the channel and takes
the decrypted body of the answer. That is private API of asyncua 2.1 (`check_library` says what it relies on; the
version is pinned and a test calls it), everything else of the session stays the library's.
"""

import asyncio
import struct
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from asyncua import Client, ua
from asyncua.client.ua_client import UASocketProtocol
from asyncua.common.connection import SecureConnection
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import nodeid_to_binary
from asyncua.ua.uaerrors import UaStatusCodeError

from plantgate.sdk import Backoff, Clock
from plantgate_connectors.opcua.bounds import MalformedNotification
from plantgate_connectors.opcua.envelope import Envelope, Fault, open_response
from plantgate_connectors.opcua.subscription import Mark

_REQUEST: Final = b"\x01\x00\x3a\x03"
"""Node id 826, PublishRequest_Encoding_DefaultBinary."""
_HEADER: Final = struct.Struct("<qIIiI")
"""Time, handle, diagnostics wanted, audit entry (null string), timeout hint: a RequestHeader behind its token."""
_ACK: Final = struct.Struct("<II")
_EPOCH_TICKS: Final = 116_444_736_000_000_000
_ACKS_MAX: Final = 1_000
"""In one request, so that it stays one small chunk."""
_OVERTAKEN: Final = 16
"""Servers answer in order: a request that so many later ones overtook was answered by a message that was aborted."""
_REFUSED: Final = Backoff(first_seconds=0.2, most_seconds=5.0)
_LIMIT_FORGOTTEN_SECONDS: Final = 60.0
"""A server that had too many requests gets one more this long after, in case that has changed."""

_TOO_MANY: Final = frozenset({ua.StatusCodes.BadTooManyPublishRequests, ua.StatusCodes.BadTooManyOperations})
_ASK_AGAIN: Final = frozenset(
    {ua.StatusCodes.BadTimeout, ua.StatusCodes.BadRequestTimeout, ua.StatusCodes.BadRequestCancelledByClient}
)
_NONE_LEFT: Final = ua.StatusCodes.BadNoSubscription


class Receiver(Protocol):
    """What the publisher needs from whoever takes its messages. Called from the event loop; none of it waits."""

    def room(self) -> bool:
        """Whether another message may be asked for."""
        ...

    def arrived(self, envelope: Envelope) -> None:
        """A message, or a keep-alive."""
        ...

    def malformed(self, body: bytes, error: MalformedNotification) -> None:
        """A response that contradicts itself."""
        ...

    def to_acknowledge(self, most: int) -> list[Mark]:
        """Messages the server may forget; they ride on the next request."""
        ...

    def not_acknowledged(self, marks: list[Mark]) -> None:
        """That request was not taken: they are to be told again."""
        ...

    def no_subscription(self) -> None:
        """The server says that this session has no subscription (any more)."""
        ...

    def ended(self, error: Exception) -> None:
        """The session can bring nothing more."""
        ...


class Publisher:
    """One for each session. Holds back while the receiver has no room: the server's queues then fill, not ours."""

    def __init__(self, client: Client, receiver: Receiver, *, outstanding: int, clock: Clock) -> None:
        protocol = client.uaclient.protocol
        assert protocol is not None, "a publisher needs an open session"
        self._protocol: UASocketProtocol = protocol
        self._receiver = receiver
        self._clock = clock
        self._wanted = self._allowed = outstanding
        self._outstanding: deque[tuple[int, int]] = deque()
        """Request id, and how many answers there had been when it was sent."""
        self._answers = 0
        self._refusals = 0
        self._riding: dict[int, list[Mark]] = {}
        """Acknowledgements on their way, by request."""
        self._running = False
        self._later: asyncio.TimerHandle | None = None

    @property
    def outstanding(self) -> int:
        """Requests waiting at the server."""
        return len(self._outstanding)

    def start(self) -> None:
        """Begin to ask; only once there is a subscription, or the server answers `BadNoSubscription`."""
        self._running = True
        self.top_up()

    def pause(self) -> None:
        """Send nothing new; what is outstanding may still be answered."""
        self._running = False
        if self._later is not None:
            self._later.cancel()
            self._later = None

    def top_up(self) -> None:
        """Send as many requests as are missing, if there is room for what they bring."""
        while self._running and len(self._outstanding) < self._allowed and self._receiver.room():
            try:
                self._send()
            except (ConnectionError, ua.UaError) as error:
                self._end(error)

    def _send(self) -> None:
        protocol = self._protocol
        if protocol.transport is None:
            raise ConnectionError("the connection is closed")
        acks = self._receiver.to_acknowledge(_ACKS_MAX)
        protocol._request_handle += 1  # noqa: SLF001  as UASocketProtocol._send_request does, with bytes of our own
        protocol._request_id += 1  # noqa: SLF001
        request = protocol._request_id  # noqa: SLF001
        body = b"".join(
            (
                _REQUEST,
                nodeid_to_binary(protocol.authentication_token),
                _HEADER.pack(self._clock.now() // 100 + _EPOCH_TICKS, protocol._request_handle, 0, -1, 0),  # noqa: SLF001
                b"\0\0\0",
                len(acks).to_bytes(4, "little"),
                *(_ACK.pack(subscription.id, sequence) for subscription, sequence in acks),
            )
        )
        protocol.revolve_security_token()
        message = protocol._connection.message_to_binary(body, request_id=request)  # noqa: SLF001
        answer: asyncio.Future[Buffer] = asyncio.get_running_loop().create_future()
        protocol._callbackmap[request] = answer  # noqa: SLF001
        answer.add_done_callback(lambda done: self._answered(request, done))
        protocol.transport.write(message)
        self._outstanding.append((request, self._answers))
        if acks:
            self._riding[request] = acks

    def _answered(self, request: int, answer: asyncio.Future[Buffer]) -> None:
        acks = self._riding.pop(request, [])
        if not self._settle(request):
            return
        error = ConnectionError("the request was withdrawn") if answer.cancelled() else answer.exception()
        if error is not None:
            self._receiver.not_acknowledged(acks)
            self._end(error if isinstance(error, Exception) else ConnectionError(str(error)))
            return
        buffer = answer.result()
        self._answers += 1
        self._take(buffer.read(len(buffer)), acks)
        self._overtaken()
        self.top_up()

    def _take(self, body: bytes, acks: list[Mark]) -> None:
        try:
            envelope = open_response(body)
        except Fault as fault:
            self._refused(fault, acks)
        except MalformedNotification as error:
            self._receiver.malformed(body, error)
        else:
            self._refusals = 0
            self._receiver.arrived(envelope)

    def _refused(self, fault: Fault, acks: list[Mark]) -> None:
        self._receiver.not_acknowledged(acks)  # the server did not look at them
        if fault.code in _TOO_MANY:
            self._allowed = max(1, min(self._allowed, len(self._outstanding)))
            self._hold_back(lambda: setattr(self, "_allowed", min(self._wanted, self._allowed + 1)))
        elif fault.code == _NONE_LEFT:
            self.pause()
            self._receiver.no_subscription()
        elif fault.code in _ASK_AGAIN:
            pass
        else:
            self._end(UaStatusCodeError(fault.code))  # type: ignore[no-untyped-call]  # asyncua leaves it untyped

    def _hold_back(self, then: Callable[[], None]) -> None:
        """Ask less for a while. With nothing outstanding nobody would ask at all, so a timer does, a little later."""
        if self._later is not None:
            self._later.cancel()
        loop = asyncio.get_running_loop()
        if self._outstanding:
            self._later = loop.call_later(_LIMIT_FORGOTTEN_SECONDS, self._resume, then)
        else:
            self._allowed = 0
            self._later = loop.call_later(_REFUSED.delay(self._refusals), self._resume, then)
            self._refusals += 1

    def _resume(self, then: Callable[[], None]) -> None:
        self._later = None
        then()
        self.top_up()

    def _settle(self, request: int) -> bool:
        for entry in self._outstanding:
            if entry[0] == request:
                self._outstanding.remove(entry)
                return True
        return False

    def _overtaken(self) -> None:
        if self._outstanding and self._answers - self._outstanding[0][1] > _OVERTAKEN + self._wanted:
            request, _ = self._outstanding.popleft()
            self._protocol._callbackmap.pop(request, None)  # noqa: SLF001
            self._receiver.not_acknowledged(self._riding.pop(request, []))

    def _end(self, error: Exception) -> None:
        if self._running:
            self.pause()
            self._receiver.ended(error)


def check_library() -> None:
    """Raise `AttributeError` if asyncua no longer has what this file relies on."""
    protocol = UASocketProtocol()
    for name in ("_request_id", "_request_handle", "_callbackmap", "_connection", "transport", "authentication_token"):
        getattr(protocol, name)
    for owner, name in ((protocol, "revolve_security_token"), (SecureConnection, "message_to_binary")):
        getattr(owner, name)
