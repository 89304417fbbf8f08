"""What it costs to serve tags by OPC UA: CPU a value accepted and published, beside asyncua's own server.

Each server runs in a process of its own on core 0, its clients (our OPC UA connector) in another on core 1.
All tags change once a second; a client subscribes to all of them with a publishing interval of 500 ms.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

from asyncua import Server, ua

from benchmarks.meter import machine, pin, read
from benchmarks.table import Row, save, show
from plantgate.sdk import Batch, SystemClock, Unavailable
from plantgate.testing.context import lent
from plantgate_connectors.opcua import OpcUa, OpcUaSettings
from plantgate_connectors.opcua_server import OpcUaServer, OpcUaServerSettings
from tests.peers.child import Child
from tests.peers.mosquitto import free_port

OURS, THEIRS = "plantgate", "asyncua"
BATCH = 1000
PER_FOLDER = 100
"""Tags in one folder: asyncua's server looks through all siblings for each new node."""
WARM_SECONDS = 5

Give = Callable[[float], Awaitable[None]]
"""Sets every tag to this value and more."""


def name(number: int) -> str:
    return f"f{number // PER_FOLDER}/t{number}"


async def ours(stack: AsyncExitStack, tags: int, port: int, folder: Path) -> Give:
    """Our server; a batch is what a pump would offer."""
    written = {"host": "127.0.0.1", "port": port, "security": {"policies": ["None"]}, "login": {"anonymous": True}}
    settings = OpcUaServerSettings.model_validate_json(json.dumps(written))
    sink = await stack.enter_async_context(OpcUaServer(settings, lent(folder, clock=SystemClock())).sink())
    names = [name(number) for number in range(tags)]
    position = 0

    async def give(value: float) -> None:
        nonlocal position
        now = time.time_ns()
        for start in range(0, tags, BATCH):
            some = names[start : start + BATCH]
            values = [value + number for number in range(start, start + len(some))]
            batch = Batch(some, list(values), [0] * len(some), [now] * len(some), origin="bench", position=position)
            position += len(some)
            await sink.accept(batch)
            await asyncio.sleep(0)

    return give


async def theirs(stack: AsyncExitStack, tags: int, port: int, folder: Path) -> Give:
    """asyncua's server, written to by its own shortest way."""
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}")
    index = await server.register_namespace("urn:plantgate:tags")
    nodes: list[ua.NodeId] = []
    for start in range(0, tags, PER_FOLDER):
        inside = await server.nodes.objects.add_folder(index, f"f{start // PER_FOLDER}")
        for number in range(start, min(tags, start + PER_FOLDER)):
            node = await inside.add_variable(ua.NodeId(ua.String(name(number)), ua.Int16(index)), f"t{number}", 0.0)
            nodes.append(node.nodeid)
    await stack.enter_async_context(server)

    async def give(value: float) -> None:
        now = cast(ua.DateTime, datetime.now(UTC))
        for number, node in enumerate(nodes):
            reading = ua.Variant(value + number, ua.VariantType.Double)
            await server.write_attribute_value(node, ua.DataValue(reading, SourceTimestamp=now, ServerTimestamp=now))

    return give


async def serve(who: str, tags: int, port: int) -> None:
    """Change all tags once a second until stdin closes; a second that is not enough is told by falling behind."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="plantgate-bench-")))
        give = await (ours if who == OURS else theirs)(stack, tags, port, folder)
        await give(0.0)
        print(json.dumps({"ready": True}), flush=True)
        rounds = 0
        while True:
            started = time.monotonic()
            rounds += 1
            await give(float(rounds))
            print(json.dumps({"round": rounds}), flush=True)
            await asyncio.sleep(max(0.0, 1.0 - (time.monotonic() - started)))


async def subscribe(tags: int, port: int, clients: int) -> None:
    """Read all tags with as many sessions; prints how many values have come, each second."""
    with TemporaryDirectory(prefix="plantgate-bench-") as folder:
        counts = [0] * clients

        async def one(number: int) -> None:
            rows = [{"node": f"nsu=urn:plantgate:tags;s={name(tag)}", "tag": name(tag)} for tag in range(tags)]
            written = {"url": f"opc.tcp://127.0.0.1:{port}", "tags": rows, "security": {"policy": "None"}}
            settings = OpcUaSettings.model_validate_json(json.dumps(written | {"request_timeout_seconds": 60}))
            connector = OpcUa(settings, lent(Path(folder) / str(number), clock=SystemClock()))
            while True:
                try:
                    async with connector.source() as source:
                        while True:
                            batch = await source.read()
                            counts[number] += len(batch)
                            await source.ack(batch.cursor)
                except Unavailable as away:
                    print(f"client: {away}", file=sys.stderr, flush=True)
                    await asyncio.sleep(1.0)

        async with asyncio.TaskGroup() as group:
            for number in range(clients):
                group.create_task(one(number))
            while True:
                await asyncio.sleep(1.0)
                print(json.dumps({"came": counts}), flush=True)


async def _line(child: Child) -> dict[str, object]:
    assert child.process.stdout is not None
    line = await child.process.stdout.readline()
    assert line, child.last_words()
    found = json.loads(line)
    assert isinstance(found, dict)
    return found


class _Latest:
    """The last line that a child has printed."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self.found: dict[str, object] = {}

    async def follow(self) -> None:
        while True:
            self.found = await _line(self._child)

    def number(self, key: str) -> int:
        value = self.found.get(key, 0)
        return sum(value) if isinstance(value, list) else int(str(value))


async def measured(who: str, tags: int, clients: int, seconds: float, folder: Path) -> Row:
    """One row."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.opcua_server"]
    server = await Child.start(
        [*command, "--serve", who, str(tags), str(port)], log=folder / f"{who}-{clients}.log", talks=True
    )
    pin(server.process.pid, 0)
    reader: Child | None = None
    try:
        async with asyncio.TaskGroup() as group:
            while "ready" not in await _line(server):
                pass
            rounds = _Latest(server)
            following = [group.create_task(rounds.follow())]
            came: _Latest | None = None
            if clients:
                reader = await Child.start(
                    [*command, "--read", str(tags), str(port), str(clients)], log=folder / "client.log", talks=True
                )
                pin(reader.process.pid, 1)
                came = _Latest(reader)
                following.append(group.create_task(came.follow()))
                waited = time.monotonic()
                while came.number("came") < 2 * tags * clients and time.monotonic() - waited < 60:  # noqa: ASYNC110  a child's
                    await asyncio.sleep(0.5)
            await asyncio.sleep(WARM_SECONDS)
            before, first = read(server.process.pid), rounds.number("round")
            came_before = came.number("came") if came is not None else 0
            await asyncio.sleep(seconds)
            after, last = read(server.process.pid), rounds.number("round")
            received = came.number("came") - came_before if came is not None else 0
            for task in following:
                task.cancel()
    finally:
        await server.kill()
        if reader is not None:
            await reader.kill()
    took, accepted = after.at - before.at, (last - first) * tags
    cpu = after.cpu_seconds - before.cpu_seconds
    return {
        "server": who,
        "tags": tags,
        "clients": clients,
        "accepted/s": round(accepted / took),
        "received/s": round(received / took),
        "CPU µs/value accepted": 1e6 * cpu / max(1, accepted),
        "core %": 100 * cpu / took,
        "RSS MB": round(after.rss_bytes / 1e6),
    }


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--tags", type=int, default=12_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--only", choices=(OURS, THEIRS))
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--read", nargs=3, type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        await serve(given.serve[0], int(given.serve[1]), int(given.serve[2]))
        return
    if given.read:
        await subscribe(*given.read)
        return
    cases = [(OURS, 0), (OURS, 1), (OURS, 5), (THEIRS, 0), (THEIRS, 1)]
    with TemporaryDirectory(prefix="plantgate-bench-") as folder:
        rows = [
            await measured(who, given.tags, clients, given.seconds, Path(folder))
            for who, clients in cases
            if given.only in (None, who)
        ]
    title = f"OPC UA server: {given.tags} tags at 1 Hz, publishing 500 ms, no encryption"
    show(title, rows)
    save(given.json, title, machine(), rows)


if __name__ == "__main__":
    asyncio.run(main())
