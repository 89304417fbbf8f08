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
    """Pixels of each piece: a run of pixels in a row joins those it touches in the row above.

    Rows are laid out in one line, each with a bare pixel behind it. `reach`: 1 where runs touch slantwise too, else 0.
    """
    wide = picture.shape[1] + 1
    line = np.pad(picture.view(np.int8), ((0, 0), (0, 1))).ravel()
    edges = np.flatnonzero(np.diff(line, prepend=0)).tolist()
    runs = list(zip(edges[::2], edges[1::2], strict=True))
    sizes = [end - start for start, end in runs]
    part_of = list(range(len(runs)))

    def whole(run: int) -> int:
        while part_of[run] != run:
            run = part_of[run]
        return run

    first = 0
    for run, (start, end) in enumerate(runs):
        while runs[first][1] + wide + reach <= start:
            first += 1
        above = first
        while runs[above][0] + wide < end + reach:
            one, two = whole(above), whole(run)
            if one != two:
                part_of[two] = one
                sizes[one] += sizes[two]
            above += 1
    return [size for run, size in enumerate(sizes) if part_of[run] == run]
