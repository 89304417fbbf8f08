"""What the network looks at: a square of board and template around each place."""

import numpy as np
import numpy.typing as npt

from pcb_line.pixels import Copper

SIDE = 96
"""Side of a crop in pixels: two millimetres, enough to see what a defect joins or cuts."""


def crops(board: Copper, template: Copper, places: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """n x 2 x SIDE x SIDE: board and template, 1 for copper, the place in the middle (at SIDE / 2, SIDE / 2).

    Beyond the picture's rim its last pixels go on.
    """
    rim = SIDE // 2
    height, width = board.shape
    both = np.empty((2, height + 2 * rim, width + 2 * rim), np.uint8)
    inner = both[:, rim:-rim, rim:-rim]
    inner[0], inner[1] = board, template
    both[:, rim:-rim, :rim], both[:, rim:-rim, -rim:] = inner[:, :, :1], inner[:, :, -1:]
    both[:, :rim], both[:, -rim:] = both[:, rim : rim + 1], both[:, -rim - 1 : -rim]
    cut = np.empty((len(places), 2, SIDE, SIDE), np.uint8)
    for at, (x, y) in enumerate(places.tolist()):
        cut[at] = both[:, y : y + SIDE, x : x + SIDE]
    return cut
