"""Requests signed with a shared key: who sent them, that nobody changed them, and that they are no repeat.

    Authorization: HMAC-SHA256 key="press3", time="1767225600", nonce="5f0c…", signature="9a1b…"

The signature is HMAC-SHA256, in hexadecimal, over five lines: method, path with query, time (whole seconds since 1970),
nonce, and the SHA-256 of the body in hexadecimal; joined by line feeds, none at the end.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Final

SCHEME: Final = "HMAC-SHA256"
WINDOW_SECONDS: Final = 300
"""How far a signature's time may lie from ours."""
NONCES_MOST: Final = 100_000
_PART: Final = re.compile(r'\s*([a-z]+)="([A-Za-z0-9_.~+/=-]{1,128})"\s*')


@dataclass(frozen=True, slots=True)
class Signature:
    """What an `Authorization` header of this scheme says."""

    key: str
    time: int
    nonce: str
    signature: str


def read(parameters: str) -> Signature | None:
    """The header's text after the scheme; None if it is not what it should be."""
    found: dict[str, str] = {}
    for written in parameters.split(","):
        part = _PART.fullmatch(written)
        if part is None or part[1] in found:
            return None
        found[part[1]] = part[2]
    if set(found) != {"key", "time", "nonce", "signature"}:
        return None
    time = found["time"]
    if not (time.isascii() and time.isdecimal() and len(time) <= 11) or len(found["nonce"]) < 8:
        return None
    return Signature(found["key"], int(time), found["nonce"], found["signature"].lower())


def sign(secret: str, *, method: str, target: str, time: int, nonce: str, body: bytes) -> str:
    """The signature, in hexadecimal."""
    lines = "\n".join((method, target, str(time), nonce, hashlib.sha256(body).hexdigest()))
    return hmac.new(secret.encode(), lines.encode(), hashlib.sha256).hexdigest()


def header(secret: str, *, key: str, method: str, target: str, time: int, nonce: str, body: bytes) -> str:
    """The whole `Authorization` header."""
    signature = sign(secret, method=method, target=target, time=time, nonce=nonce, body=body)
    return f'{SCHEME} key="{key}", time="{time}", nonce="{nonce}", signature="{signature}"'


class Nonces:
    """Remembers what was signed within the window, so that each signature counts once.

    Those from before the program started are not remembered, so nothing signed before that is taken.
    """

    def __init__(self, started_seconds: float) -> None:
        self._started = int(started_seconds)
        self._used: dict[tuple[str, str], int] = {}
        """By key and nonce: when its window ends. In order of arrival, which is about that of their ends."""

    def objection(self, signature: Signature, now_seconds: float) -> str | None:
        """Why this one does not count, in a sentence; None if it does."""
        off = signature.time - now_seconds
        if abs(off) > WINDOW_SECONDS:
            return (
                f"its time is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} ours; "
                f"the most is {WINDOW_SECONDS} s: set the clocks"
            )
        if signature.time < self._started:
            return "it was signed before this receiver started; sign it anew"
        if (signature.key, signature.nonce) in self._used:
            return "it has been used; sign each attempt anew, with a new nonce"
        return None

    def use(self, signature: Signature, now_seconds: float) -> bool:
        """From now on it has been used; False if too many are remembered to take one more."""
        while self._used:
            oldest = next(iter(self._used))
            if self._used[oldest] >= now_seconds:
                break
            del self._used[oldest]
        if len(self._used) >= NONCES_MOST:
            return False
        self._used[signature.key, signature.nonce] = signature.time + WINDOW_SECONDS
        return True
