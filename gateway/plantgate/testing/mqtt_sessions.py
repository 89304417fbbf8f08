"""What an MQTT server remembers: sessions with their subscriptions and undelivered messages, and retained messages."""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

from plantgate.testing.mqtt_fields import Property
from plantgate.testing.mqtt_packets import Message, Subscription

NEVER = 0xFFFF_FFFF
"""Session expiry interval of a session that is kept for good (MQTT 5, 3.1.2.11.2)."""


class Receiver(Protocol):
    """The connection a session is served by."""

    room: int
    """How many QoS 1 messages the client takes before it acknowledges one."""

    def send(self, message: Message, identifier: int, *, duplicate: bool) -> bool:
        """False if the client is too slow for a message of QoS 0, which is then lost."""
        ...


@dataclass(slots=True)
class Session:
    """One client's (MQTT 5, 4.1)."""

    client_id: str
    expiry_seconds: int = 0
    """0 ends with the connection, `NEVER` never."""
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    unacknowledged: dict[int, Message] = field(default_factory=dict)
    """Sent with QoS 1 and not yet acknowledged, oldest first."""
    waiting: deque[Message] = field(default_factory=deque)
    half_received: set[int] = field(default_factory=set)
    """Identifiers of QoS 2 messages taken and not yet released."""
    receiver: Receiver | None = None
    last_identifier: int = 0

    def matching(self, topic: str, publisher: str) -> list[Subscription]:
        """The subscriptions that want this topic."""
        return [
            subscription
            for subscription in self.subscriptions.values()
            if matches(subscription.filter, topic) and not (subscription.no_local and publisher == self.client_id)
        ]

    def acknowledged(self, identifier: int) -> bool:
        """A PUBACK came; False if nothing was waiting for it."""
        return self.unacknowledged.pop(identifier, None) is not None

    def resend(self) -> None:
        """After a reconnect: everything unacknowledged again, in order (4.4)."""
        assert self.receiver is not None
        for identifier, message in self.unacknowledged.items():
            self.receiver.send(message, identifier, duplicate=True)

    def offer(self, message: Message, *, bound: int) -> str:
        """Send or queue one message; says what became of it: ``sent``, ``queued`` or ``dropped``."""
        if message.qos == 0:
            sent = self.receiver is not None and self.receiver.send(message, 0, duplicate=False)
            return "sent" if sent else "dropped"
        if len(self.waiting) >= bound:
            return "dropped"
        self.waiting.append(message)
        return "queued"

    def drain(self, now: float) -> int:
        """Send what may be sent of what waits; returns how many messages expired instead."""
        expired = 0
        while self.receiver is not None and self.waiting and len(self.unacknowledged) < self.receiver.room:
            message = self.waiting.popleft()
            if message.expires_at is not None and message.expires_at <= now:
                expired += 1
                continue
            identifier = self._next_identifier()
            self.unacknowledged[identifier] = message
            self.receiver.send(message, identifier, duplicate=False)
        return expired

    def copy(self) -> "Session":
        """As it would be found on disk."""
        return replace(
            self,
            subscriptions=dict(self.subscriptions),
            unacknowledged=dict(self.unacknowledged),
            waiting=deque(self.waiting),
            half_received=set(self.half_received),
            receiver=None,
        )

    def _next_identifier(self) -> int:
        while True:
            self.last_identifier = self.last_identifier % 65535 + 1
            if self.last_identifier not in self.unacknowledged:
                return self.last_identifier


@dataclass(slots=True)
class Memory:
    """Everything a broker would have to write down."""

    sessions: dict[str, Session] = field(default_factory=dict)
    retained: dict[str, Message] = field(default_factory=dict)

    def copy(self) -> "Memory":
        """What survives a crash if it was saved now: sessions that outlive their connection, retained messages."""
        kept = {name: session.copy() for name, session in self.sessions.items() if session.expiry_seconds}
        return Memory(kept, dict(self.retained))

    def retain(self, message: Message) -> None:
        """Keep the last retained message of a topic; an empty one clears it (3.3.1.3)."""
        if message.payload:
            self.retained[message.topic] = message
        else:
            self.retained.pop(message.topic, None)

    def retained_for(self, filter_: str, now: float) -> Iterator[Message]:
        """Retained messages a new subscription is to get."""
        for topic, message in self.retained.items():
            if matches(filter_, topic) and (message.expires_at is None or message.expires_at > now):
                yield message

    def route(self, message: Message, *, bound: int, now: float, counters: Counter[str]) -> int:
        """Offer a message to every session that wants it, once each; returns to how many."""
        wanted = 0
        for session in self.sessions.values():
            if not (subscriptions := session.matching(message.topic, message.publisher)):
                continue
            wanted += 1
            counters[session.offer(for_subscriber(message, subscriptions), bound=bound)] += 1
            counters["expired"] += session.drain(now)
        return wanted


def for_subscriber(message: Message, subscriptions: list[Subscription], *, retained: bool = False) -> Message:
    """The message as these subscriptions of one client get it: at the highest granted QoS (3.3.4)."""
    marks = [subscription.identifier for subscription in subscriptions if subscription.identifier is not None]
    properties = dict(message.properties)
    if marks:
        properties[Property.SUBSCRIPTION_IDENTIFIER] = marks[0]
    return replace(
        message,
        qos=min(message.qos, max(subscription.qos for subscription in subscriptions)),
        retain=retained or (message.retain and any(subscription.retain_as_published for subscription in subscriptions)),
        properties=properties,
    )


def matches(filter_: str, topic: str) -> bool:
    """Whether a topic filter with ``+`` and ``#`` covers a topic (4.7.1); wildcards do not reach ``$`` topics."""
    if topic.startswith("$") and filter_[0] in "+#":
        return False
    wanted, levels = filter_.split("/"), topic.split("/")
    for place, level in enumerate(wanted):
        if level == "#":
            return True
        if place >= len(levels) or level not in ("+", levels[place]):
            return False
    return len(wanted) == len(levels)


def valid_filter(filter_: str) -> bool:
    """Whether the wildcards stand where they may (4.7.1)."""
    levels = filter_.split("/")
    return bool(filter_) and all(
        (level == "#" and place == len(levels) - 1) or level == "+" or not ({"+", "#"} & set(level))
        for place, level in enumerate(levels)
    )
