"""The local socket: one line of JSON in, one out. The kernel says whose process is at the other end."""

import asyncio
import os
import pwd
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from plantgate.control.approvals import Person
from plantgate.control.desk import Desk
from plantgate.control.settings import PersonSettings
from plantgate.sdk import GatewayError, Log

_LINE_MAX: Final = 64 * 1024
_ASK_SECONDS: Final = 10.0
"""How long somebody who has connected may take to ask."""
_OF_ONE_MAX: Final = 8
_USERS_MAX: Final = 64
"""Connections of one user, and users, at a time."""
_PEER: Final = struct.Struct("3i")
"""struct ucred: process, user, group (unix(7))."""


class Request(msgspec.Struct, forbid_unknown_fields=True):
    """One line."""

    do: str
    asked: dict[str, str] = {}


_DECODER: Final = msgspec.json.Decoder(Request)


@asynccontextmanager
async def opened(path: Path, desk: Desk, people: Mapping[str, PersonSettings], log: Log) -> AsyncIterator[None]:
    """Serve the desk at this path; whoever may do what there is the desk's to say. Raises `OSError`."""
    listening = _bound(path)
    guests: Counter[int] = Counter()
    """Connections that are open, by user: nobody can keep another from the switch."""
    looking = asyncio.Lock()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        uid = _uid(writer)
        guests[uid] += 1
        try:
            if guests[uid] <= _OF_ONE_MAX and len(guests) <= _USERS_MAX:
                async with looking:  # a directory of users may be away: not on the loop, nor in many threads
                    person = await asyncio.to_thread(_person, uid, people)
                await _answer(reader, writer, desk, person, log)
                writer.close()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # whoever asked is gone, or never asked; what was begun is on record all the same
        finally:
            guests[uid] -= 1
            if not guests[uid]:
                del guests[uid]
            if not writer.is_closing():
                writer.transport.abort()  # what it does not read it need not have

    server = await asyncio.start_unix_server(serve, sock=listening, limit=_LINE_MAX)
    try:
        yield
    finally:
        server.close()
        await server.wait_closed()


def _bound(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)  # of a gateway that is gone: the store's lock says that no other one is alive
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(os.fspath(path))
        path.chmod(0o666)  # everybody on this machine may knock; roles say who may do what
    except OSError:
        listening.close()
        raise
    return listening


async def ask(path: Path, do: str, asked: Mapping[str, str]) -> dict[str, Any]:
    """Ask the gateway that listens there. Raises `OSError`, or `GatewayError` with the sentence it answered."""
    reader, writer = await asyncio.open_unix_connection(path, limit=16 * _LINE_MAX)
    try:
        writer.write(msgspec.json.encode(Request(do, dict(asked))) + b"\n")
        line = await reader.readuntil()
    finally:
        writer.close()
    told: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
    if "error" in told:
        raise GatewayError(str(told["error"]))
    return told


async def _answer(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    desk: Desk,
    person: Person,
    log: Log,
) -> None:
    async with asyncio.timeout(_ASK_SECONDS):
        try:
            line = await reader.readuntil()
        except asyncio.LimitOverrunError:
            line = b""
    told: dict[str, Any]
    try:
        request = _DECODER.decode(line)
        if (answering := desk.requests.get(request.do)) is None:
            told = {"error": f"{request.do[:64]!r} is not something to ask for"}
        else:
            told = await answering(person, request.asked)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        told = {"error": f"not a request: {error}"}
    except GatewayError as error:
        told = {"error": str(error)}
    except Exception as error:
        log.error("a request at the desk met an unexpected error", exc_info=error)
        told = {"error": f"unexpected {type(error).__name__}; the gateway's log says more"}
    writer.write(msgspec.json.encode(told) + b"\n")
    async with asyncio.timeout(_ASK_SECONDS):
        await writer.drain()


def _uid(writer: asyncio.StreamWriter) -> int:
    """Of whoever runs the process at the other end."""
    peer: socket.socket = writer.get_extra_info("socket")
    _, uid, _ = _PEER.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return int(uid)


def _person(uid: int, people: Mapping[str, PersonSettings]) -> Person:
    """Somebody the plant file does not know has no roles."""
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = ""
    for name, settings in people.items():
        if settings.user == user:
            return Person(name, frozenset(settings.roles))
    return Person(f"uid-{uid}", frozenset())


def may_be_used(path: Path) -> str:
    """Why a socket cannot be made there, in a sentence; empty where it can (unix(7): 107 bytes)."""
    length = len(os.fsencode(path))
    return "" if length <= 107 else f"{path} is {length} bytes long; a socket's path has 107 at most: choose a shorter"
