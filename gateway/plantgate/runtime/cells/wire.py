"""The socket between the two halves of a cell: frames of MessagePack, each with its length before it."""

import asyncio
import os
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import msgspec

from plantgate.runtime.cells.messages import Answered, Asked, Beat, Parcel, Raised, Shown, Stood
from plantgate.sdk import Batch
from plantgate.store.codec import decode, encode

FRAME_BYTES_MAX: Final = 64 * 2**20
"""A longer frame is refused before anything is reserved for it."""
PIECE_BYTES_MAX: Final = 2**20
"""A batch that takes more crosses in pieces, so that reading it never holds up the gateway for long."""
PICTURE_BYTES_MAX: Final = FRAME_BYTES_MAX - 2**20
"""The rest is for its name, and what its camera knows about it."""
_LENGTH: Final = 4
_READ_BYTES: Final = 2**16


class Broken(Exception):
    """The other half does not keep to the rules; the message says which."""


T = TypeVar("T")

ASKED: Final[Callable[[bytes | memoryview], Asked]] = msgspec.msgpack.Decoder(Asked).decode
ANSWERED: Final[Callable[[bytes | memoryview], Answered]] = msgspec.msgpack.Decoder(Answered).decode
_FOR_PEOPLE: Final = (Raised, Stood, Beat, Shown)
"""What has names and sentences in it, which may hold halves of characters, as names of files do."""
_encoder: Final = msgspec.msgpack.Encoder()


class Wire(asyncio.Protocol, Generic[T]):
    """One end of the socket: a protocol, not streams, which cost a turn of the loop more for each message."""

    def __init__(self, decode: Callable[[bytes | memoryview], T], heard: Callable[[T], None]) -> None:
        """`heard` is called with each message, and may raise `Broken`."""
        self._decode, self._heard = decode, heard
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self.over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Done once the conversation has ended; what the other half did wrong, or nothing if it has just gone."""

    def say(self, message: Asked | Answered) -> bool:
        """Send; never waits, since one call at a time for each session bounds what can be under way.

        False if the conversation has ended: not one byte has left then. True says nothing of whether it arrives.
        """
        if self._transport is None or self._transport.is_closing() or self.over.done():
            return False
        frame = bytearray(_LENGTH)
        try:
            _encoder.encode_into(message, frame, _LENGTH)
        except UnicodeEncodeError:
            if not isinstance(message, _FOR_PEOPLE):
                raise  # a value, or a cursor: another is not the same
            spelled_out = _spelled_out(msgspec.to_builtins(message, builtin_types=(bytes, memoryview)))
            _encoder.encode_into(spelled_out, frame, _LENGTH)
        frame[:_LENGTH] = (len(frame) - _LENGTH).to_bytes(_LENGTH, "big")
        self._transport.write(frame)
        return True

    @property
    def unsent(self) -> int:
        """Bytes that the other half has not taken yet."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def catch_up(self) -> None:
        """Hear now what has come already, and the loop would bring in its next turn only."""
        if self._transport is None or (socket := self._transport.get_extra_info("socket")) is None:
            return
        try:
            while data := os.read(socket.fileno(), _READ_BYTES):
                self.data_received(data)
        except BlockingIOError:
            return
        except OSError:
            pass
        self._end("")

    def hang_up(self) -> None:
        """End the conversation when what was said last is on its way."""
        if self._transport is not None:
            self._transport.close()

    def close(self) -> None:
        """End the conversation; what was said last may not arrive."""
        if self._transport is not None:
            self._transport.abort()
        self._end("")

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self.over.done():
            return
        self._buffer += data
        try:
            self._hear_frames()
        except Broken as error:
            self._end(str(error))

    def connection_lost(self, error: Exception | None) -> None:
        self._end("")

    def _hear_frames(self) -> None:
        begin, buffer = 0, self._buffer
        while len(buffer) - begin >= _LENGTH:
            length = int.from_bytes(buffer[begin : begin + _LENGTH], "big")
            if length > FRAME_BYTES_MAX:
                raise Broken(f"sent a frame of {length} bytes, where {FRAME_BYTES_MAX} are allowed")
            end = begin + _LENGTH + length
            if len(buffer) < end:
                break
            try:
                with memoryview(buffer) as view, view[begin + _LENGTH : end] as frame:
                    message = self._decode(frame)
            except (msgspec.DecodeError, ValueError, RecursionError) as error:
                raise Broken(f"sent what cannot be read: {error}") from error
            begin = end
            self._heard(message)
        if begin:
            del buffer[:begin]

    def _end(self, fault: str) -> None:
        if not self.over.done():
            self.over.set_result(fault)


def _spelled_out(part: object) -> object:
    """With halves of characters as escapes."""
    match part:
        case str():
            return part.encode("utf-8", "backslashreplace").decode()
        case dict():
            return {_spelled_out(name): _spelled_out(each) for name, each in part.items()}
        case list() | tuple():
            return [_spelled_out(each) for each in part]
    return part


def packed(batch: Batch) -> Parcel:
    """Raises `Rejected` for a value that cannot be stored anyway."""
    return Parcel(encode(batch), batch.cursor, batch.origin, batch.position)


def unpacked(parcel: Parcel) -> Batch:
    """Raises `Unreadable`."""
    batch = decode(parcel.content)
    batch.cursor, batch.origin, batch.position = parcel.cursor, parcel.origin, parcel.position
    return batch
