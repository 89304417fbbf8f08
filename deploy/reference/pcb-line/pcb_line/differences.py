"""Finds the places where a board's copper is not its template's."""

import numpy as np
import numpy.typing as npt

from pcb_line.pixels import Words, grown, unpacked

CELL = 4
"""Side in pixels of the cells in which differing pixels are counted."""
PIXELS_MIN = 3
"""So many differing pixels in 3 x 3 cells make a place; fewer are the edge's own roughness."""


def places(board: Words, template: Words, width: int) -> npt.NDArray[np.int64]:
    """Where copper is missing or in excess by more than a pixel at an edge: n x 2, x and y, the strongest first.

    A place is the middle of a cell that has the most differing pixels around it among its 5 x 5 cells; a long defect
    gives several. The template must lie over the board already; `width` is theirs in pixels.
    """
    differ = (template & ~grown(board)) | (board & ~grown(template))
    strength = _over(_counted(unpacked(differ, width).view(np.uint8)), 3, np.add)
    rows, columns = strength.shape
    # Cells of equal strength side by side must not both win, nor both lose: a mixed order of their own decides.
    order = strength * 4096 + (np.arange(rows, dtype=np.int32)[:, None] * 7 + np.arange(columns) * 13) % 4096
    y, x = np.nonzero((strength >= PIXELS_MIN) & (order == _over(order, 5, np.maximum)))
    strongest = np.argsort(-strength[y, x], kind="stable")
    found: npt.NDArray[np.int64] = np.stack([x, y], axis=1)[strongest] * CELL + CELL // 2
    return found


def _counted(differ: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """Differing pixels in each cell."""
    height, width = differ.shape
    whole = np.pad(differ, ((0, -height % CELL), (0, -width % CELL)))
    rows = whole.reshape(-1, CELL, whole.shape[1]).sum(axis=1, dtype=np.uint8)
    # Adding columns is six times as fast as summing over a last axis of four.
    cells: npt.NDArray[np.int32] = rows[:, ::CELL].astype(np.int32)
    for at in range(1, CELL):
        cells += rows[:, at::CELL]
    return cells


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
