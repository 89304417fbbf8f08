"""asyncua's socket protocol with our caps on it, and with the reason of an end kept."""

import asyncio
import sys
from typing import Any, Final, cast

from asyncua import ua
from asyncua.client.ua_client import UaClient, UASocketProtocol, UASocketState
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary, uatcp_to_binary
from asyncua.ua.uaerrors import BadTcpMessageTooLarge

from plantgate_connectors.leaving import drop_unsent
from plantgate_connectors.opcua.bounds import MalformedNotification, Walk, skip_extension_object
from plantgate_connectors.opcua.settings import Limits

_SERVICE_FAULT: Final = b"\x01\x00\x8d\x01"
"""Node id 397, ServiceFault_Encoding_DefaultBinary."""
_MESSAGE: Final = cast("ua.MessageType", ua.MessageType.SecureMessage)
CHUNK_BYTES: Final = 65_535
"""Largest chunk we offer to take; what every server can make (OPC 10000-6, 7.1.2.3 asks for 8,192 at least)."""


class BoundedProtocol(UASocketProtocol):
    """Says our limits in Hello and keeps to them.

    asyncua (2.1) asks for chunks and messages of any size, buffers a chunk of whatever length its header declares,
    and takes the server's limits for requests as its own limits for responses.
    """

    ended_by: BaseException | None = None
    """What ended the connection: the network's error, or one of ours at what the server sent; None for a plain end."""

    def __init__(self, *arguments: Any, caps: Limits, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._caps = caps
        self.gone = asyncio.Event()
        """The connection is over."""

    def data_received(self, data: bytes) -> None:
        """Give up on a chunk that is too long before it has arrived."""
        super().data_received(data)
        waiting = self.receive_buffer
        if waiting and len(waiting) >= 8 and int.from_bytes(waiting[4:8], "little") > CHUNK_BYTES:
            self.receive_buffer = None
            self.ended_by = BadTcpMessageTooLarge()  # type: ignore[no-untyped-call]  # asyncua leaves it unannotated
            if self.transport is not None:
                self.transport.abort()

    def disconnect_socket(self) -> None:
        """Remember the error that asyncua is dealing with when it hangs up: it only logs it."""
        if self.ended_by is None:
            self.ended_by = sys.exc_info()[1]
        super().disconnect_socket()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell those who wait why."""
        self.ended_by = exc or self.ended_by
        super().connection_lost(cast("Exception | None", self.ended_by))
        self.gone.set()

    async def send_request(
        self,
        request: Any,
        timeout: float | None = None,  # noqa: ASYNC109  asyncua's signature
        message_type: ua.MessageType = _MESSAGE,
    ) -> Buffer:
        """Walk every answer for its bounds before asyncua decodes it, which trusts what lengths it is told."""
        body = await super().send_request(request, timeout, message_type)
        check_bounds(body, type(request).__name__)
        return body

    def send_now(self, request: Any, seconds: float) -> "asyncio.Future[Buffer]":
        """Put a request on its way before this returns; nothing waits, asks again, or goes out later.

        The future has the answer's body, not checked. Raises `ConnectionError`: not a byte was sent.
        """
        transport = self.transport
        if transport is None or transport.is_closing() or self.state is not UASocketState.OPEN:
            raise ConnectionError("the connection is closed")
        if transport.get_write_buffer_size():
            raise ConnectionError("the server does not take what is sent")
        return self._send_request(request, seconds)

    def checked(self, body: Buffer, request: str) -> Buffer:
        """The body of an answer to `request` ("WriteRequest"). Raises what a fault says, `MalformedNotification`."""
        self.check_answer(body, f" in response to {request}")
        check_bounds(body, request)
        return body

    def drop_unsent(self) -> None:
        """When it is closed the system forgets what the server has not taken, where it would go on for minutes."""
        if self.transport is not None:
            drop_unsent(self.transport)

    def _process_received_message(self, msg: Any) -> None:
        """Say why the server refuses a channel: asyncua takes a fault for the answer it expects, and stumbles."""
        if self._open_secure_channel_exchange is not None and isinstance(msg, ua.Message):
            _refuse_fault(msg)
        super()._process_received_message(msg)

    async def send_hello(self, url: str, max_messagesize: int = 0, max_chunkcount: int = 0) -> ua.Acknowledge:
        """Offer our limits; afterwards the server's count for what we send, ours for what we take."""
        hello = ua.Hello()
        hello.EndpointUrl = cast("ua.String", url)
        hello.ReceiveBufferSize = hello.SendBufferSize = cast("ua.UInt32", CHUNK_BYTES)
        hello.MaxMessageSize = cast("ua.UInt32", self._caps.message_bytes_max)
        hello.MaxChunkCount = cast("ua.UInt32", self._caps.chunks_max)
        answer: asyncio.Future[ua.Acknowledge] = asyncio.get_running_loop().create_future()
        self._callbackmap[0] = answer
        if self.transport is not None:
            self.transport.write(uatcp_to_binary(cast("ua.MessageType", ua.MessageType.Hello), hello))
        async with asyncio.timeout(self.timeout):
            acknowledged = await answer
        limits = self._connection._limits  # noqa: SLF001  asyncua has no public way to bound what it takes
        limits.max_recv_buffer = CHUNK_BYTES
        limits.max_chunk_count = self._caps.chunks_max
        limits.max_message_size = self._caps.message_bytes_max
        return acknowledged


def check_bounds(body: Buffer, request: str) -> None:
    """Raise `MalformedNotification` unless this answers `request` ("ReadRequest") and its lengths can be true.

    A response begins with its type's id and can so be walked as if it stood in an extension object.
    """
    content = bytes(body)
    expected = getattr(ua.ObjectIds, f"{request.removesuffix('Request')}Response_Encoding_DefaultBinary", 0)
    if content[:4] != b"\x01\x00" + expected.to_bytes(2, "little"):
        raise MalformedNotification(f"the answer to a {request} is of another type", 0)
    wrapped = content[:4] + b"\x01" + len(content).to_bytes(4, "little") + content
    skip_extension_object(Walk(wrapped, len(wrapped), inside=True), 0)


def _refuse_fault(message: Any) -> None:
    """Raise what an answer to OpenSecureChannel that is a ServiceFault says."""
    first = message._chunks[0].MessageHeader  # noqa: SLF001  the message does not tell its type otherwise
    body: Buffer = message.body()
    if first.MessageType == ua.MessageType.SecureOpen and bytes(body)[:4] == _SERVICE_FAULT:
        body.skip(len(_SERVICE_FAULT))
        struct_from_binary(ua.ResponseHeader, body).ServiceResult.check()


class BoundedUaClient(UaClient):
    """asyncua's transport, opening its sockets with `BoundedProtocol`."""

    def __init__(self, timeout: float, caps: Limits) -> None:
        super().__init__(timeout)
        self._caps = caps

    def _make_protocol(self) -> BoundedProtocol:
        """As asyncua's own, which has no other seam for the protocol."""
        protocol = BoundedProtocol(self._timeout, security_policy=self.security_policy, caps=self._caps)
        protocol.pre_request_hook = self.pre_request_hook
        protocol.on_connection_lost = self._on_transport_lost
        protocol.is_session_closing = self._is_session_closing
        self.protocol = protocol
        return protocol

    def drop(self) -> None:
        """No farewell: the socket is gone when this returns to the loop, and nothing of asyncua's goes on."""
        publishing = self.session._publish_task  # noqa: SLF001  it would try for ever against a closed socket
        if publishing is not None:
            publishing.cancel()
        transport = self.protocol.transport if self.protocol is not None else None
        self.disconnect_socket()
        if transport is not None:
            transport.abort()
