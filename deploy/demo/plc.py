"""The line's machines in a process of their own, which tells its parent every value they make: the PLC, an OPC UA
server, and an energy meter, a Modbus slave.

On standard output, a JSON object a line: first ``{"port": …, "meter_port": …, "tags": […]}``, then
``{"made": [[tag, ns, value, status], …]}``.
On standard input: ``go`` begins making values, ``stop`` ends it (the PLC goes on serving what it has; the meter, which
would make a new value at every question, is off); end of file ends the process.
"""

import asyncio
import json
import logging
import signal
import sys
from datetime import UTC, datetime
from typing import Final

from asyncua import Node, Server, ua

from deploy.demo import meter
from deploy.demo.machine import GOOD, TICK_SECONDS, Machine, Reading

NAMESPACE: Final = "urn:plantgate:demo:line3"
_TYPES: Final = {
    bool: ua.VariantType.Boolean,
    int: ua.VariantType.Int64,
    float: ua.VariantType.Double,
    str: ua.VariantType.String,
}


async def serve() -> None:
    """Until standard input ends."""
    machine = Machine()
    server = Server()
    await server.init()
    server.set_endpoint("opc.tcp://127.0.0.1:0/")
    server.set_server_name("line3 demo")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace(NAMESPACE)
    first = machine.start()
    nodes = await _nodes(server, index, first)
    made = []
    for tag, reading in first.items():
        value, time = _value(reading, GOOD)
        await server.write_attribute_value(nodes[tag], value)
        made.append((tag, time, reading, GOOD))
    async with server:
        assert server.bserver is not None
        energy = meter.Meter(lambda made: _say({"made": made}))
        meter_port = await energy.listen()
        _say({"port": server.bserver.port, "meter_port": meter_port, "tags": [*nodes, *meter.TAGS]})
        _say({"made": made})
        commands = await _commands()
        while (command := await commands.readline()) != b"":
            if command == b"go\n":
                await _make_values(server, machine, nodes, commands)
                await energy.stop()
                _say({"stopped": True})


async def _nodes(server: Server, index: int, readings: dict[str, Reading]) -> dict[str, ua.NodeId]:
    """A folder for each part of a tag's path, a variable at its end."""
    folders: dict[str, Node] = {"": server.nodes.objects}
    nodes = {}
    for tag, reading in readings.items():
        path, _, name = f"/line3/{tag}".rpartition("/")
        for end in (at for at, letter in enumerate(f"{path}/") if letter == "/" and at):
            folder, above = path[:end], path[:end].rpartition("/")
            if folder not in folders:
                folders[folder] = await folders[above[0]].add_folder(index, above[2])
        identifier, shown = ua.NodeId(ua.String(tag), ua.Int16(index)), ua.QualifiedName(name, index)
        node = await folders[path].add_variable(identifier, shown, reading, _TYPES[type(reading)])
        nodes[tag] = node.nodeid
    return nodes


async def _make_values(
    server: Server, machine: Machine, nodes: dict[str, ua.NodeId], commands: asyncio.StreamReader
) -> None:
    """Every tenth of a second, until there is another command."""
    stopping = asyncio.ensure_future(commands.readline())
    loop = asyncio.get_running_loop()
    due = loop.time()
    while not stopping.done():
        made = []
        for tag, reading, status in machine.tick():
            value, time = _value(reading, status)
            await server.write_attribute_value(nodes[tag], value)
            made.append((tag, time, reading, status))
        _say({"made": made})
        due = max(due + TICK_SECONDS, loop.time() - 1.0)
        await asyncio.wait([stopping], timeout=max(0.0, due - loop.time()))
    if stopping.result() == b"":
        raise SystemExit(0)


def _value(reading: Reading, status: int) -> tuple[ua.DataValue, int]:
    """With a source time to the microsecond, which is what the server's datetimes can hold."""
    now = datetime.now(UTC)
    variant = ua.Variant(None, ua.VariantType.Null) if reading is None else ua.Variant(reading, _TYPES[type(reading)])
    since = now - datetime(1970, 1, 1, tzinfo=UTC)
    time = (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000
    stamp = ua.DateTime.combine(now.date(), now.timetz())
    return ua.DataValue(variant, ua.StatusCode(ua.UInt32(status)), stamp), time


async def _commands() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


def _say(line: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when it ends
    logging.basicConfig(level=logging.ERROR)
    asyncio.run(serve())
