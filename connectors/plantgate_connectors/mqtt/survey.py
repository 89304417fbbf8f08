"""Asks a broker what it would grant, and changes nothing there."""

from plantgate.sdk import Context, Finding, Survey, Unavailable
from plantgate_connectors.mqtt import reasons
from plantgate_connectors.mqtt.client import Role
from plantgate_connectors.mqtt.publisher import REFUSED
from plantgate_connectors.mqtt.routes import Routes
from plantgate_connectors.mqtt.session import Flaps
from plantgate_connectors.mqtt.settings import MqttSettings
from plantgate_connectors.mqtt.watched import session


class _Deaf:
    """Hears nothing: a survey reads no messages."""

    def publish(self, first: int, body: bytes) -> None:
        """Not read."""

    def oversized(self, topic: bytes, mid: int, size: int) -> None:
        """Not read."""

    def puback(self, mid: int, reason: int) -> None:
        """None is due."""

    def lost(self, error: Unavailable) -> None:
        """The session's body is ended with it."""


async def survey(settings: MqttSettings, context: Context, client_id: str) -> Survey:
    """Connect under another client id, with nothing kept, and subscribe without asking for retained messages.

    Whether we may publish cannot be asked without publishing, so it is not.
    """
    findings: list[Finding] = []
    host, port = settings.address
    async with session(settings, context, Role(client_id, clean=True), _Deaf(), Flaps()) as talk:
        granted = talk.granted
        findings.append(Finding(f"{host}:{port}", f"MQTT {settings.version.value}", "connected"))
        qos = settings.publish.qos
        findings.append(
            Finding("publish.qos", str(qos), f"at most {min(granted.qos_max, 1)}", fine=granted.qos_max >= qos)
        )
        wants_retained = settings.publish.retain or settings.publish.status_topic is not None
        findings.append(
            Finding(
                "retained messages",
                "yes" if wants_retained else "no",
                "yes" if granted.retains else "no",
                fine=granted.retains or not wants_retained,
            )
        )
        findings.append(
            Finding(
                "publish.message_bytes_max",
                f"{settings.publish.message_bytes_max}",
                f"{min(granted.packet_bytes_max, settings.publish.message_bytes_max)}",
            )
        )
        findings.append(
            Finding(
                "publish.in_flight",
                f"{settings.publish.in_flight}",
                f"{min(granted.receive_max, settings.publish.in_flight)}",
            )
        )
        routes = Routes(settings.subscribe).all
        asked = [(route.pattern.filter, route.subscribe.qos, route.subscribe.topic) for route in routes]
        asked += [(topic, 1, topic) for topic in sorted({c.state.topic for c in settings.commands if c.state})]
        for name, wanted, written in asked:
            code = (await talk.subscribe([(name, wanted)], retained=False))[0]
            if code < REFUSED:
                answer = f"QoS {code}"
            else:
                answer = f"refused: {reasons.sentence(code, client_id=client_id, username=settings.username)}"
            findings.append(Finding(written, f"QoS {wanted}", answer, fine=code == wanted))
    return Survey(tuple(findings))
