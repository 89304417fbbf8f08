"""Draws by an unsteady hand: dots, lines and blots of pixels."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pcb_line.pixels import Copper

Point: TypeAlias = npt.NDArray[np.float64]
"""x and y, in pixels."""


def disc(picture: Copper, at: Point, radius: float, value: bool) -> None:
    """Set every pixel within this radius."""
    reach = int(radius) + 2
    x, y = int(at[0]), int(at[1])
    top, left = max(0, y - reach), max(0, x - reach)
    part = picture[top : max(0, y + reach + 1), left : max(0, x + reach + 1)]
    rows, columns = np.ogrid[top : top + part.shape[0], left : left + part.shape[1]]
    part[np.hypot(rows - at[1], columns - at[0]) <= radius] = value


def stroke(shape: tuple[int, ...], start: Point, end: Point, width: float, chance: np.random.Generator) -> Copper:
    """A line that bows a little and is not everywhere as wide."""
    drawn = np.zeros(shape, np.bool_)
    along = end - start
    length = max(1.0, float(np.hypot(*along)))
    bow = np.array([-along[1], along[0]]) * chance.uniform(-0.15, 0.15)
    for at in np.linspace(0.0, 1.0, int(length) + 1):
        disc(drawn, start + along * at + bow * np.sin(np.pi * at), width / 2 * chance.uniform(0.8, 1.2), True)
    return drawn


def blob(shape: tuple[int, ...], at: Point, radius: float, chance: np.random.Generator) -> Copper:
    """A few discs upon one another."""
    drawn = np.zeros(shape, np.bool_)
    for _ in range(int(chance.integers(1, 6))):
        disc(drawn, at + chance.uniform(-0.5, 0.5, 2) * radius, radius * chance.uniform(0.65, 1.0), True)
    return drawn


def touches(picture: Copper, at: Point, distance: int) -> bool:
    """Whether anything is set within this distance, sideways and up and down."""
    x, y = int(at[0]), int(at[1])
    top, left = max(0, y - distance), max(0, x - distance)
    return bool(picture[top : max(0, y + distance + 1), left : max(0, x + distance + 1)].any())
