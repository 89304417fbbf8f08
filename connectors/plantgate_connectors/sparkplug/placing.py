"""Where a tag stands in Sparkplug: on the edge node or on a device, under which metric name."""

from typing import Final, NamedTuple

from plantgate_connectors.sparkplug.topics import id_problem

BDSEQ: Final = "bdSeq"
REBIRTH: Final = "Node Control/Rebirth"
ORIGIN: Final = "plantgate/origin"
POSITION: Final = "plantgate/position"
OFFSETS: Final = "plantgate/offsets"
GAPS: Final = "plantgate/gaps"
_RESERVED: Final = (BDSEQ, "Node Control/", "plantgate/")


class Place(NamedTuple):
    """A metric of an edge node; `device` is None for one of its own."""

    device: str | None
    metric: str


def place(tag: str, device_levels: int) -> Place:
    """The first levels of a tag's path are the device, joined by `:`; a tag without as many is the edge node's own.

    Whatever cannot be a device, or takes a name that has a meaning of its own, is a metric of the edge node by its
    whole name; one of the edge node with such a name goes below `tags/`.
    """
    if device_levels:
        levels = tag.split("/", device_levels)
        if len(levels) > device_levels and levels[-1] and not levels[-1].startswith(_RESERVED):
            device = ":".join(levels[:-1])
            if all(levels) and id_problem(device) is None:
                return Place(device, levels[-1])
    return Place(None, f"tags/{tag}" if not tag or tag.startswith(_RESERVED) else tag)
