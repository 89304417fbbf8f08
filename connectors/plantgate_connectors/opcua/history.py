"""Reads a stretch of raw history for many items at once (OPC 10000-11, ReadRaw)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from asyncua import ua
from asyncua.ua.uaerrors import UaStatusCodeError

from plantgate_connectors.opcua.bounds import MalformedNotification, Walk, skip_string
from plantgate_connectors.opcua.decode import Columns, Plain, decode_values
from plantgate_connectors.opcua.envelope import encoding_id, response_header
from plantgate_connectors.opcua.failures import translated
from plantgate_connectors.opcua.session import Session

_RESPONSE: Final = 667
_DATA: Final = 658
"""Numbers of the binary encodings of HistoryReadResponse and HistoryData."""
VALUES_PER_CALL: Final = 1_000
"""For each item; more is fetched through continuation points."""
_NODES_PER_CALL: Final = 50
"""Times the values of each: what one answer may hold stays below the message limit."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class History:
    """What the server's archive has of one item in a stretch, in order of time."""

    columns: Columns = field(default_factory=Columns)
    more: bool = False
    """Cut short here: the archive has more of the stretch."""


@dataclass(slots=True)
class Found:
    """What was found for several items; those of whose history the server keeps none are in neither."""

    histories: dict[int, History] = field(default_factory=dict)
    unasked: set[int] = field(default_factory=set)
    """Items that it did not come to."""

    @property
    def values(self) -> int:
        """How many in all."""
        return sum(len(history.columns) for history in self.histories.values())

    def add(self, other: "Found") -> None:
        """Take in what was found for others."""
        self.histories |= other.histories
        self.unasked |= other.unasked


async def read_history(
    session: Session, nodes: Mapping[int, ua.NodeId], since: int, until: int, *, most: int, plain: Plain
) -> Found:
    """Values of these nodes (by handle) from `since` up to but not including `until` (ns UTC), about `most` in all.

    Raises `Unavailable` when the session is gone.
    """
    found = Found()
    per_call = min(session.limits.nodes_per_history_read, _NODES_PER_CALL)
    handles = list(nodes)
    for start in range(0, len(handles), per_call):
        if found.values >= most:
            found.unasked.update(handles[start:])
            break
        left: list[tuple[int, bytes | None]] = [(handle, None) for handle in handles[start : start + per_call]]
        while left and found.values < most:
            left = await _page(session, nodes, left, (since, until), found.histories, plain)
        if left:
            for handle, _ in left:
                found.histories[handle].more = True
            await _release(session, nodes, left, (since, until))
    return found


async def _page(
    session: Session,
    nodes: Mapping[int, ua.NodeId],
    asked: Sequence[tuple[int, bytes | None]],
    stretch: tuple[int, int],
    found: dict[int, History],
    plain: Plain,
) -> list[tuple[int, bytes | None]]:
    """One call for these items and where each left off; returns those of which there is more."""
    with translated(session.context, "read history"):
        try:
            body = await _ask(session, nodes, asked, stretch)
        except UaStatusCodeError:
            return []
    more: list[tuple[int, bytes | None]] = []
    try:
        for (handle, _), (status, point, at, end) in zip(asked, _results(body), strict=True):
            if status & 0x8000_0000:
                continue
            history = found.setdefault(handle, History())
            if end > at:
                decode_values(Walk(body, end), at, handle, plain, history.columns)
            if point:
                more.append((handle, point))
    except (MalformedNotification, ValueError) as error:
        session.context.log.error("an answer from history makes no sense", reason=str(error))
        for handle, _ in asked:
            found.pop(handle, None)
        return []
    return more


async def _ask(
    session: Session,
    nodes: Mapping[int, ua.NodeId],
    asked: Sequence[tuple[int, bytes | None]],
    stretch: tuple[int, int],
    *,
    release: bool = False,
) -> bytes:
    details = ua.ReadRawModifiedDetails()
    details.IsReadModified = False
    details.ReturnBounds = False
    details.NumValuesPerNode = ua.UInt32(VALUES_PER_CALL)
    details.StartTime, details.EndTime = (_EPOCH + timedelta(microseconds=time // 1000) for time in stretch)
    parameters = ua.HistoryReadParameters()
    parameters.HistoryReadDetails = details
    parameters.TimestampsToReturn = ua.TimestampsToReturn.Source
    parameters.ReleaseContinuationPoints = release
    for handle, point in asked:
        wanted = ua.HistoryReadValueId()
        wanted.NodeId = nodes[handle]
        wanted.ContinuationPoint = point
        parameters.NodesToRead.append(wanted)
    request = ua.HistoryReadRequest()
    request.Parameters = parameters
    protocol = session.client.uaclient.protocol
    if protocol is None:
        raise ConnectionError("the connection is closed")
    answer = await protocol.send_request(request)  # undecoded: the library's decoder trusts every length
    return answer.read(len(answer))


async def _release(
    session: Session,
    nodes: Mapping[int, ua.NodeId],
    points: Sequence[tuple[int, bytes | None]],
    stretch: tuple[int, int],
) -> None:
    with translated(session.context, "release continuation points"):
        try:
            await _ask(session, nodes, points, stretch, release=True)
        except UaStatusCodeError as error:
            session.context.log.info("continuation points not released", status=f"0x{error.code:08X}")


def _results(body: bytes) -> list[tuple[int, bytes | None, int, int]]:
    """Status, continuation point, and where the values lie, of each item."""
    walk = Walk(body, len(body))
    at = response_header(walk, _RESPONSE)
    results = walk.count(at, 11, "history results", 10_000)
    at += 4
    found: list[tuple[int, bytes | None, int, int]] = []
    for _ in range(results):
        after = walk.need(at, 4, "a status code")
        status = int.from_bytes(body[at:after], "little")
        at = skip_string(walk, after)
        point = body[after + 4 : at] or None
        kind, at = encoding_id(walk, at)
        walk.need(at, 1, "history data")
        if body[at] == 0:
            at += 1
            found.append((status, point, at, at))
            continue
        end = skip_string(walk, at + 1)
        found.append((status, point, at + 5, end if kind == _DATA else at + 5))
        at = end
    return found
