"""Draws boards as DeepPCB shows them, with defects whose boxes are known: for machines without the real pictures."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pcb_line.blemish import blemishes
from pcb_line.pair import Pair, Truth
from pcb_line.pixels import Copper
from pcb_line.strokes import disc

SIDE = 640
PITCH = 40
"""Pixels from one track's middle to the next one's."""
MARGIN = 10
"""Pixels between a defect and its box, as DeepPCB's own boxes have it."""


def drawn_pair(seed: int, defects: int = 6) -> Pair:
    """A board with so many defects (fewer where no room is found), and its template; a seed always gives the same.

    The board lies up to two pixels from the template, and the two have edges of their own roughness, as scans have.
    """
    chance = np.random.default_rng(seed)
    clean = _layout(chance)
    flawed = clean.copy()
    found = blemishes(clean, defects, chance)
    for one in found:
        flawed[one.where] = one.adds
    shift_y, shift_x = (int(value) for value in chance.integers(-2, 3, 2))
    board = _moved(_rough(flawed, chance), shift_y, shift_x)
    truth = tuple(Truth(one.kind, framed(_moved(one.where, shift_y, shift_x))) for one in found)
    return Pair(f"drawn-{seed}", _picture(board), _picture(_rough(clean, chance)), truth)


def _layout(chance: np.random.Generator) -> Copper:
    """Nets that wander over a grid without touching each other, a pad at each end; an area of copper, round holes."""
    copper = np.zeros((SIDE, SIDE), np.bool_)
    taken = np.zeros((SIDE // PITCH, SIDE // PITCH), np.bool_)
    holes: list[tuple[float, float, float]] = []
    for _ in range(int(chance.integers(1, 3))):
        _area(copper, taken, holes, chance)
    for _ in range(60):
        free = np.argwhere(~taken)
        if len(free) < 8:
            break
        path = _wander(taken, free[chance.integers(len(free))], chance)
        width = float(chance.choice([6, 8, 10, 14]))
        middles = [((column + 0.5) * PITCH, (row + 0.5) * PITCH) for row, column in path]
        for start, end in pairwise(middles):
            _track(copper, start, end, width)
        for x, y in (middles[0], middles[-1]):
            radius = float(chance.integers(12, 16))
            disc(copper, np.array([x, y]), radius, True)
            if chance.random() < 0.6:
                holes.append((x, y, radius * 0.45))
    for x, y, radius in holes:
        disc(copper, np.array([x, y]), radius, False)
    return copper


def _area(copper: Copper, taken: Copper, holes: list[tuple[float, float, float]], chance: np.random.Generator) -> None:
    """A block of copper over some cells of the grid, with a hole in it."""
    cells = taken.shape[0]
    high, wide = chance.integers(2, 5, 2)
    row, column = chance.integers(0, cells - high), chance.integers(0, cells - wide)
    if taken[row : row + high, column : column + wide].any():
        return
    taken[row : row + high, column : column + wide] = True
    top, left = row * PITCH + 8, column * PITCH + 8
    copper[top : (row + high) * PITCH - 8, left : (column + wide) * PITCH - 8] = True
    holes.append((left + PITCH * 0.6, top + PITCH * 0.6, 8.0))


def _wander(taken: Copper, start: npt.NDArray[np.int64], chance: np.random.Generator) -> list[tuple[int, int]]:
    """Cells from `start` on, mostly straight ahead, also slantwise, never over another's; they are taken then."""
    ways = [(0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1)]
    row, column = int(start[0]), int(start[1])
    path = [(row, column)]
    taken[row, column] = True
    way = int(chance.integers(4)) * 2
    for _ in range(int(chance.integers(4, 18))):
        for turn in (0, *(int(turn) for turn in chance.permutation([-1, 1])), *(-2, 2)):
            down, right = ways[(way + turn) % 8]
            to_row, to_column = row + down, column + right
            inside = 0 <= to_row < taken.shape[0] and 0 <= to_column < taken.shape[1]
            # A slanting step passes between two cells: with both free, no other net's slant crosses it.
            if (
                not inside
                or taken[to_row, to_column]
                or (down and right and (taken[row, to_column] or taken[to_row, column]))
            ):
                continue
            if turn == 0 and chance.random() < 0.2:
                continue
            if down and right:
                taken[row, to_column] = taken[to_row, column] = True
            taken[to_row, to_column] = True
            way, row, column = (way + turn) % 8, to_row, to_column
            path.append((row, column))
            break
        else:
            break
    return path


def _track(copper: Copper, start: tuple[float, float], end: tuple[float, float], width: float) -> None:
    """A straight piece with round ends."""
    along = np.array(end) - start
    length = float(np.hypot(*along))
    for at in np.linspace(0.0, 1.0, int(length) + 1):
        disc(copper, start + at * along, width / 2, True)


def _rough(copper: Copper, chance: np.random.Generator) -> Copper:
    """Copper whose edges wander by up to a pixel, as after etching and thresholding."""
    soft = _blurred(copper.astype(np.float32), 2)
    noise = _blurred(chance.standard_normal(copper.shape).astype(np.float32), 2)
    rough: Copper = soft + 0.09 * noise / noise.std() > 0.5
    # Far from an edge noise changes nothing.
    return np.where((soft < 0.02) | (soft > 0.98), copper, rough)


def _blurred(shades: npt.NDArray[np.float32], times: int) -> npt.NDArray[np.float32]:
    """Each pixel the mean of the 3 x 3 around it, so many times over."""
    height, width = shades.shape
    for _ in range(times):
        padded = np.pad(shades, 1, mode="edge")
        rows = padded[:height] + padded[1 : height + 1] + padded[2:]
        shades = (rows[:, :width] + rows[:, 1 : width + 1] + rows[:, 2:]) / 9
    return shades


def _moved(copper: Copper, down: int, right: int) -> Copper:
    height, width = copper.shape
    padded = np.pad(copper, 2, mode="edge")
    return padded[2 - down : 2 - down + height, 2 - right : 2 - right + width]


def framed(where: Copper) -> tuple[int, int, int, int]:
    """The box that DeepPCB would put around these pixels: x1, y1, x2, y2."""
    rows, columns = np.nonzero(where)
    height, width = where.shape
    return (
        max(0, int(columns.min()) - MARGIN),
        max(0, int(rows.min()) - MARGIN),
        min(width, int(columns.max()) + 1 + MARGIN),
        min(height, int(rows.max()) + 1 + MARGIN),
    )


def _picture(copper: Copper) -> npt.NDArray[np.uint8]:
    return np.where(copper, 0, 255).astype(np.uint8)
