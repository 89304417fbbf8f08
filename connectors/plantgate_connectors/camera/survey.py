"""Looks at what a camera has, for `plantgate plan`: how large a picture is, or how many files there are."""

import asyncio
from typing import TYPE_CHECKING, Final

from plantgate.sdk import Finding, Survey, Unavailable
from plantgate_connectors.camera.found import listed
from plantgate_connectors.camera.settings import Folder

if TYPE_CHECKING:
    from plantgate_connectors.camera import Cameras

_SECONDS: Final = 12.0


async def survey(cameras: "Cameras") -> Survey:
    """A camera on the network in a session of its own; that no picture comes is a finding too."""
    settings = cameras.settings
    if settings.folder is not None:
        return Survey((await asyncio.to_thread(_files, settings.folder),))
    called = settings.snapshot or settings.stream
    assert called is not None
    return Survey((await _picture(cameras, called.url),))


def _files(folder: Folder) -> Finding:
    subject, wanted = str(folder.path), "pictures"
    try:
        return Finding(subject, wanted, f"{len(listed(folder))} there that fit")
    except OSError as error:
        return Finding(subject, wanted, f"cannot be looked at: {error.strerror}", fine=False)


async def _picture(cameras: "Cameras", url: str) -> Finding:
    wanted = "a picture"
    try:
        async with asyncio.timeout(_SECONDS), cameras.camera() as camera:
            shape = (await camera.frame()).pixels.shape
    except Unavailable as error:
        return Finding(url, wanted, str(error), fine=False)
    except TimeoutError:
        unreadable = cameras.context.standing.counters.get("frames_unreadable", 0)
        return Finding(url, wanted, f"none in {_SECONDS:g} s; {unreadable} could not be read", fine=False)
    assert shape is not None
    return Finding(url, wanted, f"{shape[1]} x {shape[0]}, {'grey' if cameras.settings.grey else 'colour'}")
