"""Where a journey begins: a peer that holds the readings row by row, and what of a plant file reads it."""

import asyncio
import csv
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate

from tests.integration.journey.ledger import Rows
from tests.peers.modbus_slave import ModbusSlave, modbus_slave, words
from tests.peers.opcua_server import NodeOpcua, Settings, Variable, node_opcua
from tests.peers.proxy import Proxy, proxy

PREFIX: Final = "ett/"
Told = Callable[[int], None]
"""How many rows have been set."""


class Origin(Protocol):
    """One of the ways a row can come into the gateway."""

    cable: Proxy
    """Between peer and gateway."""
    repeats: bool
    """Whether what was missed can be fetched later, so that every row must arrive."""

    def connection(self) -> str:
        """The connection `transformer` of the plant file."""
        ...

    async def replay(self, rows: int, rows_per_second: float, told: Told) -> None:
        """Set one row after the other."""
        ...


OPCUA: Final = """\
  transformer:
    type: opcua
    url: opc.tcp://{host}:{port}
    security: {{ policy: Basic256Sha256, server_thumbprint: "{thumbprint}" }}
    user: {{ name: gateway, password: "${{file:{password}}}" }}
    publishing_interval_ms: 100
    sampling_interval_ms: 0
    queue_size: 5000
    trigger: status_value_timestamp
    keepalive_seconds: 1
    request_timeout_seconds: 5
    tags:
{tags}
"""


@dataclass
class OpcUaOrigin:
    """node-opcua: every value with its time; what was missed waits in the server's queues."""

    repeats = True

    server: NodeOpcua
    cable: Proxy
    file: Path
    names: list[str]
    folder: Path

    def connection(self) -> str:
        certificate = load_pem_x509_certificate(self.server.certificate.read_bytes())
        password = self.folder / "password"
        password.write_text("journey")
        uri = "urn:plantgate:tests:plant"
        return OPCUA.format(
            host=self.cable.host,
            port=self.cable.port,
            thumbprint=sha256(certificate.public_bytes(Encoding.DER)).hexdigest(),
            password=password,
            tags="\n".join(
                f'      - {{ node: "nsu={uri};s=ett/{name}", tag: "{PREFIX}{name}" }}' for name in self.names
            ),
        )

    async def replay(self, rows: int, rows_per_second: float, told: Told) -> None:
        await self.server.replay(self.file, folder="ett", rows_per_second=rows_per_second, rows=rows, tell=told)


@asynccontextmanager
async def opcua_origin(file: Path, rows: Rows, folder: Path) -> AsyncIterator[OpcUaOrigin]:
    """A server that keeps as many values as there are rows."""
    settings = Settings(users={"gateway": "journey"}, anonymous=False, session_timeout_ms=60_000)
    async with node_opcua(settings, folder=folder / "opcua") as server, proxy("127.0.0.1", server.port) as cable:
        history = len(rows.sent)
        await server.create(
            "ett",
            *(Variable(name=name, type="Double", history=history, value=0.0, source_ms=0.0) for name in rows.names),
        )
        yield OpcUaOrigin(server, cable, file, rows.names, folder)


MODBUS: Final = """\
  transformer:
    type: modbus
    host: {host}
    port: {port}
    poll_interval_ms: 5
    timeout_ms: 500
    time: {{ address: 0, type: uint64, unit: ms }}
    devices:
      - name: ett
        tags:
{tags}
"""
_VALUES_AT: Final = 10
SCALE: Final = 1000
_SEEN_SECONDS: Final = 0.1
"""A row stands until a whole poll has seen it, or for so long where nobody polls: a meter does not wait."""


@dataclass
class ModbusOrigin:
    """A libmodbus slave: whole numbers in registers, and a clock; what nobody asked for in time is gone."""

    repeats = False

    slave: ModbusSlave
    cable: Proxy
    file: Path
    names: list[str]

    def connection(self) -> str:
        tags = "\n".join(
            f"          - {{ tag: {PREFIX}{name}, address: {_VALUES_AT + 2 * at}, type: int32, scale: {1 / SCALE} }}"
            for at, name in enumerate(self.names)
        )
        return MODBUS.format(host=self.cable.host, port=self.cable.port, tags=tags)

    async def replay(self, rows: int, rows_per_second: float, told: Told) -> None:
        loop = asyncio.get_running_loop()
        with self.file.open(newline="") as lines:
            reader = csv.reader(lines)
            next(reader)
            began = loop.time()
            for number, line in enumerate(reader):
                if number == rows:
                    break
                moment = datetime.strptime(f"{line[0]}+0000", "%Y-%m-%d %H:%M:%S%z")
                raw = [round(float(cell) * SCALE) for cell in line[1:]]
                await self.slave.set(
                    1, {0: words("Q", int(moment.timestamp()) * 1000), _VALUES_AT: words(f"{len(raw)}i", *raw)}
                )
                await self._until_seen()
                told(number + 1)
                await asyncio.sleep(max(0.0, began + (number + 1) / rows_per_second - loop.time()))

    async def _until_seen(self) -> None:
        """Two more requests: the second was asked after the row was set."""
        before = (await self.slave.count(1)).requests
        end = asyncio.get_running_loop().time() + _SEEN_SECONDS
        while asyncio.get_running_loop().time() < end:
            if (await self.slave.count(1)).requests >= before + 2:
                return
            await asyncio.sleep(0.002)


@asynccontextmanager
async def modbus_origin(file: Path, rows: Rows, folder: Path) -> AsyncIterator[ModbusOrigin]:
    """A slave with all registers zero."""
    async with modbus_slave() as slave, proxy("127.0.0.1", slave.port) as cable:
        yield ModbusOrigin(slave, cable, file, rows.names)


Opening = Callable[[Path, Rows, Path], AbstractAsyncContextManager[Origin]]
ORIGINS: Final[dict[str, Opening]] = {
    "opcua": opcua_origin,
    "modbus": modbus_origin,
}
"""By the word behind `--from`."""
