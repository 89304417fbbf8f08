"""What a vendor ships: a settings model and a connector class, found by entry point ``plantgate.connectors``."""

from contextlib import AbstractAsyncContextManager
from enum import Enum
from typing import Annotated, ClassVar, Final, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema

from plantgate.sdk.command import Actuator
from plantgate.sdk.connector import Sink, Source
from plantgate.sdk.context import Context
from plantgate.sdk.frame import Camera, Model
from plantgate.sdk.sample import Survey

_UNITS: Final = {
    "": 1,
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}


def _bytes(written: object) -> object:
    if not isinstance(written, str):
        return written
    number = written.rstrip("BGKMTikb").strip()
    unit = written.strip()[len(number) :].strip()
    if not number.isdecimal() or unit not in _UNITS:
        raise ValueError(f"{written!r} is not a size; write a whole number with a unit, for example 512MiB or 2GiB")
    return int(number) * _UNITS[unit]


Bytes = Annotated[
    int,
    BeforeValidator(_bytes),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "string", "pattern": "^[0-9]+ ?([kMG]?B|[KMGT]iB)?$"},
            ]
        }
    ),
]
"""A size: a whole number of bytes, or text such as ``512MiB``."""


class Stability(Enum):
    """How much a user may build on it."""

    ALPHA = "alpha"
    BETA = "beta"
    STABLE = "stable"


class Settings(BaseModel):
    """Base of every settings model: unknown keys are errors, values typed strictly, docstrings the documentation.

    Validated in JSON mode (text becomes an enum or a path, a list becomes a tuple; text never becomes a number).
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        hide_input_in_errors=False,
    )


S = TypeVar("S", bound=Settings)


class Connector(Generic[S]):
    """One use of a connection by one flow; built from settings without touching the network, which opening does.

    A connector is a source, a sink, an actuator, or several of them: it overrides what it is. It outlives its sessions:
    when one ends by an exception the host waits and opens the next, so what must be carried over is kept here or in the
    folder.
    """

    Settings: ClassVar[type[Settings]]
    stability: ClassVar[Stability] = Stability.ALPHA

    def __init__(self, settings: S, context: Context) -> None:
        self.settings = settings
        self.context = context

    def source(self) -> AbstractAsyncContextManager[Source]:
        """A session that reads. Entering connects, or raises `Unavailable`."""
        raise NotImplementedError(f"{type(self).__name__} cannot be read from")

    def sink(self) -> AbstractAsyncContextManager[Sink]:
        """A session that writes. Entering connects, or raises `Unavailable`."""
        raise NotImplementedError(f"{type(self).__name__} cannot be written to")

    def actuator(self) -> AbstractAsyncContextManager[Actuator]:
        """A session that acts on the machine. Entering connects, or raises `Unavailable`."""
        raise NotImplementedError(f"{type(self).__name__} cannot act on a machine")

    def camera(self) -> AbstractAsyncContextManager[Camera]:
        """A session that gives pictures. Entering connects, or raises `Unavailable`."""
        raise NotImplementedError(f"{type(self).__name__} gives no pictures")

    async def survey(self) -> Survey:
        """Ask the peer what it would grant, changing nothing; for `plantgate plan`. Nothing to say by default."""
        return Survey()

    @classmethod
    def objection(cls, settings: S, *, source: bool) -> str:
        """Why these settings do not fit this role, in a sentence for `plantgate check`; empty when they do."""
        return ""

    @classmethod
    def remarks(cls, settings: S) -> tuple[str, ...]:
        """What is allowed and unwise, a sentence each, beginning with the setting's path; shown as warnings."""
        return ()

    @classmethod
    def unwritable(cls, settings: S, tag: str, data_type: str) -> str:
        """Why this tag cannot be written as this OPC UA built-in type (``Double``), in a sentence for `check`.

        Empty where it can, as far as the settings tell.
        """
        return ""

    @classmethod
    def reads(cls) -> bool:
        """True for a source."""
        return cls.source is not Connector.source

    @classmethod
    def writes(cls) -> bool:
        """True for a sink."""
        return cls.sink is not Connector.sink

    @classmethod
    def acts(cls) -> bool:
        """True for an actuator."""
        return cls.actuator is not Connector.actuator

    @classmethod
    def sees(cls) -> bool:
        """True for a camera."""
        return cls.camera is not Connector.camera


class ModelAdapter(Generic[S]):
    """One model of the plant file, found by entry point ``plantgate.models``; built without loading anything."""

    Settings: ClassVar[type[Settings]]
    stability: ClassVar[Stability] = Stability.ALPHA

    def __init__(self, settings: S) -> None:
        self.settings = settings

    def model(self) -> AbstractAsyncContextManager[Model]:
        """Entering loads it. Raises `Rejected` where it never will (a file that is no model), `Unavailable`."""
        raise NotImplementedError(f"{type(self).__name__} gives no model")
