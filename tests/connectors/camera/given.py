"""What the tests of the camera connector start from."""

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

from PIL import Image

from plantgate.testing.context import RecordedLog, lent
from plantgate_connectors.camera import Cameras, CameraSettings

RED, BLUE = (200, 16, 32), (16, 32, 200)


def settings(**written: Any) -> CameraSettings:
    """As from a plant file."""
    return CameraSettings.model_validate_json(json.dumps(written))


def cameras(home: Path, **written: Any) -> Cameras:
    """A connector that keeps its things in `home`."""
    return Cameras(settings(**written), lent(home, connection="camera"))


def said(connector: Cameras) -> list[tuple[str, str, dict[str, object]]]:
    """What it has logged."""
    log = connector.context.log
    assert isinstance(log, RecordedLog)
    return log.lines


def counted(connector: Cameras) -> dict[str, int]:
    """Its counters."""
    return connector.context.standing.counters


def packed(
    colour: tuple[int, int, int] | int = RED, size: tuple[int, int] = (4, 3), form: str = "PNG", mode: str = "RGB"
) -> bytes:
    """A picture of one colour as a file has it; `size` is columns, rows."""
    written = io.BytesIO()
    Image.new(mode, size, colour).save(written, form)
    return written.getvalue()


def noise(form: str, size: tuple[int, int] = (33, 21)) -> bytes:
    """A picture in which every pixel counts."""
    columns, rows = size
    pixels = bytes((7 * each * each + 13 * each) % 251 for each in range(columns * rows * 3))
    written = io.BytesIO()
    Image.frombytes("RGB", size, pixels).save(written, form)
    return written.getvalue()


def bomb(columns: int, rows: int) -> bytes:
    """A PNG of a few kilobytes that would be `columns` x `rows` pixels: sound, if it were unpacked."""
    row = zlib.compressobj(9)
    line = b"\0" + b"\0" * (columns // 8 + (columns % 8 > 0))
    body = b"".join(row.compress(line) for _ in range(rows)) + row.flush()
    head = struct.pack(">IIBBBBB", columns, rows, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", body), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
