"""A picture's pixels as PNG (ISO/IEC 15948), which every browser shows: no filter, quick to make."""

import struct
import zlib
from typing import Final

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"


def png(pixels: memoryview, *, level: int = 1) -> bytes:
    """Of rows x columns grey, or x 3 red, green, blue, unsigned bytes; `level` is zlib's: 0 packs nothing."""
    rows, columns, *colours = pixels.shape or (0, 0)
    width = columns * (colours[0] if colours else 1)
    flat = pixels.cast("B") if pixels.contiguous else memoryview(pixels.tobytes())
    lines = b"".join(b"\0" + flat[at : at + width] for at in range(0, rows * width, width))
    head = struct.pack(">IIBBBBB", columns, rows, 8, 2 if colours else 0, 0, 0, 0)
    return _SIGNATURE + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(lines, level)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
