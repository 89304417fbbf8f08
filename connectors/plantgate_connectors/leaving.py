"""What was written to a connection and has not reached the other machine yet: how much it is, and how it stays here."""

import asyncio
import fcntl
import socket
import struct
import sys
import termios
from typing import Final

_AT_ONCE: Final = struct.pack("ii", 1, 0)


def under_way(transport: asyncio.Transport) -> int:
    """Bytes of which it is not known that the other machine has them: not sent, or not acknowledged by its TCP.

    The second is what Linux says (SIOCOUTQ, tcp(7)); of a connection without a socket of its own only the first counts.
    What asyncio holds below TLS is not seen.
    """
    waiting = transport.get_write_buffer_size()
    if (raw := _open_socket(transport)) is None:
        return waiting
    try:
        queued = fcntl.ioctl(raw.fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:  # closed meanwhile
        return waiting
    return waiting + int.from_bytes(queued, sys.byteorder)


def drop_unsent(transport: asyncio.BaseTransport) -> None:
    """At `abort` the system forgets what the other end has not taken, where it would go on sending for minutes.

    Of a connection without a socket of its own, or that is closed already, nothing is left to forget.
    """
    if (raw := _open_socket(transport)) is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)


def _open_socket(transport: asyncio.BaseTransport) -> socket.socket | None:
    raw: socket.socket | None = transport.get_extra_info("socket")
    return None if raw is None or raw.fileno() < 0 else raw
