"""The account of a camera's pictures, whatever brings them: given, skipped, unreadable."""

from collections.abc import Mapping

from plantgate.sdk import Context, Frame
from plantgate_connectors.camera.picture import unpack
from plantgate_connectors.camera.settings import CameraSettings


class Sight:
    """One camera's pictures, from session to session."""

    def __init__(self, settings: CameraSettings, context: Context) -> None:
        self.name = context.connection
        self.grey, self.pixels_max = settings.grey, settings.pixels_max
        self._context, self._standing, self._log = settings.context, context.standing, context.log
        self._blind = False

    def up(self, **facts: object) -> None:
        """The camera answers."""
        self._standing.up(**facts)

    def unpack(self, packed: bytes) -> memoryview:
        """Pixels, as `picture.unpack` gives them; for the camera's thread. Raises `Unreadable`."""
        return unpack(packed, grey=self.grey, pixels_max=self.pixels_max)

    def frame(self, name: str, pixels: memoryview, at: float, context: Mapping[str, str]) -> Frame:
        """A picture for the loop; `context` is what this one picture adds to what is true of all."""
        self._standing.count("frames_given")
        if self._blind:
            self._blind = False
            self._log.info("pictures can be read again", picture=name)
        return Frame(name, pixels, at, context={**self._context, **context})

    def skipped(self, number: int) -> None:
        """So many were there, and newer ones too."""
        if number:
            self._standing.count("frames_skipped", number)

    def unreadable(self, name: str, reason: str) -> None:
        """One that is passed over; told once until one can be read again, counted always."""
        self._standing.count("frames_unreadable")
        if not self._blind:
            self._blind = True
            self._log.warning("a picture cannot be read, the next is waited for", picture=name, reason=reason)
