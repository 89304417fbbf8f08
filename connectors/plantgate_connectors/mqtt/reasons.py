"""Reason codes (MQTT 5, 2.4; MQTT 3.1.1, 3.2.2.3) as sentences an operator can act on."""

from typing import Final

from plantgate.sdk import GatewayError, Rejected, Unavailable

TAKEN_OVER: Final = 0x8E
PACKET_TOO_LARGE: Final = 0x95
NOT_AUTHORIZED: Final = 0x87

_REFUSALS_3: Final = {
    1: "it does not speak MQTT 3.1.1",
    2: "it does not accept the client id {client_id!r}",
    3: "it is not available at the moment",
    4: "wrong user name or password (user {username!r})",
    5: "it does not allow us in (user {username!r}, client id {client_id!r})",
}

_REASONS_5: Final = {
    0x80: "unspecified error",
    0x81: "malformed packet",
    0x82: "protocol error",
    0x83: "the broker has reasons of its own",
    0x84: "it does not speak MQTT 5; write version: 3.1.1",
    0x85: "it does not accept the client id {client_id!r}",
    0x86: "wrong user name or password (user {username!r})",
    0x87: "not authorised (user {username!r}, client id {client_id!r})",
    0x88: "it is not available at the moment",
    0x89: "it is busy",
    0x8A: "we are banned (client id {client_id!r})",
    0x8B: "it is shutting down",
    0x8C: "it asks for an authentication method we do not have",
    0x8D: "it heard nothing from us for longer than the keep-alive",
    0x8E: "another client has connected with our client id {client_id!r}: two gateways must not share one, "
    "look for a copy of this one",
    0x8F: "the topic filter is invalid",
    0x90: "it does not accept the topic name",
    0x91: "the packet identifier is in use",
    0x93: "we sent more unconfirmed messages than it allows",
    0x94: "it does not know the topic alias",
    0x95: "the message is larger than it takes",
    0x96: "we send faster than it takes",
    0x97: "a quota is exceeded",
    0x98: "an operator disconnected us",
    0x99: "it does not accept the payload format",
    0x9A: "it keeps no retained messages",
    0x9B: "it does not support QoS 1",
    0x9C: "it says to use another server",
    0x9D: "it has moved",
    0x9E: "it does not support shared subscriptions",
    0x9F: "we connect too often",
    0xA0: "the longest connection time is over",
    0xA1: "it does not support subscription identifiers",
    0xA2: "it does not support wildcard subscriptions",
}

_NEVER: Final = frozenset((0x87, 0x90, 0x95, 0x99))
"""What a broker says of a message that it will say again of the same message."""

_PATIENCE_SECONDS: Final = {
    0x84: 30.0,
    0x85: 30.0,
    0x86: 30.0,
    0x87: 30.0,
    0x8A: 60.0,
    0x8C: 30.0,
    0x8E: 30.0,
    0x9F: 30.0,
}
"""How long to leave a broker alone after it said this: asking again at once would be refused, or make it worse."""


def sentence(code: int, *, client_id: str, username: str | None) -> str:
    """An MQTT 5 reason code in words."""
    words = _REASONS_5.get(code, "reason {code:#04x}")
    return words.format(code=code, client_id=client_id, username=username or "")


def refused(code: int, *, version_5: bool, who: str, client_id: str, username: str | None) -> Unavailable:
    """A CONNACK that is a no. `who` names the connection and its address."""
    if version_5:
        words = sentence(code, client_id=client_id, username=username)
        patience = _PATIENCE_SECONDS.get(code)
    else:
        words = _REFUSALS_3.get(code, "reason {code}").format(code=code, client_id=client_id, username=username or "")
        patience = None if code == 3 else 30.0
    return Unavailable(f"{who} refused us: {words}", retry_after_seconds=patience)


def dismissed(code: int, *, who: str, client_id: str, username: str | None) -> Unavailable:
    """A DISCONNECT from the broker."""
    words = sentence(code, client_id=client_id, username=username)
    return Unavailable(f"{who} disconnected us: {words}", retry_after_seconds=_PATIENCE_SECONDS.get(code))


def unwanted(code: int, topic: str, *, who: str, client_id: str, username: str | None) -> GatewayError:
    """A PUBACK that is a no: `Rejected` if it will always be one, else `Unavailable`."""
    words = f"{who} did not take a message on {topic!r}: {sentence(code, client_id=client_id, username=username)}"
    return Rejected(words) if code in _NEVER else Unavailable(words, retry_after_seconds=5.0)
