"""paho as a speaker of MQTT on a connection that is already there."""

from dataclasses import dataclass
from typing import Final

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from plantgate_connectors.mqtt.settings import MqttSettings, Version
from plantgate_connectors.mqtt.transport import PahoSocket

_PACKET_BYTES_MOST: Final = 268_435_455
_ANNOUNCED_TIMES: Final = 16
"""An MQTT 5 broker drops what is over our Maximum Packet Size without a word. What is only over our own limit should
be named, so the broker is told a limit this many times higher: a bound on what goes by, not on what is kept."""


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes when we vanish."""

    topic: str
    payload: bytes
    retain: bool = True
    at_goodbye: bool = True
    """Whether leaving in good order publishes it as well."""


@dataclass(frozen=True, slots=True)
class Role:
    """What kind of session is asked for."""

    client_id: str
    clean: bool
    """Whether the broker forgets what it held for this client id, now and at the end."""
    will: Will | None = None
    packet_bytes_max: int = 2**20
    """Larger messages are not kept; they go by and are told."""


@dataclass(frozen=True, slots=True)
class Granted:
    """What the broker said when it let us in."""

    session_present: bool
    receive_max: int
    """Most unconfirmed messages we may have under way."""
    packet_bytes_max: int
    """Largest packet it takes."""
    qos_max: int
    retains: bool
    keep_alive_seconds: float


class Speaker(Client):
    """Reads and writes the packets of which there are few: CONNECT, SUBSCRIBE, DISCONNECT and their answers.

    It never reconnects, keeps no queue, and its clocks and loops are not used.
    """

    def __init__(self, role: Role, version: Version, sock: PahoSocket) -> None:
        five = version is Version.V5
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=role.client_id,
            clean_session=None if five else role.clean,
            protocol=MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,  # or a refused CONNACK would make it dial again, by itself
            manual_ack=True,
        )
        self._plantgate_socket = sock

    def _create_socket(self) -> PahoSocket:
        """Private in paho and the same since 2.0; tests/connectors/mqtt guards it."""
        return self._plantgate_socket


def connect_properties(settings: MqttSettings, role: Role) -> Properties:
    """What an MQTT 5 broker is asked for."""
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho left it untyped
    properties.SessionExpiryInterval = 0 if role.clean else settings.session_expiry_seconds
    properties.ReceiveMaximum = settings.receive_max
    properties.MaximumPacketSize = min(role.packet_bytes_max * _ANNOUNCED_TIMES, _PACKET_BYTES_MOST)
    return properties


def granted(settings: MqttSettings, properties: Properties | None, *, session_present: bool) -> Granted:
    """What a CONNACK says; what it does not say has a meaning too (MQTT 5, 3.2.2.3)."""

    def said(name: str, otherwise: int) -> int:
        number: object = getattr(properties, name, otherwise)
        return number if isinstance(number, int) else otherwise

    return Granted(
        session_present=session_present,
        receive_max=said("ReceiveMaximum", 65_535),
        packet_bytes_max=said("MaximumPacketSize", _PACKET_BYTES_MOST),
        qos_max=said("MaximumQoS", 2),
        retains=said("RetainAvailable", 1) != 0,
        keep_alive_seconds=said("ServerKeepAlive", settings.keep_alive_seconds) or settings.keep_alive_seconds,
    )
