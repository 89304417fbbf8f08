"""Reads the outside of a publish response: which subscription, which number, what kind of notifications, where.

Costs a few microseconds a message, so that it is done on arrival; the values are decoded when they are wanted.
Format: OPC 10000-4, 5.14.5 (Publish) and 7.26 (NotificationMessage), encoded by OPC 10000-6, 5.2.
"""

import struct
from dataclasses import dataclass
from typing import Final

from plantgate_connectors.opcua.bounds import (
    MalformedNotification,
    Walk,
    skip_diagnostic_info,
    skip_extension_object,
    skip_node_id,
    skip_string,
)

DATA_CHANGE: Final = 811
EVENTS: Final = 916
STATUS_CHANGE: Final = 820
PUBLISH_RESPONSE: Final = 829
REPUBLISH_RESPONSE: Final = 835
SERVICE_FAULT: Final = 397
"""Numbers of the binary encodings in namespace 0 (NodeIds.csv of the specification)."""

SEQUENCE_MAX: Final = 0xFFFF_FFFF
"""Sequence numbers run from 1 to here and start again at 1 (OPC 10000-4, 5.14.1.1)."""

PARTS_MAX: Final = 1_024
"""Notifications in one message, and strings in one header: servers send one to three."""

_HEADER: Final = struct.Struct("<qII")
_U32: Final = struct.Struct("<I")
_MESSAGE: Final = struct.Struct("<Iq")
_USUAL: Final = (b"\0\0\0\0\0\0\0\0", b"\0\xff\xff\xff\xff\0\0\0")
"""Rest of a response header without diagnostics, with an empty or a null string table."""


class Fault(Exception):
    """The server answered a request with a bad StatusCode."""

    def __init__(self, code: int) -> None:
        super().__init__(f"status 0x{code:08X}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Part:
    """One notification inside a message: its kind and where its body lies."""

    kind: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Envelope:
    """One notification message, not yet decoded."""

    body: bytes
    subscription: int
    sequence: int
    """Of this message; for a keep-alive (no parts) the number the next message will have."""
    more: bool
    published: int
    """The server's clock, in ticks of 100 ns since 1601."""
    parts: tuple[Part, ...]
    results: tuple[int, ...]
    """StatusCodes of the acknowledgements that rode on the request."""


def following(sequence: int) -> int:
    """The sequence number after this one."""
    return 1 if sequence >= SEQUENCE_MAX else sequence + 1


def open_response(body: bytes) -> Envelope:
    """A publish response.

    Raises `Fault` if the server refused the request, `MalformedNotification` if the bytes contradict themselves.
    """
    walk = Walk(body, len(body))
    at = response_header(walk, PUBLISH_RESPONSE)
    walk.need(at, 8, "a publish response")
    (subscription,) = _U32.unpack_from(body, at)
    at += 8 + 4 * walk.count(at + 4, 4, "sequence numbers")  # of what can be republished: gaps show without it
    walk.need(at, 1, "a publish response")
    more = body[at] != 0
    sequence, published, parts, at = _message(walk, at + 1)
    acknowledged = walk.count(at, 4, "results")
    results = struct.unpack_from(f"<{acknowledged}I", body, at + 4)
    at += 4 + 4 * acknowledged
    diagnostics = walk.count(at, 1, "diagnostic infos", PARTS_MAX)
    at += 4
    for _ in range(diagnostics):
        at = skip_diagnostic_info(walk, at)
    if at != len(body):
        raise MalformedNotification(f"{len(body) - at} bytes left over", at)
    return Envelope(body, subscription, sequence, more, published, parts, results)


def open_republished(body: bytes, subscription: int) -> Envelope:
    """A republish response: the same message again; raises as `open_response` does."""
    walk = Walk(body, len(body))
    sequence, published, parts, _ = _message(walk, response_header(walk, REPUBLISH_RESPONSE))
    return Envelope(body, subscription, sequence, False, published, parts, ())


def encoding_id(walk: Walk, at: int) -> tuple[int, int]:
    """The number of a standard encoding (-1 if it is none) and the offset behind its node id."""
    after = skip_node_id(walk, at)
    body = walk.body
    match body[at]:
        case 0:
            return body[at + 1], after
        case 1:
            return (int.from_bytes(body[at + 2 : at + 4], "little") if body[at + 1] == 0 else -1), after
        case 2:
            standard = body[at + 1 : at + 3] == b"\0\0"
            return (int.from_bytes(body[at + 3 : at + 7], "little") if standard else -1), after
    return -1, after


def response_header(walk: Walk, expected: int) -> int:
    """The offset behind a response header; raises `Fault` if the service was refused."""
    kind, at = encoding_id(walk, 0)
    if kind not in (expected, SERVICE_FAULT):
        raise MalformedNotification(f"a response of type {kind} where {expected} was due", 0)
    walk.need(at, 16, "a response header")
    _, _, result = _HEADER.unpack_from(walk.body, at)
    if kind == SERVICE_FAULT or result & 0x8000_0000:
        raise Fault(result)
    at += 16
    if walk.body[at : at + 8] in _USUAL:
        return at + 8
    at = skip_diagnostic_info(walk, at)
    strings = walk.count(at, 4, "strings", PARTS_MAX)
    at += 4
    for _ in range(strings):
        at = skip_string(walk, at)
    return skip_extension_object(walk, at)


def _message(walk: Walk, at: int) -> tuple[int, int, tuple[Part, ...], int]:
    walk.need(at, 12, "a notification message")
    sequence, published = _MESSAGE.unpack_from(walk.body, at)
    held = walk.count(at + 12, 3, "notifications", PARTS_MAX)
    at += 16
    parts = []
    for _ in range(held):
        kind, after = encoding_id(walk, at)
        walk.need(after, 1, "a notification")
        if walk.body[after] == 1:
            end = skip_string(walk, after + 1)
            parts.append(Part(kind, after + 5, end))
            at = end
        else:
            at = skip_extension_object(walk, at)
    return sequence, published, tuple(parts), at
