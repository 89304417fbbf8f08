"""Lays a template over a board that lies a few pixels elsewhere, tile by tile."""

import numpy as np
import numpy.typing as npt

from pcb_line.pixels import WORD, Copper, Words, from_column, packed

REACH = 8
"""How far a board may lie from its template, in pixels, in each direction."""
GIVE = 2
"""How much further a tile may lie than the board as a whole: boards stretch, and a line camera's feed is not even."""
RIM = REACH + GIVE
TILE = WORD
"""Side of a tile in pixels: a word of packed pixels wide."""


def laid_over(board: Copper, template: Copper) -> Words:
    """The template moved to where the board lies: as a whole first, then each tile by at most `GIVE` more.

    Both have one size; the result is packed. A shift is judged by the number of pixels that still differ.
    """
    height = board.shape[0]
    words = packed(board)
    wide = words.shape[1]
    # Edge pixels go on to the end of the board's last word too, or a template moved from there would bring bare pixels.
    right = RIM + wide * WORD - board.shape[1]
    rimmed = packed(np.pad(template, ((RIM, RIM), (RIM, right)), mode="edge"))
    moved = [from_column(rimmed, column, wide) for column in range(2 * RIM + 1)]
    whole = _whole(words, moved)
    rows, columns = _per_tile(words, moved, *whole)
    laid = np.empty_like(words)
    for down, across in np.ndindex(rows.shape):
        y = down * TILE
        high = min(TILE, height - y)
        start = y + rows[down, across]
        laid[y : y + high, across] = moved[columns[down, across]][start : start + high, across]
    return laid


def _whole(words: Words, moved: list[Words]) -> tuple[int, int]:
    """The row and column in the rimmed template from which it fits the whole board best, by every fourth row."""
    some = words[::4]
    near = np.arange(GIVE, GIVE + 2 * REACH + 1)
    differ = np.empty((len(near), len(near)), np.int64)
    for at, column in enumerate(near):
        # Summing each shift's bytes as one row is twice as fast as over two axes.
        _differing(some, moved[column], near, step=4).reshape(len(near), -1).sum(1, np.uint32, out=differ[:, at])
    # A pixel of shift must save a few pixels of difference: on a bare board all shifts are equal, and none is right.
    far = np.abs(near - RIM)
    row, column = np.unravel_index(int((differ + 2 * (far[:, None] + far)).argmin()), differ.shape)
    return int(near[row]), int(near[column])


def _per_tile(
    words: Words, moved: list[Words], row: int, column: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The same for each tile, judged with its eight neighbours so that a defect does not pull its own tile along."""
    give = np.arange(-GIVE, GIVE + 1)
    starts = np.arange(0, len(words), TILE)
    differ = np.stack(
        [
            np.add.reduceat(_differing(words, moved[column + x], row + give), starts, axis=1, dtype=np.int64)
            for x in give
        ],
        axis=1,
    )
    around = np.pad(differ, ((0, 0), (0, 0), (1, 1), (1, 1)))
    tall = around[:, :, :-2] + around[:, :, 1:-1] + around[:, :, 2:]
    nine = tall[..., :-2] + tall[..., 1:-1] + tall[..., 2:]
    further = np.abs(give)[:, None] + np.abs(give)
    best = (nine + 6 * further[:, :, None, None]).reshape(-1, *nine.shape[2:]).argmin(axis=0)
    return row + give[best // len(give)], column + give[best % len(give)]


def _differing(words: Words, moved: Words, rows: npt.NDArray[np.int64], step: int = 1) -> npt.NDArray[np.uint8]:
    """How many pixels of each word differ when the template begins at each of these rows: rows x height x words."""
    last = (len(words) - 1) * step + 1
    shifted = np.stack([moved[row : row + last : step] for row in rows.tolist()])
    count: npt.NDArray[np.uint8] = np.bitwise_count(words ^ shifted)
    return count
