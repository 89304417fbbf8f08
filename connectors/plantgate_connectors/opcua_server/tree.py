"""Finds nodes by id, whichever namespace they are in: the standard's, tags, folders."""

from collections.abc import Iterator
from typing import Final

from asyncua import ua

from plantgate_connectors.opcua_server import nodes, standard
from plantgate_connectors.opcua_server.nodes import Key, Node, Reference
from plantgate_connectors.opcua_server.space import FOLDERS, TAGS, Slot, Space

TAGS_URI: Final = "urn:plantgate:tags"
ROOT: Final[Key] = (FOLDERS, 1)
"""The folder of all tags: a number, since an empty string is no good node id."""
FOLDERS_URI: Final = "urn:plantgate:folders"


class Tree:
    """The whole address space of one server."""

    def __init__(self, space: Space, facts: standard.Facts, *, root: str) -> None:
        self.space = space
        self.facts = facts
        self._root = root
        self._standard = standard.standard_nodes(facts)
        top = Reference(nodes.ORGANIZES, True, ROOT)
        self._standard[standard.OBJECTS].references.append(top)

    def find(self, key: Key | None) -> Node | None:
        """The node, or None where there is none of this id."""
        if key is None:
            return None
        namespace, identifier = key
        if namespace == 0 and isinstance(identifier, int):
            return self._standard.get(identifier)
        if key == ROOT:
            return self._folder("")
        if not isinstance(identifier, str):
            return None
        if namespace == TAGS and (slot := self.space.slots.get(identifier)) is not None:
            return _tag(slot)
        if namespace == FOLDERS and identifier and identifier in self.space.folders:
            return self._folder(identifier)
        return None

    def slot(self, key: Key | None) -> Slot | None:
        """The tag, if it is one."""
        if key is None or key[0] != TAGS or not isinstance(key[1], str):
            return None
        return self.space.slots.get(key[1])

    def is_kind(self, reference: int, wanted: int, subtypes: bool) -> bool:
        """Whether a reference type is the wanted one, or below it."""
        while reference != wanted:
            node = self._standard.get(reference)
            above = next((each for each in node.references if not each.forward), None) if node and subtypes else None
            if above is None or not isinstance(above.target[1], int):
                return False
            reference = above.target[1]
        return True

    def _folder(self, path: str) -> Node:
        name = path.rpartition("/")[2] if path else self._root
        node = Node(_folder_key(path), nodes.OBJECT, name or "-", FOLDERS, type_definition=standard.FOLDER_TYPE)
        above: Key = _folder_key(path.rpartition("/")[0]) if path else (0, standard.OBJECTS)
        node.references.append(Reference(nodes.ORGANIZES, False, above))
        node.children = lambda: self._inside(path)
        return node

    def _inside(self, path: str) -> Iterator[Reference]:
        for name, slot in self.space.folders[path].items():
            kind = nodes.ORGANIZES if slot is None else nodes.HAS_COMPONENT
            yield Reference(kind, True, (FOLDERS if slot is None else TAGS, name[1:]))


def _folder_key(path: str) -> Key:
    return (FOLDERS, path) if path else ROOT


def _tag(slot: Slot) -> Node:
    node = Node((TAGS, slot.name), nodes.VARIABLE, slot.name.rpartition("/")[2] or "-", TAGS)
    node.type_definition = standard.DATA_VARIABLE_TYPE
    node.data_type, node.rank = slot.kind, slot.rank
    node.value = lambda: slot.encoded
    node.references.append(Reference(nodes.HAS_COMPONENT, False, _folder_key(slot.folder)))
    return node


def key_of(node_id: ua.NodeId | None) -> Key | None:
    """A node id as our key; None for kinds of identifier that no node of ours has."""
    if node_id is None or not isinstance(node_id.Identifier, int | str):
        return None
    return int(node_id.NamespaceIndex), node_id.Identifier
