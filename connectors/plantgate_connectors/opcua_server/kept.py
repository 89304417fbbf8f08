"""The latest values on disk, so that a restart shows every tag at once, under its old node id.

A display that came back empty would be told "no such node" about tags that are only quiet. What is restored is marked
UncertainLastUsableValue, with the device's own time, until the first new value.
"""

import asyncio
import os
import struct
import threading
import zlib
from pathlib import Path
from typing import Final

from plantgate.sdk import Log, Severity, severity
from plantgate.sdk.quality import UNCERTAIN_LAST_USABLE
from plantgate_connectors.opcua_server import values
from plantgate_connectors.opcua_server.space import WAITING, Space

_MAGIC: Final = b"plantgate opcua_server values 1\n"
_ROW: Final = struct.Struct("<IBbI")
"""Bytes of the name, data type, value rank, bytes of the DataValue."""


class Kept:
    """The file of one use of one connection."""

    def __init__(self, folder: Path, log: Log) -> None:
        self._file = folder / "values"
        self._log = log
        self._saved = 0
        self._turn = threading.Lock()
        """A write whose task was cancelled goes on, on its thread: the next one waits for it."""

    async def restore(self, space: Space) -> None:
        """Show what was kept, where there is nothing newer; a damaged file is set aside."""
        try:
            content = await asyncio.to_thread(self._file.read_bytes)
            rows = _rows(content)
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            self._log.warning(f"the kept values cannot be read, so tags appear as they come: {error}")
            return
        now = asyncio.get_running_loop().time()
        for name, kind, rank, encoded in rows:
            slot = None if name in space.slots else space.known(name)
            if slot is None:
                continue
            body, status, source, server = values.parts(encoded)
            if status != WAITING and severity(status) is not Severity.BAD:
                status = UNCERTAIN_LAST_USABLE
            slot.kind, slot.rank, slot.body, slot.quality, slot.source, slot.since = (
                kind,
                rank,
                body,
                status,
                source,
                now,
            )
            slot.encoded = values.data_value(body, status, source, server)

    async def save(self, space: Space) -> None:
        """Write what has changed since the last time. A file that cannot be written is told, and costs nothing else."""
        if space.taken == self._saved:
            return
        taken, content = space.taken, _content(space)
        try:
            await asyncio.to_thread(self._write, content)
            self._saved = taken
        except OSError as error:
            self._log.warning(f"the latest values cannot be kept for a restart: {error}", file=str(self._file))

    def _write(self, content: bytes) -> None:
        fresh = self._file.with_suffix(".new")
        with self._turn:
            with fresh.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._file)


def _content(space: Space) -> bytes:
    rows = [_MAGIC]
    for slot in space.slots.values():
        name = slot.name.encode("utf-8", "surrogatepass")
        rows += (_ROW.pack(len(name), slot.kind, slot.rank, len(slot.encoded)), name, slot.encoded)
    content = b"".join(rows)
    return content + struct.pack("<I", zlib.crc32(content))


def _rows(content: bytes) -> list[tuple[str, int, int, bytes]]:
    if not content.startswith(_MAGIC) or len(content) < len(_MAGIC) + 4:
        raise ValueError("it is no file of ours")
    whole, crc = content[:-4], content[-4:]
    if struct.unpack("<I", crc)[0] != zlib.crc32(whole):
        raise ValueError("its checksum is wrong")
    rows, at = [], len(_MAGIC)
    while at < len(whole):
        name_bytes, kind, rank, value_bytes = _ROW.unpack_from(whole, at)
        at += _ROW.size
        name = whole[at : at + name_bytes].decode("utf-8", "surrogatepass")
        at += name_bytes
        rows.append((name, kind, rank, whole[at : at + value_bytes]))
        at += value_bytes
    return rows
