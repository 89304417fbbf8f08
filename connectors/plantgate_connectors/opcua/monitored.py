"""The items a connection watches: what was asked for, under which handle, and what the server made of it.

Parallel lists instead of an object an item: 12,000 items then cost about a megabyte.
"""

import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from asyncua import ua

from plantgate_connectors.opcua.addressing import ItemOptions, Resolution, WantedEvent


@dataclass(slots=True)
class Items:
    """The row is the client handle. A handle never goes to another tag, so that a late message cannot be mistaken."""

    tags: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    """The node's address, the same in any session."""
    prints: list[int] = field(default_factory=list)
    """Checksum of the options: an item with other options is another item."""
    ids: list[int] = field(default_factory=list)
    """The server's id of the monitored item; 0 where there is none."""
    homes: list[int] = field(default_factory=list)
    """The subscription it is in; 0 where it is in none."""
    nodes: list[ua.NodeId | None] = field(default_factory=list)
    options: list[ItemOptions | None] = field(default_factory=list)
    events: dict[int, WantedEvent] = field(default_factory=dict)
    wanted: set[int] = field(default_factory=set)
    """Handles of what is asked for now."""
    _of_tag: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.tags)

    def want(self, resolution: Resolution) -> None:
        """Take over what is asked for in this session; what was watched and still is keeps its handle."""
        self.wanted = set()
        rows = zip(resolution.tags, resolution.keys, resolution.nodes, resolution.options, strict=True)
        checksums: dict[int, int] = {}
        for tag, key, node, options in rows:
            checksum = checksums.setdefault(id(options), zlib.crc32(repr(options).encode()))
            handle = self._handle(tag, key, checksum, node)
            self.nodes[handle], self.options[handle] = node, options
            self.wanted.add(handle)
        for event in resolution.events:
            wanted = (event.key, event.type_node, event.fields, event.severity_min)
            handle = self._handle(event.tag, event.key, zlib.crc32(repr(wanted).encode()), event.node)
            self.nodes[handle], self.events[handle] = event.node, event
            self.wanted.add(handle)

    def _handle(self, tag: str, key: str, checksum: int, node: ua.NodeId) -> int:
        handle = self._of_tag.get(tag, -1)
        if handle >= 0 and self.keys[handle] == key and self.prints[handle] == checksum:
            known = self.nodes[handle]
            if not self.ids[handle] or known is None or known == node:
                return handle
        return self._add(tag, key, checksum)

    def _add(self, tag: str, key: str, checksum: int, id_: int = 0, home: int = 0) -> int:
        self.tags.append(tag)
        self.keys.append(key)
        self.prints.append(checksum)
        self.ids.append(id_)
        self.homes.append(home)
        self.nodes.append(None)
        self.options.append(None)
        self._of_tag[tag] = len(self.tags) - 1
        return len(self.tags) - 1

    @property
    def monitored(self) -> int:
        """How many wanted items the server watches."""
        return sum(1 for handle in self.wanted if self.ids[handle])

    def missing(self) -> list[int]:
        """Wanted items that the server does not watch, in the order they were asked for."""
        return [handle for handle in sorted(self.wanted) if not self.ids[handle]]

    def surplus(self) -> list[int]:
        """Items the server watches and nobody wants."""
        return [handle for handle, id_ in enumerate(self.ids) if id_ and handle not in self.wanted]

    def at_home(self, subscription: int) -> list[int]:
        """Handles of a subscription's items."""
        return [handle for handle, home in enumerate(self.homes) if home == subscription and self.ids[handle]]

    def sizes(self) -> Counter[int]:
        """Items in each subscription."""
        return Counter(home for home, id_ in zip(self.homes, self.ids, strict=True) if id_)

    def settle(self, handle: int, id_: int, subscription: int) -> None:
        """The server watches it."""
        self.ids[handle], self.homes[handle] = id_, subscription

    def unsettle(self, handles: Iterable[int]) -> None:
        """The server no longer watches them."""
        for handle in handles:
            self.ids[handle] = self.homes[handle] = 0

    def to_json(self) -> dict[str, Sequence[Any]]:
        """What must be known of a subscription that outlives the process: copies, to be written by another thread."""
        return {name: list(getattr(self, name)) for name in _KEPT}

    @classmethod
    def from_json(cls, written: dict[str, Any]) -> "Items":
        """The items as they were; raises `KeyError`, `TypeError` or `ValueError` if that is not what was written."""
        items = cls()
        for tag, key, checksum, id_, home in zip(*(written[name] for name in _KEPT), strict=True):
            items._add(str(tag), str(key), int(checksum), int(id_), int(home))
        return items


_KEPT = ("tags", "keys", "prints", "ids", "homes")
