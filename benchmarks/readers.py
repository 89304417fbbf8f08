"""One OPC UA client reading the load, in a process of its own.

`ours`: plantgate's source, acknowledged batch by batch, columns thrown away: the cost of ingest.
`asyncua`: the library's own way, a handler called for each notification, which does nothing but count.
Prints a JSON line when it monitors everything, then one a second: values so far, CPU seconds so far.
"""

import asyncio
import json
import resource
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from asyncua import Client, Node, ua

from plantgate.flow.pump import pump
from plantgate.flow.stop import Stop
from plantgate.sdk import Batch, Context, Standing, SystemClock
from plantgate_connectors.opcua import OpcUa
from plantgate_connectors.opcua.settings import OpcUaSettings


class Quiet:
    """A log nobody reads."""

    def info(self, event: str, **facts: object) -> None:
        """Nothing."""

    warning = error = info


class Counter:
    """Values seen; also asyncua's handler."""

    def __init__(self) -> None:
        self.values = 0

    async def accept(self, batch: Batch) -> None:
        """Columns."""
        self.values += len(batch)

    def datachange_notification(self, node: Node, value: Any, data: Any) -> None:
        """A notification."""
        self.values += 1


async def ours(url: str, tags: Path, publishing_ms: int, queue: int, counter: Counter) -> None:
    settings = OpcUaSettings.model_validate_json(
        json.dumps(
            {
                "url": url,
                "security": {"policy": "None"},
                "publishing_interval_ms": publishing_ms,
                "sampling_interval_ms": 0,
                "queue_size": queue,
                "tags_file": str(tags),
            }
        )
    )
    with TemporaryDirectory() as folder:
        standing = Standing(Quiet())
        context = Context("load", Path(folder), Path(folder), SystemClock(), Quiet(), standing)
        async with OpcUa(settings, context).source() as source, asyncio.TaskGroup() as group:
            group.create_task(pump(source, counter.accept, stop=Stop()))
            while standing.monitored < standing.desired or not standing.desired:  # noqa: ASYNC110  it has no event
                await asyncio.sleep(0.1)
            await tell(counter)


async def asyncua(url: str, tags: Path, publishing_ms: int, queue: int, counter: Counter) -> None:
    text = await asyncio.to_thread(tags.read_text)
    nodes = [line.partition(",")[2] for line in text.splitlines()[1:]]
    async with Client(url) as client:
        subscription = await client.create_subscription(publishing_ms, counter)
        for at in range(0, len(nodes), 1000):
            batch = [client.get_node(node) for node in nodes[at : at + 1000]]
            await subscription.subscribe_data_change(
                batch, attr=ua.AttributeIds.Value, queuesize=queue, sampling_interval=ua.Double(0)
            )
        await tell(counter)


async def tell(counter: Counter) -> None:
    """For ever."""
    while True:
        used = resource.getrusage(resource.RUSAGE_SELF)
        cpu_seconds = used.ru_utime + used.ru_stime
        said = {"at": time.monotonic(), "values": counter.values, "cpu_seconds": cpu_seconds}
        print(json.dumps(said), flush=True)
        await asyncio.sleep(1.0)


if __name__ == "__main__":
    mode, url, tags, publishing_ms, queue = sys.argv[1:]
    run = {"ours": ours, "asyncua": asyncua}[mode]
    asyncio.run(run(url, Path(tags), int(publishing_ms), int(queue), Counter()))
