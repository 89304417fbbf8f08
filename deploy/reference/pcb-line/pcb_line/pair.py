"""A board, its template, and what is known to be wrong with it."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

CLASSES: Final = ("open", "short", "mousebite", "spur", "copper", "pin-hole")
"""In the order of DeepPCB's class numbers 1 to 6, and of the network's first six outputs."""


@dataclass(frozen=True, slots=True)
class Truth:
    """A true defect."""

    kind: str
    """One of `CLASSES`."""
    box: tuple[float, float, float, float]
    """x1, y1, x2, y2 in pixels: x1 <= x < x2."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Both pictures: height x width, uint8, copper dark."""

    name: str
    board: npt.NDArray[np.uint8]
    template: npt.NDArray[np.uint8]
    truth: tuple[Truth, ...]
