"""The account of a camera's pictures, whatever brings them: given, skipped, unreadable."""

import hashlib
from collections.abc import Mapping
from typing import Final

from plantgate.sdk import Context, Frame
from plantgate_connectors.calls import shown
from plantgate_connectors.camera.picture import Unreadable, unpack
from plantgate_connectors.camera.settings import CameraSettings

_NAME_MAX: Final = 120


class Sight:
    """One camera's pictures, from session to session."""

    def __init__(self, settings: CameraSettings, context: Context) -> None:
        self.name = context.connection
        self.grey, self.pixels_max = settings.grey, settings.pixels_max
        self._context, self._standing, self._log = settings.context, context.standing, context.log
        self._blind = False
        self._repeats_max, self._repeats, self._last = settings.repeats_max, 0, b""

    def up(self, **facts: object) -> None:
        """The camera answers."""
        self._standing.up(**facts)

    def unpack(self, packed: bytes) -> memoryview:
        """Pixels, as `picture.unpack` gives them; for the camera's thread. Raises `Unreadable`."""
        return self.moving(unpack(packed, grey=self.grey, pixels_max=self.pixels_max))

    def moving(self, pixels: memoryview) -> memoryview:
        """The same pixels; for the camera's thread. Raises `Unreadable` where the camera has given them too often."""
        if self._repeats_max is None:
            return pixels
        seen = hashlib.blake2b(pixels, digest_size=16).digest()
        self._repeats = self._repeats + 1 if seen == self._last else 0
        self._last = seen
        if self._repeats > self._repeats_max:
            raise Unreadable(
                f"it is, to the last bit, the one before, {self._repeats} times now: the camera stands still"
            )
        return pixels

    def frame(self, name: str, pixels: memoryview, at: float, context: Mapping[str, str]) -> Frame:
        """A picture for the loop; `context` is what this one picture adds to what is true of all."""
        self._standing.count("frames_given")
        if self._blind:
            self._blind = False
            self._log.info("pictures can be read again", picture=shown(name, _NAME_MAX))
        return Frame(shown(name, _NAME_MAX), pixels, at, context={**self._context, **context})

    def skipped(self, number: int) -> None:
        """So many were there, and newer ones too."""
        if number:
            self._standing.count("frames_skipped", number)

    def unreadable(self, name: str, reason: str) -> None:
        """One that is passed over; told once until one can be read again, counted always."""
        self._standing.count("frames_unreadable")
        if not self._blind:
            self._blind = True
            self._log.warning(
                "a picture cannot be read, the next is waited for", picture=shown(name, _NAME_MAX), reason=reason
            )
