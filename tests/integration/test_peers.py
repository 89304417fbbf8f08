"""The broker and the bad network do what they are for, seen by other clients than our own."""

import asyncio
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import pytest

from tests.peers.certificates import Authority
from tests.peers.child import PeerError
from tests.peers.mosquitto import Login, Tls, mosquitto
from tests.peers.proxy import proxy
from tests.peers.recorder import recorder
from tests.peers.require import require

pytestmark = pytest.mark.integration


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for what another process will do."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  another process sets no event of ours
            await asyncio.sleep(0.01)


def test_mosquitto_keeps_what_a_durable_subscriber_missed_while_it_was_killed(tmp_path: Path) -> None:
    require("mosquitto")

    async def run() -> None:
        async with mosquitto(users={"plant": "secret"}) as broker, recorder(broker, "line3/#") as recorded:
            sent = []
            for number in range(3):
                sent.append(f"before {number}".encode())
                await broker.publish("line3/t", sent[-1])
                await recorded.caught_up()
                await broker.kill()
                await broker.start()
                sent.append(f"after {number}".encode())
                await broker.publish("line3/t", sent[-1])
                await broker.publish("line4/t", b"not asked for")
                await recorded.caught_up()
            messages = recorded.messages()
            # At least once: what was acknowledged just before a kill may come again after it.
            assert [payload for payload, _ in groupby(message.payload for message in messages)] == sent
            assert {(message.topic, message.qos) for message in messages} == {("line3/t", 1)}
            arrived = [message.arrived_ns for message in messages]
            assert arrived == sorted(arrived)

    asyncio.run(run())


def test_mosquitto_lets_in_only_who_shows_a_certificate_of_its_authority(tmp_path: Path) -> None:
    require("mosquitto")
    authority = Authority(tmp_path)
    server = authority.issue("broker", hosts=("localhost", "127.0.0.1"))
    tls = Tls(authority.certificate, server.certificate, server.key, client_certificates=True)

    async def run() -> None:
        client = authority.issue("client")
        async with (
            mosquitto(tls=tls, login=Login(certificate=client.certificate, key=client.key)) as broker,
            recorder(broker) as recorded,
        ):
            await broker.publish("a", b"x\n\t\0y")
            await broker.publish("a", b"")
            assert [each.payload for each in await recorded.caught_up()] == [b"x\n\t\0y", b""]
        async with mosquitto(tls=tls) as broker:
            with pytest.raises(PeerError):
                await broker.publish("a", b"x")

    asyncio.run(run())


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(100):
        writer.write(chunk)
        await writer.drain()
    writer.close()


def test_the_proxy_stalls_cuts_resets_refuses_slows_and_slices() -> None:
    async def ask(streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], words: bytes) -> bytes:
        streams[1].write(words)
        async with asyncio.timeout(5):
            return await streams[0].readexactly(len(words))

    async def run() -> None:
        loop = asyncio.get_running_loop()
        async with (
            await asyncio.start_server(echo, "127.0.0.1", 0) as server,
            proxy("127.0.0.1", server.sockets[0].getsockname()[1]) as net,
        ):
            line = await asyncio.open_connection(net.host, net.port)
            assert await ask(line, b"hello") == b"hello"

            net.stall()
            line[1].write(b"held")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await line[0].readexactly(1)
            net.mend()
            assert await line[0].readexactly(4) == b"held"

            net.slowness.latency_seconds = 0.05
            began = loop.time()
            assert await ask(line, b"slow") == b"slow"
            assert loop.time() - began >= 0.1
            net.mend()

            net.slowness.bytes_per_second = 10_000
            began = loop.time()
            assert await ask(line, bytes(2_000)) == bytes(2_000)
            assert loop.time() - began >= 0.1  # 0.2 s for all; the last piece is not waited for
            net.mend()

            net.slowness.slice_bytes = 1
            line[1].write(b"abc")
            assert await line[0].read(100) == b"a"
            assert await line[0].readexactly(2) == b"bc"
            net.mend()

            net.refuse()
            assert await ask(line, b"still here") == b"still here"
            late = await asyncio.open_connection(net.host, net.port)
            with pytest.raises(ConnectionResetError):
                await late[0].read(1)
            net.mend()

            quiet = await asyncio.open_connection(net.host, net.port)
            assert await ask(quiet, b"hi") == b"hi"
            net.cut()
            line[1].write(b"lost")
            new = await asyncio.open_connection(net.host, net.port)
            new[1].write(b"anyone?")
            for streams in (line, new):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await streams[0].read(1)
            net.mend()
            with pytest.raises(ConnectionResetError):
                await line[0].read(1)
            assert await ask(quiet, b"unharmed") == b"unharmed"
            assert await new[0].readexactly(7) == b"anyone?"

            assert net.reset() == 2
            with pytest.raises(ConnectionResetError):
                await quiet[0].read(1)
            await until(lambda: net.open_links == 0)
            for _, writer in (line, late, quiet, new):
                writer.close()

    asyncio.run(run())


def test_a_missing_peer_skips_with_a_sentence_and_fails_where_peers_are_required(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PLANTGATE_PEERS_CACHE", str(tmp_path))
    monkeypatch.delenv("PLANTGATE_REQUIRE_PEERS", raising=False)
    with pytest.raises(pytest.skip.Exception, match="scripts/peers installs it"):
        require("node-opcua")
    monkeypatch.setenv("PLANTGATE_REQUIRE_PEERS", "1")
    with pytest.raises(pytest.fail.Exception, match="scripts/peers installs it"):
        require("node-opcua")
