"""The machines of the acting journey, each behind a cable that can be pulled; they keep count of what they did."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from tests.integration.journey.overheard import MODBUS, OPC_UA, Recorder
from tests.peers.asyncua_server import NAME, NAMESPACE, AsyncuaServer, asyncua_server
from tests.peers.child import Child
from tests.peers.modbus_slave import ModbusSlave, modbus_slave
from tests.peers.proxy import Proxy, proxy


class Machine(Protocol):
    """What is written to."""

    name: str
    """Of its connection; its tag is ``NAME/speed``."""
    data_type: str
    cable: Proxy
    heard: Recorder

    @property
    def child(self) -> Child:
        """Its process, to be frozen."""
        ...

    def connection(self) -> str:
        """The connection in the plant file."""
        ...

    async def applied(self) -> list[int]:
        """Every value that was written, as the machine itself has it, oldest first."""
        ...


_UNIT: Final = 1
_ADDRESS: Final = 20
_MODBUS: Final = """\
  press:
    type: modbus
    host: {host}
    port: {port}
    timeout_ms: 400
    connect_seconds: 2
    devices: [{{ name: press, unit: 1, tags: [{{ tag: press/speed, address: 20, type: uint32 }}] }}]
"""


@dataclass
class ModbusMachine:
    """A slave on libmodbus; the value is a uint32."""

    name = "press"
    data_type = "UInt32"

    slave: ModbusSlave
    cable: Proxy
    heard: Recorder

    @property
    def child(self) -> Child:
        return self.slave.child

    def connection(self) -> str:
        return _MODBUS.format(host=self.cable.host, port=self.cable.port)

    async def applied(self) -> list[int]:
        done = await self.slave.writes(_UNIT)
        return [first << 16 | second for address, first, second in done if address == _ADDRESS]


@asynccontextmanager
async def modbus_machine(folder: Path, entries: Path) -> AsyncIterator[ModbusMachine]:
    async with modbus_slave() as slave, proxy(slave.host, slave.port) as cable:
        machine = ModbusMachine(slave, cable, Recorder(MODBUS, "press/speed", entries))
        cable.overheard = machine.heard.hear
        yield machine


_OPC_UA: Final = """\
  oven:
    type: opcua
    url: opc.tcp://{host}:{port}
    security: {{ policy: None }}
    request_timeout_seconds: 1
    connect_timeout_seconds: 3
    tags: [{{ node: "nsu={namespace};s={node}", tag: oven/speed }}]
"""


@dataclass
class OpcUaMachine:
    """A server on asyncua; the value is a Double."""

    name = "oven"
    data_type = "Double"

    server: AsyncuaServer
    cable: Proxy
    heard: Recorder

    @property
    def child(self) -> Child:
        return self.server.child

    def connection(self) -> str:
        return _OPC_UA.format(host=self.cable.host, port=self.cable.port, namespace=NAMESPACE, node=NAME)

    async def applied(self) -> list[int]:
        return [int(value) for value in await self.server.values()]


@asynccontextmanager
async def opcua_machine(folder: Path, entries: Path) -> AsyncIterator[OpcUaMachine]:
    async with asyncua_server(folder) as server, proxy("127.0.0.1", server.port) as cable:
        machine = OpcUaMachine(server, cable, Recorder(OPC_UA, "oven/speed", entries))
        cable.overheard = machine.heard.hear
        yield machine


Opening = Callable[[Path, Path], AbstractAsyncContextManager[Machine]]
MACHINES: Final[dict[str, Opening]] = {"modbus": modbus_machine, "opcua": opcua_machine}
"""By the word behind `--at`."""
