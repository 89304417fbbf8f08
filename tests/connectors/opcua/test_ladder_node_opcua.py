"""Interruptions of every kind on the way to a server that others wrote: nothing missing, in order, and named."""

import asyncio
import contextlib
import json
import random
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from plantgate.sdk import SystemClock
from plantgate.testing.context import lent
from plantgate_connectors.opcua import OpcUa
from plantgate_connectors.opcua.pki import thumbprints
from tests.connectors.opcua.follower import Follower
from tests.connectors.opcua.plant_given import settings
from tests.peers.opcua_server import NodeOpcua, Settings, Variable, node_opcua
from tests.peers.proxy import Proxy, proxy
from tests.peers.require import require

pytestmark = pytest.mark.integration

TAGS = ("line/a", "line/b", "line/c")


@dataclass
class Plant:
    """A server, a bad network before it, and values that count up."""

    server: NodeOpcua
    net: Proxy
    folder: Path
    ids: dict[str, str]
    counted: int = 0
    _counting: "asyncio.Task[None] | None" = field(default=None)

    def settings(self, **given: object) -> Any:
        secret = self.folder / "password"
        secret.write_text("secret\n")
        thumbprint = thumbprints(x509.load_pem_x509_certificate(self.server.certificate.read_bytes()))[0]
        chosen: dict[str, object] = {
            "security": {"policy": "Basic256Sha256", "server_thumbprint": thumbprint},
            "user": {"name": "plant", "password": f"${{file:{secret}}}"},
            "publishing_interval_ms": 100,
            "sampling_interval_ms": 0,
            "queue_size": 2000,
            "keepalive_seconds": 1,
            "request_timeout_seconds": 2,
            "connect_timeout_seconds": 3,
            "tags": [{"node": node, "tag": tag} for tag, node in self.ids.items()],
        }
        return settings(f"opc.tcp://127.0.0.1:{self.net.port}", **(chosen | given))

    @asynccontextmanager
    async def following(self, **given: object) -> AsyncIterator[Follower]:
        """The connector, read until the block ends; it has given every tag when the block begins."""
        follower = Follower(OpcUa(self.settings(**given), lent(self.folder, clock=SystemClock())))
        task = asyncio.create_task(follower.run())
        try:
            await follower.until(lambda: {*TAGS} <= {sample.tag for sample in follower.samples}, "values of all", 30)
            yield follower
        finally:
            follower.stop.set()
            await asyncio.wait([task], timeout=10)
            task.cancel()
            await asyncio.wait([task])

    @asynccontextmanager
    async def counting(self) -> AsyncIterator[None]:
        """All tags count up together, fifty times a second."""

        async def count() -> None:
            while True:
                self.counted += 1
                with contextlib.suppress(Exception):
                    await self.server.set(*((tag, float(self.counted)) for tag in TAGS))
                await asyncio.sleep(0.02)

        task = asyncio.create_task(count())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def caught_up(self, seen: Follower) -> None:
        """Whatever is counted now arrives."""
        now = float(self.counted)
        await seen.until(lambda: all(seen.values(tag)[-1:] >= [now] for tag in TAGS), f"count {now}", 30)


def in_a_plant(folder: Path, wanted: Settings, use: Callable[[Plant], Coroutine[Any, Any, None]]) -> None:
    """Run `use` with a server of its own, values with history, and a proxy before it."""
    require("node-opcua")
    (folder / "server").mkdir()

    async def main() -> None:
        async with node_opcua(wanted, folder=folder / "server") as server, proxy("127.0.0.1", server.port) as net:
            ids = await server.create("line", *(Variable(name=tag[-1], value=0.0, history=5000) for tag in TAGS))
            await use(Plant(server, net, folder, ids))

    asyncio.run(main())


def unbroken(values: Sequence[float]) -> None:
    """Every count once and in order."""
    numbers = [int(each) for each in values]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_a_cut_cable_loses_nothing_and_is_on_record(tmp_path: Path) -> None:
    async def use(plant: Plant) -> None:
        async with plant.counting(), plant.following() as seen:
            for seconds in (0.3, 2.0, 4.0):
                await plant.net.outage(seconds)
                await plant.caught_up(seen)
            for tag in TAGS:
                unbroken(seen.values(tag))
            causes = [(gap.cause, gap.lost) for gap in seen.gaps]
            assert ("connection lost", 0) in causes
            assert all(lost == 0 for _, lost in causes)

    in_a_plant(tmp_path, Settings(users={"plant": "secret"}), use)


def test_an_orderly_restart_loses_nothing(tmp_path: Path) -> None:
    """The session is closed, the subscription stays at the server and is taken over by the next session."""

    async def use(plant: Plant) -> None:
        values: list[float] = []
        async with plant.counting():
            for turn in range(3):
                async with plant.following() as seen:
                    await asyncio.sleep(0.5)
                values += seen.values("line/b")
                assert seen.context.standing.counters.get("subscriptions_transferred", 0) == (1 if turn else 0)
                assert (await plant.server.counts()).sessions == 0
                await asyncio.sleep(1.0)
        unbroken(values)

    in_a_plant(tmp_path, Settings(users={"plant": "secret"}), use)


def test_a_closed_session_is_bridged_from_history(tmp_path: Path) -> None:
    async def use(plant: Plant) -> None:
        async with plant.counting(), plant.following() as seen:
            for _ in range(2):
                await plant.server.close_sessions()
                await asyncio.sleep(1.0)
                await plant.caught_up(seen)
            for tag in TAGS:
                unbroken(seen.values(tag))
            assert seen.context.standing.counters["recovered_from_history"] > 0
            assert all(gap.lost == 0 for gap in seen.gaps), seen.gaps

    in_a_plant(tmp_path, Settings(users={"plant": "secret"}), use)


def test_without_history_the_gap_is_named_for_each_tag(tmp_path: Path) -> None:
    async def use(plant: Plant) -> None:
        async with plant.counting(), plant.following(history="off") as seen:
            await plant.server.close_sessions()
            await asyncio.sleep(1.0)
            await plant.caught_up(seen)
            named = {tag for gap in seen.gaps if gap.lost is None for tag in gap.tags}
            assert named == set(TAGS)
            for tag in TAGS:
                values = seen.values(tag)
                assert values == sorted(set(values))

    in_a_plant(tmp_path, Settings(users={"plant": "secret"}), use)


def test_refusals_on_the_way_back_are_waited_out(tmp_path: Path) -> None:
    async def use(plant: Plant) -> None:
        async with plant.counting(), plant.following() as seen:
            await plant.server.refuse("CreateSubscription", "BadTooManySubscriptions", times=2)
            await plant.server.close_sessions()
            await seen.until(
                lambda: seen.context.standing.counters.get("subscriptions_refused", 0) == 2, "refusals", 30
            )
            await plant.caught_up(seen)
            await plant.server.refuse("Publish", "BadTooManyPublishRequests", times=4)
            await asyncio.sleep(1.0)
            await plant.caught_up(seen)
            for tag in TAGS:
                unbroken(seen.values(tag))

    in_a_plant(tmp_path, Settings(users={"plant": "secret"}), use)


def test_a_session_timeout_of_one_second_is_kept(tmp_path: Path) -> None:
    async def use(plant: Plant) -> None:
        async with plant.following(keepalive_seconds=30) as seen:
            await asyncio.sleep(5.0)
            await plant.server.set(("line/a", 77.0))
            await seen.until_value("line/a", 77.0, 10)
            assert seen.sessions == 1

    in_a_plant(tmp_path, Settings(users={"plant": "secret"}, session_timeout_ms=1000.0), use)


def test_an_interval_stretched_by_the_server_does_not_stretch_its_silence(tmp_path: Path) -> None:
    async def use(plant: Plant) -> None:
        async with plant.following(keepalive_seconds=4) as seen:
            [subscription] = seen.connector._memory.continuity().subscriptions.values()
            assert subscription.interval_seconds == 2.0
            assert subscription.keepalive_seconds == 4.0
            assert subscription.lifetime_seconds <= 3600.0

    in_a_plant(tmp_path, Settings(users={"plant": "secret"}, min_publishing_interval_ms=2000.0), use)


def test_a_server_back_with_another_namespace_order_and_a_late_node(tmp_path: Path) -> None:
    require("node-opcua")
    (tmp_path / "server").mkdir()
    folder = tmp_path / "server"

    async def main() -> None:
        first = Settings(namespaces=("urn:press", "urn:other"), users={"plant": "secret"})
        async with node_opcua(first, folder=folder) as server:
            ids = await server.create("line", *(Variable(name=tag[-1], value=1.0) for tag in TAGS))
            assert {node.split(";")[0] for node in ids.values()} == {"ns=2"}
            async with proxy("127.0.0.1", server.port) as net:
                written = {tag: f"nsu=urn:press;s={tag}" for tag in TAGS}
                plant = Plant(server, net, tmp_path, written)
                async with plant.following() as seen:
                    await server.kill()
                    swapped = Settings(
                        port=server.port, namespaces=("urn:other", "urn:press"), users={"plant": "secret"}
                    )
                    async with node_opcua(swapped, folder=folder) as again:
                        await _swapped(again, seen)

    async def _swapped(again: NodeOpcua, seen: Follower) -> None:
        made = await again.create("line", Variable(name="a", id="s=line/a", value=2.0), namespace="urn:press")
        assert made["line/a"].startswith("ns=3")
        await seen.until_value("line/a", 2.0, 30)
        assert seen.context.standing.monitored == 1
        await again.create("line", *(Variable(name=tag[-1], value=3.0) for tag in TAGS[1:]), namespace="urn:press")
        await seen.until_value("line/b", 3.0, 60)
        await seen.until_value("line/c", 3.0, 60)

    asyncio.run(main())


def test_a_gateway_killed_again_and_again_loses_nothing(tmp_path: Path) -> None:
    luck = random.Random(11)

    async def use(plant: Plant) -> None:
        written, lines = tmp_path / "settings.json", tmp_path / "lines"
        raw = json.loads(plant.settings().model_dump_json(exclude_defaults=True, exclude={"tags_file_sha256"}))
        written.write_text(json.dumps(raw))
        arguments = (str(written), str(tmp_path / "gateway"), str(lines))
        async with plant.counting():
            for _ in range(4):
                child = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "tests.connectors.opcua.reader_process", *arguments
                )
                before = lines.stat().st_size if lines.exists() else 0
                async with asyncio.timeout(60):
                    while not lines.exists() or lines.stat().st_size <= before:  # noqa: ASYNC110  another process
                        await asyncio.sleep(0.05)
                await asyncio.sleep(luck.uniform(0.0, 1.5))
                child.kill()
                await child.wait()
                await asyncio.sleep(luck.uniform(0.0, 1.0))
        judge_lines(lines)

    in_a_plant(tmp_path, Settings(users={"plant": "secret"}), use)


def judge_lines(lines: Path) -> None:
    """No count is missing; some come twice where the kill fell between a batch's line and its acknowledgement."""
    rows, gaps = [], []
    for line in lines.read_text().splitlines():
        with contextlib.suppress(ValueError):  # the kill may fall into a line: that batch was not accepted
            found = json.loads(line)
            rows += found["rows"]
            gaps += found["gaps"]
    for tag in TAGS:
        values = [int(value) for name, value, _, _ in rows if name == tag]
        assert sorted(set(values)) == list(range(values[0], max(values) + 1))
        assert len(values) - len(set(values)) < 4 * 20, "more than the batches that were in hand"
    assert [cause for _, cause, lost, _ in gaps if lost == 0].count("gateway restarted") >= 3
    assert all(lost == 0 for _, _, lost, _ in gaps), gaps
