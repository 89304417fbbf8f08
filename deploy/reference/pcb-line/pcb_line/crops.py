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
    both = np.pad(np.stack([board, template]).view(np.uint8), ((0, 0), (rim, rim), (rim, rim)), mode="edge")
    cut = np.empty((len(places), 2, SIDE, SIDE), np.uint8)
    for at, (x, y) in enumerate(places.tolist()):
        cut[at] = both[:, y : y + SIDE, x : x + SIDE]
    return cut
