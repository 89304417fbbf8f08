"""A model that says how bright a picture is; installed for a test as a vendor's package would be."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

from plantgate.sdk import Deadline, Frame, Model, ModelAdapter, Prediction, Settings


class NoSettings(Settings):
    """There is nothing to set."""


class Brightness(ModelAdapter[NoSettings]):
    """Its first pixel is as good as any."""

    Settings: ClassVar[type[Settings]] = NoSettings
    name = "brightness/1"
    digest = "sha256:" + "b" * 64
    target = "in process"

    @asynccontextmanager
    async def model(self) -> AsyncIterator[Model]:
        yield self

    async def predict(self, frame: Frame, deadline: Deadline) -> Prediction:
        pixels = frame.pixels.tobytes()
        seen = f"sha256:{hashlib.sha256(pixels).hexdigest()}"
        return Prediction({"spots": [{"level": pixels[0], "confidence": 0.95}]}, 0.95, seen, f"level {pixels[0]}")
