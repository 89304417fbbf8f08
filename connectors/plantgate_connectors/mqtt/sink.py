"""Batches out to a broker; safe when it has confirmed every message."""

from collections.abc import Iterable, Iterator
from typing import Final

from plantgate.sdk import Batch, Context, GatewayError, Rejected, Unavailable
from plantgate_connectors.mqtt import reasons
from plantgate_connectors.mqtt.client import Will
from plantgate_connectors.mqtt.learned import SUSPICIOUS_BYTES, Learned
from plantgate_connectors.mqtt.payloads import encoder, gaps_encoder, value_encoder
from plantgate_connectors.mqtt.publisher import Message, Publisher, on_the_wire, varint
from plantgate_connectors.mqtt.session import Session
from plantgate_connectors.mqtt.settings import Each, Format, MqttSettings, Version
from plantgate_connectors.mqtt.topics import Template, topic_problem

ONLINE: Final = b"online"
OFFLINE: Final = b"offline"
_CONTENT_TYPES: Final = {
    Format.JSON: "application/json",
    Format.COLUMNS: "application/json",
    Format.CLOUDEVENTS: "application/cloudevents+json",
    Format.TEXT: "text/plain",
}
_TOPICS_CACHED_MOST: Final = 100_000


class MqttSink:
    """Publishes batches; also the receiver of its session."""

    def __init__(self, settings: MqttSettings, context: Context, client_id: str, learned: Learned) -> None:
        self._learned = learned
        self._settings = settings
        self._publish = settings.publish
        self._context = context
        self._client_id = client_id
        names = {"connection": context.connection, "client_id": client_id}
        written = self._publish
        source = f"/plantgate/{context.connection}"
        self._topic = Template(written.topic)
        self._names = names
        self._batch_topic = on_the_wire("" if written.each is Each.VALUE else self._topic.fill(names))
        self._gaps_topic = None if written.gaps_topic is None else on_the_wire(Template(written.gaps_topic).fill(names))
        self._status_topic = None if written.status_topic is None else Template(written.status_topic).fill(names)
        self._encode = encoder(written.format, written.time, source)
        self._encode_each = value_encoder(written.format, written.time, source)
        self._encode_gaps = gaps_encoder(written.format, written.time, source)
        self._properties = b""
        self._gap_properties = b""
        if settings.version is Version.V5:
            self._properties = _properties(_CONTENT_TYPES[written.format])
            self._gap_properties = _properties(
                _CONTENT_TYPES[Format.JSON if written.format is Format.TEXT else written.format]
            )
        self._tag_topics: dict[str, bytes] = {}
        self._session: Session | None = None
        self._publisher: Publisher | None = None
        self._bytes_max = written.message_bytes_max

    @property
    def will(self) -> Will | None:
        """What the broker shall say when we vanish."""
        return None if self._status_topic is None else Will(self._status_topic, OFFLINE)

    # The session's ends.

    async def begin(self, session: Session) -> None:
        """The broker has let us in: check what it grants, say that we are here."""
        granted = session.granted
        if granted.qos_max < self._publish.qos:
            raise Unavailable(f"{session.who} takes QoS 0 only; write publish: {{qos: 0}}", retry_after_seconds=30.0)
        if not granted.retains and (self._publish.retain or self._status_topic is not None):
            raise Unavailable(
                f"{session.who} keeps no retained messages; write publish: {{retain: false, status_topic: null}}",
                retry_after_seconds=30.0,
            )
        self._session = session
        self._publisher = Publisher(session.wire, window=min(granted.receive_max, self._publish.in_flight))
        self._bytes_max = min(self._publish.message_bytes_max, granted.packet_bytes_max)
        await self._say_online()
        self._context.standing.up(client_id=self._client_id)

    async def _say_online(self) -> None:
        if self._status_topic is None:
            return
        properties = b"" if self._settings.version is not Version.V5 else _properties("text/plain")
        message = Message(on_the_wire(self._status_topic), ONLINE, properties, retain=True)
        for code, refused in await self._send([message], qos=1):
            reason = str(self._refusal(code, refused))
            self._context.log.warning("status message refused", topic=self._status_topic, reason=reason)

    # The door.

    async def accept(self, batch: Batch) -> None:
        """Publish the gaps, then the samples. What can be delivered is, even if a part is then named in `Rejected`."""
        while True:
            impossible: list[str] = []
            self._learned.trying(batch)
            try:
                refused = await self._send(self._messages(batch, impossible), qos=self._publish.qos)
            except Unavailable:
                self._learned.ended()
                raise
            if not self._learned.refused(refused):
                break
        errors = [self._refusal(code, message) for code, message in refused]
        for error in errors:
            if isinstance(error, Unavailable):
                raise error
        impossible += [str(error) for error in errors]
        if impossible:
            more = f" (and {len(impossible) - 1} more like it)" if len(impossible) > 1 else ""
            raise Rejected(f"{impossible[0]}{more}")

    async def _send(self, messages: Iterable[Message], *, qos: int) -> list[tuple[int, Message]]:
        """Send; returns what was refused."""
        assert self._publisher is not None, "begin() comes first"
        assert self._session is not None, "begin() comes first"
        patience = self._publish.acknowledge_seconds
        try:
            return await self._publisher.send(messages, qos=qos, patience_seconds=patience)
        except TimeoutError:
            words = f"it has confirmed nothing for {patience:g} s (is its disk full?)"
            self._session.end(words, abort=True)
            raise Unavailable(f"{self._session.who}: {words}") from None

    def _refusal(self, code: int, message: Message) -> GatewayError:
        assert self._session is not None, "begin() comes first"
        return reasons.unwanted(
            code,
            message.topic[2:].decode(),
            who=self._session.who,
            client_id=self._client_id,
            username=self._settings.username,
        )

    # Batches to messages.

    def _messages(self, batch: Batch, impossible: list[str]) -> Iterator[Message]:
        if batch.gaps and self._gaps_topic is not None:
            yield Message(self._gaps_topic, self._encode_gaps(batch), self._gap_properties)
        if self._publish.each is Each.VALUE:
            yield from self._value_messages(batch, impossible)
        elif batch.tags:
            yield from self._batch_messages(batch, 0, len(batch), impossible)

    def _batch_messages(self, batch: Batch, start: int, stop: int, impossible: list[str]) -> Iterator[Message]:
        count = stop - start
        message = Message(
            self._batch_topic, self._encode(batch, start, stop), self._properties, self._publish.retain, count
        )
        if message.size() <= self._bytes_max and self._learned.fits(message):
            yield message
        elif count == 1:
            impossible.append(self._too_large(batch.tags[start], message))
        else:
            middle = start + count // 2
            yield from self._batch_messages(batch, start, middle, impossible)
            yield from self._batch_messages(batch, middle, stop, impossible)

    def _value_messages(self, batch: Batch, impossible: list[str]) -> Iterator[Message]:
        properties, retain = self._properties, self._publish.retain
        topics = self._tag_topics
        small = min(self._bytes_max, SUSPICIOUS_BYTES)
        for tag, payload in zip(batch.tags, self._encode_each(batch), strict=True):
            topic = topics.get(tag)
            if topic is None:
                topic = self._tag_topic(tag, impossible)
                if topic is None:
                    continue
            message = Message(topic, payload, properties, retain)
            if message.size() <= small or (message.size() <= self._bytes_max and self._learned.fits(message)):
                yield message
            else:
                impossible.append(self._too_large(tag, message))

    def _tag_topic(self, tag: str, impossible: list[str]) -> bytes | None:
        topic = self._topic.fill({**self._names, "tag": tag})
        if problem := topic_problem(topic):
            impossible.append(f"{self._context.connection}: {topic!r} cannot be a topic: {problem}")
            return None
        if len(self._tag_topics) > _TOPICS_CACHED_MOST:
            self._tag_topics.clear()
        written = self._tag_topics[tag] = on_the_wire(topic)
        return written

    def _too_large(self, tag: str, message: Message) -> str:
        words = f"{self._context.connection}: a value of {tag} makes a message of {message.size()} bytes"
        if message.size() > self._bytes_max:
            return f"{words}, the most is {self._bytes_max}"
        return f"{words}, and sessions keep ending when it is sent: it is taken to be too large for the broker"

    # What the session tells.

    def publish(self, first: int, body: bytes) -> None:
        """Nobody subscribed, so nothing should come."""
        self._context.standing.count("unexpected_messages")

    def oversized(self, topic: bytes, mid: int, size: int) -> None:
        """As `publish`."""
        self._context.standing.count("unexpected_messages")

    def puback(self, mid: int, reason: int) -> None:
        """One of ours is safe, or refused."""
        if self._publisher is not None:
            self._publisher.confirmed(mid, reason)

    def lost(self, error: Unavailable) -> None:
        """Whoever waits for confirmations waits no longer."""
        if self._publisher is not None:
            self._publisher.fail(error)


def _properties(content_type: str) -> bytes:
    """Payload Format Indicator (UTF-8 text) and Content Type, as on the wire (MQTT 5, 3.3.2.3)."""
    written = b"\x01\x01\x03" + on_the_wire(content_type)
    return varint(len(written)) + written
