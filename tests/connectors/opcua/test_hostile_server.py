"""A server that lies, stalls or floods is left with a reason, in time, and without the memory it asked for.

Catalogue rows 27, 28, 30, 31, 32: on the real wire protocol, in simulated time.
"""

import asyncio
import struct
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from asyncua.common.utils import Buffer

from plantgate.sdk import Unavailable
from plantgate.testing.context import lent
from plantgate.testing.simloop import running, simulate
from plantgate_connectors.opcua.bounds import MalformedNotification
from plantgate_connectors.opcua.protocol import check_bounds
from plantgate_connectors.opcua.session import connect
from tests.connectors.opcua.plant_given import settings

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

ACKNOWLEDGE = struct.pack("<4sIIIIII", b"ACKF", 28, 0, 65535, 65535, 0, 0)
OPENED = bytes.fromhex("000000000000000001000000000000000000000000000000") + b"\0" * 8


def chunk(
    kind: bytes, mark: bytes, body: bytes, *, channel: int = 5, token: int = 1, sequence: int = 1, request: int = 1
) -> bytes:
    """A chunk without security: header, channel, token, sequence header, body (OPC 10000-6, 6.7.2)."""
    inner = struct.pack("<IIII", channel, token, sequence, request) + body
    return kind + mark + struct.pack("<I", len(inner) + 8) + inner


def opened() -> bytes:
    """A chunk that opens channel 5 with token 1 for an hour."""
    policy = b"http://opcfoundation.org/UA/SecurityPolicy#None"
    security = struct.pack("<I", len(policy)) + policy + b"\xff\xff\xff\xff" * 2
    header = b"\x01\x00\xc1\x01" + struct.pack("<qII", 0, 1, 0) + b"\x00" + b"\xff\xff\xff\xff" + b"\x00\x00\x00"
    body = header + struct.pack("<IIIqI", 0, 5, 1, 0, 3_600_000) + b"\xff\xff\xff\xff"
    inner = struct.pack("<I", 5) + security + struct.pack("<II", 1, 1) + body
    return b"OPNF" + struct.pack("<I", len(inner) + 8) + inner


async def message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(8)
    return head + await reader.readexactly(struct.unpack("<I", head[4:])[0] - 8)


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """As far as a channel that is open and a GetEndpoints request that waits."""
    await message(reader)
    writer.write(ACKNOWLEDGE)
    await message(reader)
    writer.write(opened())
    await message(reader)


async def never_answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3600)


async def answers_only_hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await message(reader)
    writer.write(ACKNOWLEDGE)
    await asyncio.sleep(3600)


async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await message(reader)


async def speaks_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    await asyncio.sleep(60)


async def declares_a_chunk_of_four_gigabytes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await greet(reader, writer)
    writer.write(b"MSGF\xff\xff\xff\xff")
    while True:
        writer.write(b"\0" * 65536)
        await writer.drain()
        await asyncio.sleep(0.01)


async def sends_ten_thousand_chunks_and_no_last(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await greet(reader, writer)
    for number in range(10_000):
        writer.write(chunk(b"MSG", b"C", b"\0" * 100, sequence=2 + number, request=2))
        await writer.drain()
        await asyncio.sleep(0)
    await asyncio.sleep(3600)


async def sends_a_message_before_the_channel_is_open(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    await message(reader)
    writer.write(ACKNOWLEDGE)
    await message(reader)
    writer.write(chunk(b"MSG", b"F", b"\x01\x00\xaf\x01", request=1))
    await asyncio.sleep(3600)


async def jumps_in_the_sequence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await greet(reader, writer)
    writer.write(chunk(b"MSG", b"F", b"\x01\x00\xaf\x01", sequence=4711, request=2))
    await asyncio.sleep(3600)


def endpoints_with(tail: bytes) -> Behaviour:
    """A GetEndpointsResponse whose list of endpoints is `tail`."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        header = struct.pack("<qII", 0, 2, 0) + b"\x00" + b"\xff\xff\xff\xff" + b"\x00\x00\x00"
        writer.write(chunk(b"MSG", b"F", b"\x01\x00\xaf\x01" + header + tail, sequence=2, request=2))
        await asyncio.sleep(3600)

    return behave


async def aborts_the_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await greet(reader, writer)
    writer.write(chunk(b"MSG", b"A", struct.pack("<II", 0x80B80000, 0xFFFFFFFF), sequence=2, request=2))
    await asyncio.sleep(3600)


CASES: list[tuple[Behaviour, str]] = [
    (never_answers, "no answer in time"),
    (answers_only_hello, "no answer in time"),
    (hangs_up, "press3: cannot reach opc.tcp://press:4840"),
    (speaks_http, "press3: cannot reach"),
    (declares_a_chunk_of_four_gigabytes, "longer than the limits"),
    (sends_ten_thousand_chunks_and_no_last, "longer than the limits"),
    (sends_a_message_before_the_channel_is_open, "press3: cannot reach"),
    (jumps_in_the_sequence, "with wrong seq"),
    (endpoints_with(b"\xff\xff\xff\x7f"), "press3: cannot get the server's endpoints"),
    (endpoints_with(b"\xfe\xff\xff\xff"), "the server's answer is not valid: -2 list elements"),
    (endpoints_with(b"\x01\0\0\0\xff\xff\xff\x7f"), "press3: cannot get the server's endpoints"),
    (endpoints_with(b"\x01\0\0\0" + b"\x80" * 40), "press3: cannot get the server's endpoints"),
    (endpoints_with(b""), "press3: cannot get the server's endpoints"),
    (aborts_the_answer, "no answer in time"),
]


@pytest.mark.parametrize(("behave", "says"), CASES, ids=[getattr(case[0], "__name__", "") for case in CASES])
def test_it_is_left_with_a_reason_in_time(tmp_path: Path, behave: Behaviour, says: str) -> None:
    context = lent(tmp_path, connection="press3")
    chosen = settings(security={"policy": "None"})

    async def main() -> tuple[str, float]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await behave(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "press", 4840)
        async with server:
            with pytest.raises(Unavailable) as caught:
                await connect(chosen, context)
            elapsed = running().elapsed
            server.close()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.sleep(0)
            return str(caught.value), elapsed

    tracemalloc.start()
    try:
        reason, seconds = simulate(main)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert says in reason
    assert reason.startswith("press3: ")
    assert seconds <= 3 * chosen.connect_timeout_seconds
    assert peak < 64 * 2**20


READ_ANSWER = b"\x01\x00\x7a\x02" + struct.pack("<qII", 0, 2, 0) + b"\x00" + b"\xff\xff\xff\xff" + b"\x00\x00\x00"


@pytest.mark.parametrize(
    "values",
    [
        b"\xff\xff\xff\x7f",
        b"\x01\0\0\0\x01\x80\xff\xff\xff\x7f",  # an array of 2^31 nulls, which take no bytes
        b"\x01\0\0\0\x01\x8b\xff\xff\xff\x7f",
        b"\x01\0\0\0\x01\x0c\xfb\xff\xff\xff",  # a string of -5 bytes would move the reader back
        b"\x01\0\0\0\x01\xc6\x01\0\0\0\x01\0\0\0\x02\0\0\0\xff\xff\xff\x7f\xff\xff\xff\x7f",
        b"\x01\0\0\0\x01" + b"\x98\x01\0\0\0" * 5000,
    ],
    ids=["values", "nulls", "doubles", "negative", "matrix", "nested"],
)
def test_an_answer_with_impossible_lengths_never_reaches_the_decoder(values: bytes) -> None:
    check_bounds(Buffer(READ_ANSWER + b"\x01\0\0\0\x01\x06\x07\0\0\0" + b"\0\0\0\0"), "ReadRequest")
    with pytest.raises(MalformedNotification):
        check_bounds(Buffer(READ_ANSWER + values), "ReadRequest")


def test_an_answer_to_another_question_never_reaches_the_decoder() -> None:
    good = Buffer(READ_ANSWER + b"\0\0\0\0\0\0\0\0")
    check_bounds(good, "ReadRequest")
    with pytest.raises(MalformedNotification, match="another type"):
        check_bounds(good, "BrowseRequest")
