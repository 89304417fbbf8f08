"""A checkpoint: how long a log is and what its root is, in a note that is signed.

Source: c2sp.org/tlog-checkpoint v1.0.0. No extension lines are written, and none are accepted: a cosignature of the
older kind covers them, and nobody here would know what they promise.
"""

import base64
import re
from dataclasses import dataclass
from typing import Final

from plantgate.audit.note import BadNote, unbase64
from plantgate.audit.tree import HASH_SIZE

_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log's keys sign."""

    origin: str
    """The log's name, the same for as long as it lives."""
    size: int
    root: bytes

    def __str__(self) -> str:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """From a note's text. Raises `BadNote`."""
        lines = text.split("\n")
        if len(lines) != 4 or lines[3]:
            raise BadNote("a checkpoint is three lines: origin, size, root; this one is not")
        origin, size, root = lines[:3]
        if not origin:
            raise BadNote("a checkpoint without an origin")
        if not _SIZE.fullmatch(size):
            raise BadNote(f"{size!r} is not the size of a log")
        hash_ = unbase64(root, "the root of a checkpoint")
        if len(hash_) != HASH_SIZE:
            raise BadNote(f"a root of {len(hash_)} bytes")
        return cls(origin, int(size), hash_)
