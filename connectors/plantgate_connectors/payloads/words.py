"""What an operator writes of a payload, the same word wherever it is written."""

from enum import Enum
from typing import Protocol


class Payload(Enum):
    """How a received payload is read."""

    NUMBER = "number"
    TEXT = "text"
    JSON = "json"
    FIELDS = "fields"
    PLANTGATE = "plantgate"


class TimeUnit(Enum):
    """What a number in a time field counts, since 1970 UTC."""

    SECONDS = "s"
    MILLISECONDS = "ms"
    MICROSECONDS = "us"
    NANOSECONDS = "ns"


class TimeFormat(Enum):
    """How a time is written."""

    RFC3339 = "rfc3339"
    NANOSECONDS = "nanoseconds"


class Meaning(Protocol):
    """Settings that say where in a payload its value, time and quality are. All but `payload` are JSON Pointers."""

    @property
    def payload(self) -> Payload: ...
    @property
    def value(self) -> str | None: ...
    @property
    def time(self) -> str | None: ...
    @property
    def time_unit(self) -> TimeUnit: ...
    @property
    def quality(self) -> str | None: ...


def check_pointers(payload: Payload, pointers: dict[str, str | None], inside: str) -> None:
    """Whether each that is written is a JSON Pointer (RFC 6901), and `payload` looks inside the message at all.

    Raises `ValueError`, with `inside` for what the transport calls a message.
    """
    for name, pointer in pointers.items():
        if pointer and not pointer.startswith("/"):
            raise ValueError(f"{name}: {pointer!r} is not a JSON Pointer; write for example {'/' + pointer!r}")
        if pointer is not None and payload not in (Payload.JSON, Payload.FIELDS):
            raise ValueError(f"{name}: only payload: json and payload: fields look inside the {inside}")
