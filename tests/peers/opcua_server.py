"""An OPC UA server on node-opcua (a stack that is not ours), driven from Python."""

import asyncio
import base64
import contextlib
import itertools
import json
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from tests.peers import require
from tests.peers.child import Child, PeerError

Value = float | str | bool | bytes | datetime | None | Sequence["Value"] | Mapping[str, "Value"]
"""What a variable holds; a structure is a mapping, an array a sequence."""

Json = dict[str, object]

SERVER = Path(__file__).parent / "node" / "server.js"
SAFE_INTEGER = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the server presents itself and what it grants. Defaults are generous and trust everyone."""

    port: int = 0
    """0 takes a free one; give the old one to bring a server back where it was."""
    application_uri: str = "urn:plantgate:tests:node-opcua"
    namespaces: Sequence[str] = ("urn:plantgate:tests:plant",)
    """In this order, after ns=0, ns=1 (the server's own) and the one of `structures`, if any."""
    resource_path: str = ""
    advertised: Sequence[str] = ()
    """Further endpoint URLs to advertise, such as that of a proxy in between."""
    policies: Sequence[str] = ("None", "Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss")
    """All but None are offered with SignAndEncrypt."""
    anonymous: bool = True
    users: Mapping[str, str] | None = None
    """Passwords by user name."""
    user_certificates: Sequence[Path] = ()
    trust_unknown: bool = True
    """Off: a client certificate that is not in `trusted` gets BadCertificateUntrusted."""
    trusted: Sequence[Path] = ()
    structures: Mapping[str, Sequence[tuple[str, str]]] | None = None
    """Structure types by name: fields and their built-in types."""
    anonymous_transfer: bool = False
    """Let an anonymous session without encryption take over subscriptions, against OPC 10000-4 5.13.7."""
    manufacturer: str = "NodeOPCUA"
    product: str = "NodeOPCUA-Server"
    max_sessions: int = 50
    max_subscriptions: int = 100
    max_subscriptions_per_session: int = 50
    max_monitored_items: int = 200_000
    max_nodes_per_read: int = 1000
    max_nodes_per_browse: int = 1000
    max_monitored_items_per_call: int = 1000
    max_nodes_per_history_read: int = 100
    min_publishing_interval_ms: float | None = None
    session_timeout_ms: float | None = None
    """The longest session timeout granted, whatever the client asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A variable to create; without a value it is BadWaitingForInitialData until one is set."""

    name: str
    type: str = "Double"
    value: Value = None
    status: str | int | None = None
    source_ms: float | None = None
    history: int = 0
    """How many values to keep for HistoryRead; 0 for no history."""
    id: str | None = None
    """Node id without namespace, such as `i=17`; `s=<path>` by default."""
    min_sampling_ms: float = 0.0
    """0: every change is reported to an item that asks for sampling interval 0."""
    writable: bool = False
    description: str | None = None


Setting = tuple[str, Value] | tuple[str, Value, str | int | None] | tuple[str, Value, str | int | None, float | None]
"""(path, value, status = Good, source time in ms since 1970 = now); value None is a null, as with a Bad status."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What the server holds for its clients now, and since it started."""

    sessions: int
    subscriptions: int
    monitored_items: int
    channels: int
    transactions: int
    bytes_written: int
    rejected_sessions: int
    created_sessions: int
    created_subscriptions: int


@dataclass(frozen=True, slots=True)
class Written:
    """One node of a Write request, as it arrived."""

    audit: str
    """The request's ClientAuditEntryId."""
    node: str
    attribute: int
    type: str
    """The built-in type of the variant."""
    timed: bool
    """It brought a time."""


class NodeOpcua:
    """A running server. Every method raises `PeerError` with the server's own words when it refuses."""

    def __init__(self, child: Child, url: str, port: int, certificate: Path) -> None:
        self.url = url
        self.port = port
        self.certificate = certificate
        """The server's own certificate (PEM)."""
        self.child = child
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Json]] = {}
        self._progress: dict[int, Callable[[int], None]] = {}
        self._gone = False

    async def create(self, folder: str, *variables: Variable, namespace: str | None = None) -> dict[str, str]:
        """Make variables in a folder (and the folder); answers the node id of each by its path `folder/name`."""
        wanted = [{**asdict(each), "value": _plain(each.value)} for each in variables]
        answer = await self._do("create", folder=folder, variables=wanted, namespace=namespace)
        return cast(dict[str, str], answer["nodes"])

    async def structure(
        self, folder: str, name: str, type_name: str, values: Mapping[str, Value], *, namespace: str | None = None
    ) -> str:
        """Make a variable of a structure type of `Settings.structures`; answers its node id."""
        answer = await self._do(
            "structure", folder=folder, name=name, type=type_name, values=_plain(values), namespace=namespace
        )
        return next(iter(cast(dict[str, str], answer["nodes"]).values()))

    async def set(self, *values: Setting) -> None:
        """Set many values in one turn of the server."""
        await self._do("set", values=[[path, _plain(value), *rest] for path, value, *rest in values])

    async def read(self, *paths: str) -> list[tuple[object, str, float | None]]:
        """Value, status name and source time (ms) of each, as the server itself sees them."""
        answer = await self._do("read", paths=paths)
        return [
            (value, status, at) for value, status, at in cast(list[tuple[object, str, float | None]], answer["values"])
        ]

    async def delete(self, *paths: str) -> None:
        """Delete variables, or folders with all that is in them."""
        await self._do("delete", paths=paths)

    async def replay(
        self,
        file: Path,
        *,
        folder: str,
        rows_per_second: float,
        first: int = 0,
        rows: int | None = None,
        history: int | None = None,
        tell: Callable[[int], None] | None = None,
    ) -> int:
        """Play rows of a CSV file (`date`, then a column per variable) into `folder`; answers how many.

        All columns of a row are set in one go, with the row's date (UTC) as source time. Makes the variables if
        they are not there, keeping `history` values of each (default: all rows). `tell` hears the number of rows
        set, twice a second. A subscriber must ask for sampling interval 0 to get every row, and for the
        trigger StatusValueTimestamp to get rows that repeat the value before them.
        """
        answer = await self._do(
            "replay",
            _seconds=None,
            _tell=tell,
            file=str(file),
            folder=folder,
            rows_per_second=rows_per_second,
            first=first,
            rows=rows,
            history=history,
        )
        return cast(int, answer["rows"])

    async def raise_event(
        self, source: str, message: str, *, severity: int = 500, event_type: str = "BaseEventType"
    ) -> None:
        """Raise one event from a folder or variable; `""` is the Server object."""
        await self._do("raise", source=source, message=message, severity=severity, event_type=event_type)

    async def limit_alarm(
        self,
        variable: str,
        *,
        low_low: float | None = None,
        low: float | None = None,
        high: float | None = None,
        high_high: float | None = None,
    ) -> str:
        """Watch a variable with an ExclusiveLimitAlarm, raised and cleared as values are set; answers its node id."""
        answer = await self._do("alarm", input=variable, low_low=low_low, low=low, high=high, high_high=high_high)
        return cast(str, answer["node"])

    async def refuse(self, service: str, status: str, *, times: int = 1) -> None:
        """Answer the next `times` requests of a service (`CreateSubscription`, ...) with a fault; 0 ends it."""
        await self._do("refuse", service=service, status=status, times=times)

    async def trust(self, certificate: Path) -> None:
        """Trust one more client certificate (PEM or DER) from now on."""
        await self._do("trust", certificate=str(certificate))

    async def close_sessions(self, *, delete_subscriptions: bool = True) -> int:
        """Close every session from the server's side; answers how many there were."""
        answer = await self._do("close_sessions", delete_subscriptions=delete_subscriptions)
        return cast(int, answer["closed"])

    async def counts(self) -> Counts:
        """Sessions, subscriptions, monitored items and more."""
        return Counts(**cast(dict[str, int], await self._do("counts")))

    async def writes(self) -> list[Written]:
        """Every node that a client asked it to write, in order."""
        answer = await self._do("writes")
        return [Written(**each) for each in cast(list[dict[str, Any]], answer["writes"])]

    async def stop(self) -> None:
        """Shut down as a server should, telling its clients."""
        if self.child.running:
            with contextlib.suppress(PeerError):
                await self._do("stop")
        await self.child.ended()

    async def kill(self) -> None:
        """The PLC loses power."""
        await self.child.kill()

    async def _do(
        self,
        what: str,
        *,
        _seconds: float | None = 20.0,
        _tell: Callable[[int], None] | None = None,
        **arguments: object,
    ) -> Json:
        if self._gone or not self.child.running:
            raise PeerError(f"node-opcua is gone: {self.child.last_words()}")
        number = next(self._ids)
        answer: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        if _tell is not None:
            self._progress[number] = _tell
        try:
            given = {key: value for key, value in arguments.items() if value is not None}
            line = json.dumps({"id": number, "do": what, **given}, allow_nan=False)
            stdin = self.child.process.stdin
            assert stdin is not None
            stdin.write(line.encode() + b"\n")
            try:
                await stdin.drain()
                async with asyncio.timeout(_seconds):
                    return await answer
            except TimeoutError:
                raise PeerError(f"node-opcua did not answer {what} in {_seconds} s") from None
            except ConnectionError:
                raise PeerError(f"node-opcua is gone: {self.child.last_words()}") from None
        finally:
            del self._waiting[number]
            self._progress.pop(number, None)

    async def _listen(self) -> None:
        stdout = self.child.process.stdout
        assert stdout is not None
        while line := await stdout.readline():
            message = cast(Json, json.loads(line))
            number = cast(int, message.get("id"))
            if "event" in message:
                if tell := self._progress.get(number):
                    tell(cast(int, message["row"]))
                continue
            waiting = self._waiting.get(number)
            if waiting is None or waiting.done():
                continue
            if "error" in message:
                waiting.set_exception(PeerError(str(message["error"])))
            else:
                waiting.set_result(cast(Json, message["ok"]))
        self._gone = True
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(PeerError(f"node-opcua ended: {self.child.last_words()}"))


@contextlib.asynccontextmanager
async def node_opcua(settings: Settings | None = None, *, folder: Path | None = None) -> AsyncIterator[NodeOpcua]:
    """Run a server; it is there when the block begins and gone when it ends.

    `folder` holds its certificates and log; give the same one again to get the same server certificate.
    """
    settings = settings or Settings()
    with contextlib.ExitStack() as stack:
        home = folder or Path(stack.enter_context(TemporaryDirectory(prefix="node-opcua-")))
        home.mkdir(parents=True, exist_ok=True)
        options = {key: value for key, value in asdict(settings).items() if value is not None}
        options["pki"] = str(home / "pki")
        node = require.find("node-opcua")
        installed = require.cache() / "node"
        child = await Child.start(
            [node, SERVER, json.dumps(options, default=str)],
            log=home / "node-opcua.log",
            environment={
                "PLANTGATE_PEERS_NODE": str(installed),
                "NODE_COMPILE_CACHE": str(installed / "compiled"),
            },
            talks=True,
        )
        try:
            ready = await _ready(child)
            server = NodeOpcua(
                child,
                url=cast(str, ready["url"]),
                port=cast(int, ready["port"]),
                certificate=home / "pki" / "server" / "own" / "certs" / "certificate.pem",
            )
            # Not in a TaskGroup, which would wrap a failing assertion of the test; awaited below.
            listening = asyncio.create_task(server._listen())
            try:
                yield server
            finally:
                await server.stop()
                await listening
        finally:
            await child.kill()


async def _ready(child: Child, seconds: float = 60.0) -> Json:
    stdout = child.process.stdout
    assert stdout is not None
    try:
        async with asyncio.timeout(seconds):
            line = await stdout.readline()
    except TimeoutError:
        raise PeerError(f"node-opcua was not ready in {seconds} s: {child.last_words()}") from None
    if not line:
        raise PeerError(f"node-opcua did not start: {child.last_words()}")
    return cast(Json, json.loads(line))


def _plain(value: Value) -> object:
    """What JSON can carry of a value; `values.js` reads it back by the variable's type."""
    match value:
        case bool() | None | str():
            return value
        case int():
            return value if abs(value) < SAFE_INTEGER else str(value)
        case float():
            return value if math.isfinite(value) else str(value).replace("inf", "Infinity").replace("nan", "NaN")
        case bytes():
            return base64.b64encode(value).decode()
        case datetime():
            return value.timestamp() * 1000
        case Mapping():
            return {key: _plain(each) for key, each in value.items()}
        case _:
            return [_plain(each) for each in value]
