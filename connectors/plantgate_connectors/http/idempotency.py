"""The same request sent again gets the answer of the first; another one under its key gets none."""

import asyncio
import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from plantgate_connectors.http.problem import Problem

KEY_BYTES_MOST: Final = 256


@dataclass(slots=True)
class _Entry:
    body: bytes
    """SHA-256 of path and body."""
    safe: "asyncio.Future[None]"


class Remembered:
    """The last keys and what became of their requests; in memory, so a restart forgets them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()

    def known(self, caller: str, key: str, target: str, body: bytes) -> "asyncio.Future[None] | None":
        """Done, or yet to be, when what came under this key before is safe; None for a new key.

        Raises `Problem` if it was another request.
        """
        entry = self._entries.get((caller, key))
        if entry is None:
            return None
        if entry.safe.done() and (entry.safe.cancelled() or entry.safe.exception() is not None):
            del self._entries[caller, key]  # it came to nothing, so this is the first again
            return None
        if entry.body != _digest(target, body):
            raise Problem(422, "this Idempotency-Key came before with another body or path; make a new key")
        return entry.safe

    def remember(self, caller: str, key: str, target: str, body: bytes, safe: "asyncio.Future[None]") -> None:
        """From now on this key stands for this request."""
        if not self._most:
            return
        self._entries[caller, key] = _Entry(_digest(target, body), safe)
        self._entries.move_to_end((caller, key))
        while len(self._entries) > self._most:
            self._entries.popitem(last=False)


def read_key(written: str | None) -> str | None:
    """A key as written: a structured string (`"…"`) or bare. Raises `Problem` for what cannot be one."""
    if written is None:
        return None
    key = written.strip()
    if len(key) > 1 and key.startswith('"') and key.endswith('"'):
        key = key[1:-1]
    if not key or len(key) > KEY_BYTES_MOST or not key.isascii() or not key.isprintable():
        raise Problem(400, f"an Idempotency-Key has 1 to {KEY_BYTES_MOST} printable ASCII characters")
    return key


def _digest(target: str, body: bytes) -> bytes:
    return hashlib.sha256(target.encode(errors="surrogateescape") + b"\0" + body).digest()
