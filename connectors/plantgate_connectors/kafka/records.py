"""Record batches off the wire, with every length held against what is there, and a limit on what unpacking may make.

aiokafka would unpack a kilobyte into a gigabyte; so a packed batch is unpacked here, up to a limit, and given to
aiokafka's reader as one that never was packed.
"""

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiokafka.errors import KafkaError
from aiokafka.record.default_records import DefaultRecordBatch

_HEAD: Final = struct.Struct(">qiibIhiqqqhii")
_START: Final = struct.Struct(">qiib")
_LENGTH_FROM: Final = 12
_ATTRIBUTES_AT: Final = 21
_CODEC: Final = 0x07
_TRANSACTIONAL: Final = 0x10
_CONTROL: Final = 0x20
_NAMES: Final = {1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}
_GZIP_WINDOW: Final = 31
_XERIAL: Final = b"\x82SNAPPY\x00"


class Unreadable(Exception):
    """This record batch cannot be read; says why."""

    def __init__(self, why: str, *, mendable: bool = False) -> None:
        super().__init__(why)
        self.mendable = mendable


@dataclass(slots=True)
class Chunk:
    """One record batch."""

    first: int
    """Offset of its first record."""
    after: int
    """Offset of the first record behind it."""
    records: Sequence[Any]
    """Objects with `offset`, `timestamp`, `timestamp_type`, `key`, `value`; none if it holds none for us."""
    problem: str = ""
    """Why it could not be read; empty if it could."""
    lost: int = 0
    """How many records are lost with it."""
    mendable: bool = False
    """It could be read, were a library installed."""


def chunks(raw: bytes, aborted: Sequence[tuple[int, int]], *, bytes_max: int) -> Iterator[Chunk]:
    """The batches in what a broker sent, less the records of transactions that were given up.

    A batch cut short at the end is left out. Never raises.
    """
    at = 0
    ahead = sorted(aborted, key=lambda transaction: transaction[1])
    given_up: set[int] = set()
    while len(raw) - at >= _START.size:
        first, length, _, magic = _START.unpack_from(raw, at)
        stop = at + _LENGTH_FROM + length
        if length < _START.size - _LENGTH_FROM:
            yield Chunk(first, first + 1, (), f"a record batch of {length} bytes", 1)
            return
        if stop > len(raw):
            return
        if magic != 2:
            yield Chunk(first, first + 1, (), f"record format {magic}, of a Kafka before 0.11, or damaged", 1)
        elif length < _HEAD.size - _LENGTH_FROM:
            yield Chunk(first, first + 1, (), f"a record batch of {length} bytes", 1)
        else:
            yield _chunk(raw[at:stop], ahead, given_up, bytes_max)
        at = stop


def _chunk(raw: bytes, ahead: list[tuple[int, int]], given_up: set[int], bytes_max: int) -> Chunk:
    first, _, _, _, _, attributes, delta, _, _, producer, _, _, count = _HEAD.unpack_from(raw)
    after = first + max(delta, 0) + 1
    lost = count if 0 <= count <= delta + 1 else delta + 1
    if attributes & _CONTROL:  # the end of a transaction
        given_up.discard(producer)
        return Chunk(first, after, ())
    if attributes & _TRANSACTIONAL:
        while ahead and ahead[0][1] <= first:
            given_up.add(ahead.pop(0)[0])
        if producer in given_up:
            return Chunk(first, after, ())
    try:
        records = _read(raw, attributes, bytes_max)
    except Unreadable as error:
        return Chunk(first, after, (), str(error), max(lost, 1), error.mendable)
    return Chunk(first, after, records)


def _read(raw: bytes, attributes: int, bytes_max: int) -> list[Any]:
    if len(raw) > bytes_max:
        raise Unreadable(f"{len(raw)} bytes, the most is {bytes_max}")
    try:
        if not DefaultRecordBatch(raw).validate_crc():
            raise Unreadable("its checksum is wrong")
        if codec := attributes & _CODEC:
            unpacked = _unpack(codec, raw[_HEAD.size :], bytes_max)
            head = bytearray(raw[: _HEAD.size])
            struct.pack_into(">h", head, _ATTRIBUTES_AT, attributes & ~_CODEC)
            struct.pack_into(">i", head, 8, _HEAD.size - _LENGTH_FROM + len(unpacked))
            raw = bytes(head) + unpacked
        return list(DefaultRecordBatch(raw))
    except (KafkaError, ValueError, IndexError, UnicodeDecodeError, MemoryError, OverflowError) as error:
        raise Unreadable(f"damaged ({error})") from error


def _unpack(codec: int, packed: bytes, bytes_max: int) -> bytes:
    if codec not in _NAMES:
        raise Unreadable(f"unknown compression {codec}")
    if codec == 1:
        return _gunzip(packed, bytes_max)
    return _cramjam(_NAMES[codec], packed, bytes_max)


def _gunzip(packed: bytes, bytes_max: int) -> bytes:
    unpacker = zlib.decompressobj(_GZIP_WINDOW)
    try:
        unpacked = unpacker.decompress(packed, bytes_max + 1)
    except zlib.error as error:
        raise Unreadable(f"gzip: {error}") from error
    if len(unpacked) > bytes_max:
        raise Unreadable(f"unpacks to more than {bytes_max} bytes")
    if not unpacker.eof:
        raise Unreadable("gzip: it ends too early")
    return unpacked


def _cramjam(name: str, packed: bytes, bytes_max: int) -> bytes:
    try:
        import cramjam  # type: ignore[import-not-found,unused-ignore]  # asked for only where a topic needs it
    except ImportError:
        raise Unreadable(f"compressed with {name}, which needs the package cramjam", mendable=True) from None
    codec = getattr(cramjam, name)
    blocks, into = [packed], codec.decompress_into
    if name == "snappy":
        blocks, into = _xerial(packed), codec.decompress_raw_into
    unpacked = b""
    for block in blocks:
        unpacked += _into(into, block, bytes_max - len(unpacked), name)
    return unpacked


def _into(into: Callable[[bytes, bytearray], int], packed: bytes, most: int, name: str) -> bytes:
    """Unpack into a buffer that grows up to `most`."""
    size = min(most, max(4 * len(packed), 2**16))
    while True:
        buffer = bytearray(size)
        try:
            return bytes(buffer[: into(packed, buffer)])
        except Exception as error:  # cramjam has one error for damage and for a small buffer
            if size >= most:
                raise Unreadable(f"{name}: damaged, or unpacks to more than {most} bytes ({error})") from error
            size = min(most, 8 * size)


def _xerial(packed: bytes) -> list[bytes]:
    """The blocks that Java's snappy writes, each with its length in front; or the one block that others write."""
    if not packed.startswith(_XERIAL):
        return [packed]
    blocks, at = [], 16
    while at < len(packed):
        if len(packed) - at < 4:
            raise Unreadable("snappy: cut short")
        size = int.from_bytes(packed[at : at + 4], "big")
        at += 4
        if size > len(packed) - at:
            raise Unreadable("snappy: a block longer than what is there")
        blocks.append(packed[at : at + size])
        at += size
    return blocks
