"""The number that ties an edge node's birth to its death (`bdSeq`): one more for each connection, restarts or not."""

import os
from pathlib import Path

from plantgate.sdk import Unavailable
from plantgate_connectors.sparkplug.placing import BDSEQ
from plantgate_connectors.sparkplug.reading import Payload


class BdSeq:
    """0 to 255, and round again."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "bdseq"
        self.number = 0

    def advance(self) -> int:
        """The number for the next connection, on disk before it is used. A file nobody can read begins at 0 again."""
        try:
            before = self._file.read_text(encoding="ascii").strip()
            self.number = (int(before) + 1) % 256
        except FileNotFoundError:
            self.number = 0
        except (UnicodeDecodeError, ValueError):
            self.number = 0
        except OSError as error:
            raise Unavailable(f"cannot read {self._file}: {error.strerror or error}") from error
        fresh = self._file.with_suffix(".new")
        try:
            with fresh.open("w", encoding="ascii") as file:
                file.write(f"{self.number}\n")
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._file)
        except OSError as error:
            raise Unavailable(f"cannot write {self._file}: {error.strerror or error}") from error
        return self.number


def bdseq_of(content: Payload) -> int | None:
    """The number in a birth or a death; None for one without."""
    for metric in content.metrics:
        if metric.name == BDSEQ and type(metric.value) is int:
            return metric.value
    return None
