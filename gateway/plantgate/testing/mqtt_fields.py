"""The fields of MQTT packets to Python and back: numbers, strings, properties; from the OASIS standards.

MQTT 3.1.1 (mqtt-v3.1.1-os, 2014) and MQTT 5.0 (mqtt-v5.0-os, 2019); section numbers are those of 5.0.
Every length is checked against the bytes that are there before it is used.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Final, TypeAlias

V311: Final = 4
V5: Final = 5


NO_ANSWER: Final = -1
"""In place of a reason code: the message is not taken, and nothing is said of it."""


class Kind(IntEnum):
    """Control packet types (2.1.2)."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14
    AUTH = 15


class Reason(IntEnum):
    """Reason codes (2.4), as far as the twin uses them."""

    SUCCESS = 0x00
    DISCONNECT_WITH_WILL = 0x04
    NO_MATCHING_SUBSCRIBERS = 0x10
    NO_SUBSCRIPTION_EXISTED = 0x11
    UNSPECIFIED_ERROR = 0x80
    MALFORMED_PACKET = 0x81
    PROTOCOL_ERROR = 0x82
    UNSUPPORTED_VERSION = 0x84
    CLIENT_ID_NOT_VALID = 0x85
    BAD_USER_NAME_OR_PASSWORD = 0x86
    NOT_AUTHORIZED = 0x87
    SERVER_UNAVAILABLE = 0x88
    SERVER_SHUTTING_DOWN = 0x8B
    KEEP_ALIVE_TIMEOUT = 0x8D
    SESSION_TAKEN_OVER = 0x8E
    TOPIC_FILTER_INVALID = 0x8F
    TOPIC_NAME_INVALID = 0x90
    PACKET_IDENTIFIER_NOT_FOUND = 0x92
    RECEIVE_MAXIMUM_EXCEEDED = 0x93
    TOPIC_ALIAS_INVALID = 0x94
    PACKET_TOO_LARGE = 0x95
    QUOTA_EXCEEDED = 0x97
    PAYLOAD_FORMAT_INVALID = 0x99
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED = 0x9E


class Malformed(Exception):
    """The peer broke the protocol: its connection is closed, nobody else's."""

    def __init__(self, why: str, reason: Reason = Reason.MALFORMED_PACKET) -> None:
        super().__init__(why)
        self.reason = reason


class Property(IntEnum):
    """Property identifiers (2.2.2.2)."""

    PAYLOAD_FORMAT = 1
    MESSAGE_EXPIRY = 2
    CONTENT_TYPE = 3
    RESPONSE_TOPIC = 8
    CORRELATION_DATA = 9
    SUBSCRIPTION_IDENTIFIER = 11
    SESSION_EXPIRY = 17
    ASSIGNED_CLIENT_IDENTIFIER = 18
    SERVER_KEEP_ALIVE = 19
    AUTHENTICATION_METHOD = 21
    AUTHENTICATION_DATA = 22
    REQUEST_PROBLEM_INFORMATION = 23
    WILL_DELAY = 24
    REQUEST_RESPONSE_INFORMATION = 25
    RESPONSE_INFORMATION = 26
    SERVER_REFERENCE = 28
    REASON_STRING = 31
    RECEIVE_MAXIMUM = 33
    TOPIC_ALIAS_MAXIMUM = 34
    TOPIC_ALIAS = 35
    MAXIMUM_QOS = 36
    RETAIN_AVAILABLE = 37
    USER_PROPERTY = 38
    MAXIMUM_PACKET_SIZE = 39
    WILDCARD_SUBSCRIPTION_AVAILABLE = 40
    SUBSCRIPTION_IDENTIFIER_AVAILABLE = 41
    SHARED_SUBSCRIPTION_AVAILABLE = 42


PropertyValue: TypeAlias = int | str | bytes | tuple[tuple[str, str], ...]
Properties: TypeAlias = Mapping[Property, PropertyValue]
"""User properties as pairs in their order; everything else once."""

_P = Property
_ONE_BYTE: Final = frozenset(
    {
        _P.PAYLOAD_FORMAT,
        _P.REQUEST_PROBLEM_INFORMATION,
        _P.REQUEST_RESPONSE_INFORMATION,
        _P.MAXIMUM_QOS,
        _P.RETAIN_AVAILABLE,
        _P.WILDCARD_SUBSCRIPTION_AVAILABLE,
        _P.SUBSCRIPTION_IDENTIFIER_AVAILABLE,
        _P.SHARED_SUBSCRIPTION_AVAILABLE,
    }
)
_TWO_BYTES: Final = frozenset({_P.SERVER_KEEP_ALIVE, _P.RECEIVE_MAXIMUM, _P.TOPIC_ALIAS_MAXIMUM, _P.TOPIC_ALIAS})
_FOUR_BYTES: Final = frozenset({_P.MESSAGE_EXPIRY, _P.SESSION_EXPIRY, _P.WILL_DELAY, _P.MAXIMUM_PACKET_SIZE})
_BINARY: Final = frozenset({_P.CORRELATION_DATA, _P.AUTHENTICATION_DATA})


class Body:
    """Reads the fields of one packet, never past its end."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    def left(self) -> int:
        """Bytes not yet read."""
        return len(self._content) - self._at

    def take(self, count: int) -> bytes:
        """That many bytes."""
        if count > self.left():
            raise Malformed(f"{count} bytes announced, {self.left()} there")
        self._at += count
        return self._content[self._at - count : self._at]

    def number(self, width: int) -> int:
        """A big-endian integer of this many bytes."""
        return int.from_bytes(self.take(width), "big")

    def binary(self) -> bytes:
        """Length-prefixed bytes (1.5.6)."""
        return self.take(self.number(2))

    def text(self) -> str:
        """A UTF-8 string (1.5.4)."""
        try:
            text = self.binary().decode()
        except UnicodeDecodeError as error:
            raise Malformed("a string is not UTF-8") from error
        if "\0" in text:
            raise Malformed("a string contains U+0000")
        return text

    def variable(self) -> int:
        """A variable byte integer (1.5.5)."""
        total = 0
        for place in range(4):
            byte = self.number(1)
            total |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:
                return total
        raise Malformed("a variable byte integer of more than four bytes")

    def properties(self) -> Properties:
        """The property block (2.2.2)."""
        block = Body(self.take(self.variable()))
        found: dict[Property, PropertyValue] = {}
        pairs: list[tuple[str, str]] = []
        while block.left():
            number = block.variable()
            try:
                name = Property(number)
            except ValueError as error:
                raise Malformed(f"unknown property {number}") from error
            if name is _P.USER_PROPERTY:
                pairs.append((block.text(), block.text()))
            elif name in found:
                raise Malformed(f"property {name.name} given twice", Reason.PROTOCOL_ERROR)
            else:
                found[name] = block.property(name)
        if pairs:
            found[_P.USER_PROPERTY] = tuple(pairs)
        return found

    def property(self, name: Property) -> PropertyValue:
        """One property's value."""
        if name in _ONE_BYTE:
            return self.number(1)
        if name in _TWO_BYTES:
            return self.number(2)
        if name in _FOUR_BYTES:
            return self.number(4)
        if name is _P.SUBSCRIPTION_IDENTIFIER:
            return self.variable()
        return self.binary() if name in _BINARY else self.text()

    def end(self) -> None:
        """Nothing may follow."""
        if self.left():
            raise Malformed(f"{self.left()} bytes too many")


def variable(number: int) -> bytes:
    """A variable byte integer (1.5.5)."""
    out = bytearray()
    while True:
        number, low = number >> 7, number & 0x7F
        out.append(low | (0x80 if number else 0))
        if not number:
            return bytes(out)


def text(words: str) -> bytes:
    """A UTF-8 string (1.5.4)."""
    return binary(words.encode())


def binary(content: bytes) -> bytes:
    """Length-prefixed bytes (1.5.6)."""
    return len(content).to_bytes(2, "big") + content


def properties_block(version: int, properties: Properties) -> bytes:
    """The property block (2.2.2); nothing before MQTT 5."""
    if version == V311:
        return b""
    block = b"".join(_property(name, value) for name, value in properties.items())
    return variable(len(block)) + block


def _property(name: Property, value: PropertyValue) -> bytes:
    mark = bytes((name,))
    if isinstance(value, tuple):
        return b"".join(mark + text(key) + text(word) for key, word in value)
    if isinstance(value, str):
        return mark + text(value)
    if isinstance(value, bytes):
        return mark + binary(value)
    if name is _P.SUBSCRIPTION_IDENTIFIER:
        return mark + variable(value)
    return mark + value.to_bytes(1 if name in _ONE_BYTE else 2 if name in _TWO_BYTES else 4, "big")
