"""The detector as a model of a plant file: a board's picture in, its defects out, with their places in millimetres."""

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Final

import numpy as np
from PIL import Image
from pydantic import Field

from pcb_line.detect import CONFIDENCE_MIN, MODEL, Defect, Detector, Grey
from plantgate.sdk import Deadline, Frame, ModelAdapter, OneThread, Prediction, Rejected, Settings, Value

TEMPLATE: Final = "template"
"""Name, in a frame's context, of the file that has its template."""
_TEMPLATES_MAX: Final = 64
"""Kept in memory."""


class BoardsSettings(Settings):
    """Finds the six defects of bare boards (DeepPCB) by comparing each with its template."""

    templates: Path
    """Folder with the templates, PNG or JPEG; a picture's context says which one is its own."""
    pixels_per_mm: Annotated[float, Field(gt=0)] = 48.0
    """Scale of the pictures; DeepPCB's has 48."""
    confidence_min: Annotated[float, Field(ge=0, le=1)] = CONFIDENCE_MIN
    """What a defect must reach to be told of at all; rules ask for more."""


class Boards(ModelAdapter[BoardsSettings]):
    """Finds the defects of bare boards, in process, on ONNX Runtime's CPU provider, one thread."""

    Settings = BoardsSettings

    @asynccontextmanager
    async def model(self) -> AsyncIterator["BoardModel"]:
        """Loads the network on its thread."""
        with OneThread("boards") as thread:
            detector = await thread.do(lambda: Detector(MODEL))
            yield BoardModel(detector, thread, self.settings, folder_templates(self.settings.templates))


class BoardModel:
    """A `plantgate.sdk.Model`."""

    name = "pcb-line/boards"
    target = "ONNX Runtime, CPUExecutionProvider, 1 thread"

    def __init__(
        self, detector: Detector, thread: OneThread, settings: BoardsSettings, template: Callable[[str], Grey]
    ) -> None:
        """`template` gives one by name. Raises `Rejected` where there is none."""
        self.digest = f"sha256:{detector.digest}"
        self._detector, self._thread, self._settings, self._template = detector, thread, settings, template

    async def predict(self, frame: Frame, deadline: Deadline) -> Prediction:
        """Facts: ``defects``, each with ``kind``, ``confidence``, ``box`` in pixels, and its middle ``x_mm``, ``y_mm``.

        Millimetres count from the board's own middle, x to the right, y down. The answer as a whole is as sure as its
        least sure defect.
        """
        return await self._thread.do(lambda: self._seen(frame))

    def _seen(self, frame: Frame) -> Prediction:
        name = frame.context.get(TEMPLATE, "")
        template = self._template(name)
        board: Grey = np.asarray(frame.pixels)
        try:
            defects = self._detector.detect(board, template, self._settings.confidence_min)
        except ValueError as error:
            raise Rejected(f"{frame.name}: {error}") from None
        saw = hashlib.sha256(frame.pixels)
        saw.update(template.tobytes())
        return Prediction(
            facts={"defects": [self._told(defect, board) for defect in defects]},
            confidence=min((defect.confidence for defect in defects), default=1.0),
            inputs=f"sha256:{saw.hexdigest()}",
            output=", ".join(f"{defect.kind} {defect.confidence:.2f}" for defect in defects) or "no defect",
        )

    def _told(self, defect: Defect, board: Grey) -> Mapping[str, Value]:
        x1, y1, x2, y2 = defect.box
        height, width = board.shape
        return {
            "box": [round(edge, 1) for edge in defect.box],
            "kind": defect.kind,
            "confidence": defect.confidence,
            "x_mm": round(((x1 + x2) - width) / 2 / self._settings.pixels_per_mm, 3),
            "y_mm": round(((y1 + y2) - height) / 2 / self._settings.pixels_per_mm, 3),
        }


def folder_templates(folder: Path) -> Callable[[str], Grey]:
    """Templates from a folder, the last ones kept in memory."""
    kept: dict[str, Grey] = {}

    def template(name: str) -> Grey:
        if name in kept:
            return kept[name]
        if not name or Path(name).name != name:
            raise Rejected(f"a picture names the template {name[:80]!r}, which is no file of the templates' folder")
        try:
            with Image.open(folder / name, formats=["PNG", "JPEG"]) as picture:
                read = np.asarray(picture.convert("L"))
        except OSError as error:
            raise Rejected(f"the template {name} cannot be read: {error}") from None
        while len(kept) >= _TEMPLATES_MAX:
            del kept[next(iter(kept))]
        kept[name] = read
        return read

    return template
