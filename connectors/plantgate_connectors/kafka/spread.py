"""Where the samples of a batch go: keys and partitions of its tags, reckoned once as long as the same tags come."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from plantgate_connectors.kafka.partitioner import Keys, Partitioner

_REMEMBERED_MOST: Final = 64
"""A poll of each of so many devices."""


@dataclass(frozen=True, slots=True)
class Ways:
    """Of the samples of a batch."""

    tags: list[str]
    keys: list[bytes]
    places: Mapping[int, Sequence[int]]
    """By partition, in the order of the batch."""


class Spread:
    """Over the partitions of a topic."""

    def __init__(self, partition: Partitioner, keys: Keys) -> None:
        self._partition = partition
        self._keys = keys
        self._remembered: dict[tuple[str, int], Ways] = {}

    def of(self, tags: list[str]) -> Ways:
        """For a batch with these tags, one at least."""
        name = tags[0], len(tags)
        found = self._remembered.get(name)
        if found is None or found.tags != tags:
            places: dict[int, list[int]] = {}
            for place, partition in enumerate(map(self._partition.__getitem__, tags)):
                places.setdefault(partition, []).append(place)
            found = Ways(tags[:], list(map(self._keys.__getitem__, tags)), places)
            if len(self._remembered) >= _REMEMBERED_MOST:
                self._remembered.clear()
            self._remembered[name] = found
        return found
