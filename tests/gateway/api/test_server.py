import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace

import aiohttp
import pytest

from plantgate.api.server import VIEWERS_MOST, Seen, serving
from plantgate.observe.logging import News
from plantgate.observe.metrics import metrics_of
from plantgate.observe.status import (
    CellStatus,
    ConnectionStatus,
    DestinationStatus,
    FlowStatus,
    GatewayStatus,
    OutboxStatus,
    UseStatus,
)
from plantgate.observe.tap import Tap
from plantgate.sdk import Batch, Sample
from plantgate.terminal.inquiry import status_text

STATUS = GatewayStatus(
    plant="line3",
    version="1.2.3",
    started="2026-01-01T00:00:00Z",
    now="2026-01-01T00:01:00Z",
    ready=True,
    stalls=0,
    problem="",
    connections={
        "press3": ConnectionStatus("opcua", (UseStatus("telemetry", "source", "up", "", 60.0, 3, 2, 1, {"gaps": 4}),)),
    },
    flows={
        "telemetry": FlowStatus(
            sources=("press3",),
            accepted=10,
            rate_in=2.0,
            gaps=1,
            lost=5,
            destinations={"broker": DestinationStatus(10, 6, 3, 1, 0, 0, 1.5, 0.2)},
            outbox=OutboxStatus(4096, 1 << 30),
        )
    },
    cells={"hall": CellStatus(("press3",), "up", "", 50.0, 4711, 3, 2, 45_000_000, 12.5)},
)


def with_server(visit: Callable[[aiohttp.ClientSession, Seen], Awaitable[None]], *, ready: bool = True) -> None:
    async def main() -> None:
        seen = Seen(
            status=lambda: replace(STATUS, ready=ready),
            metrics=metrics_of(lambda: STATUS),
            plan=lambda: {"plant": "line3"},
            started=lambda: True,
            tap=Tap(),
            news=News(),
        )
        async with (
            serving(seen, socket.create_server(("127.0.0.1", 0))) as (host, port),
            aiohttp.ClientSession(base_url=f"http://{host}:{port}") as client,
        ):
            await visit(client, seen)

    asyncio.run(main())


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/startupz"])
def test_health_is_a_status_code(path: str) -> None:
    async def visit(client: aiohttp.ClientSession, _: Seen) -> None:
        assert (await client.get(path)).status == 200

    with_server(visit)


def test_a_gateway_whose_flows_do_not_all_run_is_alive_and_not_ready() -> None:
    async def visit(client: aiohttp.ClientSession, _: Seen) -> None:
        assert (await client.get("/livez")).status == 200
        assert (await client.get("/readyz")).status == 503

    with_server(visit, ready=False)


def test_the_balance_is_a_metric() -> None:
    async def visit(client: aiohttp.ClientSession, _: Seen) -> None:
        text = await (await client.get("/metrics")).text()
        where = '{destination="broker",flow="telemetry"}'
        for line in (
            f"plantgate_destination_accepted_samples_total{where} 10.0",
            f"plantgate_destination_delivered_samples_total{where} 6.0",
            f"plantgate_destination_queued_samples{where} 3.0",
            f"plantgate_destination_dropped_samples_total{where} 1.0",
            f"plantgate_destination_balance_difference{where} 0.0",
            'plantgate_connection_tags_live{connection="press3",flow="telemetry",role="source"} 1.0',
            'plantgate_connection_events_total{connection="press3",event="gaps",flow="telemetry",role="source"} 4.0',
        ):
            assert line in text

    with_server(visit)


def test_a_cell_is_a_metric() -> None:
    async def visit(client: aiohttp.ClientSession, _: Seen) -> None:
        text = await (await client.get("/metrics")).text()
        for line in (
            'plantgate_cell_up{cell="hall"} 1.0',
            'plantgate_cell_restarts_total{cell="hall"} 3.0',
            'plantgate_cell_stalls_total{cell="hall"} 2.0',
            'plantgate_cell_rss_bytes{cell="hall"} 4.5e+07',
            'plantgate_cell_cpu_seconds_total{cell="hall"} 12.5',
        ):
            assert line in text
        status = await (await client.get("/status")).json()
        assert status["cells"]["hall"]["connections"] == ["press3"]
        assert "hall  press3       up     50 s          3       2   45 MB  12.5 s" in status_text(status)

    with_server(visit)


def test_the_live_stream_gives_status_news_and_changed_tags() -> None:
    async def visit(client: aiohttp.ClientSession, seen: Seen) -> None:
        seen.news(None, "warning", {"event": "away", "connection": "press3", "level": "warning", "reason": "no answer"})
        async with client.get("/live") as stream:
            events: dict[str, object] = {}
            while "tags" not in events:
                kind = (await stream.content.readline()).decode().removeprefix("event: ").strip()
                events[kind] = json.loads((await stream.content.readline()).decode().removeprefix("data: "))
                await stream.content.readline()
                seen.tap.see(Batch.of([Sample("a", float("nan"), 0, 0), Sample("b", 2**60, 0x8000_0000, None)]))
        status = events["status"]
        assert isinstance(status, dict)
        assert status["flows"]["telemetry"]["destinations"]["broker"]["queued"] == 3
        assert events["news"] == {
            "time": "",
            "level": "warning",
            "event": "away",
            "connection": "press3",
            "flow": "",
            "text": "reason no answer",
        }
        assert events["tags"] == {
            "a": ["nan", "Good", "1970-01-01T00:00:00Z"],
            "b": [str(2**60), "Bad", None],
        }

    with_server(visit)


def test_nobody_can_change_anything_and_the_page_may_load_nothing_from_elsewhere() -> None:
    async def visit(client: aiohttp.ClientSession, _: Seen) -> None:
        assert (await client.post("/status")).status == 405
        headers = (await client.get("/status")).headers
        assert headers["Content-Security-Policy"].startswith("default-src 'self'")
        assert (await client.get("/../server.py")).status == 404

    with_server(visit)


def test_one_view_too_many_is_told_so() -> None:
    async def visit(client: aiohttp.ClientSession, seen: Seen) -> None:
        open_views = [await client.get("/live") for _ in range(VIEWERS_MOST)]
        refused = await client.get("/live")
        assert refused.status == 503
        assert "close one" in await refused.text()
        assert len(seen.tap.looks) == VIEWERS_MOST
        for view in open_views:
            view.close()

    with_server(visit)
