"""Whether a host application is there: its STATE message, JSON (specification 3.0, 6.4.24)."""

from typing import NamedTuple

import msgspec


class _State(msgspec.Struct):
    online: bool
    timestamp: int | float


class State(NamedTuple):
    """What a host says of itself."""

    online: bool
    timestamp: int
    """Milliseconds since 1970 UTC: of its connection, so that an old message can be told from a new one."""


def write_state(state: State) -> bytes:
    """The message."""
    return msgspec.json.encode(state._asdict())


def read_state(payload: bytes) -> State | None:
    """What a message says; None for one that is not as Sparkplug 3.0 has it (2.2 had the bare words)."""
    try:
        state = msgspec.json.decode(payload, type=_State)
        return State(state.online, int(state.timestamp))
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, OverflowError):
        return None
