"""An OPC UA server on asyncua in a process of its own, which can be frozen; counts what clients write.

Run as a program it answers with ``{"ready": URL}``, then each line (``look``, ``freeze``) with how often it was written
to and what it holds. After ``freeze`` it stops itself (SIGSTOP) when the next write has come and is not done yet.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.peers.child import Child, PeerError
from tests.peers.mosquitto import free_port

NAMESPACE = "urn:press"
NAME = "speed"


class AsyncuaServer:
    """One variable, `nsu=urn:press;s=speed`, a Double."""

    def __init__(self, child: Child, port: int) -> None:
        self.child = child
        self.port = port

    async def written(self) -> int:
        """Writes by clients that it did."""
        return int((await self._said("look"))["written"])

    async def values(self) -> list[float]:
        """What clients wrote, in the order it was done."""
        return list((await self._said("look"))["values"])

    async def value(self) -> float:
        """What it holds."""
        return float((await self._said("look"))["value"])

    async def freeze_at_the_next_write(self) -> None:
        """It does that write when it is thawed."""
        await self._said("freeze")

    async def _said(self, word: str) -> dict[str, Any]:
        stdin = self.child.process.stdin
        assert stdin is not None
        stdin.write(f"{word}\n".encode())
        await stdin.drain()
        return await _line(self.child)


@contextlib.asynccontextmanager
async def asyncua_server(folder: Path, port: int = 0) -> AsyncIterator[AsyncuaServer]:
    """Run one on 127.0.0.1, on a port of its own unless one is given, without security."""
    port = port or free_port()
    child = await Child.start(
        [sys.executable, "-m", "tests.peers.asyncua_server", str(port)], log=folder / "asyncua.log", talks=True
    )
    try:
        await _line(child)
        yield AsyncuaServer(child, port)
    finally:
        await child.kill()


async def _line(child: Child) -> dict[str, Any]:
    stdout = child.process.stdout
    assert stdout is not None
    async with asyncio.timeout(60):
        line = await stdout.readline()
    if not line:
        raise PeerError(f"the server does not answer: {child.last_words()}")
    found: dict[str, Any] = json.loads(line)
    return found


def _say(words: dict[str, Any]) -> None:
    sys.stdout.write(f"{json.dumps(words)}\n")
    sys.stdout.flush()


async def _serve(port: int) -> None:
    from asyncua import Server, ua

    from plantgate_connectors.opcua.nodeids import node_id

    server = Server()
    await server.init()
    url = f"opc.tcp://127.0.0.1:{port}/plant"
    server.set_endpoint(url)
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace(NAMESPACE)
    node = await server.nodes.objects.add_variable(node_id(NAME, index), NAME, 0.0)
    await node.set_writable()
    values: list[float] = []
    freezing = False
    service: Any = server.iserver.attribute_service  # asyncua has no other place to count in
    write = service.write

    async def counted(params: Any, **named: Any) -> Any:
        nonlocal freezing
        mine = any(each.NodeId == node.nodeid for each in params.NodesToWrite)
        if mine and freezing:
            freezing = False
            os.kill(os.getpid(), signal.SIGSTOP)
        results = await write(params, **named)
        if mine and results[0].is_good():
            values.append(params.NodesToWrite[0].Value.Value.Value)
        return results

    service.write = counted
    async with server:
        _say({"ready": url})
        while word := await asyncio.to_thread(sys.stdin.readline):
            freezing = freezing or word.strip() == "freeze"
            _say({"written": len(values), "values": values, "value": await node.read_value()})


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
