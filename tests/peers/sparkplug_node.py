"""Eclipse Tahu's edge node, and its decoder: the Sparkplug implementation of the people who wrote the specification."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias, cast

from tests.peers import require
from tests.peers.child import Child, PeerError
from tests.peers.mosquitto import Mosquitto

SCRIPT = Path(__file__).parent / "node" / "sparkplug.js"
Json: TypeAlias = dict[str, Any]


class SparkplugNode:
    """A running process of it. Payloads are written as sparkplug-payload has them; bytes are `{"hex": "..."}`."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.events: list[Json] = []
        """What it said unasked: `connect`, `ncmd`, `dcmd`, `error`."""
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    async def decode(self, payload: bytes, types: Mapping[int, int] | None = None) -> Json:
        """A payload as Tahu reads it; `types` are those the births announced, by alias."""
        given = {str(alias): datatype for alias, datatype in (types or {}).items()}
        return cast(Json, await self._do("decode", payload=payload.hex(), types=given))

    async def encode(self, payload: Json) -> bytes:
        """A payload as Tahu writes it."""
        return bytes.fromhex((await self._do("encode", payload=payload))["hex"])

    async def birth(self, node: Json, devices: Mapping[str, Json] | None = None) -> None:
        """Publish births; again, by itself, after each connect and whenever it is asked for a rebirth."""
        await self._do("birth", node=node, devices=dict(devices or {}))

    async def node_data(self, *metrics: Json) -> None:
        """NDATA."""
        await self._do("ndata", payload={"metrics": metrics})

    async def device_data(self, device: str, *metrics: Json) -> None:
        """DDATA."""
        await self._do("ddata", device=device, payload={"metrics": metrics})

    async def device_death(self, device: str) -> None:
        """DDEATH."""
        await self._do("ddeath", device=device)

    async def report(self, how: str) -> None:
        """How it says what it did when it was commanded to: in `data`, when `asked` for its birth, or `never`."""
        await self._do("report", how=how)

    async def commanded(self) -> list[tuple[Any, Any]]:
        """Every command it has heard, in order, but for requests for births: metric (name or alias) and value."""
        await self._do("ping")  # it says in turn what it heard and what it answers
        metrics = [
            metric
            for event in self.events
            if event["event"] in ("ncmd", "dcmd")
            for metric in event["payload"]["metrics"]
        ]
        named = [(metric.get("name", metric.get("alias")), metric["value"]) for metric in metrics]
        return [each for each in named if each[0] != "Node Control/Rebirth"]

    async def stop(self) -> None:
        """NDEATH, then goodbye."""
        await self._do("stop")

    async def _do(self, what: str, **arguments: object) -> Any:
        if not self.child.running:
            raise PeerError(f"sparkplug-client is gone: {self.child.last_words()}")
        number = next(self._ids)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            stdin = self.child.process.stdin
            assert stdin is not None
            stdin.write(json.dumps({"id": number, "do": what, **arguments}, allow_nan=False).encode() + b"\n")
            await stdin.drain()
            async with asyncio.timeout(20):
                return await answer
        except TimeoutError:
            raise PeerError(f"sparkplug-client did not answer {what}: {self.child.last_words()}") from None
        finally:
            del self._waiting[number]

    async def listen(self) -> None:
        """Sort what it says, until it ends."""
        stdout = self.child.process.stdout
        assert stdout is not None
        while line := await stdout.readline():
            message = cast(Json, json.loads(line))
            if "event" in message:
                self.events.append(message)
                continue
            waiting = self._waiting.get(message["id"])
            if waiting is None or waiting.done():
                continue
            if "error" in message:
                waiting.set_exception(PeerError(str(message["error"])))
            else:
                waiting.set_result(message["ok"])
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(PeerError(f"sparkplug-client ended: {self.child.last_words()}"))


@contextlib.asynccontextmanager
async def sparkplug_node(
    broker: Mosquitto | None = None, *, group: str = "plant", edge_node: str = "line", folder: Path | None = None
) -> AsyncIterator[SparkplugNode]:
    """Run one; without a broker it only decodes and encodes. Killed at the end: its will is then published."""
    with contextlib.ExitStack() as stack:
        home = folder or Path(stack.enter_context(TemporaryDirectory(prefix="sparkplug-")))
        home.mkdir(parents=True, exist_ok=True)
        options: Json = {}
        if broker is not None:
            url = f"mqtt://{broker.host}:{broker.port}"
            options = {"serverUrl": url, "groupId": group, "edgeNode": edge_node, "clientId": f"tahu-{edge_node}"}
        installed = require.cache() / "node"
        child = await Child.start(
            [require.find("sparkplug-node"), SCRIPT, json.dumps(options)],
            log=home / "sparkplug.log",
            environment={"PLANTGATE_PEERS_NODE": str(installed), "NODE_COMPILE_CACHE": str(installed / "compiled")},
            talks=True,
        )
        node = SparkplugNode(child)
        # Not in a TaskGroup, which would wrap a failing assertion of the test; awaited below.
        listening = asyncio.create_task(node.listen())
        try:
            await _until(node, "ready")
            if broker is not None:
                await _until(node, "connect")
            yield node
        finally:
            await child.kill()
            await listening


async def _until(node: SparkplugNode, event: str, seconds: float = 20.0) -> None:
    try:
        async with asyncio.timeout(seconds):
            while not any(said["event"] == event for said in node.events):
                if not node.child.running:
                    raise PeerError(f"sparkplug-client did not start: {node.child.last_words()}")
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise PeerError(f"sparkplug-client: no {event} in {seconds} s: {node.child.last_words()}") from None
