"""A template is laid over its board wherever that lies, and what differs is counted, as pixel by pixel."""

import numpy as np
import pytest
from pcb_line.align import GIVE, REACH, RIM, _whole, laid_over, movable
from pcb_line.differences import CELL, _counted
from pcb_line.draw import drawn_pair
from pcb_line.pixels import Copper, packed, unpacked

CHANCE = np.random.default_rng(7)


@pytest.mark.parametrize(("down", "right"), [(0, 0), (REACH, -REACH), (-REACH, REACH), (3, 5), (-1, -7)])
@pytest.mark.parametrize("width", [640, 601])
def test_a_template_is_moved_to_where_its_board_lies(down: int, right: int, width: int) -> None:
    board = drawn_pair(5).template[:, :width] < 128
    template = np.roll(board, (-down, -right), (0, 1))
    laid = unpacked(laid_over(packed(board), movable(template)), width)
    assert (laid == board)[2 * RIM : -2 * RIM, 2 * RIM : -2 * RIM].all()


def test_of_all_shifts_the_one_with_the_fewest_differing_pixels_is_taken() -> None:
    for _ in range(20):
        height, words = CHANCE.integers(64, 100), CHANCE.integers(1, 3)
        template: Copper = CHANCE.random((height, words * 64)) < 0.5
        board = np.roll(template, CHANCE.integers(-REACH - 2, REACH + 3, 2), (0, 1))
        board = board ^ (CHANCE.random(board.shape) < 0.3)
        rimmed = np.pad(template, RIM, mode="edge")
        costs = {}
        for row, column in np.ndindex(2 * REACH + 1, 2 * REACH + 1):
            shifted = rimmed[row + GIVE : row + GIVE + height, column + GIVE : column + GIVE + board.shape[1]]
            far = abs(row - REACH) + abs(column - REACH)
            costs[row + GIVE, column + GIVE] = int((board ^ shifted)[::4].sum()) + 2 * far
        assert _whole(packed(board), movable(template)) == min(costs, key=costs.__getitem__)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (65, 70), (67, 129), (100, 191)])
def test_differing_pixels_are_counted_in_cells(height: int, width: int) -> None:
    differ: Copper = CHANCE.random((height, width)) < 0.5
    whole = np.pad(differ, ((0, -height % CELL), (0, -width % CELL)))
    wanted = whole.reshape(whole.shape[0] // CELL, CELL, whole.shape[1] // CELL, CELL).sum((1, 3))
    filled = packed(differ)
    filled[:, -1] |= np.uint64(2**64 - 2 ** ((width - 1) % 64 + 1))
    assert (_counted(filled, width) == wanted).all()
