"""Lines that could not be read are set aside whole, with file, line and reason: nothing is skipped in silence."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Refusal:
    """A line that gave no samples."""

    file: str
    line: int
    offset: int
    reason: str
    text: bytes

    def where(self) -> str:
        """`in/a.csv:17`."""
        return f"{self.file}:{self.line}"


class SetAside:
    """Appends to `refused.jsonl`. After a crash a line may stand there twice; file and offset tell."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def put(self, refusals: Sequence[Refusal]) -> None:
        """Durable on return."""
        with self.path.open("a", encoding="utf-8") as file:
            for refusal in refusals:
                line = {
                    "file": refusal.file,
                    "line": refusal.line,
                    "offset": refusal.offset,
                    "reason": refusal.reason,
                    "text": refusal.text.decode("utf-8", errors="backslashreplace"),
                }
                file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
