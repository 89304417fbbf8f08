"""Finds the places where a board's copper is not its template's."""

from typing import Final

import numpy as np
import numpy.typing as npt

from pcb_line.pixels import WORD, Words, grown

CELL = 4
"""Side in pixels of the cells in which differing pixels are counted."""
PIXELS_MIN = 3
"""So many differing pixels in 3 x 3 cells make a place; fewer are the edge's own roughness."""
_TWO_CELLS: Final = np.array([(at % 16).bit_count() + 256 * (at // 16).bit_count() for at in range(256)], "<u2")
"""Of eight pixels of a row, the leftmost in the lowest bit: how many are set in the left and in the right four."""


def places(board: Words, template: Words, width: int) -> npt.NDArray[np.int64]:
    """Where copper is missing or in excess by more than a pixel at an edge: n x 2, x and y, the strongest first.

    A place is the middle of a cell that has the most differing pixels around it among its 5 x 5 cells; a long defect
    gives several. The template must lie over the board already; `width` is theirs in pixels.
    """
    differ = (template & ~grown(board)) | (board & ~grown(template))
    strength = _over(_counted(differ, width), 3, np.add)
    rows, columns = strength.shape
    # Cells of equal strength side by side must not both win, nor both lose: a mixed order of their own decides.
    order = strength * 4096 + (np.arange(rows, dtype=np.int32)[:, None] * 7 + np.arange(columns) * 13) % 4096
    y, x = np.nonzero((strength >= PIXELS_MIN) & (order == _over(order, 5, np.maximum)))
    strongest = np.argsort(-strength[y, x], kind="stable")
    found: npt.NDArray[np.int64] = np.stack([x, y], axis=1)[strongest] * CELL + CELL // 2
    return found


def _counted(differ: Words, width: int) -> npt.NDArray[np.int32]:
    """Differing pixels in each cell."""
    used = differ.copy()
    used[:, -1] &= np.uint64(2 ** ((width - 1) % WORD + 1) - 1)  # what a row is filled up with does not count
    two = _TWO_CELLS[used.astype("<u8", copy=False).view(np.uint8)]
    rows = np.pad(two, ((0, -len(two) % CELL), (0, 0))).reshape(-1, CELL, two.shape[1])
    cells: npt.NDArray[np.uint8] = rows.sum(axis=1, dtype="<u2").view(np.uint8)
    return cells[:, : -(-width // CELL)].astype(np.int32)


def _over(cells: npt.NDArray[np.int32], side: int, join: np.ufunc) -> npt.NDArray[np.int32]:
    """Each cell joined with those around it, `side` x `side`; outside there is nothing."""
    rows, columns = cells.shape
    padded = np.pad(cells, side // 2)
    tall: npt.NDArray[np.int32] = padded[:rows]
    for at in range(1, side):
        tall = join(tall, padded[at : at + rows])
    wide: npt.NDArray[np.int32] = tall[:, :columns]
    for at in range(1, side):
        wide = join(wide, tall[:, at : at + columns])
    return wide
