"""Our OPC UA client reads from our OPC UA server: what one plantgate shows, another has as it was."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk import Context, Gap, Sample, Source, SystemClock, Unavailable, Value
from plantgate.testing.context import lent
from plantgate_connectors.opcua import OpcUa, OpcUaSettings
from tests.connectors.opcua_server.serving import NOW, Served, secret, served
from tests.peers.proxy import proxy

pytestmark = pytest.mark.integration


def reader(folder: Path, url: str, **more: Any) -> tuple[OpcUa, Context]:
    written = {
        "url": url,
        "browse": [{"path": "Objects/Plant/**", "tag": "{path}"}],
        "user": {"name": "hmi", "password": secret(folder, "let me in")},
        "publishing_interval_ms": 100,
        "trigger": "status_value_timestamp",
        "keepalive_seconds": 1,
        **more,
    }
    context = lent(folder / "other", connection="upstream", clock=SystemClock())
    return OpcUa(OpcUaSettings.model_validate_json(json.dumps(written)), context), context


async def introduced(connector: OpcUa, context: Context, server: Served) -> None:
    """What two operators do: each trusts the certificate that the other side's refusal has parked."""
    pairs = (context.site_folder / "pki", server.context.site_folder / "pki-server")
    for store in pairs:
        with pytest.raises(Unavailable):
            async with connector.source():
                pass
        parked = list((store / "rejected").iterdir())
        assert len(parked) == 1
        parked[0].rename(store / "trusted" / parked[0].name)


async def gathered(source: Source, count: int, seconds: float = 20.0) -> tuple[list[Sample], list[Gap]]:
    """So many samples, and the gaps between them."""
    samples: list[Sample] = []
    gaps: list[Gap] = []
    async with asyncio.timeout(seconds):
        while len(samples) < count:
            batch = await source.read()
            samples += batch
            gaps += batch.gaps
            await source.ack(batch.cursor)
    return samples, gaps


def written(folder: Path, **more: Any) -> dict[str, Any]:
    return {"login": {"users": [{"name": "hmi", "password": secret(folder, "let me in")}]}, **more}


def by_tag(samples: Sequence[Sample]) -> dict[str, tuple[Value, int, int | None]]:
    return {sample.tag: (sample.value, sample.quality, sample.time) for sample in samples}


def test_values_qualities_and_times_come_through_encrypted_as_they_were(tmp_path: Path) -> None:
    shown = [
        Sample("line/temperature", 61.5, 0, NOW),
        Sample("line/count", 2**60 + 1, 0x4090_0000, NOW + 100),
        Sample("line/broken", None, 0x8034_0000, None),
        Sample("line/late", "Grüße", 0, None),
        Sample("line/profile", [1.5, 2.5], 0, NOW),
        Sample("on", True, 0, NOW),
    ]

    async def main() -> None:
        async with served(tmp_path, written(tmp_path)) as server:
            await server.show(*shown)
            connector, context = reader(tmp_path, server.url)
            await introduced(connector, context, server)
            async with connector.source() as source:
                samples, _ = await gathered(source, len(shown))
                assert by_tag(samples) == by_tag(shown)

    asyncio.run(main())


def test_a_short_outage_of_the_line_costs_no_value(tmp_path: Path) -> None:
    """The client takes its subscription over on a new line, with what its queues have caught meanwhile."""
    tag = "line/temperature"

    async def main() -> None:
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(served(tmp_path, written(tmp_path)))
            cable = await stack.enter_async_context(proxy("127.0.0.1", server.port))
            await server.show(Sample(tag, 0.0, 0, NOW))
            connector, context = reader(tmp_path, f"opc.tcp://127.0.0.1:{cable.port}", queue_size=1000)
            await introduced(connector, context, server)
            samples: list[Sample] = []
            gaps: list[Gap] = []
            number = 0

            async def show(count: int) -> None:
                nonlocal number
                for _ in range(count):
                    number += 1
                    await server.show(Sample(tag, float(number), 0, NOW + number * 1_000_000_000))
                    await asyncio.sleep(0.01)

            async with connector.source() as source:
                samples += (await gathered(source, 1))[0]
                await show(50)
                samples += (await gathered(source, 50))[0]
                cable.reset()
                cable.refuse()
                await show(100)
                with pytest.raises(Unavailable):
                    await gathered(source, 1000)
            cable.mend()
            async with connector.source() as source:
                await show(50)
                more, gaps = await gathered(source, 150)
                samples += more
            values = [sample.value for sample in samples]
            assert set(values) == {float(each) for each in range(201)}, gaps
            assert not any(gap.lost for gap in gaps), gaps

    asyncio.run(main())
