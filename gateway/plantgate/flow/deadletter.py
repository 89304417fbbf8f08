"""Where a batch goes that its destination will never take."""

import json
import os
from collections.abc import Callable
from pathlib import Path

from plantgate.sdk import Accept, Batch, Rejected, Unavailable, Value, iso, quality_name

BYTES_MOST = 256 * 2**20
"""A dead-letter file that has grown to this is full: the destination then waits, and the operator is told."""


def setting_aside(accept: Accept, dead_letter: Accept, *, told: Callable[[Batch, Rejected], None]) -> Accept:
    """Hand what is `Rejected` to the dead letter, and say so; let everything else through."""

    async def accept_or_set_aside(batch: Batch) -> None:
        try:
            await accept(batch)
        except Rejected as error:
            await dead_letter(batch)
            told(batch, error)

    return accept_or_set_aside


class DeadLetterFile:
    """A JSON-lines file, one sample a line, that a person can read and a script can feed back; an acceptor."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def accept(self, batch: Batch) -> None:
        """Append and fsync. Rare by nature, so it may block the loop for the length of one fsync."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.exists() and self._path.stat().st_size > BYTES_MOST:
            raise Unavailable(f"{self._path} has reached {BYTES_MOST >> 20} MiB: move it away to let the flow go on")
        with self._path.open("a", encoding="utf-8") as file:
            for index, sample in enumerate(batch):
                row = {
                    "tag": sample.tag,
                    "value": _plain(sample.value),
                    "quality": quality_name(sample.quality),
                    "time": iso(sample.time),
                    "origin": batch.origin,
                    "position": batch.position + index,
                }
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _plain(value: Value) -> object:
    return value.hex() if isinstance(value, bytes) else value
