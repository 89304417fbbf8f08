"""One connection to one broker: aiokafka's, with a limit on what the broker may send, and an end that comes at once."""

import asyncio
import logging
import ssl
import struct
import weakref
from typing import Any, Final

from aiokafka.conn import AIOKafkaConnection

from plantgate_connectors.kafka.settings import KafkaSettings

_LENGTH: Final = struct.Struct(">i")
FRAME_BYTES_MAX: Final = 128 * 2**20
"""Brokers send at least one record batch, however little is asked for; their own limit is 1 MiB unless set."""

logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it logs what it also raises; we say it once


class FrameTooLarge(OSError):
    """A broker announced an answer larger than any we asked for."""


class Connection(AIOKafkaConnection):  # type: ignore[misc]  # aiokafka is untyped here
    """Overrides two private hooks: pinned with aiokafka's minor version, and tested."""

    def __init__(self, host: str, port: int, *, frame_bytes_max: int, **options: Any) -> None:
        super().__init__(host, port, **options)
        self.frame_bytes_max = frame_bytes_max

    @staticmethod
    async def _read(self_ref: "weakref.ref[Connection]") -> None:
        """As the library's own, which would take up to 2 GiB from anybody."""
        self = self_ref()
        if self is None:
            return
        reader, most = self._reader, self.frame_bytes_max
        del self
        while True:
            (size,) = _LENGTH.unpack(await reader.readexactly(4))
            if not 4 <= size <= most:
                raise FrameTooLarge(f"it announced an answer of {size} bytes, the most is {most}")
            frame = await reader.readexactly(size)
            self = self_ref()
            if self is None:
                return
            self._handle_frame(frame)
            del self

    async def end(self) -> None:
        """Close without waiting for anybody: what a dead broker has not taken is thrown away."""
        writer: asyncio.StreamWriter | None = self._writer
        closed = self.close()
        if writer is not None:
            writer.transport.abort()
        if closed is not None and writer is not None:
            async with asyncio.timeout(1.0):
                await asyncio.wait([closed])


async def dial(host: str, port: int, settings: KafkaSettings, client_id: str, tls: ssl.SSLContext | None) -> Connection:
    """Connect, encrypt, log in. Raises `TimeoutError`, `OSError`, or an error of aiokafka."""
    sasl = settings.sasl
    options: dict[str, Any] = {}
    if sasl is not None:
        options = {
            "sasl_mechanism": sasl.mechanism.value,
            "sasl_plain_username": sasl.username,
            "sasl_plain_password": sasl.password.reveal(),
        }
    connection = Connection(
        host,
        port,
        frame_bytes_max=FRAME_BYTES_MAX,
        client_id=client_id,
        request_timeout_ms=round(settings.request_seconds * 1000),
        ssl_context=tls,
        security_protocol=("SASL_" if sasl else "") + ("SSL" if tls else "PLAINTEXT"),
        **options,
    )
    try:
        async with asyncio.timeout(settings.connect_seconds):
            await connection.connect()
    except BaseException:
        await connection.end()
        raise
    return connection
