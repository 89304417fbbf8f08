"""A server's limits are kept to: what it says, what is known of its make, and our caps."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest
from asyncua import Client, ua

from plantgate.testing.context import lent
from plantgate_connectors.opcua.addressing import resolve
from plantgate_connectors.opcua.client import PlainClient
from plantgate_connectors.opcua.limits import ServerLimits, batches, read_limits
from plantgate_connectors.opcua.session import Session
from plantgate_connectors.opcua.settings import Limits, OpcUaSettings, Profile
from tests.connectors.opcua.plant_given import settings

IDS = ua.ObjectIds
MAKER, PRODUCT = IDS.Server_ServerStatus_BuildInfo_ManufacturerName, IDS.Server_ServerStatus_BuildInfo_ProductName
PER_READ = IDS.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead
PER_CALL = IDS.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall
NAMESPACES = IDS.Server_NamespaceArray


class Device:
    """Answers reads of its own nodes; knows no others, and takes ten at a time."""

    def __init__(self, values: Mapping[int, object]) -> None:
        self._values = values
        self.uaclient = self

    async def read_attributes(self, nodes: Sequence[ua.NodeId], attribute: ua.AttributeIds) -> list[ua.DataValue]:
        assert len(nodes) <= 10
        return [self._answer(self._values.get(cast("int", node.Identifier))) for node in nodes]

    async def get_namespace_array(self) -> object:
        return self._values[NAMESPACES]

    def _answer(self, value: object) -> ua.DataValue:
        if value is None:
            return ua.DataValue(StatusCode=ua.StatusCode(ua.UInt32(ua.StatusCodes.BadNodeIdUnknown)))
        return ua.DataValue(ua.Variant(value))


def limits(values: Mapping[int, object], profile: Profile = Profile.AUTO, most: int = 1000) -> ServerLimits:
    device = cast("Client", Device(values))
    return asyncio.run(read_limits(device, profile, Limits(operations_per_call_max=most)))


def test_what_the_server_says_counts_if_it_is_less_than_our_cap() -> None:
    found = limits({PER_READ: 10, PER_CALL: 5000})
    assert (found.nodes_per_read, found.monitored_items_per_call, found.nodes_per_browse) == (10, 1000, 1000)
    assert found.profile is Profile.GENERIC


def test_zero_and_silence_mean_no_limit_of_the_servers() -> None:
    assert limits({PER_READ: 0}, most=77).nodes_per_read == 77
    assert limits({}).nodes_per_read == 1000


@pytest.mark.parametrize(
    ("maker", "product", "profile", "batch", "filters"),
    [
        ("Siemens AG", "SIMATIC.S7-1200.OPC-UA.Application", Profile.SIEMENS_S7_1200, 100, False),
        ("Siemens AG", "SIMATIC S7-1500", Profile.SIEMENS_S7_1500, 500, True),
        ("PTC", "KEPServerEX", Profile.KEPWARE, 1000, True),
        ("Inductive Automation", "Ignition OPC-UA Server", Profile.IGNITION, 100, True),
        ("Prosys OPC Ltd", "Simulation Server", Profile.PROSYS, 800, True),
        ("Acme", "Press", Profile.GENERIC, 1000, True),
    ],
)
def test_a_make_is_recognised_by_what_it_says_of_itself(
    maker: str, product: str, profile: Profile, batch: int, *, filters: bool
) -> None:
    found = limits({MAKER: maker, PRODUCT: product})
    assert (found.profile, found.monitored_items_per_call, found.filters) == (profile, batch, filters)


def test_a_profile_in_the_plant_file_stands_over_what_the_server_says_of_itself() -> None:
    assert limits({MAKER: "Acme"}, Profile.SIEMENS_S7_1500).items_max == 10_000


def test_nonsense_in_place_of_a_limit_is_passed_over() -> None:
    assert limits({PER_READ: "many", MAKER: 7}).nodes_per_read == 1000


def test_a_make_that_takes_no_deadband_is_asked_for_none_and_the_operator_told(tmp_path: Path) -> None:
    chosen: OpcUaSettings = settings(
        deadband=0.5,
        tags=[
            {"tag": "a", "node": "nsu=urn:press;s=a"},
            {"tag": "b", "node": "nsu=urn:press;s=b", "deadband": "2%"},
            {"tag": "c", "node": "nsu=urn:press;s=c", "sampling_interval_ms": 100, "structure": "json"},
        ],
    )
    device = Device({NAMESPACES: ["http://opcfoundation.org/UA/", "urn:press"], PRODUCT: "S7-1200"})
    session = Session(cast("PlainClient", device), chosen, lent(tmp_path), security="None")

    async def main() -> None:
        session.limits = await read_limits(cast("Client", device), Profile.AUTO, chosen.limits)
        found = await resolve(session, chosen)
        assert [options.deadband for options in found.options] == [None, None, None]
        assert [options.sampling_ms for options in found.options] == [500.0, 500.0, 100.0]
        assert found.options[0] is found.options[1]
        assert [str(problem) for problem in found.problems] == [
            "deadband: this make of server takes none; 3 tags will report every change"
        ]

    asyncio.run(main())


def test_batches_leave_nothing_out() -> None:
    assert [list(some) for some in batches([1, 2, 3, 4, 5], 2)] == [[1, 2], [3, 4], [5]]
    assert list(batches([], 2)) == []
