"""A note in the connection's folder: what we may have written to a topic without knowing it."""

import os
from pathlib import Path
from typing import Final

import msgspec

from plantgate.sdk import Log, Unavailable

_FILE: Final = "topic.json"


class _Note(msgspec.Struct):
    topic: str
    ends: dict[int, int]
    """Where each partition ended when all that we had written was known to be there."""
    clean: bool = False
    """All that was sent since is known to be there, too."""


class Ledger:
    """Written once when a session begins and once when it ends well; a crash leaves it open."""

    def __init__(self, folder: Path, topic: str) -> None:
        self._file = folder / _FILE
        self._topic = topic

    def doubt(self, log: Log) -> dict[int, int] | None:
        """None if all is known; else the ends to look back to. A note that is damaged doubts everything."""
        try:
            note = msgspec.json.decode(self._file.read_bytes(), type=_Note)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable(f"cannot read {self._file}: {error.strerror or error}") from error
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.warning(
                "note on what was sent is damaged, the topic is read back", file=str(self._file), reason=str(error)
            )
            return {}
        if note.topic != self._topic:
            return {}
        return None if note.clean else note.ends

    def open(self, ends: dict[int, int]) -> None:
        """From now on something may be there that we do not know."""
        self._write(_Note(self._topic, ends))

    def close(self) -> None:
        """All that was sent is known to be there."""
        self._write(_Note(self._topic, {}, clean=True))

    def _write(self, note: _Note) -> None:
        """Replace the file as a whole. A few bytes, twice a session: it may block the loop for that long."""
        fresh = self._file.with_suffix(".new")
        try:
            with fresh.open("wb") as file:
                file.write(msgspec.json.encode(note))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._file)
        except OSError as error:
            raise Unavailable(f"cannot write {self._file}: {error.strerror or error}") from error
