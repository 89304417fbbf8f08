"""A client that is bytes and nothing else, so that a test can send what no client would."""

import asyncio
import struct
from typing import Any, TypeVar

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import nodeid_from_binary, struct_from_binary, struct_to_binary

R = TypeVar("R")

HOST, PORT = "gateway", 4840
NONE_URI = b"http://opcfoundation.org/UA/SecurityPolicy#None"


class Ended(Exception):
    """The server has ended the connection; with the StatusCode of its ERR, if it sent one."""

    def __init__(self, status: int | None) -> None:
        super().__init__("closed" if status is None else f"0x{status:08X}")
        self.status = status


def frame(kind: bytes, mark: bytes, body: bytes) -> bytes:
    return kind + mark + struct.pack("<I", len(body) + 8) + body


def hello(url: bytes = b"opc.tcp://gateway:4840", *, size: int = 65535, message: int = 0, chunks: int = 0) -> bytes:
    return frame(b"HEL", b"F", struct.pack("<5Ii", 0, size, size, message, chunks, len(url)) + url)


class Wire:
    """One connection without security."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.channel = self.token = 0
        self.sequence = 0
        self.requests = 0
        self.authentication = ua.NodeId()

    @classmethod
    async def dialled(cls, host: str = HOST, port: int = PORT) -> "Wire":
        return cls(*await asyncio.open_connection(host, port))

    @classmethod
    async def opened(cls, **limits: int) -> "Wire":
        """As far as an open channel."""
        wire = await cls.dialled()
        wire.writer.write(hello(**limits))  # type: ignore[arg-type]  # the address is not among them
        kind, _ = await wire.hear()
        assert kind == b"ACK"
        await wire.open()
        return wire

    @classmethod
    async def logged_in(cls, **limits: int) -> "Wire":
        """As far as an activated anonymous session."""
        wire = await cls.opened(**limits)
        await wire.log_in()
        return wire

    async def open(self, *, renew: bool = False, lifetime_ms: int = 3_600_000) -> None:
        request = ua.OpenSecureChannelRequest()
        request.Parameters.RequestType = ua.SecurityTokenRequestType(int(renew))
        request.Parameters.SecurityMode = ua.MessageSecurityMode.None_
        request.Parameters.RequestedLifetime = ua.UInt32(lifetime_ms)
        security = struct.pack("<Ii", self.channel, len(NONE_URI)) + NONE_URI + b"\xff" * 8
        body = security + struct.pack("<II", self.next(), self.requests) + struct_to_binary(request)
        self.writer.write(frame(b"OPN", b"F", body))
        kind, heard = await self.hear()
        assert kind == b"OPN"
        at = 4 + 4 + len(NONE_URI) + 8 + 8
        answer = decoded(heard[at:], ua.OpenSecureChannelResponse)
        self.channel = int(answer.Parameters.SecurityToken.ChannelId)
        self.token = int(answer.Parameters.SecurityToken.TokenId)

    async def log_in(self, **asked: Any) -> None:
        create = ua.CreateSessionRequest()
        create.Parameters.ClientNonce = b"\0" * 32
        create.Parameters.RequestedSessionTimeout = asked.get("timeout_ms", 60_000.0)
        made = await self.ask(create, ua.CreateSessionResponse)
        self.authentication = made.Parameters.AuthenticationToken
        activate = ua.ActivateSessionRequest()
        activate.Parameters.UserIdentityToken = ua.AnonymousIdentityToken(PolicyId="anonymous")
        await self.ask(activate, ua.ActivateSessionResponse)

    def next(self) -> int:
        self.sequence += 1
        return self.sequence

    def message(self, body: bytes, *, mark: bytes = b"F", kind: bytes = b"MSG") -> bytes:
        """One chunk of a request."""
        head = struct.pack("<IIII", self.channel, self.token, self.next(), self.requests)
        return frame(kind, mark, head + body)

    def send(self, request: Any) -> int:
        """Send a request; returns its handle."""
        self.requests += 1
        request.RequestHeader.AuthenticationToken = self.authentication
        request.RequestHeader.RequestHandle = ua.UInt32(self.requests)
        self.writer.write(self.message(struct_to_binary(request)))
        return self.requests

    async def ask(self, request: Any, kind: type[R]) -> R:
        """Send a request and read its answer; a fault raises asyncua's error of that name."""
        self.send(request)
        return await self.answer(kind)

    async def answer(self, kind: type[R]) -> R:
        """The next answer, chunks joined."""
        return decoded(await self.whole(), kind)

    async def whole(self) -> bytes:
        parts = b""
        while True:
            reader = self.reader
            head = await self._exactly(8)
            (size,) = struct.unpack("<I", head[4:])
            body = await self._exactly(size - 8)
            if head[:3] == b"ERR":
                raise Ended(struct.unpack_from("<I", body)[0])
            parts += body[16:]
            if head[3:4] == b"F":
                return parts
            assert reader is self.reader

    async def hear(self) -> tuple[bytes, bytes]:
        """One chunk: kind and what follows its head. Raises `Ended`."""
        head = await self._exactly(8)
        body = await self._exactly(struct.unpack("<I", head[4:])[0] - 8)
        if head[:3] == b"ERR":
            raise Ended(struct.unpack_from("<I", body)[0])
        return head[:3], body

    async def ended(self, seconds: float = 60.0) -> int | None:
        """Read on until the server ends the connection; the StatusCode it gave."""
        async with asyncio.timeout(seconds):
            while True:
                try:
                    await self.hear()
                except Ended as end:
                    return end.status

    async def _exactly(self, size: int) -> bytes:
        try:
            return await self.reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            raise Ended(None) from None

    async def close(self) -> None:
        self.writer.close()


def decoded(body: bytes, kind: type[R]) -> R:
    """An answer; a ServiceFault raises asyncua's error of its status."""
    number = nodeid_from_binary(Buffer(body))
    if number.Identifier == ua.ObjectIds.ServiceFault_Encoding_DefaultBinary:
        struct_from_binary(ua.ServiceFault, Buffer(body)).ResponseHeader.ServiceResult.check()
    assert number.Identifier == getattr(ua.ObjectIds, f"{kind.__name__}_Encoding_DefaultBinary")
    return struct_from_binary(kind, Buffer(body))  # type: ignore[no-any-return]
