"""An interruption filled from history: as much as there is, in order, with what is missing named honestly."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import extensionobject_from_binary, extensionobject_to_binary, struct_to_binary
from asyncua.ua.uaerrors import UaStatusCodeError

from plantgate.sdk import Gap
from plantgate_connectors.opcua.backlog import Block, Interruption
from plantgate_connectors.opcua.decode import Columns
from plantgate_connectors.opcua.fill import HISTORY_SECONDS_MAX, Filler
from plantgate_connectors.opcua.settings import OpcUaSettings
from tests.connectors.opcua.plant_given import settings
from tests.connectors.opcua.test_assembly import Rig, rig_of

pytestmark = pytest.mark.simulated(seeds=1)

SECOND = 1_000_000_000
START = 1_800_000_000 * SECOND
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Archive:
    """A server's history and present values, behind the one call of asyncua that is used for them."""

    def __init__(self, rows: dict[str, list[int]], *, page: int = 1000) -> None:
        self.rows = rows
        """Seconds after START at which each node has a value; the value is the second."""
        self.page = page
        self.asked: list[list[str]] = []
        self.released: list[str] = []
        self.present: dict[str, int] = {}

    async def send_request(self, request: Any, **_: object) -> Buffer:
        if isinstance(request, ua.ReadRequest):
            response: Any = ua.ReadResponse()
            response.Results = [
                self._value(self.present[node.NodeId.Identifier]) for node in request.Parameters.NodesToRead
            ]
            return Buffer(bytes(struct_to_binary(response)))
        response = ua.HistoryReadResponse()
        details = request.Parameters.HistoryReadDetails
        nodes = request.Parameters.NodesToRead
        if request.Parameters.ReleaseContinuationPoints:
            self.released += [node.NodeId.Identifier for node in nodes]
        else:
            self.asked.append([node.NodeId.Identifier for node in nodes])
        response.Results = [self._result(node, details) for node in nodes]
        return Buffer(bytes(struct_to_binary(response)))

    def _result(self, node: Any, details: Any) -> ua.HistoryReadResult:
        result = ua.HistoryReadResult()
        if node.NodeId.Identifier not in self.rows:
            result.StatusCode = ua.StatusCode(ua.StatusCodes.BadHistoryOperationUnsupported)
            return result
        rows = [
            second
            for second in self.rows[node.NodeId.Identifier]
            if details.StartTime <= _moment(second) < details.EndTime
        ]
        begin = int(node.ContinuationPoint or b"0")
        some = rows[begin : begin + self.page]
        if begin + self.page < len(rows):
            result.ContinuationPoint = str(begin + self.page).encode()
        history = ua.HistoryData(DataValues=[self._value(second) for second in some])
        result.HistoryData = extensionobject_from_binary(Buffer(extensionobject_to_binary(history)))
        return result

    @staticmethod
    def _value(second: int) -> ua.DataValue:
        return ua.DataValue(ua.Variant(float(second)), ua.StatusCode(0x400), _moment(second))


def _moment(second: int) -> datetime:
    return EPOCH + timedelta(seconds=START // SECOND + second)


def filler(rig: Rig, archive: Archive, chosen: OpcUaSettings | None = None, values_max: int = 100_000) -> Filler:
    session = SimpleNamespace(
        context=rig.continuity.context,
        limits=SimpleNamespace(nodes_per_history_read=100, nodes_per_read=100),
        client=SimpleNamespace(uaclient=SimpleNamespace(protocol=archive)),
    )
    wanted = chosen or settings(tags=[{"node": "i=1", "tag": "x"}])
    return Filler(cast("Any", session), wanted, rig.continuity, rig.inbox, rig.values.plain, values_max=values_max)


def known(rig: Rig, **last: int) -> None:
    """The last value given of each item."""
    for tag, second in last.items():
        handle = "abc".index(tag)
        rig.continuity.last.note(Columns([handle], [float(second)], [0], [START + second * SECOND]))


def interruption(**first: int) -> Interruption:
    """All three items, with the first value after it."""
    until = {"abc".index(tag): (START + second * SECOND, float(second)) for tag, second in first.items()}
    return Interruption([0, 1, 2], "session lost", until)


async def filled(made: Filler, gap: Interruption, rig: Rig) -> list[Block]:
    """Fill to the end, giving each block before the next is made."""
    blocks = []
    entries = await made.fill(gap)
    while True:
        block, *rest = entries
        assert isinstance(block, Block)
        blocks.append(block)
        rig.continuity.last.note(block.columns)
        if not rest:
            return blocks
        [left] = rest
        assert isinstance(left, Interruption)
        entries = await made.fill(left)


def seconds(blocks: Sequence[Block], handle: int) -> list[float]:
    rows = [row for block in blocks for row in zip(block.columns.handles, block.columns.values, strict=True)]
    return [cast("float", value) for each, value in rows if each == handle]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return rig_of(tmp_path)


async def test_what_lies_between_is_recovered_and_nothing_is_lost(rig: Rig) -> None:
    known(rig, a=10, b=10, c=10)
    archive = Archive({tag: list(range(100)) for tag in "abc"})
    [block] = await filled(filler(rig, archive), interruption(a=20, b=20, c=20), rig)
    assert seconds([block], 0) == list(range(11, 20))
    assert block.gaps == [Gap(("a", "b", "c"), START + 10 * SECOND, START + 20 * SECOND, "session lost", 0, 27)]
    assert set(block.columns.qualities) == {0}, "how the archive has a value is not how good it is"
    assert archive.asked == [["a", "b", "c"]]


async def test_an_archive_that_began_later_does_not_prove_that_nothing_is_missing(rig: Rig) -> None:
    known(rig, a=10)
    archive = Archive({"a": list(range(15, 100))})
    [block] = await filled(filler(rig, archive), interruption(a=20, b=20, c=20), rig)
    assert seconds([block], 0) == list(range(15, 20))
    assert [(gap.lost, gap.recovered) for gap in block.gaps] == [(None, 5)]


async def test_an_archive_that_lags_does_not_either(rig: Rig) -> None:
    known(rig, a=10)
    archive = Archive({"a": list(range(18))})
    [block] = await filled(filler(rig, archive), interruption(a=20, b=20, c=20), rig)
    assert [(gap.lost, gap.recovered) for gap in block.gaps] == [(None, 7)]


async def test_items_without_history_are_named_and_not_asked_again(rig: Rig) -> None:
    known(rig, a=10, b=10, c=10)
    archive = Archive({"a": list(range(100))})
    made = filler(rig, archive)
    [block] = await filled(made, interruption(a=20, b=20, c=21), rig)
    assert {(gap.tags, gap.lost) for gap in block.gaps} == {(("a",), 0), (("b",), None), (("c",), None)}
    known(rig, a=30, b=30, c=30)
    await filled(made, interruption(a=40, b=40, c=40), rig)
    assert archive.asked == [["a", "b", "c"], ["a"]]


async def test_items_whose_time_did_not_move_are_no_gap(rig: Rig) -> None:
    known(rig, a=10, b=10, c=10)
    [block] = await filled(filler(rig, Archive({})), interruption(a=10, b=10, c=11), rig)
    assert [gap.tags for gap in block.gaps] == [("c",)]


async def test_items_that_never_gave_anything_are_no_gap(rig: Rig) -> None:
    [block] = await filled(filler(rig, Archive({})), interruption(a=10, b=10, c=11), rig)
    assert block.gaps == []


async def test_a_long_gap_comes_in_blocks_of_bounded_size_in_order_and_complete(rig: Rig) -> None:
    known(rig, a=0, b=0, c=0)
    archive = Archive({tag: list(range(5001)) for tag in "abc"}, page=100)
    blocks = await filled(filler(rig, archive, values_max=1000), interruption(a=5000, b=5000, c=5000), rig)
    assert len(blocks) > 5
    assert max(len(block.columns) for block in blocks) < 1400
    for handle in range(3):
        assert seconds(blocks, handle) == list(range(1, 5000))
    gaps = [gap for block in blocks for gap in block.gaps if "b" in gap.tags]
    assert [gap.lost for gap in gaps] == [0] * len(gaps)
    assert [gap.since for gap in gaps[1:]] == [gap.until for gap in gaps[:-1]]
    assert archive.released, "the server keeps a place for every continuation point that is not released"


async def test_gaps_that_began_at_different_times_are_not_read_from_the_earliest_on(rig: Rig) -> None:
    known(rig, a=0, b=9_990, c=9_991)
    archive = Archive({tag: list(range(10_001)) for tag in "abc"})
    await filled(filler(rig, archive), interruption(a=10_000, b=10_000, c=10_000), rig)
    assert archive.asked[0] == ["a"]
    assert ["b", "c"] in archive.asked


async def test_history_is_left_after_a_while_so_that_live_values_come_through(rig: Rig) -> None:
    known(rig, a=10, b=10, c=10)
    archive = Archive({tag: list(range(100)) for tag in "abc"})
    gap = interruption(a=20, b=20, c=20)
    gap.until_seconds = -HISTORY_SECONDS_MAX
    [block] = await filled(filler(rig, archive), gap, rig)
    assert archive.asked == []
    assert [(gap.tags, gap.lost) for gap in block.gaps] == [(("a", "b", "c"), None)]


async def test_history_switched_off_is_not_asked(rig: Rig) -> None:
    known(rig, a=10)
    archive = Archive({"a": list(range(100))})
    chosen = settings(tags=[{"node": "i=1", "tag": "x"}], history="off")
    [block] = await filled(filler(rig, archive, chosen), interruption(a=20, b=20, c=20), rig)
    assert archive.asked == []
    assert [(gap.tags, gap.lost) for gap in block.gaps] == [(("a",), None)]


async def test_a_server_that_refuses_history_outright_costs_nothing_else(rig: Rig) -> None:
    known(rig, a=10)
    archive = Archive({})

    async def refuse(request: Any, **_: object) -> Buffer:
        raise UaStatusCodeError(ua.StatusCodes.BadServiceUnsupported)

    archive.send_request = refuse  # type: ignore[method-assign]  # the server refuses
    [block] = await filled(filler(rig, archive), interruption(a=20, b=20, c=20), rig)
    assert [(gap.tags, gap.lost) for gap in block.gaps] == [(("a",), None)]


async def test_a_lost_change_is_read_and_comes_after_the_history_before_it(rig: Rig) -> None:
    known(rig, a=10, b=10, c=10)
    archive = Archive({tag: list(range(31)) for tag in "abc"})
    archive.present = {"a": 30, "b": 10, "c": 30}
    gap = Interruption([0, 1, 2], "notifications lost", {2: (START + 25 * SECOND, 25.0)}, refresh=True)
    [block] = await filled(filler(rig, archive), gap, rig)
    assert seconds([block], 0) == [*range(11, 30), 30.0]
    assert seconds([block], 1) == []
    assert seconds([block], 2) == list(range(11, 25))
    assert {(gap.tags, gap.lost) for gap in block.gaps} == {(("a",), 0), (("c",), 0)}
