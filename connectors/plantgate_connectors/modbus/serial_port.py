"""A serial line as an asyncio transport: pyserial opens and sets it, the event loop reads and writes it."""

import asyncio
import contextlib
import errno
import os
import termios
from dataclasses import dataclass
from typing import Final

import serial
from serial.rs485 import RS485Settings

_CHUNK_BYTES: Final = 4096
_BITS_PER_CHARACTER: Final = 11
"""Start, eight bits, parity or a second stop bit, stop (Modbus over Serial Line 1.02, 2.5.1)."""


@dataclass(frozen=True, slots=True)
class SerialPort:
    """A line and how it is set."""

    path: str
    baud: int
    parity: str
    """N, E or O."""
    stop_bits: int
    rs485: bool

    @property
    def silence_seconds(self) -> float:
        """The pause that parts two frames: three and a half characters, and 1.75 ms on a fast line (2.5.1.1)."""
        return 3.5 * _BITS_PER_CHARACTER / self.baud if self.baud <= 19_200 else 0.00175

    def seconds(self, size: int) -> float:
        """How long so many bytes take."""
        return size * _BITS_PER_CHARACTER / self.baud

    def __str__(self) -> str:
        return f"{self.path} ({self.baud} 8{self.parity}{self.stop_bits})"


class SerialTransport(asyncio.Transport):
    """Bytes to and from a line; one program at a time, since two masters would take each other's answers."""

    def __init__(self, loop: asyncio.AbstractEventLoop, port: SerialPort, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._loop = loop
        self._protocol = protocol
        self._waiting = bytearray()
        self._closing = False
        self._serial = _opened(port)
        self._fd: int = self._serial.fileno()
        os.set_blocking(self._fd, False)
        loop.add_reader(self._fd, self._readable)
        loop.call_soon(protocol.connection_made, self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send; what the line does not take now goes when it does."""
        if self._closing:
            return
        idle = not self._waiting
        self._waiting += data
        if idle:
            self._writable()

    def get_write_buffer_size(self) -> int:
        """Bytes that the line has not taken."""
        return len(self._waiting)

    def flush_input(self) -> None:
        """Drop what has come and was not read."""
        if not self._closing:
            with contextlib.suppress(OSError, termios.error):
                self._serial.reset_input_buffer()

    def is_closing(self) -> bool:
        """As asked."""
        return self._closing

    def close(self) -> None:
        """At once: what was not sent is of no use to anyone."""
        self._end(None)

    def abort(self) -> None:
        """As `close`."""
        self._end(None)

    def _readable(self) -> None:
        try:
            received = os.read(self._fd, _CHUNK_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end(error)
            return
        if received:
            self._protocol.data_received(received)
        else:
            self._end(OSError(errno.EIO, "the line is gone"))

    def _writable(self) -> None:
        try:
            sent = os.write(self._fd, self._waiting)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self._end(error)
            return
        del self._waiting[:sent]
        if self._waiting:
            self._loop.add_writer(self._fd, self._writable)
        else:
            self._loop.remove_writer(self._fd)

    def _end(self, error: OSError | None) -> None:
        if self._closing:
            return
        self._closing = True
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        with contextlib.suppress(OSError, termios.error):
            self._serial.reset_output_buffer()
        with contextlib.suppress(OSError):
            self._serial.close()
        self._loop.call_soon(self._protocol.connection_lost, error)


def _opened(port: SerialPort) -> serial.Serial:
    """Raises `OSError`, which pyserial's own error is too, with the reason in `strerror` where there is one."""
    line = None
    try:
        line = serial.Serial(
            port.path,
            baudrate=port.baud,
            parity=port.parity,
            stopbits=port.stop_bits,
            timeout=0,
            exclusive=True,
        )
        if port.rs485:
            line.rs485_mode = RS485Settings()
    except ValueError as error:
        if line is not None:
            line.close()
        raise OSError(errno.EINVAL, f"cannot be set as wanted: {error}") from error
    except termios.error as error:  # no OSError, for reasons of age
        raise OSError(*error.args) from error
    except serial.SerialException as error:
        if error.errno in (errno.EAGAIN, errno.EWOULDBLOCK):
            raise OSError(errno.EBUSY, "another program has it open") from error
        if error.errno:  # pyserial puts the whole call into the message
            raise OSError(error.errno, os.strerror(error.errno)) from error
        raise
    return line
