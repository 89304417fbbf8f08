"""From a topic and a key to what a record means."""

from dataclasses import dataclass
from typing import Final

from plantgate_connectors.kafka.keys import Pattern, Template, read_key
from plantgate_connectors.kafka.relay import read_record
from plantgate_connectors.kafka.settings import RecordTime, Subscribe
from plantgate_connectors.payloads.readings import Read, reader
from plantgate_connectors.payloads.words import Payload

_CACHED_MOST: Final = 100_000


@dataclass(slots=True)
class Route:
    """One topic of `subscribe`, ready to be used."""

    subscribe: Subscribe
    pattern: Pattern | None
    template: Template
    read: Read
    known: dict[tuple[int, bytes | None], str | None]

    @classmethod
    def of(cls, subscribe: Subscribe) -> "Route":
        """From what the operator wrote."""
        return cls(
            subscribe,
            None if subscribe.key is None else Pattern(subscribe.key),
            Template(subscribe.tag),
            read_record if subscribe.payload is Payload.PLANTGATE else reader(subscribe),
            {},
        )

    def tag(self, partition: int, key: bytes | None) -> str | None:
        """The tag of a record; None for one that nobody asked for, or that no tag can be made of."""
        try:
            return self.known[partition, key]
        except KeyError:
            if len(self.known) >= _CACHED_MOST:
                self.known.clear()
            found = self.known[partition, key] = self._find(partition, key)
            return found

    def stamp(self, timestamp: int, timestamp_type: int) -> int | None:
        """The record's own time, where it is the producer's and the operator trusts it."""
        if self.subscribe.record_time is RecordTime.IGNORE or timestamp_type != 0 or timestamp < 0:
            return None
        return timestamp * 1_000_000

    def _find(self, partition: int, raw: bytes | None) -> str | None:
        if self.subscribe.payload is Payload.PLANTGATE:
            return self.subscribe.topic
        key = read_key(raw)
        if key is None:
            return None
        parts: dict[str, str] | None = {} if self.pattern is None else self.pattern.match(key)
        if parts is None:
            return None
        return (
            self.template.fill({**parts, "key": key, "topic": self.subscribe.topic, "partition": str(partition)})
            or None
        )
