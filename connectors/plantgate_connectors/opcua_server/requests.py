"""Decodes a request, after every length it declares has been checked.

asyncua's decoder loops and allocates as it is told; the walk of the OPC UA connector refuses first what cannot be.
"""

from typing import Any

from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary

from plantgate_connectors.opcua.bounds import MalformedNotification, Walk, skip_extension_object, skip_node_id
from plantgate_connectors.opcua_server import frames
from plantgate_connectors.opcua_server.frames import Broken


class Unknown(Exception):
    """A request of a type we do not know; carries what can be answered."""

    def __init__(self, number: int) -> None:
        super().__init__(f"request of type {number}")
        self.number = number


def type_of(body: bytes) -> int:
    """The number of the request's encoding in namespace 0; -1 if it has none."""
    if body[:2] == b"\x01\x00" and len(body) >= 4:
        return int.from_bytes(body[2:4], "little")
    return -1


def read_request(body: bytes, kinds: dict[int, Any]) -> Any:
    """The request as asyncua's structure. Raises `Unknown` or `Broken`."""
    number = type_of(body)
    kind = kinds.get(number)
    if kind is None:
        raise Unknown(number)
    wrapped = body[:4] + b"\x01" + len(body).to_bytes(4, "little") + body
    try:
        skip_extension_object(Walk(wrapped, len(wrapped), inside=True), 0)
        return struct_from_binary(kind, Buffer(body))
    except MalformedNotification as error:
        raise Broken(frames.BAD_DECODING, f"a {kind.__name__} contradicts itself: {error}") from None
    except Exception as error:  # noqa: BLE001  what asyncua raises for bytes that have bounds and no meaning is open
        raise Broken(frames.BAD_DECODING, f"a {kind.__name__} cannot be read: {type(error).__name__}") from None


def handle_of(body: bytes) -> int:
    """The request handle, of any request at all: so that it can be refused by name. Raises `Broken`."""
    walk = Walk(body, len(body))
    try:
        at = skip_node_id(walk, skip_node_id(walk, 0)) + 8
        return int.from_bytes(body[at : walk.need(at, 4, "a request handle")], "little")
    except MalformedNotification as error:
        raise Broken(frames.BAD_DECODING, f"a request contradicts itself: {error}") from None
