"""Where a batch goes that its destination will never take."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from plantgate.sdk import Accept, Batch, Rejected, Unavailable, iso, quality_name

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
    """A JSON-lines file, one sample or gap a line, that a person can read and a script can feed back; an acceptor."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def accept(self, batch: Batch) -> None:
        """Append and fsync. Rare by nature, so it may block the loop for the length of one fsync."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.exists() and self._path.stat().st_size > BYTES_MOST:
            raise Unavailable(f"{self._path} has reached {BYTES_MOST >> 20} MiB: move it away to let the flow go on")
        # Written whole or not at all: a row that cannot be spelled must not leave half a batch behind.
        text = "".join(json.dumps(row, ensure_ascii=False, default=_spelled) + "\n" for row in _rows(batch))
        with self._path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())


def _rows(batch: Batch) -> Iterator[dict[str, object]]:
    """Gaps first, as they travel."""
    for gap in batch.gaps:
        yield {
            "gap": gap.cause,
            "tags": gap.tags,
            "since": iso(gap.since),
            "until": iso(gap.until),
            "lost": gap.lost,
            "recovered": gap.recovered,
            "origin": batch.origin,
        }
    for index, sample in enumerate(batch):
        yield {
            "tag": sample.tag,
            "value": sample.value,
            "quality": quality_name(sample.quality),
            "time": iso(sample.time),
            "origin": batch.origin,
            "position": batch.position + index,
        }


def _spelled(value: object) -> str:
    """What JSON has no word for: bytes as hex digits."""
    return value.hex() if isinstance(value, bytes) else repr(value)
