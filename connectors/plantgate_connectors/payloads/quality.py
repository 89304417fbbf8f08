"""Qualities as devices write them."""

from typing import Final

from plantgate.sdk.quality import BAD, GOOD, UNCERTAIN

_WORDS: Final = {"good": GOOD, "uncertain": UNCERTAIN, "bad": BAD}


def read_quality(written: object) -> int | None:
    """A StatusCode, a truth, or a word; None for anything else."""
    if isinstance(written, bool):
        return GOOD if written else BAD
    if isinstance(written, int):
        return written if 0 <= written < 2**32 else None
    if isinstance(written, str):
        return _WORDS.get(written.lower())
    return None
