"""From a topic to what its messages mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from plantgate_connectors.mqtt.relay import read_batch
from plantgate_connectors.mqtt.settings import Subscribe
from plantgate_connectors.mqtt.topics import Pattern, Template, read_topic
from plantgate_connectors.payloads.readings import Read, reader
from plantgate_connectors.payloads.words import Payload

_CACHED_MOST: Final = 50_000


@dataclass(frozen=True, slots=True)
class Route:
    """One subscription, ready to be used."""

    number: int
    subscribe: Subscribe
    pattern: Pattern
    tag: Template
    read: Read


@dataclass(frozen=True, slots=True)
class Destination:
    """What one topic turned out to mean."""

    route: Route
    tag: str


class Routes:
    """All subscriptions of a connection. Where several fit a topic, one without wildcards wins, then the first written.

    A broker may send a message once for each of several subscriptions that fit it; it is then read as often.
    """

    def __init__(self, subscriptions: Sequence[Subscribe]) -> None:
        self._exact: dict[str, Route] = {}
        self._wild: list[Route] = []
        self._known: dict[bytes, Destination | None] = {}
        for number, subscribe in enumerate(subscriptions):
            pattern = Pattern(subscribe.topic)
            read = read_batch if subscribe.payload is Payload.PLANTGATE else reader(subscribe)
            route = Route(number, subscribe, pattern, Template(subscribe.tag), read)
            if "+" in pattern.filter or "#" in pattern.filter:
                self._wild.append(route)
            else:
                self._exact.setdefault(pattern.filter, route)

    @property
    def all(self) -> list[Route]:
        """In the order they were written."""
        return sorted([*self._exact.values(), *self._wild], key=lambda route: route.number)

    def of(self, topic: bytes) -> Destination | None:
        """Where this topic's messages go; None for a topic nobody asked for, or one that breaks the rules."""
        try:
            return self._known[topic]
        except KeyError:
            if len(self._known) >= _CACHED_MOST:
                self._known.clear()
            found = self._known[topic] = self._find(topic)
            return found

    def _find(self, raw: bytes) -> Destination | None:
        topic = read_topic(raw)
        if topic is None:
            return None
        route = self._exact.get(topic)
        if route is not None:
            return Destination(route, route.tag.fill({"topic": topic}))
        for route in self._wild:
            levels = route.pattern.match(topic)
            if levels is not None:
                return Destination(route, route.tag.fill(levels))
        return None
