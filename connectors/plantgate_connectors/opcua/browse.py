"""Finds variables by their place in the server's tree, without trusting the tree to be one.

Address spaces have cycles, nodes with many parents, and sometimes a million children. Each node is opened once per way
of matching, children come in pages, and every pattern has a cap that is reported when it is met.
"""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from asyncua import ua
from asyncua.ua.uaerrors import UaStatusCodeError

from plantgate_connectors.opcua.failures import status_name, translated
from plantgate_connectors.opcua.glob import Pattern
from plantgate_connectors.opcua.nodeids import node_id
from plantgate_connectors.opcua.session import Session
from plantgate_connectors.opcua.settings import Browse

_BATCH_MOST: Final = 32
_REFERENCE_BYTES: Final = 150
"""What one reference usually takes in an answer; decides how many we ask for at a time."""
_SECONDS_MOST: Final = 300.0
_DEPTH_MOST: Final = 64
_ASIDE: Final = {("Objects", "Server"), ("Types",), ("Views",)}
"""Not entered by a wildcard: diagnostics and types are never what "everything below Objects" means."""
_HAS_PROPERTY: Final = ua.ObjectIds.HasProperty
_TOO_LARGE: Final = (ua.StatusCodes.BadResponseTooLarge, ua.StatusCodes.BadEncodingLimitsExceeded)


@dataclass(frozen=True, slots=True)
class Find:
    """A variable that matches."""

    node: ua.NodeId
    path: tuple[str, ...]
    """Browse names from Root on, without namespaces."""


@dataclass(slots=True)
class Harvest:
    """What a pattern found, and why that may not be all."""

    finds: list[Find] = field(default_factory=list)
    looked_at: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Open:
    """A node whose children are wanted."""

    node: ua.NodeId
    path: tuple[str, ...]
    states: frozenset[int]
    excluded: tuple[frozenset[int], ...]


class _Pager:
    """Browses many nodes at once, page by page."""

    def __init__(self, session: Session) -> None:
        self._session = session
        limits = session.limits
        self.batch = max(1, min(_BATCH_MOST, limits.nodes_per_browse, limits.browse_continuation_points))
        budget = session.settings.limits.message_bytes_max // 2
        self.page = max(8, budget // (_REFERENCE_BYTES * self.batch))
        self.refusals: dict[str, int] = {}

    async def first(self, nodes: Sequence[ua.NodeId]) -> list[ua.BrowseResult]:
        parameters = ua.BrowseParameters()
        parameters.View = ua.ViewDescription()
        parameters.RequestedMaxReferencesPerNode = ua.UInt32(self.page)
        parameters.NodesToBrowse = [
            ua.BrowseDescription(
                NodeId=node,
                BrowseDirection=ua.BrowseDirection.Forward,
                ReferenceTypeId=node_id(ua.ObjectIds.HierarchicalReferences),
                IncludeSubtypes=True,
                NodeClassMask=ua.UInt32(ua.NodeClass.Object | ua.NodeClass.Variable),
                ResultMask=ua.UInt32(
                    ua.BrowseResultMask.ReferenceTypeId | ua.BrowseResultMask.NodeClass | ua.BrowseResultMask.BrowseName
                ),
            )
            for node in nodes
        ]
        results = await self._session.client.uaclient.browse(parameters)
        if len(results) != len(nodes):
            raise ua.UaError(f"browsed {len(nodes)} nodes, got {len(results)} answers")
        return results

    async def following(self, points: Sequence[bytes], *, release: bool = False) -> list[ua.BrowseResult]:
        results = await self._session.client.uaclient.browse_next(
            ua.BrowseNextParameters(ReleaseContinuationPoints=release, ContinuationPoints=list(points))
        )
        if not release and len(results) != len(points):
            raise ua.UaError(f"asked for {len(points)} more pages, got {len(results)}")
        return results


async def find(session: Session, wanted: Browse) -> Harvest:
    """All variables that match a pattern now. Raises `Unavailable` when the session is gone."""
    with translated(session.context, f"browse {wanted.path}"):
        return await _Walker(session, wanted).walk()


class _Walker:
    def __init__(self, session: Session, wanted: Browse) -> None:
        self._session = session
        self._wanted = wanted
        self._pattern = Pattern.parse(wanted.path)
        self._include = [Pattern.parse(path) for path in wanted.include]
        self._exclude = [Pattern.parse(path) for path in wanted.exclude]
        self._pager = _Pager(session)
        self._harvest = Harvest()
        self._found: set[ua.NodeId] = set()
        self._opened: dict[ua.NodeId, set[frozenset[int]]] = {}
        self._waiting: deque[_Open] = deque()
        self._stopped = False

    async def walk(self) -> Harvest:
        root = node_id(ua.ObjectIds.RootFolder)
        begun = time.monotonic()
        self._enqueue(_Open(root, (), self._pattern.start(), tuple(pattern.start() for pattern in self._exclude)))
        while self._waiting and not self._stopped:
            if time.monotonic() - begun > _SECONDS_MOST:
                self._stop(f"browsing took longer than {_SECONDS_MOST:.0f} s")
                break
            some = [self._waiting.popleft() for _ in range(min(self._pager.batch, len(self._waiting)))]
            await self._open(some)
        for status, count in self._pager.refusals.items():
            self._harvest.problems.append(f"{count} nodes could not be opened: {status}")
        return self._harvest

    async def _open(self, some: list[_Open]) -> None:
        try:
            results = await self._pager.first([each.node for each in some])
        except UaStatusCodeError as error:
            if error.code in _TOO_LARGE and (self._pager.page > 8 or self._pager.batch > 1):
                self._pager.page = max(8, self._pager.page // 4)
                self._pager.batch = max(1, self._pager.batch // 2)
                self._waiting.extendleft(reversed(some))
                return
            raise
        pending = list(zip(some, results, strict=True))
        points: list[tuple[_Open, bytes]] = []
        while pending:
            points = []
            for parent, result in pending:
                if not self._take(parent, result) or not result.ContinuationPoint:
                    continue
                points.append((parent, result.ContinuationPoint))
            if not points:
                return
            if self._stopped:
                await self._pager.following([point for _, point in points], release=True)
                return
            pages = await self._pager.following([point for _, point in points])
            pending = [(parent, page) for (parent, _), page in zip(points, pages, strict=True)]

    def _take(self, parent: _Open, result: ua.BrowseResult) -> bool:
        """Look at one page of children; False if the server refused the node."""
        code = result.StatusCode.value
        if code == ua.StatusCodes.BadNoContinuationPoints and self._pager.batch > 1:
            self._pager.batch = max(1, self._pager.batch // 2)
            self._waiting.append(parent)
            return False
        if code >> 31:
            name = status_name(code)
            self._pager.refusals[name] = self._pager.refusals.get(name, 0) + 1
            return False
        for reference in result.References or []:
            if self._stopped:
                break
            self._look(parent, reference)
        return True

    def _look(self, parent: _Open, reference: ua.ReferenceDescription) -> None:
        self._harvest.looked_at += 1
        if self._harvest.looked_at > self._session.settings.limits.browse_nodes_max:
            self._stop(f"stopped after looking at {self._session.settings.limits.browse_nodes_max} nodes")
            return
        is_property = (
            reference.ReferenceTypeId.NamespaceIndex == 0 and reference.ReferenceTypeId.Identifier == _HAS_PROPERTY
        )
        node = self._local(reference.NodeId)
        if node is None or (is_property and not self._wanted.properties):
            return
        name = (reference.BrowseName.Name or "").replace("/", "%2F")
        path = (*parent.path, name)
        if path in _ASIDE and self._pattern.segments[: len(path)] != path:
            return
        states = self._pattern.step(parent.states, name)
        if not states:
            return
        excluded = tuple(
            pattern.step(before, name) for pattern, before in zip(self._exclude, parent.excluded, strict=True)
        )
        if any(pattern.matched(now) for pattern, now in zip(self._exclude, excluded, strict=True)):
            return
        if reference.NodeClass == ua.NodeClass.Variable and self._pattern.matched(states):
            self._keep(node, path)
        if self._pattern.open(states) and len(path) < _DEPTH_MOST:
            self._enqueue(_Open(node, path, states, excluded))

    def _keep(self, node: ua.NodeId, path: tuple[str, ...]) -> None:
        if node in self._found or (self._include and not any(pattern.matches(path) for pattern in self._include)):
            return
        if len(self._harvest.finds) >= self._wanted.nodes_max:
            self._stop(f"stopped at nodes_max: {self._wanted.nodes_max} finds")
            return
        self._found.add(node)
        self._harvest.finds.append(Find(node, path))

    def _enqueue(self, opening: _Open) -> None:
        """Once per node and way of matching: this is what ends cycles, and the shortest path wins."""
        ways = self._opened.setdefault(opening.node, set())
        if opening.states not in ways:
            ways.add(opening.states)
            self._waiting.append(opening)

    def _stop(self, reason: str) -> None:
        self._stopped = True
        self._harvest.problems.append(f"{reason}; make the pattern narrower or raise the limit")

    def _local(self, node: ua.NodeId) -> ua.NodeId | None:
        """A node of this server, with its namespace as an index; None if it lives elsewhere."""
        if not isinstance(node, ua.ExpandedNodeId):
            return node
        if node.ServerIndex:
            return None
        index = int(node.NamespaceIndex)
        if node.NamespaceUri:
            if node.NamespaceUri not in self._session.namespaces:
                return None
            index = self._session.namespaces.index(node.NamespaceUri)
        return node_id(node.Identifier, index)
