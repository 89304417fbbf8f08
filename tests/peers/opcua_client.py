"""An OPC UA client on node-opcua (a stack that is not ours), driven from Python."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

from tests.peers import require
from tests.peers.child import Child, PeerError

Json = dict[str, object]

CLIENT = Path(__file__).parent / "node" / "client.js"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """How the client connects."""

    url: str
    certificate: Path | None = None
    key: Path | None = None
    application_uri: str | None = None
    policy: str = "Basic256Sha256"
    mode: str = "SignAndEncrypt"
    user: str | None = None
    password: str | None = None
    user_certificate: Path | None = None
    user_key: Path | None = None
    token_ms: int | None = None
    """How long it asks its channel's keys to last."""
    session_timeout_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """A value as node-opcua saw it."""

    value: object
    type: str
    status: str
    code: int
    source_ms: float | None
    source_ps: int
    """Picoseconds beside the milliseconds, as node-opcua gives them."""
    server_ms: float | None
    node: str = ""

    @property
    def source_ns(self) -> int | None:
        """Source time in ns since 1970, exact to 100 ns."""
        return None if self.source_ms is None else int(self.source_ms) * 1_000_000 + self.source_ps // 1000


class NodeOpcuaClient:
    """A running client. Every method raises `PeerError` with the client's own words when it fails."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self._ids = itertools.count(1)

    async def connect(self) -> None:
        """Open a channel and a session, as the settings say."""
        await self.do("connect")

    async def read(self, *nodes: str, attribute: str = "Value") -> list[Told]:
        """Values (or another attribute) of nodes."""
        answer = await self.do("read", nodes=nodes, attribute=attribute)
        return [_told(each) for each in cast(list[Json], answer["values"])]

    async def browse(self, node: str) -> list[Json]:
        """What is below a node: `node`, `name`, `type` of each."""
        return cast(list[Json], (await self.do("browse", node=node))["references"])

    async def subscribe(self, *nodes: str, **more: object) -> None:
        """Watch nodes; what comes is had from `heard`."""
        await self.do("subscribe", nodes=nodes, **more)

    async def heard(self) -> list[Told]:
        """What has come since the last time."""
        return [_told(each) for each in cast(list[Json], (await self.do("heard"))["heard"])]

    async def until(self, enough: Callable[[Sequence[Told]], bool], seconds: float = 20.0) -> list[Told]:
        """Everything heard until it is enough."""
        found: list[Told] = []
        try:
            async with asyncio.timeout(seconds):
                while True:
                    found += await self.heard()
                    if enough(found):
                        return found
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise PeerError(f"not enough in {seconds} s: {found[-5:]}") from None

    async def write(self, node: str, value: float, attribute: str = "Value") -> str:
        """Try to write; answers the name of the StatusCode."""
        return cast(str, (await self.do("write", node=node, value=value, attribute=attribute))["status"])

    async def do(self, what: str, **arguments: object) -> Json:
        """One command."""
        number = next(self._ids)
        stdin, stdout = self.child.process.stdin, self.child.process.stdout
        assert stdin is not None
        assert stdout is not None
        given = {key: value for key, value in arguments.items() if value is not None}
        stdin.write(json.dumps({"id": number, "do": what, **given}).encode() + b"\n")
        try:
            async with asyncio.timeout(30.0):
                await stdin.drain()
                line = await stdout.readline()
        except (TimeoutError, ConnectionError):
            raise PeerError(f"the client did not answer {what}: {self.child.last_words()}") from None
        if not line:
            raise PeerError(f"the client is gone: {self.child.last_words()}")
        answer = cast(Json, json.loads(line))
        assert answer["id"] == number, f"{answer} is not the answer to {number}"
        if "error" in answer:
            raise PeerError(str(answer["error"]))
        return cast(Json, answer["ok"])


@contextlib.asynccontextmanager
async def node_opcua_client(settings: ClientSettings) -> AsyncIterator[NodeOpcuaClient]:
    """Run a client, not connected yet; it is gone when the block ends."""
    with TemporaryDirectory(prefix="node-opcua-client-") as folder:
        options = {key: value for key, value in asdict(settings).items() if value is not None}
        options["pki"] = f"{folder}/pki"
        installed = require.cache() / "node"
        child = await Child.start(
            [require.find("node-opcua"), CLIENT, json.dumps(options, default=str)],
            log=Path(folder) / "client.log",
            environment={"PLANTGATE_PEERS_NODE": str(installed), "NODE_COMPILE_CACHE": str(installed / "compiled")},
            talks=True,
        )
        try:
            assert child.process.stdout is not None
            async with asyncio.timeout(60.0):
                ready = await child.process.stdout.readline()
            if not ready:
                raise PeerError(f"the client did not start: {child.last_words()}")
            client = NodeOpcuaClient(child)
            yield client
            with contextlib.suppress(PeerError):
                await client.do("disconnect")
        finally:
            await child.kill()


def _told(each: Json) -> Told:
    return Told(**each)  # type: ignore[arg-type]  # as the script makes them
