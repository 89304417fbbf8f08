"""Finds the six defects of a bare board by its template: places that differ, and a small network that names them."""

from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import onnxruntime

from pcb_line.align import REACH, Movable, laid_over, movable
from pcb_line.crops import crops
from pcb_line.differences import places
from pcb_line.pair import CLASSES
from pcb_line.pieces import settled
from pcb_line.pixels import Copper, packed, unpacked

Grey: TypeAlias = npt.NDArray[np.uint8]

MODEL: Final = Path(__file__).parents[1] / "model" / "detector.onnx"
SHADE: Final = 128
"""Darker than this is copper, as DeepPCB draws it."""
CONFIDENCE_MIN: Final = 0.5
OVERLAP_MAX: Final = 0.3
"""Boxes that share more than this (intersection over union) are one defect, found from two places."""
TOUCH_MIN: Final = 0.02
"""Boxes of one class that share more than this, but not so much, are pieces of one long defect."""
PLACES_MAX: Final = 128
"""On a board that is this template's, 57 were the most seen in 250."""
SIDE_MIN, SIDE_MAX = 64, 4096


@dataclass(frozen=True, slots=True)
class Defect:
    """One defect on a board."""

    kind: str
    """One of `CLASSES`."""
    confidence: float
    """0 to 1: the network's share for this class; where it was unsure, for all that lack copper, or have too much."""
    box: tuple[float, float, float, float]
    """x1, y1, x2, y2 in the board's pixels: x1 <= x < x2."""


class Detector:
    """The network, loaded once. `detect` may be called from one thread at a time; it takes one core and never spins."""

    digest: str
    """sha256 of the model file, in hex: what an audit entry names it by."""

    def __init__(self, model: Path = MODEL) -> None:
        file = model.read_bytes()
        self.digest = sha256(file).hexdigest()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        assert self._session.get_providers() == ["CPUExecutionProvider"]

    def detect(self, board: Grey, template: "Grey | Template", confidence_min: float = CONFIDENCE_MIN) -> list[Defect]:
        """Defects of at least this confidence, the surest first.

        Both pictures are height x width, uint8, of one size; copper is dark. Raises ValueError with a sentence if they
        are not, or if they differ in so many places that the template cannot be this board's.
        """
        seen = look(board, template if isinstance(template, Template) else ready(template))
        shares, boxes = self.name(seen.crops)
        return decide(seen, shares, boxes, confidence_min)

    def name(self, cut: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """The network alone: n crops to shares (n x 7, none last) and boxes (n x 4, pixels from the middle)."""
        if not len(cut):
            return np.empty((0, len(CLASSES) + 1), np.float32), np.empty((0, 4), np.float32)
        shares, boxes = self._session.run(["shares", "boxes"], {"crops": cut})
        return shares, boxes


@dataclass(frozen=True, slots=True)
class Seen:
    """What is worth a second look on a board."""

    crops: npt.NDArray[np.uint8]
    places: npt.NDArray[np.int64]
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Template:
    """A template's copper, made ready for any number of boards."""

    height: int
    width: int
    copper: Movable


def ready(template: Grey) -> Template:
    """All that can be done with a template before a board is there. Raises ValueError as `Detector.detect` does."""
    copper = _copper(template, "template")
    height, width = copper.shape
    return Template(height, width, movable(copper))


def look(board: Grey, template: Template) -> Seen:
    """The places that differ, and their crops. Raises ValueError as `Detector.detect` does."""
    copper = _copper(board, "board")
    height, width = copper.shape
    if (height, width) != (template.height, template.width):
        raise ValueError(
            f"the board is {_size(height, width)} and its template {_size(template.height, template.width)}: both must "
            f"be of one size, aligned to within {REACH} pixels"
        )
    words = packed(copper)
    laid = laid_over(words, template.copper)
    found = places(words, laid, width)
    if len(found) > PLACES_MAX:
        raise ValueError(
            f"the board differs from its template in {len(found)} places, and {PLACES_MAX} are the most that can be "
            f"looked at: check that the template is this board's, and lies within {REACH} pixels of it"
        )
    return Seen(crops(copper, unpacked(laid, width), found), found, height, width)


def decide(
    seen: Seen, shares: npt.NDArray[np.float32], boxes: npt.NDArray[np.float32], confidence_min: float
) -> list[Defect]:
    """Name the sure ones, keep one of those that are the same defect, and join what are pieces of a long one."""
    boxed = np.isfinite(boxes).all(axis=1, keepdims=True)  # what has no box is no defect, however sure its kind
    shares = settled(seen.crops, np.where(boxed, shares, np.float32(np.nan)), boxes)
    kinds = shares[:, :-1].argmax(axis=1).tolist()
    sure = shares[:, :-1].max(axis=1).tolist()
    placed = np.concatenate([seen.places, seen.places], axis=1) + boxes
    framed = np.clip(placed, 0, [seen.width, seen.height, seen.width, seen.height]).tolist()
    kept: list[Defect] = []
    for at in np.argsort(-np.array(sure), kind="stable").tolist():
        # Said this way round, a share that is not a number is refused.
        if not sure[at] >= confidence_min:
            continue
        left, top, right, bottom = framed[at]
        one = Defect(CLASSES[kinds[at]], sure[at], (left, top, right, bottom))
        shared = [overlap(one.box, other.box) for other in kept]
        if any(share > OVERLAP_MAX for share in shared):
            continue
        part_of = next((n for n, share in enumerate(shared) if share > TOUCH_MIN and kept[n].kind == one.kind), None)
        if part_of is None:
            kept.append(one)
        else:
            kept[part_of] = replace(kept[part_of], box=around(kept[part_of].box, one.box))
    return kept


Box: TypeAlias = tuple[float, float, float, float]


def around(one: Box, other: Box) -> Box:
    """The box that holds both."""
    return min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])


def overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    if wide <= 0 or high <= 0:
        return 0.0
    shared = wide * high
    return shared / ((one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1]) - shared)


def _copper(picture: Grey, what: str) -> Copper:
    if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8:
        found = picture.dtype if isinstance(picture, np.ndarray) else type(picture).__name__
        raise ValueError(f"the {what} is {found}: it must be a numpy array of uint8, 0 black (copper) to 255 white")
    if picture.ndim != 2:
        raise ValueError(f"the {what} has the shape {picture.shape}: it must be height x width, grey, one picture")
    if not all(SIDE_MIN <= side <= SIDE_MAX for side in picture.shape):
        raise ValueError(f"the {what} is {_size(*picture.shape)}: each side must be {SIDE_MIN} to {SIDE_MAX} pixels")
    copper: Copper = picture < SHADE
    return copper


def _size(height: int, width: int) -> str:
    return f"{width} x {height} pixels"
