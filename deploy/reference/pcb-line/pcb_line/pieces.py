"""Where the network is unsure of a kind, counts what hangs together: an open parts copper, a short joins it."""

from typing import Final

import numpy as np
import numpy.typing as npt

from pcb_line.crops import SIDE
from pcb_line.pair import CLASSES
from pcb_line.pixels import Copper

SURE: Final = 0.9
"""Above this share the network's own word holds."""
AROUND: Final = 4
"""Pixels around a defect's box in which pieces are counted."""
PIECE_MIN: Final = 30
"""Pixels; smaller ones are the edge's own crumbs, or what a frayed cut leaves between its ends."""
HOLE_MIN: Final = 6
"""Pixels."""
_LACKING = tuple(CLASSES.index(kind) for kind in ("open", "mousebite", "pin-hole"))
_EXCESS = tuple(CLASSES.index(kind) for kind in ("short", "spur", "copper"))


def settled(
    crops: npt.NDArray[np.uint8], shares: npt.NDArray[np.float32], boxes: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """The shares, with all that one doubtful place has for lacking or for excess copper given to one of its kinds.

    As `Detector.name` takes and gives them: n x 2 x SIDE x SIDE, n x 7, n x 4.
    """
    surest = shares[:, :-1].argmax(axis=1).tolist()
    told = shares.copy()
    for at, kind in enumerate(surest):
        # Said this way round, a share that is not a number stays one. Most places are no defect: they cost nothing.
        if not (shares[at, kind] <= SURE and shares[at, -1] < 0.5):
            continue
        left, top, right, bottom = np.clip(np.rint(boxes[at]) + SIDE // 2 + [-AROUND, -AROUND, AROUND, AROUND], 0, SIDE)
        board, template = crops[at, :, int(top) : int(bottom), int(left) : int(right)].view(np.bool_)
        family, tell = (_LACKING, _that_lacks) if kind in _LACKING else (_EXCESS, _in_excess)
        told[at, family] = 0
        told[at, CLASSES.index(tell(board, template))] = shares[at, family].sum()
    return told


def _that_lacks(board: Copper, template: Copper) -> str:
    gaps = holes(board) - holes(template)
    if pieces(board) > pieces(template) or gaps < 0:
        return "open"
    return "pin-hole" if gaps else "mousebite"


def _in_excess(board: Copper, template: Copper) -> str:
    more = pieces(board) - pieces(template)
    if more > 0:
        return "copper"
    return "short" if more else "spur"


def pieces(copper: Copper) -> int:
    """How many there are of at least `PIECE_MIN` pixels that hang together, sideways and up and down."""
    return sum(size >= PIECE_MIN for size in _sizes(copper, 0))


def holes(copper: Copper) -> int:
    """How many pieces there are of what is no copper, of at least `HOLE_MIN` pixels; these touch slantwise too.

    They tell an open in a ring, which parts no copper.
    """
    return sum(size >= HOLE_MIN for size in _sizes(~copper, 1))


def _sizes(picture: Copper, reach: int) -> list[int]:
    """Pixels of each piece, row by row: a run of pixels joins those it touches in the row above."""
    sizes: list[int] = []
    part_of: list[int] = []

    def whole(run: int) -> int:
        while part_of[run] != run:
            run = part_of[run]
        return run

    above: list[tuple[int, int, int]] = []
    for edges in np.diff(picture.astype(np.int8), axis=1, prepend=0, append=0):
        row = []
        starts, ends = np.flatnonzero(edges > 0).tolist(), np.flatnonzero(edges < 0).tolist()
        for start, end in zip(starts, ends, strict=True):
            run = len(sizes)
            sizes.append(end - start)
            part_of.append(run)
            row.append((start, end, run))
            for other_start, other_end, other in above:
                if start < other_end + reach and other_start < end + reach:
                    one, two = whole(other), whole(run)
                    if one != two:
                        part_of[two] = one
                        sizes[one] += sizes[two]
        above = row
    return [size for run, size in enumerate(sizes) if part_of[run] == run]
