"""MQTT control packets to bytes and back, as a server needs them; from the OASIS standards (see `mqtt_fields`)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from plantgate.testing.mqtt_fields import (
    V5,
    V311,
    Body,
    Kind,
    Malformed,
    Properties,
    Property,
    Reason,
    properties_block,
    text,
    variable,
)


@dataclass(frozen=True, slots=True)
class Message:
    """An application message."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: Properties = field(default_factory=dict)
    publisher: str = ""
    """Client identifier of who sent it."""
    expires_at: float | None = None
    """On the loop's clock (MQTT 5 message expiry)."""


@dataclass(frozen=True, slots=True)
class Connect:
    """CONNECT (3.1)."""

    version: int
    client_id: str
    clean: bool
    keep_alive_seconds: int
    properties: Properties
    will: Message | None
    username: str | None
    password: bytes | None

    def number(self, name: Property, otherwise: int) -> int:
        """A numeric property, or what its absence means."""
        value = self.properties.get(name)
        return value if isinstance(value, int) else otherwise

    def session_expiry(self) -> int:
        """Seconds the session outlives its connection; 3.1.1 knows only "not at all" and "for good"."""
        if self.version == V5:
            return self.number(Property.SESSION_EXPIRY, 0)
        return 0 if self.clean else 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Publish:
    """PUBLISH (3.3)."""

    message: Message
    identifier: int
    """0 for QoS 0."""
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Subscription:
    """One topic filter of a SUBSCRIBE, with its options (3.8.3.1)."""

    filter: str
    qos: int
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0
    identifier: int | None = None


# Reading.


def read_connect(content: bytes) -> Connect:
    """CONNECT (3.1). A version we do not speak is a `Malformed` with `Reason.UNSUPPORTED_VERSION`."""
    body = Body(content)
    protocol, version, flags = body.text(), body.number(1), body.number(1)
    if protocol != "MQTT" or version not in (V311, V5):
        raise Malformed(f"protocol {protocol!r} {version}", Reason.UNSUPPORTED_VERSION)
    keep_alive = body.number(2)
    will_flag, will_qos, will_retain = bool(flags & 4), flags >> 3 & 3, bool(flags & 0x20)
    if flags & 1 or will_qos == 3 or (not will_flag and (will_qos or will_retain)):
        raise Malformed("impossible connect flags")
    if version == V311 and flags & 0x40 and not flags & 0x80:
        raise Malformed("a password without a user name")
    properties = body.properties() if version == V5 else {}
    client_id = body.text()
    will = None
    if will_flag:
        will_properties = body.properties() if version == V5 else {}
        topic = topic_name(body.text())
        will = Message(topic, body.binary(), will_qos, will_retain, will_properties, client_id)
    username = body.text() if flags & 0x80 else None
    password = body.binary() if flags & 0x40 else None
    body.end()
    return Connect(version, client_id, bool(flags & 2), keep_alive, properties, will, username, password)


def read_publish(version: int, flags: int, content: bytes, publisher: str) -> Publish:
    """PUBLISH (3.3)."""
    qos, body = flags >> 1 & 3, Body(content)
    if qos == 3 or (qos == 0 and flags & 8):
        raise Malformed("impossible QoS or DUP flag")
    topic = body.text()
    identifier = body.number(2) if qos else 0
    if qos and not identifier:
        raise Malformed("packet identifier 0", Reason.PROTOCOL_ERROR)
    properties = body.properties() if version == V5 else {}
    if Property.TOPIC_ALIAS in properties:
        raise Malformed("a topic alias, of which none were offered", Reason.TOPIC_ALIAS_INVALID)
    if Property.SUBSCRIPTION_IDENTIFIER in properties:
        raise Malformed("a subscription identifier from a client", Reason.PROTOCOL_ERROR)
    message = Message(topic_name(topic), body.take(body.left()), qos, bool(flags & 1), properties, publisher)
    return Publish(message, identifier, bool(flags & 8))


def read_reply(version: int, content: bytes) -> tuple[int, int]:
    """PUBACK, PUBREC, PUBREL and PUBCOMP (3.4 to 3.7): packet identifier and reason code."""
    body = Body(content)
    identifier = body.number(2)
    if version == V311 or not body.left():
        body.end()
        return identifier, Reason.SUCCESS
    reason = body.number(1)
    if body.left():
        body.properties()
    body.end()
    return identifier, reason


def read_subscribe(version: int, content: bytes) -> tuple[int, list[Subscription]]:
    """SUBSCRIBE (3.8)."""
    body = Body(content)
    identifier = body.number(2)
    properties = body.properties() if version == V5 else {}
    mark = properties.get(Property.SUBSCRIPTION_IDENTIFIER)
    wanted: list[Subscription] = []
    while body.left():
        topic, options = body.text(), body.number(1)
        reserved = options & (0xC0 if version == V5 else 0xFC)
        if reserved or options & 3 == 3 or options >> 4 & 3 == 3 or not topic:
            raise Malformed("impossible subscription options")
        wanted.append(
            Subscription(
                topic,
                options & 3,
                no_local=bool(options & 4),
                retain_as_published=bool(options & 8),
                retain_handling=options >> 4 & 3,
                identifier=mark if isinstance(mark, int) else None,
            )
        )
    if not wanted or not identifier:
        raise Malformed("a SUBSCRIBE without filter or identifier", Reason.PROTOCOL_ERROR)
    return identifier, wanted


def read_unsubscribe(version: int, content: bytes) -> tuple[int, list[str]]:
    """UNSUBSCRIBE (3.10)."""
    body = Body(content)
    identifier = body.number(2)
    if version == V5:
        body.properties()
    filters: list[str] = []
    while body.left():
        filters.append(body.text())
    if not filters or not identifier:
        raise Malformed("an UNSUBSCRIBE without filter or identifier", Reason.PROTOCOL_ERROR)
    return identifier, filters


def read_disconnect(version: int, content: bytes) -> tuple[int, Properties]:
    """DISCONNECT (3.14): reason code and properties."""
    body = Body(content)
    reason = body.number(1) if version == V5 and body.left() else Reason.SUCCESS
    properties = body.properties() if body.left() and version == V5 else {}
    body.end()
    return reason, properties


def topic_name(topic: str) -> str:
    """The topic, if one may publish to it (4.7)."""
    if not topic or "+" in topic or "#" in topic:
        raise Malformed(f"{topic!r} is no topic name", Reason.TOPIC_NAME_INVALID)
    return topic


# Writing.


def write_connack(version: int, present: bool, reason: int, properties: Properties) -> bytes:
    """CONNACK (3.2)."""
    return _packet(Kind.CONNACK, 0, bytes((present, reason)) + properties_block(version, properties))


def write_publish(version: int, message: Message, identifier: int, duplicate: bool) -> bytes:
    """PUBLISH (3.3)."""
    flags = duplicate << 3 | message.qos << 1 | message.retain
    head = text(message.topic) + (identifier.to_bytes(2, "big") if message.qos else b"")
    return _packet(Kind.PUBLISH, flags, head + properties_block(version, message.properties) + message.payload)


def write_reply(version: int, kind: Kind, identifier: int, reason: int = Reason.SUCCESS) -> bytes:
    """PUBACK, PUBREC, PUBREL, PUBCOMP (3.4 to 3.7)."""
    tail = bytes((reason,)) if version == V5 and reason else b""
    return _packet(kind, 2 if kind is Kind.PUBREL else 0, identifier.to_bytes(2, "big") + tail)


def write_suback(version: int, kind: Kind, identifier: int, reasons: Sequence[int]) -> bytes:
    """SUBACK and UNSUBACK (3.9, 3.11)."""
    listed = bytes(reasons) if kind is Kind.SUBACK or version == V5 else b""
    return _packet(kind, 0, identifier.to_bytes(2, "big") + properties_block(version, {}) + listed)


def write_pingresp() -> bytes:
    """PINGRESP (3.13)."""
    return _packet(Kind.PINGRESP, 0, b"")


def write_disconnect(reason: int) -> bytes:
    """DISCONNECT (3.14), which only MQTT 5 servers send."""
    return _packet(Kind.DISCONNECT, 0, bytes((reason,)))


def _packet(kind: Kind, flags: int, body: bytes) -> bytes:
    return bytes((kind << 4 | flags,)) + variable(len(body)) + body
