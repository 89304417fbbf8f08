"""A whole life of an edge node and of a host application, as a broker sees it: packet by packet."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from plantgate.testing.mqtt_packets import Connect, Message, Subscription
from tests.connectors.sparkplug.given import Twin, twin
from tests.peers.sparkplug_proto import Payload


@dataclass
class Session:
    """One connection, from CONNECT to its end."""

    connect: Connect
    did: list[Message | list[Subscription]] = field(default_factory=list)
    """What it published and subscribed, in order."""

    @property
    def subscribed(self) -> dict[str, int]:
        """QoS by filter."""
        return {each.filter: each.qos for done in self.did if isinstance(done, list) for each in done}

    @property
    def published(self) -> list[Message]:
        """In order."""
        return [done for done in self.did if isinstance(done, Message)]

    @property
    def sparkplug(self) -> list[Message]:
        """Those of an edge node."""
        return [m for m in self.published if m.topic.startswith("spBv1.0/") and "/STATE/" not in m.topic]

    def of(self, *kinds: str) -> list[Message]:
        """Those of these message types."""
        return [message for message in self.sparkplug if message.topic.split("/")[2] in kinds]


@dataclass
class Story:
    """All connections there were, oldest first."""

    sessions: list[Session] = field(default_factory=list)

    def of(self, *kinds: str) -> list[Message]:
        """Messages of these types, of all sessions."""
        return [message for session in self.sessions for message in session.of(*kinds)]

    def metrics(self, *kinds: str) -> Iterator[Any]:
        """Metrics of messages of these types."""
        for message in self.of(*kinds):
            yield from Payload.FromString(message.payload).metrics


def decoded(message: Message) -> Any:
    """Its payload, by Google's protobuf."""
    return Payload.FromString(message.payload)


def named(message: Message) -> dict[str, Any]:
    """Its metrics by name."""
    return {metric.name: metric for metric in decoded(message).metrics}


@asynccontextmanager
async def told() -> AsyncIterator[tuple[Twin, Story]]:
    """A broker twin that notes down all it is told. Only one client may be connected at a time."""
    async with twin() as device:
        story, broker = Story(), device.broker
        admit, subscribe, received = broker.admit, broker.subscribe, broker.received

        def admitted(connect: Connect, connection: Any) -> Any:
            story.sessions.append(Session(connect))
            return admit(connect, connection)

        def subscribed(session: Any, wanted: list[Subscription]) -> Any:
            story.sessions[-1].did.append(list(wanted))
            return subscribe(session, wanted)

        def came(message: Message) -> None:
            story.sessions[-1].did.append(message)
            if received is not None:
                received(message)

        broker.admit, broker.subscribe, broker.received = admitted, subscribed, came  # type: ignore[method-assign]
        yield device, story
