"""A receipt: one entry's proof in a file of its own, to be checked with nothing but the log's public key.

Source: c2sp.org/tlog-proof (``.tlog-proof``).
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from plantgate.audit.note import BadNote, Note, unbase64
from plantgate.audit.policy import Policy, Signed
from plantgate.audit.tree import HASH_SIZE, check_inclusion, leaf_hash

_MAGIC: Final = "c2sp.org/tlog-proof@v1"
_HASHES_MAX: Final = 63


@dataclass(frozen=True, slots=True)
class Receipt:
    """That an entry is in a log, as somebody signed it."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: Note

    def __bytes__(self) -> bytes:
        lines = [_MAGIC, f"index {self.index}", *(base64.b64encode(each).decode() for each in self.path), ""]
        return "\n".join(lines).encode() + b"\n" + bytes(self.checkpoint)

    @classmethod
    def parse(cls, content: bytes) -> "Receipt":
        """Raises `BadNote`."""
        head, blank, note = content.partition(b"\n\n")
        if not blank:
            raise BadNote("a receipt without a checkpoint")
        try:
            lines = head.decode().split("\n")
        except UnicodeDecodeError:
            raise BadNote("not UTF-8") from None
        if lines[0] != _MAGIC:
            raise BadNote(f"not a receipt: it does not begin with {_MAGIC}")
        rest = lines[1:]
        if rest and rest[0].startswith("extra "):
            unbase64(rest.pop(0).removeprefix("extra "), "the extra of a receipt")
        return cls(_index(rest), _path(rest[1:]), Note.parse(note))

    def check(self, entry: bytes, policy: Policy) -> Signed:
        """Raises `BadNote` or `NotProven` unless the entry is in the log that the policy's keys signed."""
        signed = policy.judge(self.checkpoint)
        size, root = signed.checkpoint.size, signed.checkpoint.root
        check_inclusion(leaf_hash(entry), self.index, size, self.path, root)
        return signed


def _index(lines: Sequence[str]) -> int:
    word, _, number = lines[0].partition(" ") if lines else ("", "", "")
    if word != "index" or not number.isdecimal() or len(number) > 19 or str(int(number)) != number:
        raise BadNote("a receipt without the index of its entry")
    return int(number)


def _path(lines: Sequence[str]) -> tuple[bytes, ...]:
    if len(lines) > _HASHES_MAX:
        raise BadNote(f"a proof of {len(lines)} hashes")
    path = tuple(unbase64(line, "a hash of the proof") for line in lines)
    if any(len(each) != HASH_SIZE for each in path):
        raise BadNote(f"a hash that is not {HASH_SIZE} bytes")
    return path
