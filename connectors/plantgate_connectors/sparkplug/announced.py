"""What an edge node has announced in its birth certificates: which alias is which tag, of which type."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from plantgate_connectors.mqtt.topics import Template
from plantgate_connectors.sparkplug.datatypes import DataType
from plantgate_connectors.sparkplug.reading import Reading
from plantgate_connectors.sparkplug.reading import Template as Structure
from plantgate_connectors.sparkplug.wire import varint

_FLOATS: Final = (DataType.FLOAT, DataType.DOUBLE)


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
    floats: dict[bytes, str] = field(default_factory=dict)
    """Tags of those that are Float or Double, by the alias as it is written; for whole runs of metrics."""
    tags: dict[str, Announced] = field(default_factory=dict)
    """Of every value it can have: members of templates are tags of their own."""

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
            if alias in self.aliases:
                self.floats.pop(varint(alias), None)
                self.aliases[alias] = AMBIGUOUS
            else:
                self.aliases[alias] = announced
                if announced.datatype in _FLOATS:
                    self.floats[varint(alias)] = tag
        return announced

    def find(self, reading: Reading) -> Announced | None:
        """Which metric of a data message it is; None for one that was not announced, or not clearly."""
        if isinstance(reading.name, str):
            return self.names.get(reading.name)
        found = None if reading.alias is None else self.aliases.get(reading.alias)
        return None if found is AMBIGUOUS else found


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
