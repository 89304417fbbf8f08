"""What an operator writes about a camera: where its pictures come from, and what a picture may be."""

from enum import Enum
from pathlib import Path
from typing import Annotated, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from plantgate.sdk import Bytes, Secret, Settings
from plantgate.sdk.porter import is_loopback
from plantgate_connectors.calls import check_who, checked_url
from plantgate_connectors.tls import ClientTls

Seconds = Annotated[float, Field(gt=0, le=3600)]
PIXELS_MOST = 89_478_485
"""Pillow's own limit, beyond which it warns or refuses, whatever is set here."""


class Take(Enum):
    """Which pictures of a folder are given."""

    NEWEST = "newest"
    EACH = "each"
    ONCE = "once"


class Order(Enum):
    """Which of two pictures comes first."""

    NAME = "name"
    TIME = "time"


class Transport(Enum):
    """How a stream's packets travel."""

    TCP = "tcp"
    UDP = "udp"


class Template(Settings):
    """The name of the file that a picture is compared with, made from its own; models find it as `template`."""

    ending: str = ""
    """What a picture's name ends with before its suffix: `_test` of `0001_test.jpg`. Other pictures are passed over."""
    becomes: Annotated[str, Field(pattern=r"^[^/\x00]*$")] = ""
    """What stands there instead: `_temp` gives `0001_temp.jpg`. In which folder it is, the model knows."""


class Folder(Settings):
    """Pictures that appear as files."""

    path: Path
    """The folder; what lies in folders below it is not looked at. A relative one starts at the plant file."""
    pattern: str = "*"
    """Which names: `*_test.jpg`. Names that begin with a point never count, nor do links or other suffixes than
    `.png .jpg .jpeg .bmp .tif .tiff`."""
    take: Take = Take.NEWEST
    """`newest`: of those that appear, the newest; what lies behind it is skipped and counted. `each`: all that appear,
    also late ones. `once`: those that are there, one after the other, and then no more."""
    order: Order = Order.NAME
    """Which comes first: by `name`, or by `time` of the last change."""
    settle_ms: Annotated[int, Field(ge=0, le=60_000)] = 100
    """A file is read once it has stayed as it is for so long. 0 for a camera that renames finished files into the
    folder."""
    poll_ms: Annotated[int, Field(ge=1, le=60_000)] = 20
    """How often to look."""
    template: Template | None = None
    """How the template of a picture is called."""
    file_bytes_max: Annotated[Bytes, Field(ge=1024, le=2**30)] = 64 * 2**20
    """A larger file is not read."""


class Called(Settings):
    """A camera that is called over the network, and who we are there."""

    url: str
    """Where."""
    username: str | None = None
    """User name."""
    password: Secret | None = None
    """Password, as a reference."""

    schemes: ClassVar[tuple[str, ...]] = ()

    @field_validator("url")
    @classmethod
    def _url(cls, url: str) -> str:
        return checked_url(url, cls.schemes)

    @model_validator(mode="after")
    def _pair(self) -> Self:
        check_who(self.username, self.password)
        return self

    @property
    def here(self) -> bool:
        """Whether it does not leave this machine."""
        return is_loopback(urlsplit(self.url).hostname or "")


class Snapshot(Called):
    """A URL that answers with the picture of the moment."""

    schemes = ("https", "http")

    bearer: Secret | None = None
    """A token to send as `Authorization: Bearer …`, as a reference."""
    tls: ClientTls = ClientTls()
    """Whom to trust, and our own certificate."""
    interval_ms: Annotated[int, Field(ge=10, le=3_600_000)] = 1000
    """From one request to the next; longer while nobody takes the pictures."""
    answer_seconds: Seconds = 5.0
    """How long an exchange may take, connecting and reading included."""
    body_bytes_max: Annotated[Bytes, Field(ge=1024, le=2**30)] = 16 * 2**20
    """A larger answer is not read to its end."""

    @model_validator(mode="after")
    def _who(self) -> Self:
        check_who(self.username, self.password, self.bearer)
        return self

    @property
    def in_clear(self) -> bool:
        """Whether something secret goes over a network unencrypted."""
        secret = self.bearer is not None or self.password is not None
        return secret and urlsplit(self.url).scheme == "http" and not self.here


class Stream(Called):
    """A video stream (RTSP)."""

    schemes = ("rtsp",)

    transport: Transport = Transport.TCP
    """`tcp`: inside the one connection. `udp`: less delay on a network that loses nothing."""
    connect_seconds: Annotated[float, Field(ge=0.1, le=60)] = 5.0
    """How long connecting, and learning what the stream is, may take."""
    silence_seconds: Annotated[float, Field(ge=0.1, le=60)] = 5.0
    """A stream that brings nothing for so long is given up and opened anew."""


class CameraSettings(Settings):
    """A camera for closed loops; write one of `folder`, `snapshot` and `stream`."""

    folder: Folder | None = None
    """Pictures that appear as files."""
    snapshot: Snapshot | None = None
    """A URL that answers with the picture of the moment."""
    stream: Stream | None = None
    """A video stream (RTSP)."""
    grey: bool = False
    """Pictures of one brightness a pixel, rows by columns, instead of red, green and blue."""
    pixels_max: Annotated[int, Field(ge=1, le=PIXELS_MOST)] = 25_000_000
    """A picture with more is refused before it is unpacked. One takes 3 bytes a pixel, and 4 more while it is read."""
    repeats_max: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """How often in a row a picture may be the same as the one before, to the last bit; then it is refused until another
    comes. What a sensor sees has noise: a camera that repeats itself stands still. Not looked at unless it is set: of a
    scene in which nothing moves, video can be the same for long."""
    context: dict[str, str] = Field(default_factory=dict)
    """What is true of every picture, for the model: `{ product: A12, template: golden.png }`."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(each is not None for each in (self.folder, self.snapshot, self.stream)) != 1:
            raise ValueError("where do the pictures come from? write one of folder, snapshot and stream")
        return self

    def doubts(self) -> tuple[str, ...]:
        """What is allowed and still unwise, a sentence each; `plantgate check` shows them as warnings."""
        if self.snapshot is not None and self.snapshot.in_clear:
            return (f"snapshot.url: {self.snapshot.url} carries a password or token unencrypted; use https",)
        if self.stream is not None and not self.stream.here:
            return ("stream.url: RTSP is not encrypted: keep the camera on a network of its own",)
        return ()
