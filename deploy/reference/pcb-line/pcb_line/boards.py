"""The detector as a model of a plant file: a board's picture in, its defects out, with their places in millimetres."""

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG
from typing import Annotated, Final

import numpy as np
from PIL import Image
from pydantic import Field

from pcb_line.detect import CONFIDENCE_MIN, MODEL, Defect, Detector, Grey, Template, ready
from plantgate.sdk import Deadline, Frame, ModelAdapter, OneThread, Prediction, Rejected, Settings, Value

TEMPLATE: Final = "template"
"""Name, in a frame's context, of the file that has its template."""
_KEPT_BYTES_MAX: Final = 128 * 2**20
"""Of templates in memory; one of 640 x 640 pixels, made ready, takes 2 MB."""


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
        """Loads the network on its thread, and the templates that are there: no board waits for its own."""
        with OneThread("boards") as thread:
            detector = await thread.do(lambda: Detector(MODEL))
            templates = Templates(self.settings.templates)
            await thread.do(templates.fill)
            yield BoardModel(detector, thread, self.settings, templates)


class BoardModel:
    """A `plantgate.sdk.Model`."""

    name = "pcb-line/boards"
    target = "ONNX Runtime, CPUExecutionProvider, 1 thread"

    def __init__(
        self, detector: Detector, thread: OneThread, settings: BoardsSettings, template: "Callable[[str], Kept]"
    ) -> None:
        """`template` gives one by name. Raises `Rejected` where there is none."""
        self.digest = f"sha256:{detector.digest}"
        self._detector, self._thread, self._settings, self._template = detector, thread, settings, template

    async def predict(self, frame: Frame, deadline: Deadline) -> Prediction:
        """Facts: ``defects``, each with ``kind``, ``confidence``, ``box`` in pixels, and its middle ``x_mm``, ``y_mm``.

        Millimetres count from the board's own middle, x to the right, y down. The answer as a whole is as sure as its
        least sure defect. The digest of what it saw is that of the template's pixels and then the board's.
        """
        return await self._thread.do(lambda: self._seen(frame))

    def _seen(self, frame: Frame) -> Prediction:
        name = frame.context.get(TEMPLATE, "")
        template = self._template(name)
        board: Grey = np.asarray(frame.pixels)
        try:
            defects = self._detector.detect(board, template.ready, self._settings.confidence_min)
        except ValueError as error:
            raise Rejected(f"{frame.name}: {error}") from None
        saw = template.saw.copy()
        saw.update(frame.pixels)
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


@dataclass(frozen=True, slots=True)
class Kept:
    """A template as it was read."""

    ready: Template
    saw: "hashlib._Hash"
    """Has seen the template's pixels; a copy of it sees a board's."""


def kept(picture: Grey) -> Kept:
    """Ready for boards. Raises ValueError as `Detector.detect` does."""
    return Kept(ready(picture), hashlib.sha256(picture.tobytes()))


@dataclass
class Templates:
    """Those of a folder, by name; the last ones are kept in memory, and read again when their file has changed."""

    folder: Path
    _kept: dict[str, tuple[tuple[int, int, int], Kept]] = field(default_factory=dict)

    def fill(self) -> None:
        """Reads what there is, as long as there is room; what cannot be read is told when a board asks for it."""
        with suppress(OSError):
            for path in sorted(self.folder.iterdir()):
                if self._bytes() >= _KEPT_BYTES_MAX:
                    return
                with suppress(Rejected):
                    self(path.name)

    def __call__(self, name: str) -> Kept:
        """Raises `Rejected` where there is none, or none that can be read."""
        if not name or Path(name).name != name:
            raise Rejected(f"a picture names the template {name[:80]!r}, which is no file of the templates' folder")
        try:
            found = (self.folder / name).stat()
            if not S_ISREG(found.st_mode):
                raise ValueError("it is no file")
            state = found.st_ino, found.st_size, found.st_mtime_ns
            if name in self._kept and self._kept[name][0] == state:
                return self._kept[name][1]
            with Image.open(self.folder / name, formats=["PNG", "JPEG"]) as picture:
                read = kept(np.asarray(picture.convert("L")))
        except Exception as error:  # a broken file can make Pillow raise whatever its decoders stumble over
            raise Rejected(f"the template {name} cannot be read: {error}") from error
        self._kept.pop(name, None)
        while self._kept and self._bytes() >= _KEPT_BYTES_MAX:
            del self._kept[next(iter(self._kept))]
        self._kept[name] = state, read
        return read

    def _bytes(self) -> int:
        return sum(each.ready.copper.nbytes for _, each in self._kept.values())
