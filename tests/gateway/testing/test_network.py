"""The simulated network: bytes in order, held back, vanishing, reset and refused."""

import asyncio
import sys

import pytest

from plantgate.testing.network import SYN_SECONDS
from plantgate.testing.pipes import RETRANSMIT_SECONDS, WINDOW_BYTES
from plantgate.testing.simloop import Deadlock, running, simulate

pytestmark = pytest.mark.simulated


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def test_bytes_arrive_in_order_and_late() -> None:
    server = await asyncio.start_server(_echo, "plc", 502)
    reader, writer = await asyncio.open_connection("plc", 502)
    sent = bytes(range(256)) * 40
    for start in range(0, len(sent), 100):
        writer.write(sent[start : start + 100])
    before = running().elapsed
    assert await reader.readexactly(len(sent)) == sent
    assert running().elapsed > before
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    server.close()
    await asyncio.sleep(0.1)
    assert running().network.connections() == 0


async def test_bytes_arrive_cut_at_other_places_than_they_were_written() -> None:
    running().network.link("plc").split = 1.0
    pieces: list[bytes] = []

    class Listener(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            pieces.append(data)

    server = await asyncio.get_running_loop().create_server(Listener, "plc", 502)
    _, writer = await asyncio.open_connection("plc", 502)
    writer.write(b"one whole message")
    await asyncio.sleep(1)
    assert len(pieces) == 2
    assert b"".join(pieces) == b"one whole message"
    writer.close()
    server.close()


async def test_both_ends_know_their_addresses() -> None:
    met: list[object] = []

    async def meet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.extend([writer.get_extra_info("peername"), writer.get_extra_info("sockname")])
        writer.close()

    server = await asyncio.start_server(meet, "0.0.0.0", 0)
    host, port = server.sockets[0].getsockname()
    reader, writer = await asyncio.open_connection("any-name", port)
    assert await reader.read() == b""
    assert host == ""
    assert met == [writer.get_extra_info("sockname"), writer.get_extra_info("peername")]
    assert writer.get_extra_info("peername") == ("any-name", port)
    writer.close()
    server.close()


async def test_a_reader_that_does_not_read_holds_the_writer_back() -> None:
    release = asyncio.Event()
    got: list[int] = []

    async def lazy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        got.append(len(await reader.read(-1)))
        writer.close()

    server = await asyncio.start_server(lazy, "plc", 502)
    _, writer = await asyncio.open_connection("plc", 502)
    written = 0

    async def write_for_ever() -> None:
        nonlocal written
        while True:
            writer.write(bytes(10_000))
            written += 10_000
            await writer.drain()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(write_for_ever(), 60)
    assert WINDOW_BYTES < written < WINDOW_BYTES + 3 * 65536 + 65536 + 20_000
    release.set()
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    await asyncio.sleep(1)
    assert got == [written]
    server.close()


async def test_a_slow_line_takes_its_time() -> None:
    running().network.link("plc").bytes_per_second = 1000
    server = await asyncio.start_server(_echo, "plc", 502)
    reader, writer = await asyncio.open_connection("plc", 502)
    writer.write(bytes(3000))
    await reader.readexactly(3000)
    assert 6.0 < running().elapsed < 6.1
    writer.close()
    server.close()


async def test_after_a_cut_bytes_vanish_and_nobody_is_told_for_a_long_time() -> None:
    network = running().network
    server = await asyncio.start_server(_echo, "plc", 502)
    reader, writer = await asyncio.open_connection("plc", 502)
    network.cut("plc")
    cut_at = running().elapsed
    writer.write(b"hello?")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(600):
            await reader.read(1)
    with pytest.raises(TimeoutError) as caught:
        await reader.read(1)
    assert caught.value.errno is not None
    assert running().elapsed == pytest.approx(cut_at + RETRANSMIT_SECONDS, abs=1)
    writer.close()
    network.reset("plc")
    server.close()


async def test_a_connection_that_was_cut_is_reset_when_used_after_healing() -> None:
    network = running().network
    server = await asyncio.start_server(_echo, "plc", 502)
    reader, writer = await asyncio.open_connection("plc", 502)
    network.cut("plc")
    await asyncio.sleep(5)
    network.heal("plc")
    writer.write(b"still there?")
    with pytest.raises(ConnectionResetError):
        await reader.read(1)
    again, back = await asyncio.open_connection("plc", 502)
    back.write(b"x")
    assert await again.readexactly(1) == b"x"
    back.close()
    network.reset("plc")  # the server's end of the first connection is still half-open
    server.close()


async def test_connecting_to_a_host_that_is_cut_off_hangs_until_it_heals_or_the_system_gives_up() -> None:
    network = running().network
    server = await asyncio.start_server(_echo, "plc", 502)
    network.cut("plc")
    with pytest.raises(TimeoutError) as caught:
        await asyncio.open_connection("plc", 502)
    assert caught.value.errno is not None
    assert running().elapsed == pytest.approx(SYN_SECONDS, abs=1)
    asyncio.get_running_loop().call_later(3, network.heal, "plc")
    _, writer = await asyncio.open_connection("plc", 502)
    assert running().elapsed == pytest.approx(SYN_SECONDS + 3, abs=1)
    writer.close()
    server.close()


async def test_bytes_that_were_held_arrive_after_healing() -> None:
    network = running().network
    server = await asyncio.start_server(_echo, "plc", 502)
    reader, writer = await asyncio.open_connection("plc", 502)
    network.hold("plc")
    writer.write(b"patience")
    await asyncio.sleep(30)
    network.heal("plc")
    assert await reader.readexactly(8) == b"patience"
    assert running().elapsed > 30
    writer.close()
    server.close()


async def test_a_reset_breaks_both_ends() -> None:
    broken: list[str] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read(1)
        except ConnectionResetError:
            broken.append("server")
        writer.close()

    server = await asyncio.start_server(listen, "plc", 502)
    reader, writer = await asyncio.open_connection("plc", 502)
    running().network.reset(("plc", 502))
    with pytest.raises(ConnectionResetError):
        await reader.read(1)
    await asyncio.sleep(0.1)
    assert broken == ["server"]
    assert running().network.connections("plc") == 0
    writer.close()
    server.close()


async def test_one_port_can_be_refused_while_the_host_answers_on_another() -> None:
    network = running().network
    servers = [await asyncio.start_server(_echo, "plc", port) for port in (502, 4840)]
    network.refuse(("plc", 502))
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("plc", 502)
    _, writer = await asyncio.open_connection("plc", 4840)
    writer.close()
    network.heal(("plc", 502))
    _, writer = await asyncio.open_connection("plc", 502)
    writer.close()
    assert [(host, port) for _, host, port in network.dialled] == [("plc", 502), ("plc", 4840), ("plc", 502)]
    for server in servers:
        server.close()


async def test_a_host_nobody_serves_refuses() -> None:
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("plc", 502)
    server = await asyncio.start_server(_echo, "plc", 502)
    with pytest.raises(OSError, match="in use"):
        await asyncio.start_server(_echo, "plc", 502)
    server.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("plc", 502)


async def test_aborting_resets_the_peer() -> None:
    server = await asyncio.start_server(_echo, "plc", 502)
    reader, writer = await asyncio.open_connection("plc", 502)

    async def hang_up(_: asyncio.StreamReader, there: asyncio.StreamWriter) -> None:
        there.transport.abort()

    rude = await asyncio.start_server(hang_up, "rude", 502)
    rude_reader, rude_writer = await asyncio.open_connection("rude", 502)
    with pytest.raises(ConnectionResetError):
        await rude_reader.read(1)
    writer.write(b"x")
    assert await reader.readexactly(1) == b"x"
    for end in (writer, rude_writer, server, rude):
        end.close()


async def test_a_server_that_closes_waits_for_its_clients_as_this_python_does() -> None:
    server = await asyncio.start_server(_echo, "plc", 502)
    _, writer = await asyncio.open_connection("plc", 502)
    asyncio.get_running_loop().call_later(5, writer.close)
    server.close()
    await server.wait_closed()
    assert (running().elapsed > 5) == (sys.version_info >= (3, 12))
    await asyncio.sleep(6)


@pytest.mark.simulated(seeds=1)
def test_waiting_for_bytes_that_vanished_is_a_deadlock_and_not_a_hang() -> None:
    async def main() -> None:
        server = await asyncio.start_server(_echo, "plc", 502)
        reader, _ = await asyncio.open_connection("plc", 502)
        running().network.cut("plc")
        await reader.read(1)
        server.close()

    with pytest.raises(Deadlock, match="_echo"):
        simulate(main)
