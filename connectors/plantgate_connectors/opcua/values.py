"""Values as the gateway knows them, from whatever a server can put into a Variant."""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Final

from asyncua import ua

from plantgate.sdk import Value
from plantgate_connectors.opcua import nodeids
from plantgate_connectors.opcua.definitions import Definitions
from plantgate_connectors.opcua.session import Session
from plantgate_connectors.opcua.structures import Undecodable, Unlearned, read

__all__ = ["Undecodable", "Unlearned", "Values", "flatten"]

_PLAIN: Final = frozenset({bool, int, float, bytes, type(None)})
_NUMBERS: Final = frozenset({bool, int, float})
_DEPTH_MOST: Final = 32


class Values:
    """Turns decoded values of one session into plain ones. Structures need their types: see `definitions`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.definitions = Definitions(session)

    def plain(self, value: object) -> Value:
        """A plain value, exactly what the device said, or `Undecodable`.

        Times become RFC 3339 text, guids and node ids text (node ids with their namespace's URI), localized texts their
        text, status codes their number, structures mappings, arrays and matrices lists. A structure whose type has not
        been met raises `Unlearned`: await ``definitions.learn()`` and ask again.
        """
        return self._plain(value, 0)

    def _plain(self, value: object, depth: int) -> Value:
        if type(value) in _PLAIN:
            return value  # type: ignore[return-value]  # narrowed by its exact type
        if depth > _DEPTH_MOST:
            raise Undecodable("nested too deep")
        match value:
            case str():
                return _text(value)
            case ua.Variant():
                return self._plain(value.Value, depth + 1)
            case list() | tuple():
                return self._array(value, depth)
            case int():
                return int(value)  # an enumeration of the library's own
            case datetime():
                return _time(value)
            case uuid.UUID():
                return str(value)
            case ua.NodeId():
                return self._node(value)
            case ua.LocalizedText():
                return None if value.Text is None else _text(value.Text)
            case ua.QualifiedName():
                return self._qualified(value)
            case ua.StatusCode():
                return int(value.value)
            case ua.ExtensionObject():
                return self._structure(value)
            case ua.XmlElement():
                return None if value.Value is None else _text(str(value.Value))
            case ua.DataValue():
                return self._data_value(value, depth)
            case ua.DiagnosticInfo():
                raise Undecodable("a DiagnosticInfo is not a value")
            case _ if is_dataclass(value) and not isinstance(value, type):
                return self._members(value, depth)
        raise Undecodable(f"a {type(value).__name__} is not a value")

    def _array(self, values: list[object] | tuple[object, ...], depth: int) -> Value:
        if _NUMBERS.issuperset(map(type, values)):
            return list(values)  # type: ignore[arg-type]  # narrowed by their exact types
        return [self._plain(each, depth + 1) for each in values]

    def _structure(self, value: "ua.ExtensionObject") -> Value:
        if value.TypeId.is_null():
            return None
        if not self.definitions.asked(value.TypeId):
            raise Unlearned(f"the type of {value.TypeId} has not been read yet")
        definition = self.definitions.get(value.TypeId)
        if definition is None:
            raise Undecodable(self.definitions.reasons.get(str(value.TypeId), f"no definition of {value.TypeId}"))
        if value.Body is None:
            raise Undecodable(f"{definition.name} without a binary body")
        return read(definition, bytes(value.Body), self.plain)

    def _members(self, value: object, depth: int) -> Value:
        """A structure of the standard that the library knows: Range, EUInformation, …"""
        return {
            member.name: self._plain(getattr(value, member.name), depth + 1)
            for member in fields(value)  # type: ignore[arg-type]  # is_dataclass was asked
            if member.name != "Encoding"
        }

    def _node(self, value: ua.NodeId) -> str:
        address = str(nodeids.of(value, self._session.namespaces))
        if isinstance(value, ua.ExpandedNodeId):
            if value.NamespaceUri:
                address = str(nodeids.Address(str(value.NamespaceUri), nodeids.of(value, []).kind, value.Identifier))
            if value.ServerIndex:
                address = f"svr={value.ServerIndex};{address}"
        return _text(address)

    def _qualified(self, value: ua.QualifiedName) -> str:
        name, index = _text(value.Name or ""), int(value.NamespaceIndex)
        if index == 0:
            return name
        known = self._session.namespaces
        return f"nsu={known[index]};{name}" if index < len(known) else f"{index}:{name}"

    def _data_value(self, value: ua.DataValue, depth: int) -> Value:
        return {
            "value": None if value.Value is None else self._plain(value.Value, depth + 1),
            "quality": 0 if value.StatusCode is None else int(value.StatusCode.value),
            "time": None if value.SourceTimestamp is None else _time(value.SourceTimestamp),
        }


def flatten(tag: str, value: Value) -> Iterator[tuple[str, Value]]:
    """``press/state`` with fields ``speed`` and ``mode`` becomes ``press/state.speed`` and ``press/state.mode``.

    Nested structures go on with further dots; arrays stay whole; anything else, an empty structure too, keeps its tag.
    """
    if isinstance(value, Mapping) and value:
        for name, member in value.items():
            yield from flatten(f"{tag}.{name}", member)
    else:
        yield tag, value


def _text(text: str) -> str:
    """asyncua keeps bytes that are not UTF-8 as lone surrogates, which nothing downstream can write."""
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise Undecodable("a text that is not UTF-8") from error
    return text


def _time(moment: datetime) -> str:
    """RFC 3339; asyncua gives microseconds, UTC, with or without saying so."""
    return moment.replace(tzinfo=None).isoformat() + "Z"
