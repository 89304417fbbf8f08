"""What an edge node has announced in its birth certificates: which alias is which tag, of which type."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from plantgate_connectors.mqtt.topics import Template
from plantgate_connectors.sparkplug.datatypes import DataType
from plantgate_connectors.sparkplug.layouts import Layout
from plantgate_connectors.sparkplug.reading import Reading
from plantgate_connectors.sparkplug.reading import Template as Structure
from plantgate_connectors.sparkplug.usual import BOOLEAN_KEY, DOUBLE_KEY, FLOAT_KEY, LONG_KEY, STRING_KEY
from plantgate_connectors.sparkplug.wire import varint

_KEYS: Final = {
    int(DataType.FLOAT): (FLOAT_KEY, DOUBLE_KEY),
    int(DataType.DOUBLE): (FLOAT_KEY, DOUBLE_KEY),
    int(DataType.BOOLEAN): (BOOLEAN_KEY,),
    int(DataType.INT64): (LONG_KEY,),
    int(DataType.STRING): (STRING_KEY,),
}
"""Fields in which a value of a type is as it stands, without a closer look."""
_ALL_KEYS: Final = frozenset(key for keys in _KEYS.values() for key in keys)
_STRETCHES_MOST: Final = 1_024


@dataclass(slots=True, eq=False)
class Announced:
    """One metric."""

    tag: str
    datatype: int
    json: bool
    """Whether its text is JSON."""


@dataclass(slots=True)
class Group:
    """The metrics of one birth certificate: of a device, or the edge node's own."""

    names: dict[str, Announced] = field(default_factory=dict)
    aliases: dict[int, Announced] = field(default_factory=dict)
    usual: dict[bytes, str] = field(default_factory=dict)
    """Tags of those of the usual kind, by alias and key of the value as they are written; for many at once."""
    tags: dict[str, Announced] = field(default_factory=dict)
    """Of every value it can have: members of templates are tags of their own."""
    _stretches: dict[Layout, "Stretch | None"] = field(default_factory=dict)

    def announce(self, reading: Reading, tag: str) -> Announced | None:
        """Take in a metric; None for one without a usable name. An alias that comes twice is nobody's from then on."""
        if not isinstance(reading.name, str):
            return None
        announced = Announced(tag, reading.datatype or 0, reading.json)
        self.names[reading.name] = announced
        if isinstance(reading.value, Structure):
            for member, path in members(reading.value, tag):
                self.tags[path] = Announced(path, member.datatype or 0, member.json)
        else:
            self.tags[tag] = announced
        alias = reading.alias
        if alias is not None:
            written = varint(alias)
            if alias in self.aliases:
                for key in _ALL_KEYS:
                    self.usual.pop(written + key, None)
                self.aliases[alias] = AMBIGUOUS
            else:
                self.aliases[alias] = announced
                for key in _KEYS.get(announced.datatype, ()):
                    self.usual[written + key] = tag
        return announced

    def find(self, reading: Reading) -> Announced | None:
        """Which metric of a data message it is; None for one that was not announced, or not clearly."""
        if isinstance(reading.name, str):
            return self.names.get(reading.name)
        found = None if reading.alias is None else self.aliases.get(reading.alias)
        return None if found is AMBIGUOUS else found

    def stretch(self, layout: Layout) -> "Stretch | None":
        """Whose values a stretch of metrics has; None if one of them was not announced, not clearly, or otherwise."""
        try:
            return self._stretches[layout]
        except KeyError:
            if len(self._stretches) >= _STRETCHES_MOST:
                self._stretches.clear()
            tags = [self.usual[name] for name in layout.names if name in self.usual]
            found = self._stretches[layout] = Stretch(tags) if len(tags) == len(layout.names) else None
            return found


@dataclass(slots=True, eq=False)
class Stretch:
    """The tags of metrics that are always said together."""

    tags: list[str]


AMBIGUOUS: Final = Announced("", 0, False)
"""What an alias means that was announced twice."""


def members(structure: Structure, tag: str) -> Iterator[tuple[Reading, str]]:
    """The values in a structure, each with the tag it has; structures within are walked through."""
    for member in structure.members:
        if not isinstance(member.name, str):
            continue
        path = f"{tag}/{member.name}"
        if isinstance(member.value, Structure):
            yield from members(member.value, path)
        else:
            yield member, path


class Names:
    """How tags are made of Sparkplug's names."""

    def __init__(self, tag: str, node_tag: str) -> None:
        self._tag = Template(tag)
        self._node_tag = Template(node_tag)

    def tag(self, group: str, edge_node: str, device: str | None, metric: str) -> str:
        """The tag of a metric."""
        if device is None:
            return self._node_tag.fill({"group": group, "edge_node": edge_node, "metric": metric})
        return self._tag.fill({"group": group, "edge_node": edge_node, "device": device, "metric": metric})
