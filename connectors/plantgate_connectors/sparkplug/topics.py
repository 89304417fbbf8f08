"""Sparkplug's topics: ``spBv1.0/<group>/<message type>/<edge node>[/<device>]`` and ``spBv1.0/STATE/<host>``."""

from enum import Enum
from typing import Final, NamedTuple

from plantgate_connectors.mqtt.topics import read_topic

NAMESPACE: Final = "spBv1.0"


class Kind(Enum):
    """What a message is."""

    NBIRTH = "NBIRTH"
    NDATA = "NDATA"
    NDEATH = "NDEATH"
    NCMD = "NCMD"
    DBIRTH = "DBIRTH"
    DDATA = "DDATA"
    DDEATH = "DDEATH"
    DCMD = "DCMD"


_KINDS: Final = {kind.value: kind for kind in Kind}


class Address(NamedTuple):
    """Whose message it is."""

    group: str
    kind: Kind
    edge_node: str
    device: str | None

    def topic(self) -> str:
        """As MQTT has it."""
        topic = f"{NAMESPACE}/{self.group}/{self.kind.value}/{self.edge_node}"
        return topic if self.device is None else f"{topic}/{self.device}"


def state_topic(host: str) -> str:
    """Where a host application says whether it is there."""
    return f"{NAMESPACE}/STATE/{host}"


def read_address(topic: bytes) -> Address | None:
    """Whose message a topic announces; None for one that Sparkplug does not have, or that no MQTT client may use."""
    text = read_topic(topic)
    if text is None:
        return None
    levels = text.split("/")
    if not 4 <= len(levels) <= 5 or levels[0] != NAMESPACE or "" in levels:
        return None
    kind = _KINDS.get(levels[2])
    if kind is None or (kind.value[0] == "D") != (len(levels) == 5):
        return None
    return Address(levels[1], kind, levels[3], levels[4] if len(levels) == 5 else None)


def id_problem(written: str) -> str | None:
    """Why this cannot be the id of a group, an edge node, a device or a host; None if it can."""
    if not written:
        return "it is empty"
    for character in "+/#\0":
        if character in written:
            return f"it contains {character!r}"
    try:
        length = len(written.encode())
    except UnicodeEncodeError:
        return "it is not valid Unicode"
    return None if length <= 200 else f"it is {length} bytes long, the most is 200"


def checked_id(written: str) -> str:
    """As it is. Raises `ValueError` for one that cannot be an id."""
    if problem := id_problem(written):
        raise ValueError(f"{written!r} cannot be a Sparkplug id: {problem}")
    return written
