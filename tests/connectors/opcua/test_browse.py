"""Patterns find their nodes in trees that are none, and stop at their limits (catalogue row 45)."""

import asyncio
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

from asyncua import ua

from plantgate.testing.context import lent
from plantgate_connectors.opcua.addressing import tag_of
from plantgate_connectors.opcua.browse import Harvest, find
from plantgate_connectors.opcua.client import PlainClient
from plantgate_connectors.opcua.glob import Pattern
from plantgate_connectors.opcua.nodeids import node_id
from plantgate_connectors.opcua.session import Session
from plantgate_connectors.opcua.settings import Browse, OpcUaSettings
from tests.connectors.opcua.plant_given import settings

Child = tuple[str, str, ua.NodeClass]
VARIABLE, OBJECT = ua.NodeClass.Variable, ua.NodeClass.Object


class Device:
    """A server's address space that answers Browse and BrowseNext, page by page; children may be endless."""

    def __init__(self, children: dict[str, Sequence[Child] | Iterator[Child]], *, points_most: int = 1000) -> None:
        self._children = children
        self._points: dict[bytes, Iterator[ua.ReferenceDescription]] = {}
        self._points_most = points_most
        self._names = itertools.count()
        self._page = 1
        self.calls = 0
        self.sent = 0
        self.released = 0

    async def browse(self, parameters: ua.BrowseParameters) -> list[ua.BrowseResult]:
        self.calls += 1
        self._page = parameters.RequestedMaxReferencesPerNode
        return [self._answer(self._references(wanted)) for wanted in parameters.NodesToBrowse]

    async def browse_next(self, parameters: ua.BrowseNextParameters) -> list[ua.BrowseResult]:
        self.calls += 1
        found = [self._points.pop(point) for point in parameters.ContinuationPoints]
        if parameters.ReleaseContinuationPoints:
            self.released += len(found)
            return []
        return [self._answer(references) for references in found]

    @property
    def open_points(self) -> int:
        return len(self._points)

    def _references(self, wanted: ua.BrowseDescription) -> Iterator[ua.ReferenceDescription]:
        name = "Root" if wanted.NodeId.Identifier == ua.ObjectIds.RootFolder else str(wanted.NodeId.Identifier)
        for id_, browse_name, kind in self._children.get(name, ()):
            made = ua.ReferenceDescription()
            made.NodeId = node_id("Root" if id_ == "Root" else id_, 1)
            made.ReferenceTypeId = node_id(
                ua.ObjectIds.HasProperty if browse_name == "EURange" else ua.ObjectIds.Organizes
            )
            made.BrowseName = ua.QualifiedName(browse_name, 1)
            made.NodeClass = kind
            yield made

    def _answer(self, references: Iterator[ua.ReferenceDescription]) -> ua.BrowseResult:
        made = ua.BrowseResult()
        made.References = list(itertools.islice(references, self._page))
        self.sent += len(made.References)
        if len(made.References) == self._page:
            if len(self._points) >= self._points_most:
                made.StatusCode, made.References = ua.StatusCode(ua.StatusCodes.BadNoContinuationPoints), []
                return made
            made.ContinuationPoint = str(next(self._names)).encode()
            self._points[made.ContinuationPoint] = references
        return made


def harvest(folder: Path, device: Device, wanted: dict[str, object], **limits: object) -> Harvest:
    chosen: OpcUaSettings = settings(browse=[wanted], limits=limits)
    client = PlainClient(chosen, name="test", application_uri="urn:test")
    client.uaclient = cast("ua.UaClient", device)
    session = Session(client, chosen, lent(folder), security="None")
    session.namespaces = ["http://opcfoundation.org/UA/", "urn:press"]
    return asyncio.run(find(session, chosen.browse[0]))


def tags(found: Harvest, **wanted: object) -> list[str]:
    pattern = Browse.model_validate_json(json.dumps(wanted))
    return [tag_of(pattern, Pattern.parse(pattern.path), each) for each in found.finds]


LINES: dict[str, Sequence[Child] | Iterator[Child]] = {
    "Root": [("o", "Objects", OBJECT), ("t", "Types", OBJECT)],
    "t": [("tt", "Temp", VARIABLE)],
    "o": [("s", "Server", OBJECT), ("l1", "Line1", OBJECT), ("l2", "Line2", OBJECT), ("c", "Cell", OBJECT)],
    "s": [("st", "Temp", VARIABLE)],
    "l1": [("p1", "Press", OBJECT), ("x1", "Temp", VARIABLE)],
    "p1": [("x2", "Temp", VARIABLE), ("x3", "Temp/2", VARIABLE), ("x4", "Speed", VARIABLE)],
    "x2": [("e2", "EURange", VARIABLE)],
    "l2": [("x5", "Temp", VARIABLE)],
    "c": [("x6", "Temp", VARIABLE)],
}


def test_a_pattern_finds_what_it_says_and_names_it_by_the_wild_part(tmp_path: Path) -> None:
    wanted: dict[str, object] = {"path": "Objects/Line*/**/Temp*", "tag": "plant/{path}"}
    found = harvest(tmp_path, Device(LINES), wanted)
    assert sorted(tags(found, **wanted)) == [
        "plant/Line1/Press/Temp",
        "plant/Line1/Press/Temp%2F2",
        "plant/Line1/Temp",
        "plant/Line2/Temp",
    ]
    assert found.problems == []


def test_names_come_from_the_template(tmp_path: Path) -> None:
    wanted: dict[str, object] = {"path": "Objects/Line1/Press/Speed", "tag": "{parent}.{name}.{path}"}
    assert tags(harvest(tmp_path, Device(LINES), wanted), **wanted) == ["Press.Speed.Speed"]


def test_include_and_exclude_narrow_it(tmp_path: Path) -> None:
    wanted: dict[str, object] = {"path": "Objects/**", "exclude": ["Objects/*/Press"], "include": ["**/Temp*"]}
    assert sorted(tags(harvest(tmp_path, Device(LINES), wanted), **wanted)) == [
        "Cell/Temp",
        "Line1/Temp",
        "Line2/Temp",
    ]


def test_a_wildcard_enters_neither_the_servers_diagnostics_nor_the_types(tmp_path: Path) -> None:
    everything = harvest(tmp_path, Device(LINES), {"path": "**"})
    assert {find.path[:2] for find in everything.finds}.isdisjoint({("Objects", "Server"), ("Types", "Temp")})
    assert len(harvest(tmp_path, Device(LINES), {"path": "Objects/Server/*"}).finds) == 1


def test_properties_are_found_only_when_asked_for(tmp_path: Path) -> None:
    wanted: dict[str, object] = {"path": "Objects/**/EURange"}
    assert harvest(tmp_path, Device(LINES), wanted).finds == []
    assert len(harvest(tmp_path, Device(LINES), {**wanted, "properties": True}).finds) == 1


def test_a_cycle_ends_and_each_node_is_found_once(tmp_path: Path) -> None:
    device = Device(
        {
            "Root": [("o", "Objects", OBJECT)],
            "o": [("a", "A", OBJECT)],
            "a": [("b", "B", OBJECT), ("v", "Temp", VARIABLE)],
            "b": [("a", "A", OBJECT), ("b", "B", OBJECT), ("v", "Temp", VARIABLE)],
        }
    )
    found = harvest(tmp_path, device, {"path": "Objects/**/Temp"})
    assert [find.path for find in found.finds] == [("Objects", "A", "Temp")]
    assert device.calls < 10


def test_a_million_children_stop_at_the_limit_and_say_so(tmp_path: Path) -> None:
    children = ((f"v{number}", f"Temp{number}", VARIABLE) for number in range(1_000_000))
    device = Device({"Root": [("o", "Objects", OBJECT)], "o": children})
    found = harvest(tmp_path, device, {"path": "Objects/*"}, browse_nodes_max=5000)
    assert len(found.finds) == 4999
    assert "stopped after looking at 5000 nodes" in found.problems[0]
    assert device.sent < 20_000
    assert device.open_points == 0


def test_too_many_finds_stop_at_nodes_max(tmp_path: Path) -> None:
    children = [(f"v{number}", f"Temp{number}", VARIABLE) for number in range(3000)]
    device = Device({"Root": [("o", "Objects", OBJECT)], "o": children})
    found = harvest(tmp_path, device, {"path": "Objects/*", "nodes_max": 100})
    assert (len(found.finds), device.open_points) == (100, 0)
    assert "nodes_max" in found.problems[0]


def test_pages_are_followed_to_the_last_child(tmp_path: Path) -> None:
    children = [(f"v{number}", f"Temp{number}", VARIABLE) for number in range(3000)]
    device = Device({"Root": [("o", "Objects", OBJECT)], "o": children})
    found = harvest(tmp_path, device, {"path": "Objects/*"}, message_bytes_max=100_000)
    assert (len(found.finds), device.open_points) == (3000, 0)
    assert device.calls > 10


def test_a_server_with_one_continuation_point_is_browsed_node_by_node(tmp_path: Path) -> None:
    branches = [(f"b{number}", f"B{number}", OBJECT) for number in range(5)]
    leaves = {f"b{number}": [(f"v{number}.{leaf}", f"T{leaf}", VARIABLE) for leaf in range(300)] for number in range(5)}
    device = Device({"Root": [("o", "Objects", OBJECT)], "o": branches, **leaves}, points_most=1)
    found = harvest(tmp_path, device, {"path": "Objects/*/*"}, message_bytes_max=50_000)
    assert (len(found.finds), found.problems) == (1500, [])
