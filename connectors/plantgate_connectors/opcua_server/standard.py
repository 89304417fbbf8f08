"""Namespace 0, as much of it as a client needs to find its way: the folders, the types it meets, the Server object.

The whole of it (5,000 nodes) would cost 40 MB and a second, and say nothing about a plant. Node ids are the standard's.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from asyncua import ua
from asyncua.ua.ua_binary import variant_to_binary

from plantgate_connectors.opcua_server import nodes, values
from plantgate_connectors.opcua_server.nodes import Node, Reference

OBJECTS: Final = 85
FOLDER_TYPE: Final = 61
DATA_VARIABLE_TYPE: Final = 63
_PROPERTY_TYPE: Final = 68
_PROFILE: Final = "http://opcfoundation.org/UA-Profile/Server/EmbeddedUA2017"

_FOLDERS: Final = {84: ("Root", 0), 85: ("Objects", 84), 86: ("Types", 84), 87: ("Views", 84), 88: ("ObjectTypes", 86),
                   89: ("VariableTypes", 86), 90: ("DataTypes", 86), 91: ("ReferenceTypes", 86)}  # fmt: skip

_REFERENCE_TYPES: Final = (
    (31, "References", 0, ""), (32, "NonHierarchicalReferences", 31, ""), (33, "HierarchicalReferences", 31, ""),
    (34, "HasChild", 33, ""), (35, "Organizes", 33, "OrganizedBy"), (36, "HasEventSource", 33, "EventSourceOf"),
    (44, "Aggregates", 34, ""), (45, "HasSubtype", 34, "SubtypeOf"), (46, "HasProperty", 44, "PropertyOf"),
    (47, "HasComponent", 44, "ComponentOf"), (49, "HasOrderedComponent", 47, "OrderedComponentOf"),
    (37, "HasModellingRule", 32, "ModellingRuleOf"), (38, "HasEncoding", 32, "EncodingOf"),
    (39, "HasDescription", 32, "DescriptionOf"), (40, "HasTypeDefinition", 32, "TypeDefinitionOf"),
    (41, "GeneratesEvent", 32, "GeneratedBy"),
)  # fmt: skip
_OBJECT_TYPES: Final = (
    (58, "BaseObjectType", 0), (61, "FolderType", 58), (2004, "ServerType", 58), (2013, "ServerCapabilitiesType", 58),
    (2020, "ServerDiagnosticsType", 58), (2034, "ServerRedundancyType", 58), (11564, "OperationLimitsType", 61),
)  # fmt: skip
_VARIABLE_TYPES: Final = (
    (62, "BaseVariableType", 0), (63, "BaseDataVariableType", 62), (68, "PropertyType", 62),
    (2138, "ServerStatusType", 63), (3051, "BuildInfoType", 63),
)  # fmt: skip
_DATA_TYPES: Final = (
    (24, "BaseDataType", 0), (1, "Boolean", 24), (12, "String", 24), (13, "DateTime", 24), (14, "Guid", 24),
    (15, "ByteString", 24), (16, "XmlElement", 24), (17, "NodeId", 24), (18, "ExpandedNodeId", 24),
    (19, "StatusCode", 24), (20, "QualifiedName", 24), (21, "LocalizedText", 24), (22, "Structure", 24),
    (23, "DataValue", 24), (25, "DiagnosticInfo", 24), (26, "Number", 24), (29, "Enumeration", 24), (10, "Float", 26),
    (11, "Double", 26), (27, "Integer", 26), (28, "UInteger", 26), (2, "SByte", 27), (4, "Int16", 27), (6, "Int32", 27),
    (8, "Int64", 27), (3, "Byte", 28), (5, "UInt16", 28), (7, "UInt32", 28), (9, "UInt64", 28), (294, "UtcTime", 13),
    (295, "LocaleId", 12), (290, "Duration", 11), (862, "ServerStatusDataType", 22), (338, "BuildInfo", 22),
    (852, "ServerState", 29), (851, "RedundancySupport", 29),
)  # fmt: skip
_ABSTRACT: Final = {31, 32, 33, 34, 44, 62, 24, 22, 26, 27, 28, 29}


@dataclass(frozen=True, slots=True)
class Facts:
    """What the Server object says of us."""

    application_uri: str
    namespaces: tuple[str, ...]
    version: str
    started: int
    """ns UTC."""
    now: Callable[[], int]
    operations_max: int
    continuation_points_max: int


def standard_nodes(facts: Facts) -> dict[int, Node]:
    """All nodes of namespace 0, by identifier."""
    made: dict[int, Node] = {}
    for number, (name, above) in _FOLDERS.items():
        _add(made, Node((0, number), nodes.OBJECT, name, type_definition=FOLDER_TYPE), above, nodes.ORGANIZES)
    for number, name, above, inverse in _REFERENCE_TYPES:
        _add_type(made, Node((0, number), nodes.REFERENCE_TYPE, name, inverse=inverse), above or 91)
    for number, name, above in _OBJECT_TYPES:
        _add_type(made, Node((0, number), nodes.OBJECT_TYPE, name), above or 88)
    for number, name, above in _DATA_TYPES:
        _add_type(made, Node((0, number), nodes.DATA_TYPE, name), above or 90)
    for number, name, above in _VARIABLE_TYPES:
        _add_type(made, Node((0, number), nodes.VARIABLE_TYPE, name, data_type=24, rank=-2), above or 89)
    _add_server(made, facts)
    return made


def _add(made: dict[int, Node], node: Node, above: int, kind: int) -> None:
    number = node.key[1]
    assert isinstance(number, int)
    made[number] = node
    if above:
        made[above].references.append(Reference(kind, True, node.key))
        node.references.append(Reference(kind, False, (0, above)))


def _add_type(made: dict[int, Node], node: Node, above: int) -> None:
    node.abstract = node.key[1] in _ABSTRACT
    _add(made, node, above, nodes.ORGANIZES if above in _FOLDERS else nodes.HAS_SUBTYPE)


def _add_server(made: dict[int, Node], facts: Facts) -> None:
    """The Server object (OPC 10000-5, 8.3.2); numbers are looked up by the names of NodeIds.csv."""

    def put(name: str, above: str, kind: int, **more: Any) -> None:
        node = Node(
            (0, _number(name)), nodes.OBJECT if "value" not in more else nodes.VARIABLE, name.rpartition("_")[2]
        )
        for attribute, given in more.items():
            setattr(node, attribute, given)
        _add(made, node, _number(above), kind)

    def steady(
        name: str, above: str, data_type: int, body: bytes, rank: int = -1, kind: int = nodes.HAS_PROPERTY
    ) -> None:
        holds = _PROPERTY_TYPE if kind == nodes.HAS_PROPERTY else DATA_VARIABLE_TYPE
        at = values.ticks(facts.started)

        def value() -> bytes:
            return values.data_value(body, 0, at, values.ticks(facts.now()))

        put(name, above, kind, type_definition=holds, data_type=data_type, rank=rank, value=value)

    put("Server", "ObjectsFolder", nodes.ORGANIZES, type_definition=2004)
    steady("Server_ServerArray", "Server", 12, _strings(facts.application_uri), 1)
    steady("Server_NamespaceArray", "Server", 12, _strings(*facts.namespaces), 1)
    steady("Server_ServiceLevel", "Server", 3, b"\x03\xff")
    steady("Server_Auditing", "Server", 1, b"\x01\x00")
    _add_status(put, steady, facts)
    put("Server_ServerCapabilities", "Server", nodes.HAS_COMPONENT, type_definition=2013)
    above = "Server_ServerCapabilities"
    steady(f"{above}_ServerProfileArray", above, 12, _strings(_PROFILE), 1)
    steady(f"{above}_LocaleIdArray", above, 295, _strings("en"), 1)
    steady(f"{above}_MinSupportedSampleRate", above, 290, struct.pack("<Bd", 11, 0.0))
    steady(f"{above}_MaxBrowseContinuationPoints", above, 5, struct.pack("<BH", 5, facts.continuation_points_max))
    put(f"{above}_OperationLimits", above, nodes.HAS_COMPONENT, type_definition=11564)
    above = f"{above}_OperationLimits"
    for name in ("MaxNodesPerRead", "MaxNodesPerBrowse", "MaxNodesPerRegisterNodes",
                 "MaxNodesPerTranslateBrowsePathsToNodeIds", "MaxMonitoredItemsPerCall"):  # fmt: skip
        steady(f"{above}_{name}", above, 7, struct.pack("<BI", 7, facts.operations_max))
    put("Server_ServerDiagnostics", "Server", nodes.HAS_COMPONENT, type_definition=2020)
    steady("Server_ServerDiagnostics_EnabledFlag", "Server_ServerDiagnostics", 1, b"\x01\x00")
    put("Server_ServerRedundancy", "Server", nodes.HAS_COMPONENT, type_definition=2034)
    steady("Server_ServerRedundancy_RedundancySupport", "Server_ServerRedundancy", 851, struct.pack("<Bi", 6, 0))


def _add_status(put: Callable[..., None], steady: Callable[..., None], facts: Facts) -> None:
    status = "Server_ServerStatus"
    build = ua.BuildInfo(
        ProductUri="urn:plantgate", ManufacturerName="plantgate", ProductName="plantgate",
        SoftwareVersion=facts.version, BuildNumber="", BuildDate=_moment(facts.started),
    )  # fmt: skip

    def whole() -> bytes:
        now = facts.now()
        said = ua.ServerStatusDataType(
            StartTime=_moment(facts.started), CurrentTime=_moment(now), State=ua.ServerState.Running, BuildInfo=build,
            SecondsTillShutdown=ua.UInt32(0), ShutdownReason=ua.LocalizedText(""),
        )  # fmt: skip
        at = values.ticks(now)
        return values.data_value(variant_to_binary(ua.Variant(said)), 0, at, at)

    def time_now() -> bytes:
        at = values.ticks(facts.now())
        return values.data_value(struct.pack("<Bq", values.DATE_TIME, at), 0, at, at)

    part = {"kind": nodes.HAS_COMPONENT}
    put(status, "Server", nodes.HAS_COMPONENT, type_definition=2138, data_type=862, value=whole)
    steady(f"{status}_StartTime", status, 294, struct.pack("<Bq", 13, values.ticks(facts.started)), **part)
    put(f"{status}_CurrentTime", status, nodes.HAS_COMPONENT, type_definition=63, data_type=294, value=time_now)
    steady(f"{status}_State", status, 852, struct.pack("<Bi", 6, 0), **part)
    steady(f"{status}_BuildInfo", status, 338, variant_to_binary(ua.Variant(build)), **part)
    for name in ("ProductUri", "ManufacturerName", "ProductName", "SoftwareVersion", "BuildNumber"):
        text = getattr(build, name) or ""
        steady(f"{status}_BuildInfo_{name}", f"{status}_BuildInfo", 12, b"\x0c" + nodes.string(text), **part)
    started = struct.pack("<Bq", values.DATE_TIME, values.ticks(facts.started))
    steady(f"{status}_BuildInfo_BuildDate", f"{status}_BuildInfo", 294, started, **part)
    steady(f"{status}_SecondsTillShutdown", status, 7, struct.pack("<BI", 7, 0), **part)
    steady(f"{status}_ShutdownReason", status, 21, b"\x15" + nodes.localized_text(""), **part)


def _number(name: str) -> int:
    found = getattr(ua.ObjectIds, name)
    assert isinstance(found, int)
    return found


def _strings(*texts: str) -> bytes:
    return bytes((values.STRING | 0x80,)) + struct.pack("<i", len(texts)) + b"".join(map(nodes.string, texts))


def _moment(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC)
