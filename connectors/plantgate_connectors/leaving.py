"""How much of what was written to a connection has not reached the other machine yet."""

import asyncio
import fcntl
import socket
import sys
import termios


def under_way(transport: asyncio.Transport) -> int:
    """Bytes of which it is not known that the other machine has them: not sent, or not acknowledged by its TCP.

    The second is what Linux says (SIOCOUTQ, tcp(7)); of a connection without a socket of its own only the first counts.
    What asyncio holds below TLS is not seen.
    """
    waiting = transport.get_write_buffer_size()
    raw: socket.socket | None = transport.get_extra_info("socket")
    if raw is None or raw.fileno() < 0:
        return waiting
    try:
        queued = fcntl.ioctl(raw.fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:  # closed meanwhile
        return waiting
    return waiting + int.from_bytes(queued, sys.byteorder)
