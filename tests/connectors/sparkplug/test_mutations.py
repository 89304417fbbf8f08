"""Tests that prove an absence, and the break that makes each of them fail."""

import asyncio
from pathlib import Path

import pytest

from plantgate.sdk import Unavailable
from plantgate.testing.simloop import running
from plantgate_connectors.sparkplug.edge import EdgeNode
from plantgate_connectors.sparkplug.messages import Messages
from plantgate_connectors.sparkplug.reading import read_payload
from plantgate_connectors.sparkplug.relayed import Relayed
from plantgate_connectors.sparkplug.remote import Letter, Remote
from plantgate_connectors.sparkplug.runs import read_data
from plantgate_connectors.sparkplug.topics import Kind
from tests.connectors.sparkplug.given import HOST, edge_node, twin
from tests.connectors.sparkplug.test_edge import batch
from tests.connectors.sparkplug.test_host import hosting

pytestmark = pytest.mark.simulated(seeds=3)


@pytest.mark.parametrize("mutation", ["none", "does not wait for the confirmation", "sends no numbers"])
async def test_nothing_accepted_is_lost_when_the_line_is_cut_under_way(
    tmp_path: Path, mutation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if mutation == "does not wait for the confirmation":

        async def at_once(edge: EdgeNode) -> None:
            pass

        monkeypatch.setattr(EdgeNode, "_confirmed", at_once)
    if mutation == "sends no numbers":
        monkeypatch.setattr(Messages, "_numbers", lambda *arguments: [])

    async with twin() as device:
        connector = edge_node(tmp_path, keep_alive_seconds=5, publish={"acknowledge_seconds": 5})
        accepted: list[int] = []

        async def deliver() -> None:
            while len(accepted) < 40:
                try:
                    async with connector.sink() as sink:
                        while len(accepted) < 40:
                            number = len(accepted)
                            if number in (10, 20, 30) and running().elapsed < 1_000:
                                running().network.cut(HOST)
                                asyncio.get_running_loop().call_later(20, running().network.heal, HOST)
                            await sink.accept(batch(("press/t", float(number)), position=number))
                            accepted.append(number)
                            await asyncio.sleep(0.5)
                except Unavailable:
                    await asyncio.sleep(1)

        async with asyncio.timeout(3_600):
            await deliver()
        arrived = {row.number for row in device.rows()}
        assert (set(accepted) <= arrived) == (mutation == "none")


@pytest.mark.parametrize("mutation", ["none", "does not look at the numbers"])
async def test_what_an_edge_node_sends_again_is_read_once(
    tmp_path: Path, mutation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if mutation != "none":
        monkeypatch.setattr(Relayed, "repeats", lambda relayed, device, content: 0)
    async with hosting(tmp_path / "host") as host:
        connector = edge_node(tmp_path / "edge")
        for _ in range(3):
            async with connector.sink() as sink:
                await sink.accept(batch(("press/t", 1.5), ("oven/t", 2.5), ("press/t", 3.5)))
                await sink.accept(batch(("oven/t", 4.5), position=3))
        await host.settle(2)
        good = [(tag, value) for tag, value, quality in host.taken() if quality == 0]
        live = [sample for sample in good if sample not in (("plant/line/press/t", 3.5), ("plant/line/oven/t", 4.5))]
        assert (sorted(live) == [("plant/line/oven/t", 2.5), ("plant/line/press/t", 1.5)]) == (mutation == "none")


@pytest.mark.parametrize("mutation", ["none", "does not count"])
async def test_a_lost_message_is_never_passed_over(
    tmp_path: Path, mutation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if mutation != "none":
        monkeypatch.setattr(Remote, "_in_order", _apply_unseen)
    async with hosting(tmp_path) as host:
        node = host.node
        node.has("speed", value=0.5)
        node.birth()
        node.seq += 1
        node.data(("speed", 2.5))
        await host.settle(5)
        assert bool(host.gaps) == (mutation == "none")


def _apply_unseen(remote: Remote, letter: Letter) -> None:
    remote._apply(letter, read_payload(letter.body) if letter.kind is Kind.DBIRTH else read_data(letter.body))
