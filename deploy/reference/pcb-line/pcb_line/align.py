"""Lays a template over a board that lies a few pixels elsewhere, tile by tile."""

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Movable:
    """A template made ready for any number of boards: all that can be done before the first is there."""

    moved: npt.NDArray[np.uint64]
    """Columns x rows x words: the template with a rim, once for each column from which it may begin."""
    fourth: npt.NDArray[np.uint64]
    """4 x columns x words: every fourth row, beginning with each of the first four, in one piece; of the columns those
    from which a board may begin as a whole."""

    @property
    def nbytes(self) -> int:
        """What it takes of the memory."""
        return self.moved.nbytes + self.fourth.nbytes


def movable(template: Copper) -> Movable:
    """Beyond its edges its last pixels go on."""
    width = template.shape[1]
    wide = -(-width // WORD)
    # They go on to the end of the board's last word too, or a template moved from there would bring bare pixels.
    rimmed = packed(np.pad(template, ((RIM, RIM), (RIM, RIM + wide * WORD - width)), mode="edge"))
    moved = np.stack([from_column(rimmed, column, wide) for column in range(2 * RIM + 1)])
    rows = len(rimmed) // 4
    fourth = np.stack([moved[GIVE:-GIVE, first::4][:, :rows] for first in range(4)])
    return Movable(moved, fourth.reshape(4, -1, rows * wide))


def laid_over(board: Words, template: Movable) -> Words:
    """The template moved to where the board lies: as a whole first, then each tile by at most `GIVE` more.

    Both have one size; the result is packed. A shift is judged by the number of pixels that still differ.
    """
    height = len(board)
    rows, columns = _per_tile(board, template.moved, *_whole(board, template))
    laid = np.empty_like(board)
    for down, across in np.ndindex(rows.shape):
        y = down * TILE
        high = min(TILE, height - y)
        start = y + rows[down, across]
        laid[y : y + high, across] = template.moved[columns[down, across], start : start + high, across]
    return laid


def _whole(board: Words, template: Movable) -> tuple[int, int]:
    """The row and column in the rimmed template from which it fits the whole board best, by every fourth row."""
    some, wide = board[::4].ravel(), board.shape[1]
    near = np.arange(GIVE, GIVE + 2 * REACH + 1)
    differ = np.empty((len(near), len(near)), np.int64)
    for at, row in enumerate(near.tolist()):
        start = row // 4 * wide
        shifted = template.fourth[row % 4, :, start : start + len(some)]
        np.bitwise_count(shifted ^ some).sum(1, np.uint32, out=differ[at])
    # A pixel of shift must save a few pixels of difference: on a bare board all shifts are equal, and none is right.
    far = np.abs(near - RIM)
    best = np.unravel_index(int((differ + 2 * (far[:, None] + far)).argmin()), differ.shape)
    return GIVE + int(best[0]), GIVE + int(best[1])


def _per_tile(
    board: Words, moved: npt.NDArray[np.uint64], row: int, column: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The same for each tile, judged with its eight neighbours so that a defect does not pull its own tile along."""
    give = np.arange(-GIVE, GIVE + 1)
    starts = np.arange(0, len(board), TILE)
    beside = moved[column - GIVE : column + GIVE + 1]
    differ = np.stack(
        [
            np.add.reduceat(np.bitwise_count(beside[:, down : down + len(board)] ^ board), starts, 1, np.int64)
            for down in (row + give).tolist()
        ]
    )
    around = np.pad(differ, ((0, 0), (0, 0), (1, 1), (1, 1)))
    tall = around[:, :, :-2] + around[:, :, 1:-1] + around[:, :, 2:]
    nine = tall[..., :-2] + tall[..., 1:-1] + tall[..., 2:]
    further = np.abs(give)[:, None] + np.abs(give)
    best = (nine + 6 * further[:, :, None, None]).reshape(-1, *nine.shape[2:]).argmin(axis=0)
    return row + give[best // len(give)], column + give[best % len(give)]
