"""How far each file has been read and acknowledged, kept across restarts, renames and rotation."""

import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from plantgate_connectors.files.lines import START, Place

HEAD_BYTES: Final = 1024
_FORGET_SECONDS: Final = 90 * 86400
"""A file that has been gone this long is not expected back."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file, and what the file is known by."""

    path: str
    place: Place = START
    inode: int = 0
    head: str = ""
    """SHA-256 of the first `head_bytes` bytes: a file that begins otherwise is another file."""
    head_bytes: int = 0
    was: str = ""
    """The name it was first read under, if it has been renamed since."""

    def is_in(self, fd: int) -> bool:
        """True if the open file begins as this one did, and reaches as far."""
        if os.fstat(fd).st_size < self.place.offset:
            return False
        return self.head_bytes == 0 or _digest(fd, self.head_bytes) == self.head

    def moved(self, place: Place, fd: int) -> "Position":
        """The position further on in the same file."""
        head_bytes = min(HEAD_BYTES, place.offset)
        head = self.head if head_bytes == self.head_bytes else _digest(fd, head_bytes)
        return replace(self, place=place, inode=os.fstat(fd).st_ino, head=head, head_bytes=head_bytes)

    def cursor(self) -> str:
        """As text, for a batch."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, cursor: str) -> "Position":
        """From text that `cursor` wrote; raises `ValueError` for any other."""
        try:
            fields = json.loads(cursor)
            offset, line, inside = fields["place"]
            return cls(
                str(fields["path"]),
                Place(int(offset), int(line), bool(inside)),
                int(fields["inode"]),
                str(fields["head"]),
                int(fields["head_bytes"]),
                str(fields.get("was", "")),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a position: {cursor[:80]}") from error


class Positions:
    """The acknowledged position of every file, one small file each: an acknowledgement costs one fsync."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._known: dict[str, Position] = {}
        for file in sorted(folder.glob("*.json")):
            try:
                position = Position.of(file.read_text(encoding="utf-8"))
            except ValueError:
                continue  # torn by a crash: that file is read again, from its start
            if not Path(position.path).exists() and time.time() - file.stat().st_mtime > _FORGET_SECONDS:
                file.unlink()
                continue
            self._known[position.path] = position

    def all(self) -> list[Position]:
        """Every file ever acknowledged."""
        return list(self._known.values())

    def get(self, path: str) -> Position | None:
        """What was acknowledged under this name."""
        return self._known.get(path)

    def keep(self, position: Position) -> None:
        """Durable on return."""
        self._known[position.path] = position
        kept = self._file(position.path)
        written = kept.with_suffix(".new")
        with written.open("w", encoding="utf-8") as file:
            file.write(position.cursor())
            file.flush()
            os.fsync(file.fileno())
        written.rename(kept)

    def forget(self, path: str) -> None:
        """The name no longer stands for that file."""
        self._known.pop(path, None)
        self._file(path).unlink(missing_ok=True)

    def _file(self, path: str) -> Path:
        return self._folder / f"{hashlib.sha256(path.encode(errors='surrogateescape')).hexdigest()[:32]}.json"


def _digest(fd: int, size: int) -> str:
    return hashlib.sha256(os.pread(fd, size, 0)).hexdigest()
