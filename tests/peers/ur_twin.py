"""A robot of our own: RTDE, a dashboard and a little mailbox program, written from Universal Robots' documents.

It is a twin (evidence rung 2b): no real robot stands behind it. It works on the simulated network and on real sockets,
honest unless told how to misbehave. As a process it prints its ports as a line of JSON, and at SIGTERM what it did:

    python -m tests.peers.ur_twin --port 0
"""

import argparse
import asyncio
import json
import signal
import struct
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tests.peers.ur_board import PAUSED, PLAYING, STOPPED, Board
from tests.peers.ur_fields import FORMATS, Vector, parts, type_of
from tests.peers.ur_program import CYCLE_SECONDS, Program, Registers

Spoil: TypeAlias = Callable[[bytes], list[bytes | float]]
"""From a package to what is sent: bytes, and pauses in seconds between them."""

_NAMES_BYTES_MAX = 2048
_UNREAD_BYTES_MAX = 64 * 1024
"""So much a client may leave unread before packages are skipped for it."""


@dataclass(eq=False)
class Client:
    """One connection."""

    writer: asyncio.StreamWriter
    fields: list[str] = field(default_factory=list)
    frequency: float = 0.0
    recipes: dict[int, tuple[list[str], struct.Struct]] = field(default_factory=dict)
    """Of inputs, by id."""
    sending: "asyncio.Task[None] | None" = None


@dataclass
class Robot:
    """The controller, the arm's state and the program; RTDE clients and dashboard clients come to it."""

    version: tuple[int, int, int, int] = (5, 11, 0, 108)
    protocols: tuple[int, ...] = (1, 2)
    values: dict[str, Any] = field(default_factory=dict)
    """State by field, zero where nothing was set."""
    inputs: Registers = field(default_factory=dict)
    in_use: set[str] = field(default_factory=set)
    """Inputs that a fieldbus holds."""
    absent: set[str] = field(default_factory=set)
    """Fields that this software version does not have."""
    unanswered: set[str] = field(default_factory=set)
    """Kinds of questions (`V`, `O`, …) that get no answer."""
    spoil: Spoil | None = None
    """What is sent for a package; the right one, whole, unless given."""
    packages: int = 0
    """Data packages that were sent, to anybody."""
    received: list[dict[str, bool | int | float]] = field(default_factory=list)
    """Data packages that came."""
    delivers: bool = True
    """False: packages that come are held back, in `late`, as on a line that is slow."""
    late: list[dict[str, bool | int | float]] = field(default_factory=list)
    connections: int = 0
    program: Program = field(init=False)
    board: Board = field(init=False)
    ports: tuple[int, int] = (0, 0)
    """Of RTDE and the dashboard, where they listen."""
    _awake: asyncio.Event = field(default_factory=asyncio.Event)
    _clients: set[Client] = field(default_factory=set)
    _waiting: list["asyncio.Future[None]"] = field(default_factory=list)
    _on_since: float = 0.0

    def __post_init__(self) -> None:
        self.values |= {"robot_mode": 7, "safety_status": 1, "safety_mode": 1, "runtime_state": PLAYING}
        self.values |= {"robot_status_bits": 3, "safety_status_bits": 1, "speed_scaling": 1.0}
        self.values["actual_TCP_pose"] = (0.1, -0.2, 0.3, 0.0, 3.14, 0.0)
        self.program = Program(self.inputs, self.values, self._program_runs)
        self.board = Board(self.values, self.version, self._awake)
        self._awake.set()
        self._on_since = asyncio.get_running_loop().time() - 1000.0
        self.program.start()

    # What tests do to it.

    def set(self, name: str, value: bool | int | float | Vector) -> None:
        """From the next package on."""
        self.values[name] = value

    async def shown(self) -> None:
        """Until a data package has gone out since."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        await waiting

    def freeze(self) -> None:
        """Its servers hang: nothing is sent, and what comes waits in its socket. Arm and program go on."""
        self._awake.clear()

    def thaw(self) -> None:
        """It goes on."""
        self._awake.set()

    def drop(self) -> None:
        """Every connection of RTDE."""
        for client in self._clients:
            client.writer.transport.abort()

    def power_off(self) -> None:
        """The arm's power; the controller stays on."""
        self.values |= {"robot_mode": 3, "runtime_state": STOPPED}
        self.program.pause()

    def protective_stop(self) -> None:
        """As after a collision: the program is paused."""
        self.values |= {"safety_status": 3, "runtime_state": PAUSED}
        self.program.pause()

    def emergency_stop(self) -> None:
        """Somebody has pressed the button."""
        self.values |= {"robot_mode": 3, "safety_status": 7, "runtime_state": STOPPED}
        self.program.pause()

    def stop_program(self) -> None:
        """A person stops it."""
        self.values["runtime_state"] = STOPPED
        self.program.pause()

    def start_program(self) -> None:
        """From its first line, with everything in order."""
        self.values |= {"robot_mode": 7, "safety_status": 1, "runtime_state": PLAYING}
        self.program.start()

    def resume_program(self) -> None:
        """From where it stood, with everything in order."""
        self.values |= {"robot_mode": 7, "safety_status": 1, "runtime_state": PLAYING}
        self.program.resume()

    def restart(self) -> None:
        """The controller is switched off and on: its clock and its registers begin at zero."""
        self._on_since = asyncio.get_running_loop().time()
        self.inputs.clear()
        for name in [name for name in self.values if name.startswith("output_")]:
            del self.values[name]
        self.drop()
        self.program.start()

    def _program_runs(self) -> bool:
        return bool(self.values["runtime_state"] == PLAYING)

    # RTDE.

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        client = Client(writer)
        self._clients.add(client)
        try:
            while True:
                size, kind = struct.unpack(">HB", await _exactly(reader, 3))
                payload = await _exactly(reader, size - 3)
                await self._awake.wait()
                await self._take(client, chr(kind), payload)
        except OSError:
            pass
        finally:
            self._clients.discard(client)
            if client.sending is not None:
                client.sending.cancel()
            writer.transport.abort()

    async def _take(self, client: Client, kind: str, payload: bytes) -> None:
        if kind in self.unanswered:
            return
        match kind:
            case "V":
                [wanted] = struct.unpack(">H", payload)
                await self._send(client, kind, bytes((wanted in self.protocols,)))
            case "v":
                await self._send(client, kind, struct.pack(">4I", *self.version))
            case "O":
                await self._outputs(client, payload)
            case "I":
                await self._inputs(client, _names(payload))
            case "S" | "P":
                await self._start(client, kind)
            case "U":
                self._receive(client, payload)

    async def _outputs(self, client: Client, payload: bytes) -> None:
        [client.frequency] = struct.unpack_from(">d", payload)
        client.fields = _names(payload[8:])
        types = [type_of(name, sent=False) if name not in self.absent else "NOT_FOUND" for name in client.fields]
        if len(payload) - 8 > _NAMES_BYTES_MAX:
            types = ["NOT_FOUND"] * len(types)
        await self._send(client, "O", bytes(("NOT_FOUND" not in types,)) + ",".join(types).encode())

    async def _inputs(self, client: Client, names: list[str]) -> None:
        """One client may have a field in several recipes, as ur_rtde does; two clients may not."""
        others = [other for other in self._clients if other is not client]
        held = set().union(*(fields for other in others for fields, _ in other.recipes.values()))
        types = [type_of(name, sent=True) for name in names]
        types = ["IN_USE" if name in self.in_use | held else kind for name, kind in zip(names, types, strict=True)]
        number = 0
        if not {"IN_USE", "NOT_FOUND"} & set(types):
            number = len(client.recipes) + 1
            client.recipes[number] = (names, struct.Struct(">" + "".join(FORMATS[kind] for kind in types)))
        await self._send(client, "I", bytes((number,)) + ",".join(types).encode())

    async def _start(self, client: Client, kind: str) -> None:
        if client.sending is not None:
            client.sending.cancel()
            client.sending = None
        able = kind == "P" or bool(client.fields)
        await self._send(client, kind, bytes((able,)))
        if kind == "S" and able:
            client.sending = asyncio.create_task(self._keep_sending(client), name="ur twin: data packages")

    def _receive(self, client: Client, payload: bytes) -> None:
        names, packed = client.recipes[payload[0]]
        came = dict(zip(names, packed.unpack(payload[1:]), strict=True))
        if self.delivers:
            self.deliver(came)
        else:
            self.late.append(came)

    def deliver(self, came: dict[str, bool | int | float]) -> None:
        """A data package reaches the controller's registers."""
        self.received.append(came)
        self.inputs.update(came)
        self.program.stir()

    async def _keep_sending(self, client: Client) -> None:
        loop, period = asyncio.get_running_loop(), 1 / min(client.frequency, 500 if self.version[0] >= 5 else 125)
        types = [type_of(name, sent=False) for name in client.fields]
        packed = struct.Struct(">B" + "".join(FORMATS[kind] for kind in types))
        turn = int((loop.time() - self._on_since) / period)
        try:
            while True:
                turn = max(turn + 1, int((loop.time() - self._on_since) / period))
                await asyncio.sleep(max(0.0, self._on_since + turn * period - loop.time()))
                if not self._awake.is_set():
                    await self._awake.wait()
                    continue
                if client.writer.transport.get_write_buffer_size() > _UNREAD_BYTES_MAX:
                    continue  # a controller that cannot send skips, and goes on with the newest
                seconds = round(turn * period / CYCLE_SECONDS) * CYCLE_SECONDS
                held: list[Any] = []
                for name, kind in zip(client.fields, types, strict=True):
                    held += parts(self._value(name, seconds), kind)
                await self._send(client, "U", packed.pack(1, *held))
                self.packages += 1
                waiting, self._waiting = self._waiting, []
                for each in waiting:
                    if not each.done():
                        each.set_result(None)
        except OSError:
            pass

    def _value(self, name: str, seconds: float) -> Any:
        if name == "timestamp":
            return seconds
        if name in (box.clock for box in self.program.boxes):
            return self.program.clock
        return self.inputs.get(name, 0) if name.startswith("input_") else self.values.get(name, 0)

    async def _send(self, client: Client, kind: str, payload: bytes) -> None:
        whole = struct.pack(">HB", 3 + len(payload), ord(kind)) + payload
        for part in [whole] if self.spoil is None else self.spoil(whole):
            if isinstance(part, bytes):
                client.writer.write(part)
            else:
                await asyncio.sleep(part)

    def close(self) -> None:
        """Of every connection."""
        self.thaw()
        self.board.close()
        self.drop()


def _names(payload: bytes) -> list[str]:
    """Field names; ur_rtde ends its list with a comma, and controllers do not mind."""
    return [name for name in payload.decode().split(",") if name]


async def _exactly(reader: asyncio.StreamReader, count: int) -> bytes:
    """As `readexactly`, which waits for ever when the connection breaks just after a part of it came (Python 3.11)."""
    found = b""
    while len(found) < count:
        more = await reader.read(count - len(found))
        if not more:
            raise ConnectionResetError
        found += more
    return found


@asynccontextmanager
async def robot(host: str, port: int = 30_004, dashboard_port: int = 29_999) -> AsyncIterator[Robot]:
    """Switched on, its program playing, while the block lasts."""
    twin = Robot()
    rtde = await asyncio.start_server(twin.serve, host, port)
    dashboard = await asyncio.start_server(twin.board.serve, host, dashboard_port)
    twin.ports = (rtde.sockets[0].getsockname()[1], dashboard.sockets[0].getsockname()[1])
    try:
        yield twin
    finally:
        for server in (rtde, dashboard):
            server.close()
        twin.close()
        for server in (rtde, dashboard):
            await server.wait_closed()


async def _run(host: str, port: int, dashboard_port: int) -> None:
    stop = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    async with robot(host, port, dashboard_port) as twin:
        _tell({"rtde": twin.ports[0], "dashboard": twin.ports[1]})
        await stop.wait()
        [box] = twin.program.boxes
        _tell({"applied": len(box.applied), "refused": len(box.refused), "passed_over": box.passed_over})


def _tell(what: dict[str, int]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Until SIGTERM or SIGINT."""
    arguments = argparse.ArgumentParser(description="A UR robot of our own, for tests and benchmarks.")
    arguments.add_argument("--host", default="127.0.0.1")
    arguments.add_argument("--port", type=int, default=30_004, help="of RTDE; 0 takes a free one")
    arguments.add_argument("--dashboard-port", type=int, default=0, help="0 takes a free one")
    given = arguments.parse_args()
    asyncio.run(_run(given.host, given.port, given.dashboard_port))


if __name__ == "__main__":
    main()
