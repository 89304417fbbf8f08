"""Clients that lie, stall or flood are left with a reason, in time; the others do not notice.

Catalogue rows 27, 29, 30, 31, 32, 34: on the real wire protocol, in simulated time.
"""

import asyncio
import contextlib
import random
import struct
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary
from asyncua.ua.uaerrors import BadServiceUnsupported, BadTooManySessions, UaStatusCodeError

from plantgate.testing.clock import WallClock
from plantgate.testing.simloop import running, simulate
from plantgate_connectors.opcua_server import frames
from tests.connectors.opcua_server.serving import OPEN, Served, numbers, served
from tests.connectors.opcua_server.wire import HOST, PORT, Ended, Wire, frame, hello

TAG = ua.NodeId("line/a", 2)


def simulated(folder: Path, use: Callable[[Served], Awaitable[None]], **limits: Any) -> None:
    """Run `use` beside a server with one tag, and see that a well-behaved client is still served at the end."""

    async def main() -> None:
        written = {**OPEN, "limits": limits}
        async with served(folder, written, clock=WallClock(), port=PORT, host=HOST) as server:
            await server.show(*numbers("line/a", [1.0]))
            good = await Wire.logged_in()
            await use(server)
            assert await value(good) == 1.0
            await good.close()
            await asyncio.sleep(5.0)

    simulate(main)


async def value(wire: Wire) -> object:
    request = ua.ReadRequest()
    request.Parameters.NodesToRead = [ua.ReadValueId(NodeId=TAG, AttributeId=ua.AttributeIds.Value)]
    request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Both
    async with asyncio.timeout(5.0):
        answer = await wire.ask(request, ua.ReadResponse)
    return answer.Results[0].Value.Value


async def read_lie(wire: Wire) -> None:
    body = struct_to_binary(ua.ReadRequest())[:-4] + struct.pack("<i", 2**31 - 1)
    wire.writer.write(wire.message(body))


async def nested(wire: Wire) -> None:
    """A value in a Write, nested five thousand deep."""
    request = ua.WriteRequest()
    request.RequestHeader.AuthenticationToken = wire.authentication
    head = struct_to_binary(request)[:-4]
    write = struct.pack("<i", 1) + b"\0\0" + struct.pack("<Ii", 13, -1) + b"\x01" + b"\x98\x01\0\0\0" * 5000 + b"\0"
    wire.writer.write(wire.message(head + write))


async def endless_chunks(wire: Wire) -> None:
    for _ in range(10_000):
        wire.writer.write(wire.message(b"x" * 100, mark=b"C"))
        await wire.writer.drain()


async def old_sequence(wire: Wire) -> None:
    wire.sequence -= 1
    wire.send(ua.GetEndpointsRequest())


async def skipped_sequence(wire: Wire) -> None:
    wire.sequence += 5
    wire.send(ua.GetEndpointsRequest())


async def others_channel(wire: Wire) -> None:
    wire.channel -= 1
    wire.send(ua.GetEndpointsRequest())


async def foreign_token(wire: Wire) -> None:
    wire.token += 7
    wire.send(ua.GetEndpointsRequest())


async def greets_twice(wire: Wire) -> None:
    wire.writer.write(hello())


async def weak_policy(wire: Wire) -> None:
    uri = b"http://opcfoundation.org/UA/SecurityPolicy#Basic128Rsa15"
    wire.writer.write(frame(b"OPN", b"F", struct.pack("<Ii", 0, len(uri)) + uri + b"\xff" * 8 + b"\0" * 100))


@pytest.mark.parametrize(
    ("attack", "status"),
    [
        (read_lie, frames.BAD_DECODING),
        (nested, frames.BAD_DECODING),
        (endless_chunks, frames.BAD_TOO_LARGE),
        (old_sequence, frames.BAD_SEQUENCE),
        (skipped_sequence, frames.BAD_SEQUENCE),
        (others_channel, frames.BAD_CHANNEL_UNKNOWN),
        (foreign_token, frames.BAD_TOKEN_UNKNOWN),
        (greets_twice, frames.BAD_MESSAGE_TYPE),
        (weak_policy, frames.BAD_CHANNEL_UNKNOWN),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_a_client_that_breaks_the_rules_is_left_with_a_reason(
    tmp_path: Path, attack: Callable[[Wire], Awaitable[None]], status: int
) -> None:
    async def use(server: Served) -> None:
        wire = await Wire.logged_in()
        with contextlib.suppress(ConnectionError):
            await attack(wire)
        assert await wire.ended() in (status, None)
        assert any("a client's connection is ended" in line for line in server.log)
        await wire.close()

    simulated(tmp_path, use)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", frames.BAD_MESSAGE_TYPE),
        (frame(b"MSG", b"F", b"\0" * 40), frames.BAD_MESSAGE_TYPE),
        (frame(b"OPN", b"F", b"\0" * 40), frames.BAD_MESSAGE_TYPE),
        (b"HELF" + struct.pack("<I", 2**31), frames.BAD_TOO_LARGE),
        (b"HELF" + struct.pack("<I", 0), frames.BAD_TOO_LARGE),
        (hello(b"x" * 5000), frames.BAD_URL_INVALID),
        (hello(size=100), frames.BAD_TOO_LARGE),
        (frame(b"HEL", b"F", struct.pack("<5Ii", 0, 65535, 65535, 0, 0, 2**31 - 1)), frames.BAD_URL_INVALID),
        (frame(b"HEL", b"F", struct.pack("<5Ii", 0, 65535, 65535, 0, 0, 9)), frames.BAD_DECODING),
        (hello() + frame(b"MSG", b"F", b"\0" * 40), frames.BAD_CHANNEL_UNKNOWN),
        (hello() + frame(b"OPN", b"F", b"\0\0\0\0\xff\xff\xff\x7f" + b"\0" * 40), frames.BAD_DECODING),
    ],
    ids=["http", "MSG first", "OPN first", "2 GiB", "empty", "long address", "tiny buffers", "2 GiB address",
         "lying length", "MSG before OPN", "OPN lies"],
)  # fmt: skip
def test_what_is_no_greeting_is_refused_at_once(tmp_path: Path, said: bytes, status: int) -> None:
    async def use(server: Served) -> None:
        wire = await Wire.dialled()
        wire.writer.write(said)
        started = running().elapsed
        assert await wire.ended() in (status, None)
        assert running().elapsed - started < 1.0
        await wire.close()

    simulated(tmp_path, use)


async def says_nothing(wire: Wire) -> None:
    pass


async def trickles(wire: Wire) -> None:
    for byte in hello()[:15]:
        wire.writer.write(bytes((byte,)))
        await asyncio.sleep(1.0)


async def never_logs_in(wire: Wire) -> None:
    wire.writer.write(hello())
    await wire.hear()
    await wire.open()
    while True:
        wire.send(ua.GetEndpointsRequest())
        await wire.answer(ua.GetEndpointsResponse)
        await asyncio.sleep(1.0)


async def stops_within_a_chunk(wire: Wire) -> None:
    wire.writer.write(hello())
    await wire.hear()
    await wire.open()
    await wire.log_in()
    wire.writer.write(wire.message(b"x" * 1000)[:500])


@pytest.mark.parametrize("attack", [says_nothing, trickles, never_logs_in, stops_within_a_chunk])
def test_a_client_that_keeps_a_connection_and_does_not_use_it_loses_it(
    tmp_path: Path, attack: Callable[[Wire], Awaitable[None]]
) -> None:
    async def use(server: Served) -> None:
        wire = await Wire.dialled()
        started = running().elapsed
        try:
            await attack(wire)
        except (Ended, ConnectionError):
            pass
        else:
            assert await wire.ended() in (frames.BAD_TIMEOUT, None)
        assert running().elapsed - started < 32.0
        await wire.close()

    simulated(tmp_path, use)


def test_connections_beyond_the_limit_are_closed_and_the_others_go_on(tmp_path: Path) -> None:
    async def use(server: Served) -> None:
        flood = [await Wire.dialled() for _ in range(30)]
        await asyncio.sleep(1.0)
        assert running().network.connections(HOST) <= 10
        for wire in flood:
            await wire.close()
        await asyncio.sleep(5.0)
        late = await Wire.logged_in()
        assert await value(late) == 1.0
        await late.close()

    simulated(tmp_path, use, connections_max=10)


def test_sessions_nobody_activates_do_not_keep_others_out(tmp_path: Path) -> None:
    async def use(server: Served) -> None:
        wire = await Wire.opened()
        for _ in range(50):
            await wire.ask(ua.CreateSessionRequest(), ua.CreateSessionResponse)
        late = await Wire.logged_in()
        assert await value(late) == 1.0
        held = [await Wire.logged_in(), await Wire.logged_in()]  # four by now, all in use
        with pytest.raises(BadTooManySessions):
            await wire.log_in()
        for each in held:
            await each.close()
        await wire.close()
        await late.close()

    simulated(tmp_path, use, sessions_max=4)


def test_clients_that_vanish_and_come_back_anew_do_not_lock_themselves_out(tmp_path: Path) -> None:
    async def use(server: Served) -> None:
        for _ in range(20):
            wire = await Wire.logged_in()
            await wire.ask(ua.CreateSubscriptionRequest(), ua.CreateSubscriptionResponse)
            wire.writer.transport.abort()
            await asyncio.sleep(0.1)

    simulated(tmp_path, use, sessions_max=4, subscriptions_max=4)


def test_an_unactivated_session_can_do_nothing(tmp_path: Path) -> None:
    async def use(server: Served) -> None:
        wire = await Wire.opened()
        made = await wire.ask(ua.CreateSessionRequest(), ua.CreateSessionResponse)
        wire.authentication = made.Parameters.AuthenticationToken
        with pytest.raises(UaStatusCodeError, match="BadSessionNotActivated"):
            await value(wire)
        wire.authentication = ua.NodeId()
        with pytest.raises(UaStatusCodeError, match="BadSessionIdInvalid"):
            await value(wire)
        await wire.close()

    simulated(tmp_path, use)


def test_a_session_cannot_be_used_from_another_connection(tmp_path: Path) -> None:
    async def use(server: Served) -> None:
        mine, theirs = await Wire.logged_in(), await Wire.logged_in()
        theirs.authentication = mine.authentication
        with pytest.raises(UaStatusCodeError, match="BadSecureChannelIdInvalid"):
            await value(theirs)
        activate = ua.ActivateSessionRequest()
        activate.Parameters.UserIdentityToken = ua.AnonymousIdentityToken(PolicyId="anonymous")
        with pytest.raises(UaStatusCodeError, match="BadSecureChannelIdInvalid"):
            await theirs.ask(activate, ua.ActivateSessionResponse)
        await mine.close()
        await theirs.close()

    simulated(tmp_path, use)


@pytest.mark.parametrize(
    "name",
    ["AddNodes", "AddReferences", "DeleteNodes", "DeleteReferences", "HistoryUpdate", "HistoryRead", "SetTriggering",
     "QueryFirst", "RegisterServer", "RegisterServer2", "Cancel"],
)  # fmt: skip
def test_services_that_change_something_do_not_exist(tmp_path: Path, name: str) -> None:
    async def use(server: Served) -> None:
        wire = await Wire.logged_in()
        with pytest.raises(BadServiceUnsupported):
            await wire.ask(getattr(ua, f"{name}Request")(), getattr(ua, f"{name}Response"))
        assert await value(wire) == 1.0
        await wire.close()

    simulated(tmp_path, use)


def test_a_chunk_that_declares_much_allocates_little(tmp_path: Path) -> None:
    async def use(server: Served) -> None:
        tracemalloc.start()
        wires = [await Wire.dialled() for _ in range(20)]
        for wire in wires:
            wire.writer.write(b"HELF" + struct.pack("<I", 2**31 - 1) + b"x" * 10_000)
        for wire in wires:
            await wire.ended()
            await wire.close()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 20_000_000

    simulated(tmp_path, use)


def test_a_subscriber_that_does_not_read_is_ended_and_the_others_go_on(tmp_path: Path) -> None:
    async def use(server: Served) -> None:
        deaf = await Wire.logged_in()
        request = ua.ReadRequest()
        request.Parameters.NodesToRead = [ua.ReadValueId(NodeId=TAG, AttributeId=ua.AttributeIds.Value)] * 2000
        request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Both
        deaf.reader._transport.pause_reading()  # type: ignore[attr-defined]  # a client that is stopped in a debugger
        try:
            for _ in range(400):
                deaf.send(request)
                async with asyncio.timeout(5.0):
                    await deaf.writer.drain()
        except (TimeoutError, ConnectionError):
            pass
        await asyncio.sleep(30.0)
        assert any("does not take its answers" in line for line in server.log)
        deaf.writer.transport.abort()

    simulated(tmp_path, use)


def test_whatever_comes_the_others_are_served(tmp_path: Path) -> None:
    async def use(server: Served) -> None:
        luck = random.Random(7)
        whole = struct_to_binary(ua.BrowseRequest()), struct_to_binary(ua.CreateMonitoredItemsRequest())
        for _ in range(150):
            wire = await Wire.logged_in()
            body = bytearray(luck.choice(whole))
            for _ in range(luck.randrange(1, 6)):
                body[luck.randrange(len(body))] = luck.randrange(256)
            try:
                wire.writer.write(wire.message(bytes(body[: luck.randrange(4, len(body) + 1)])))
                async with asyncio.timeout(5.0):
                    await wire.whole()
            except Ended:
                pass
            await wire.close()
        assert not [line for line in server.log if "failed" in line]

    simulated(tmp_path, use)
