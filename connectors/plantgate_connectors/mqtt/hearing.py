"""All that a session for writing hears: reports of devices, their answers, and what the broker says of our messages."""

from typing import Final

from plantgate.sdk import Standing, Unavailable
from plantgate_connectors.mqtt.answers import Answers, correlation_of
from plantgate_connectors.mqtt.post import Words
from plantgate_connectors.mqtt.session import Session
from plantgate_connectors.mqtt.settings import MqttSettings, Version
from plantgate_connectors.mqtt.source import Malformed, read_publish
from plantgate_connectors.mqtt.states import States
from plantgate_connectors.mqtt.transport import PUBACK

_RETAINED: Final = 0x01


class Hearing:
    """The receiver of one session."""

    def __init__(self, settings: MqttSettings, standing: Standing) -> None:
        self._five = settings.version is Version.V5
        self._standing = standing
        self._session: Session | None = None
        self.states, self.answers, self.words = States(settings.commands), Answers(), Words()
        self.over = ""
        """Why nothing is heard any more."""

    def attach(self, session: Session) -> None:
        """Whose messages are heard."""
        self._session = session

    def publish(self, first: int, body: bytes) -> None:
        """A report or an answer. Acknowledged at once: who waits for it waits now."""
        try:
            topic, mid, payload = read_publish(first, body, version_5=self._five)
        except Malformed as error:
            if self._session is not None:
                self._session.end(f"it sent {error}", abort=True)
            return
        self._acknowledge(mid)
        retained = bool(first & _RETAINED)
        known = self.states.heard(topic, payload, retained=retained)
        if not retained:
            correlation = correlation_of(first, body) if self._five else None
            known |= self.answers.heard(topic, correlation, payload)
        if not known:
            self._standing.count("unexpected_messages")

    def oversized(self, topic: bytes, mid: int, size: int) -> None:
        """A message over the limit is none that anybody waits for."""
        self._acknowledge(mid)
        self._standing.count("oversized")

    def puback(self, mid: int, reason: int) -> None:
        """The broker has one of ours, or refuses it."""
        self.words.confirmed(mid, reason)

    def lost(self, error: Unavailable) -> None:
        """Whoever waits, waits no longer."""
        self.over = self.over or str(error)
        self.states.fail(error)
        self.answers.fail(error)
        self.words.fail(error)

    def _acknowledge(self, mid: int) -> None:
        if mid and self._session is not None:
            self._session.wire.write(bytes((PUBACK, 2, mid >> 8, mid & 0xFF)))
