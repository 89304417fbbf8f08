"""A server of ours on a real port, and what its tests give it."""

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from plantgate.sdk import Batch, Context, Sample, Sink, SystemClock
from plantgate.sdk.clock import Clock
from plantgate.testing.context import RecordedLog, lent
from plantgate.testing.simloop import STARTS_AT
from plantgate_connectors.opcua.pki import Store
from plantgate_connectors.opcua_server import OpcUaServer, OpcUaServerSettings
from plantgate_connectors.opcua_server.door import application_uri
from tests.peers.certificates import Issued, self_signed
from tests.peers.mosquitto import free_port

APPLICATION = "urn:plantgate:tests:scada"
NOW = 1_795_694_400_123_456_700
"""A time that only 100 ns can tell."""
OPEN = {"security": {"policies": ["None"]}, "login": {"anonymous": True}}
"""For tests that are about something else than security."""


@dataclass(frozen=True, slots=True)
class Served:
    """A running server."""

    connector: OpcUaServer
    context: Context
    sink: Sink
    port: int

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"opc.tcp://127.0.0.1:{self.port}"

    @property
    def log(self) -> list[str]:
        """What it has told, warnings and errors."""
        log = self.context.log
        assert isinstance(log, RecordedLog)
        return [event for level, event, _ in log.lines if level != "info"]

    async def show(self, *samples: Sample, origin: str = "", position: int = 0) -> None:
        """Accept samples."""
        batch = Batch.of(samples)
        batch.origin, batch.position = origin, position
        await self.sink.accept(batch)


def settings(written: dict[str, Any]) -> OpcUaServerSettings:
    """As from a plant file."""
    return OpcUaServerSettings.model_validate_json(json.dumps(written))


@contextlib.asynccontextmanager
async def served(
    folder: Path,
    written: dict[str, Any],
    *,
    clock: Clock | None = None,
    port: int | None = None,
    host: str = "127.0.0.1",
) -> AsyncIterator[Served]:
    """Serve while the block runs; the same folder again is the same gateway restarted."""
    port = port or free_port()
    context = lent(folder / "gateway", connection="scada", clock=clock or SystemClock())
    given = settings({"host": host, "port": port, **written})
    started_before(given, context)
    connector = OpcUaServer(given, context)
    async with connector.sink() as sink:
        yield Served(connector, context, sink, port)


def started_before(settings: OpcUaServerSettings, context: Context) -> None:
    """Give it the certificate of an earlier start: a key takes longer to make than most of what is tested with it."""
    folder = context.site_folder / "pki-server"
    if not (folder / "own").exists():
        for path, content in _own(application_uri(settings, context)).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)


@cache
def _own(uri: str) -> Mapping[Path, bytes]:
    with TemporaryDirectory() as name:
        folder = Path(name)
        Store(folder).identity(uri, min(STARTS_AT, SystemClock().now()))
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def secret(folder: Path, text: str) -> str:
    """A password in a file, as a reference."""
    path = folder / "password"
    path.write_text(text + "\n", encoding="utf-8")
    return f"${{file:{path}}}"


def trusted_client(folder: Path) -> Issued:
    """A client certificate that the server in `folder` trusts."""
    issued = client(folder)
    trust(folder, issued.certificate)
    return issued


def client(folder: Path) -> Issued:
    """A client certificate nobody has trusted."""
    (folder / "client").mkdir(exist_ok=True)
    return self_signed(folder / "client", "scada", APPLICATION)


def trust(folder: Path, certificate: Path, where: str = "trusted") -> None:
    """What an operator does."""
    target = folder / "gateway" / "site" / "pki-server" / where
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy(certificate, target / certificate.name)


def numbers(tag: str, values: Sequence[float], since: int = NOW) -> list[Sample]:
    """Good readings a millisecond apart."""
    return [Sample(tag, value, 0, since + index * 1_000_000) for index, value in enumerate(values)]


async def shortly(condition: Any, seconds: float = 10.0) -> None:
    """Wait for what another process will do."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  another process sets no event of ours
            await asyncio.sleep(0.01)
