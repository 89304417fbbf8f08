"""Copper as bits, 64 pixels to the word: what takes milliseconds on pixels takes microseconds on words."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Copper: TypeAlias = npt.NDArray[np.bool_]
"""Height x width: true where there is copper."""
Words: TypeAlias = npt.NDArray[np.uint64]
"""Height x words: 64 pixels of a row each, the leftmost in the lowest bit."""

WORD = 64


def packed(copper: Copper) -> Words:
    """As words; a row's last pixel goes on to the end of its last word."""
    whole = np.pad(copper, ((0, 0), (0, -copper.shape[1] % WORD)), mode="edge")
    return np.packbits(whole, axis=1, bitorder="little").view("<u8").astype(np.uint64, copy=False)


def unpacked(words: Words, width: int) -> Copper:
    """The first `width` pixels of each row."""
    bits = words.astype("<u8", copy=False).view(np.uint8)
    return np.unpackbits(bits, axis=1, count=width, bitorder="little").view(np.bool_)


def from_column(words: Words, column: int, count: int) -> Words:
    """`count` words of each row, beginning with the pixel `column` (below 64)."""
    if column == 0:
        return words[:, :count]
    start, carry = np.uint64(column), np.uint64(WORD - column)
    return (words[:, :count] >> start) | (words[:, 1 : count + 1] << carry)


def grown(words: Words) -> Words:
    """Copper and every pixel that touches it, slantwise too."""
    one, last = np.uint64(1), np.uint64(WORD - 1)
    rows = words.copy()
    rows[:-1] |= words[1:]
    rows[1:] |= words[:-1]
    wide: Words = rows | (rows << one) | (rows >> one)
    wide[:, 1:] |= rows[:, :-1] >> last
    wide[:, :-1] |= rows[:, 1:] << last
    return wide
