"""Pictures for closed loops: files in a folder, snapshots over HTTP, a video stream."""

from contextlib import AbstractAsyncContextManager
from typing import ClassVar

from plantgate.sdk import Camera, Connector, Context, Settings, Stability, Survey
from plantgate_connectors.camera.folder import Known, folder_camera
from plantgate_connectors.camera.settings import CameraSettings
from plantgate_connectors.camera.sight import Sight
from plantgate_connectors.camera.snapshot import snapshot_camera

__all__ = ["CameraSettings", "Cameras"]


class Cameras(Connector[CameraSettings]):
    """Gives pictures to closed loops: from files, HTTP snapshots or RTSP."""

    Settings: ClassVar[type[Settings]] = CameraSettings
    stability: ClassVar[Stability] = Stability.ALPHA

    def __init__(self, settings: CameraSettings, context: Context) -> None:
        super().__init__(settings, context)
        self._known = Known()

    def camera(self) -> AbstractAsyncContextManager[Camera]:
        """A session that gives pictures. Entering, or the first picture, raises `Unavailable`."""
        sight = Sight(self.settings, self.context)
        if self.settings.folder is not None:
            return folder_camera(self.settings.folder, self._known, sight)
        if self.settings.snapshot is not None:
            return snapshot_camera(self.settings.snapshot, sight)
        from plantgate_connectors.camera.stream import stream_camera  # brings FFmpeg: only where there is a stream

        assert self.settings.stream is not None
        return stream_camera(self.settings.stream, sight)

    @classmethod
    def remarks(cls, settings: CameraSettings) -> tuple[str, ...]:
        """What goes over a network unencrypted."""
        return settings.doubts()

    async def survey(self) -> Survey:
        """Whether a picture can be had now, and how large it is."""
        from plantgate_connectors.camera.survey import survey

        return await survey(self)
