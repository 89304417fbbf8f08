"""What HTTP costs: receiving requests, and a plain aiohttp handler beside it; writing and sending batches to Node.js.

scripts/bench http [--seconds 2] [--rounds 3] [--json FILE]
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from benchmarks.meter import machine, median
from benchmarks.table import Row, save, show
from plantgate.sdk import Batch, Context, Standing, SystemClock
from plantgate.testing.context import RecordedLog
from plantgate_connectors.http import Http, HttpSettings
from plantgate_connectors.http.payloads import encoder
from plantgate_connectors.http.settings import Format
from plantgate_connectors.payloads.words import TimeFormat
from tests.peers.http_office import office
from tests.peers.mosquitto import free_port

START = 1_795_694_400_000_000_000
TOKEN = "a token that is long enough to guard something"
CONNECTIONS = 8


def batch(values: int) -> Batch:
    """Floats with times that differ."""
    return Batch(
        [f"line{index % 7}/press{index}/temperature" for index in range(values)],
        [index * 0.7234567 for index in range(values)],
        [0] * values,
        [START + index * 997_300 for index in range(values)],
        origin="telemetry",
        position=1_000_000,
    )


def body(values: int, form: Format) -> bytes:
    """What is posted."""
    return b"61.25" if not values else encoder(form, TimeFormat.RFC3339, "/x")(batch(values), 0, values)


def connector(folder: Path, **written: object) -> Http:
    """A connector, as from a plant file."""
    log = RecordedLog()
    context = Context("bench", folder, folder, SystemClock(), log, Standing(log))
    return Http(HttpSettings.model_validate_json(json.dumps(written)), context)


@asynccontextmanager
async def ours(folder: Path, port: int) -> AsyncIterator[None]:
    """Our receiver; what it gives is acknowledged at once."""
    (folder / "token").write_text(TOKEN)
    receive = {
        "port": port,
        "allow": [{"name": "bench", "bearer": f"${{file:{folder / 'token'}}}"}],
        "paths": [
            {"path": "/number", "payload": "number", "tag": "line1/a"},
            {"path": "/batch", "payload": "plantgate"},
        ],
    }
    async with connector(folder, receive=receive).source() as source:

        async def pump() -> None:
            while True:
                await source.ack((await source.read()).cursor)

        pumping = asyncio.create_task(pump())
        try:
            yield
        finally:
            pumping.cancel()


@asynccontextmanager
async def plain(port: int) -> AsyncIterator[None]:
    """aiohttp as its manual shows it: a handler that parses JSON, and nothing else."""

    async def handler(request: web.Request) -> web.Response:
        json.loads(await request.read())
        return web.Response(status=204)

    application = web.Application()
    application.add_routes([web.post("/number", handler), web.post("/batch", handler)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield
    finally:
        await runner.cleanup()


async def receiving(seconds: float, rounds: int) -> list[Row]:
    """CPU of the receiving process; the client is another process."""
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for what, values, form in (
            ("one number", 0, Format.JSON),
            ("100 values in rows", 100, Format.JSON),
            ("1,000 values in rows", 1000, Format.JSON),
            ("1,000 values in columns", 1000, Format.COLUMNS),
        ):
            for name in ("plantgate", "aiohttp and json, nothing else"):
                port = free_port()
                server = ours(Path(folder), port) if name == "plantgate" else plain(port)
                async with server:
                    cpu, rates = [], []
                    for _ in range(rounds):
                        began = time.process_time()
                        count, took = await _client(port, body(values, form), bool(values), seconds)
                        cpu.append((time.process_time() - began) / count * 1e6)
                        rates.append(count / took)
                found.append(
                    {
                        "body": what,
                        "server": name,
                        "CPU µs a request": round(median(cpu)),
                        "CPU µs a value": round(median(cpu) / max(1, values), 2),
                        "requests/s": round(median(rates)),
                    }
                )
    return found


async def _client(port: int, sent: bytes, batches: bool, seconds: float) -> tuple[int, float]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.http", "--client", str(port), "--seconds", str(seconds),
        *(["--batches"] if batches else []), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    printed, _ = await process.communicate(sent)
    count, took = json.loads(printed)
    return int(count), float(took)


async def post_for(port: int, sent: bytes, batches: bool, seconds: float) -> tuple[int, float]:
    """Post over a few connections, each request when the one before is answered."""
    request = (
        f"POST {'/batch' if batches else '/number'} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(sent)}\r\n"
        f"Authorization: Bearer {TOKEN}\r\n\r\n"
    ).encode() + sent
    ends = time.monotonic() + seconds

    async def one() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        count = 0
        while time.monotonic() < ends:
            writer.write(request)
            if not (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204 "):
                raise SystemExit("the server did not take it")
            count += 1
        writer.close()
        return count

    began = time.monotonic()
    counts = await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    return sum(counts), time.monotonic() - began


async def sending(seconds: float, rounds: int) -> list[Row]:
    """CPU of the sending process; the far end is Node.js."""
    found: list[Row] = []
    values = 1000
    given = batch(values)
    with tempfile.TemporaryDirectory() as folder:
        async with office(Path(folder)) as node:
            reading = asyncio.create_task(_drain(node))
            for form in Format:
                send = {"url": node.url("/in"), "format": form.value}
                async with connector(Path(folder), send=send).sink() as sink:
                    await sink.accept(given)
                    cpu = []
                    for _ in range(rounds):
                        began, ends, count = time.process_time(), time.monotonic() + seconds, 0
                        while time.monotonic() < ends:
                            await sink.accept(given)
                            count += 1
                        cpu.append((time.process_time() - began) / count / values * 1e6)
                found.append({"format": form.value, "CPU µs a value": round(median(cpu), 2)})
            reading.cancel()
    return found


async def _drain(node: object) -> None:
    """The far end says what it took, which nobody here wants to know, but somebody must read."""
    process = node._child.process  # type: ignore[attr-defined]  # noqa: SLF001
    while await process.stdout.read(65_536):
        pass


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--client", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--batches", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.client is not None:
        sent = sys.stdin.buffer.read()
        print(json.dumps(asyncio.run(post_for(given.client, sent, given.batches, given.seconds))))
        return
    where = machine()
    received = asyncio.run(receiving(given.seconds, given.rounds))
    show(f"Receiving over {CONNECTIONS} connections; {where}", received)
    sent_rows = asyncio.run(sending(given.seconds, given.rounds))
    show(f"Sending batches of 1,000 values to Node.js; {where}", sent_rows)
    save(given.json, "http", where, [*received, *sent_rows])


if __name__ == "__main__":
    main()
