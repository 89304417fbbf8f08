"""Browse, BrowseNext and TranslateBrowsePaths. Rules: OPC 10000-4, 5.9."""

import itertools
import os
import struct
from collections.abc import Iterator
from typing import Final

from asyncua import ua

from plantgate_connectors.opcua_server import nodes
from plantgate_connectors.opcua_server.fault import Fault
from plantgate_connectors.opcua_server.nodes import Key, Reference
from plantgate_connectors.opcua_server.sessions import Session
from plantgate_connectors.opcua_server.tree import Tree, key_of

NODE_UNKNOWN: Final = 0x8034_0000
REFERENCE_INVALID: Final = 0x804C_0000
DIRECTION_INVALID: Final = 0x804D_0000
VIEW_UNKNOWN: Final = 0x806B_0000
POINT_INVALID: Final = 0x804A_0000
NO_POINTS: Final = 0x804B_0000
NO_MATCH: Final = 0x806F_0000
NAME_INVALID: Final = 0x8060_0000
NOTHING_TO_DO: Final = 0x800F_0000

REFERENCES_MAX: Final = 1000
"""References in one result; more are had by BrowseNext."""
CONTINUED_MAX: Final = 10
"""Browses of one session that are not finished."""
_NULL: Final = b"\xff\xff\xff\xff"


class Browsing:
    """Answers in encoded form: there can be many references."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def browse(self, session: Session, wanted: ua.BrowseParameters) -> bytes:
        """Encoded BrowseResponse behind its header; raises `Fault`."""
        if wanted.View.ViewId != ua.NodeId():
            raise Fault(VIEW_UNKNOWN)
        most = min(int(wanted.RequestedMaxReferencesPerNode) or REFERENCES_MAX, REFERENCES_MAX)
        results = [self._one(session, each, most) for each in wanted.NodesToBrowse]
        return struct.pack("<i", len(results)) + b"".join(results) + _NULL

    def browse_next(self, session: Session, wanted: ua.BrowseNextParameters) -> bytes:
        """Encoded BrowseNextResponse behind its header."""
        results = []
        for point in wanted.ContinuationPoints:
            found = session.continued.pop(bytes(point or b""), None)
            if found is None:
                results.append(_result(POINT_INVALID, b"", []))
            elif wanted.ReleaseContinuationPoints:
                results.append(_result(0, b"", []))
            else:
                results.append(self._page(session, *found))
        return struct.pack("<i", len(results)) + b"".join(results) + _NULL

    def _one(self, session: Session, wanted: ua.BrowseDescription, most: int) -> bytes:
        node = self._tree.find(key_of(wanted.NodeId))
        if node is None:
            return _result(NODE_UNKNOWN, b"", [])
        direction = int(wanted.BrowseDirection)
        if direction not in (0, 1, 2):
            return _result(DIRECTION_INVALID, b"", [])
        kind = key_of(wanted.ReferenceTypeId) or (0, 0)
        if kind != (0, 0):
            known = self._tree.find(kind)
            if known is None or known.node_class != nodes.REFERENCE_TYPE:
                return _result(REFERENCE_INVALID, b"", [])
        number = kind[1] if isinstance(kind[1], int) else 0
        matching = [
            reference
            for reference in node.all_references()
            if (direction == 2 or reference.forward == (direction == 0))
            and (not number or self._tree.is_kind(reference.kind, number, bool(wanted.IncludeSubtypes)))
        ]
        return self._page(session, iter(matching), (int(wanted.NodeClassMask), int(wanted.ResultMask), most))

    def _page(self, session: Session, left: Iterator[Reference], asked: tuple[int, int, int]) -> bytes:
        classes, mask, most = asked
        described: list[bytes] = []
        for reference in left:
            node = self._tree.find(reference.target)
            if node is None or (classes and not node.node_class & classes):
                continue
            if len(described) == most:
                point = os.urandom(16)
                if len(session.continued) >= CONTINUED_MAX:
                    return _result(NO_POINTS, b"", [])
                session.continued[point] = (itertools.chain((reference,), left), asked)
                return _result(0, point, described)
            described.append(_described(reference, node, mask))
        return _result(0, b"", described)

    def translate(self, wanted: list[ua.BrowsePath]) -> ua.TranslateBrowsePathsToNodeIdsResponse:
        """Follow names from nodes."""
        answer = ua.TranslateBrowsePathsToNodeIdsResponse()
        answer.Results = [self._followed(each) for each in wanted]
        return answer

    def _followed(self, path: ua.BrowsePath) -> ua.BrowsePathResult:
        result = ua.BrowsePathResult()
        start = key_of(path.StartingNode)
        steps = path.RelativePath.Elements or []
        if self._tree.find(start) is None or start is None:
            result.StatusCode = ua.StatusCode(ua.UInt32(NODE_UNKNOWN))
            return result
        if not steps:
            result.StatusCode = ua.StatusCode(ua.UInt32(NOTHING_TO_DO))
            return result
        at: list[Key] = [start]
        for step in steps:
            if step.TargetName is None or not step.TargetName.Name:
                result.StatusCode = ua.StatusCode(ua.UInt32(NAME_INVALID))
                return result
            at = [target for key in at for target in self._named(key, step)][:100]
        if not at:
            result.StatusCode = ua.StatusCode(ua.UInt32(NO_MATCH))
        for namespace, identifier in at:
            target = ua.BrowsePathTarget()
            plain = ua.String(identifier) if isinstance(identifier, str) else ua.Int32(identifier)
            target.TargetId = ua.ExpandedNodeId(plain, ua.Int16(namespace))
            target.RemainingPathIndex = ua.UInt32(0xFFFF_FFFF)
            result.Targets.append(target)
        return result

    def _named(self, key: Key, step: ua.RelativePathElement) -> Iterator[Key]:
        node = self._tree.find(key)
        kind = key_of(step.ReferenceTypeId) or (0, 0)
        number = kind[1] if kind[0] == 0 and isinstance(kind[1], int) else -1
        for reference in node.all_references() if node is not None else ():
            if reference.forward == bool(step.IsInverse):
                continue
            if number and not self._tree.is_kind(reference.kind, number, bool(step.IncludeSubtypes)):
                continue
            target = self._tree.find(reference.target)
            if (
                target is not None
                and target.name == step.TargetName.Name
                and target.name_namespace == step.TargetName.NamespaceIndex
            ):
                yield target.key


def _result(status: int, point: bytes, described: list[bytes]) -> bytes:
    head = struct.pack("<Ii", status, len(point) or -1) + point
    return head + struct.pack("<i", len(described)) + b"".join(described)


def _described(reference: Reference, node: nodes.Node, mask: int) -> bytes:
    """ReferenceDescription with the fields of the mask (OPC 10000-4, 5.9.2, Table 34)."""
    return b"".join(
        (
            nodes.node_id((0, reference.kind)) if mask & 1 else b"\0\0",
            b"\x01" if reference.forward and mask & 2 else b"\0",
            nodes.node_id(node.key),
            nodes.qualified_name(node.name_namespace, node.name) if mask & 8 else b"\0\0\xff\xff\xff\xff",
            nodes.localized_text(node.name) if mask & 16 else b"\0",
            struct.pack("<i", node.node_class if mask & 4 else 0),
            nodes.node_id((0, node.type_definition)) if mask & 32 and node.type_definition else b"\0\0",
        )
    )
