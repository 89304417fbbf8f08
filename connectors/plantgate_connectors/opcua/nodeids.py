"""Node ids as people write them (OPC 10000-6, 5.1.12), bound to a namespace's name rather than to its number."""

import base64
import binascii
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias, cast

if TYPE_CHECKING:  # asyncua costs 40 MB and half a second: checking a plant file does without it
    from asyncua import ua

Identifier: TypeAlias = int | str | bytes | uuid.UUID

_HOW: Final = (
    'write it as nsu=<namespace uri>;s=<name>, for example "nsu=urn:press;s=Temp" (i= numeric, g= guid, b= base64)'
)
_KINDS: Final = ("i", "s", "g", "b")
_LENGTH_MOST: Final = 4096
"""OPC 10000-3, 8.2.4: string identifiers have at most 4,096 characters."""


@dataclass(frozen=True, slots=True)
class Address:
    """A node id whose namespace is a URI (stable) or an index (can change whenever the server restarts)."""

    namespace: str | int
    kind: str
    """``i``, ``s``, ``g`` or ``b``."""
    identifier: Identifier

    @property
    def stable(self) -> bool:
        """False where the id names its namespace by index, other than 0 (the standard's own)."""
        return isinstance(self.namespace, str) or self.namespace == 0

    def __str__(self) -> str:
        match self.identifier:
            case bytes():
                identifier = base64.b64encode(self.identifier).decode("ascii")
            case other:
                identifier = str(other)
        if isinstance(self.namespace, str):
            return f"nsu={_escaped(self.namespace)};{self.kind}={identifier}"
        return f"{self.kind}={identifier}" if self.namespace == 0 else f"ns={self.namespace};{self.kind}={identifier}"

    def resolve(self, namespaces: Sequence[str]) -> "ua.NodeId | None":
        """The id in a session whose namespace array this is; None while the namespace is not there."""
        if isinstance(self.namespace, str):
            try:
                index = namespaces.index(self.namespace)
            except ValueError:
                return None
        else:
            index = self.namespace
        return node_id(self.identifier, index)


def parse(text: str) -> Address:
    """Read a node id; raises ValueError that says what to write instead."""
    namespace: str | int = 0
    rest = text.strip()
    if rest.startswith("nsu="):
        uri, separator, rest = rest[4:].partition(";")
        namespace = _unescaped(uri)
        if not separator or not namespace:
            raise ValueError(f"{text!r} is not a node id: {_HOW}")
    elif rest.startswith("ns="):
        number, separator, rest = rest[3:].partition(";")
        if not separator or not number.isdecimal() or int(number) > 0xFFFF:
            raise ValueError(f"{text!r} is not a node id: {_HOW}")
        namespace = int(number)
    elif rest.startswith("svr="):
        raise ValueError(f"{text!r} names another server (svr=): connect to that server instead")
    kind, separator, written = rest.partition("=")
    if not separator or kind not in _KINDS or not written:
        raise ValueError(f"{text!r} is not a node id: {_HOW}")
    if namespace == "http://opcfoundation.org/UA/":
        namespace = 0
    return Address(namespace, kind, _identifier(kind, written, text))


def node_id(identifier: Identifier, namespace: int = 0) -> "ua.NodeId":
    """asyncua's node id; the kind follows from the identifier's type."""
    from asyncua import ua

    return ua.NodeId(cast("ua.Int32", identifier), cast("ua.Int16", namespace))


def of(node: "ua.NodeId", namespaces: Sequence[str]) -> Address:
    """The stable address of a node met in a session; keeps the index where the server does not name the namespace."""
    kinds = {"String": "s", "Guid": "g", "ByteString": "b"}
    index = node.NamespaceIndex
    namespace: str | int = namespaces[index] if 0 < index < len(namespaces) else index
    return Address(namespace, kinds.get(node.NodeIdType.name, "i"), node.Identifier)


def _identifier(kind: str, written: str, text: str) -> Identifier:
    try:
        match kind:
            case "i":
                number = int(written) if written.isascii() and written.isdecimal() else -1
                if not 0 <= number <= 0xFFFF_FFFF:
                    raise ValueError(f"{text!r}: a numeric identifier is a whole number up to 4294967295")
                return number
            case "g":
                return uuid.UUID(written)
            case "b":
                return base64.b64decode(written, validate=True)
            case _:
                if len(written) > _LENGTH_MOST:
                    raise ValueError(
                        f"a string identifier has at most {_LENGTH_MOST} characters; this has {len(written)}"
                    )
                return written
    except binascii.Error as error:
        raise ValueError(f"{text!r}: an opaque identifier is written in base64: {error}") from error


def _escaped(uri: str) -> str:
    return uri.replace("%", "%25").replace(";", "%3B")


def _unescaped(text: str) -> str:
    return text.replace("%3B", ";").replace("%3b", ";").replace("%25", "%")
