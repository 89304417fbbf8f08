"""Asks a broker what it would grant, and whether the primary host is there; changes nothing."""

import asyncio
from typing import Final

from plantgate.sdk import Context, Finding, Survey, Unavailable
from plantgate_connectors.mqtt import reasons
from plantgate_connectors.mqtt.client import Role
from plantgate_connectors.mqtt.publisher import REFUSED
from plantgate_connectors.mqtt.session import Flaps, Session
from plantgate_connectors.mqtt.settings import Version
from plantgate_connectors.mqtt.source import Malformed, read_publish
from plantgate_connectors.mqtt.watched import session
from plantgate_connectors.sparkplug.settings import SparkplugSettings
from plantgate_connectors.sparkplug.state import State, read_state
from plantgate_connectors.sparkplug.topics import NAMESPACE, state_topic

_STATE_SECONDS: Final = 1.0
"""How long a broker may take to hand out a message that it keeps."""


class _Listener:
    """Hears the primary host's state, and nothing else."""

    def __init__(self, version: Version) -> None:
        self._five = version is Version.V5
        self.state: State | None = None
        self.heard = asyncio.Event()

    def publish(self, first: int, body: bytes) -> None:
        """The state, or what does not concern us. Not acknowledged: the session is not kept."""
        try:
            topic, _, content = read_publish(first, body, version_5=self._five)
        except Malformed:
            return
        if topic.startswith(b"spBv1.0/STATE/"):
            self.state = read_state(content)
            self.heard.set()

    def forget(self) -> None:
        """Hear anew."""
        self.state = None
        self.heard.clear()

    def oversized(self, topic: bytes, mid: int, size: int) -> None:
        """Not read."""

    def puback(self, mid: int, reason: int) -> None:
        """None is due."""

    def lost(self, error: Unavailable) -> None:
        """The session's body is ended with it."""


async def survey(settings: SparkplugSettings, context: Context, client_id: str) -> Survey:
    """Connect under another client id, without a will, and subscribe.

    Whether we may publish cannot be asked without publishing, so it is not.
    """
    mqtt = settings.as_mqtt()
    host, port = mqtt.address
    listener = _Listener(settings.version)
    findings: list[Finding] = []
    async with session(mqtt, context, Role(client_id, clean=True), listener, Flaps()) as talk:
        granted = talk.granted
        findings.append(Finding(f"{host}:{port}", f"MQTT {settings.version.value}", "connected"))
        qos = min(granted.qos_max, 1)
        findings.append(Finding("QoS", "1", f"at most {qos}", fine=qos == 1))
        if settings.subscribe is not None:
            findings.append(
                Finding("retained messages", "yes", "yes" if granted.retains else "no", fine=granted.retains)
            )
            filters = [f"{NAMESPACE}/{group}/#" for group in settings.subscribe.groups or ("+",)]
            findings += [await _subscription(settings, talk, name, client_id) for name in filters]
        if settings.publish is not None:
            publish = settings.publish
            limit = min(granted.packet_bytes_max, publish.message_bytes_max)
            findings.append(Finding("publish.message_bytes_max", f"{publish.message_bytes_max}", f"{limit}"))
            commands = f"{NAMESPACE}/{publish.group}/NCMD/{publish.edge_node}"
            findings.append(await _subscription(settings, talk, commands, client_id))
            if publish.primary_host is not None:
                findings.append(await _primary_host(talk, listener, publish.primary_host))
    return Survey(tuple(findings))


async def _subscription(settings: SparkplugSettings, talk: Session, topic: str, client_id: str) -> Finding:
    code = (await talk.subscribe([(topic, 1)], retained=False))[0]
    if code < REFUSED:
        return Finding(topic, "QoS 1", f"QoS {code}", fine=code == 1)
    words = reasons.sentence(code, client_id=client_id, username=settings.username)
    return Finding(topic, "QoS 1", f"refused: {words}", fine=False)


async def _primary_host(talk: Session, listener: _Listener, host: str) -> Finding:
    listener.forget()
    await talk.subscribe([(state_topic(host), 1)], retained=True)
    try:
        async with asyncio.timeout(_STATE_SECONDS):
            await listener.heard.wait()
    except TimeoutError:
        return Finding(f"primary host {host}", "online", "has never said anything", fine=False)
    online = listener.state is not None and listener.state.online
    return Finding(f"primary host {host}", "online", "online" if online else "offline", fine=online)
