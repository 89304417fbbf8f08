"""Reads the pairs of the DeepPCB data set, and knows which of them no training may look at."""

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from pcb_line.pair import CLASSES, Pair, Truth

HELD_OUT = ("44000", "50600", "77000")
"""Groups for measuring alone. A group is one scanned board, whose pairs may repeat each other: it is never split."""


def group(name: str) -> str:
    """The board a pair was cut from: the first five digits of its name."""
    return name[:5]


def pairs(folder: Path, groups: Collection[str]) -> Iterator[Pair]:
    """The pairs of these groups below `folder/images`, by name."""
    for listed in sorted((folder / "images").glob("*.txt")):
        if group(listed.stem) in groups:
            lines = [[int(word) for word in line.split()] for line in listed.read_text().splitlines() if line.strip()]
            yield Pair(
                name=listed.stem,
                board=_grey(listed.with_name(f"{listed.stem}_test.jpg")),
                template=_grey(listed.with_name(f"{listed.stem}_temp.jpg")),
                truth=tuple(Truth(CLASSES[kind - 1], (x1, y1, x2, y2)) for x1, y1, x2, y2, kind in lines),
            )


def groups(folder: Path) -> list[str]:
    """All there are."""
    return sorted({group(listed.stem) for listed in (folder / "images").glob("*.txt")})


def _grey(path: Path) -> npt.NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("L"))
