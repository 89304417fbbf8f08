"""How much a server takes at once: what it says, what is known of its make, and our own caps, whichever is least."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from asyncua import Client, ua

from plantgate_connectors.opcua.nodeids import node_id
from plantgate_connectors.opcua.settings import Limits, Profile

T = TypeVar("T")

_IDS: Final = ua.ObjectIds
_OPERATION_LIMITS: Final = {
    "nodes_per_read": _IDS.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
    "nodes_per_browse": _IDS.Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse,
    "nodes_per_history_read": _IDS.Server_ServerCapabilities_OperationLimits_MaxNodesPerHistoryReadData,
    "monitored_items_per_call": _IDS.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall,
    "browse_continuation_points": _IDS.Server_ServerCapabilities_MaxBrowseContinuationPoints,
}
_NAMES: Final = (
    _IDS.Server_ServerStatus_BuildInfo_ManufacturerName,
    _IDS.Server_ServerStatus_BuildInfo_ProductName,
    _IDS.Server_ServerStatus_BuildInfo_ProductUri,
    _IDS.Server_ServerStatus_BuildInfo_SoftwareVersion,
)


@dataclass(frozen=True, slots=True)
class Make:
    """What is known of a make of server, as measured by the authors of benthos-umh (its `server_profiles.go`)."""

    marks: tuple[str, ...]
    """Any of these in maker, product name or URI, lower case."""
    batch: int
    """Monitored items or nodes in one call."""
    items: int | None = None
    """Monitored items in all."""
    filters: bool = True
    """Whether deadbands are taken."""


MAKES: Final[dict[Profile, Make]] = {
    Profile.SIEMENS_S7_1200: Make(("s7-1200",), 100, 1_000, filters=False),
    Profile.SIEMENS_S7_1500: Make(("s7-1500",), 500, 10_000),
    Profile.KEPWARE: Make(("kepware", "kepserver"), 1_000),
    Profile.IGNITION: Make(("ignition", "inductive automation"), 100),
    Profile.PROSYS: Make(("prosys",), 800),
}


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Never zero: an unlimited server still meets our own cap."""

    nodes_per_read: int
    nodes_per_browse: int
    nodes_per_history_read: int
    monitored_items_per_call: int
    browse_continuation_points: int
    items_max: int | None
    """Monitored items the make is known to hold in all; None if not known."""
    filters: bool
    """False where the make is known to refuse deadbands."""
    profile: Profile
    server: str
    """Maker, product and version, as the server says."""


def ours(caps: Limits) -> ServerLimits:
    """Only our own caps, before the server has been asked."""
    most = caps.operations_per_call_max
    return ServerLimits(most, most, most, most, most, None, True, Profile.GENERIC, "")


async def read_limits(client: Client, wanted: Profile, caps: Limits) -> ServerLimits:
    """Ask the server; what it leaves unsaid counts as no limit. Raises what asyncua raises.

    Reads node by node in small calls: a server that takes only ten nodes a call must survive the question.
    """
    names = await _values(client, _NAMES)
    said = await _values(client, tuple(_OPERATION_LIMITS.values()))
    words = [name for name in names if isinstance(name, str) and name]
    profile = _recognise(" ".join(words).lower()) if wanted is Profile.AUTO else wanted
    make = MAKES.get(profile)
    most = caps.operations_per_call_max if make is None else min(make.batch, caps.operations_per_call_max)
    limits = {
        name: min(most, limit) if isinstance(limit, int) and limit > 0 else most
        for name, limit in zip(_OPERATION_LIMITS, said, strict=True)
    }
    maker, product, _, version = names
    server = " ".join(part for part in (maker, product, version) if isinstance(part, str) and part)
    return ServerLimits(
        **limits,
        items_max=make.items if make else None,
        filters=make.filters if make else True,
        profile=profile,
        server=server[:200],
    )


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Slices of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _recognise(words: str) -> Profile:
    return next(
        (profile for profile, make in MAKES.items() if any(mark in words for mark in make.marks)), Profile.GENERIC
    )


async def _values(client: Client, ids: Sequence[int]) -> list[object]:
    found: list[object] = []
    for some in batches(ids, 5):
        answers = await client.uaclient.read_attributes([node_id(each) for each in some], ua.AttributeIds.Value)
        if len(answers) != len(some):
            raise ua.UaError(f"asked for {len(some)} values, got {len(answers)}")
        found += [answer.Value.Value if answer.Value is not None else None for answer in answers]
    return found
