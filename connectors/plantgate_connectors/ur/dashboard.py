"""Asks the dashboard server of a robot: one line a question, one line an answer (Universal Robots, port 29999)."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from enum import Enum
from typing import Final

from plantgate.sdk import Scalar, Unavailable

_LINE_BYTES_MAX: Final = 4096


class Question(Enum):
    """What can be asked, and how it is put. None of them changes anything."""

    ROBOT_MODE = "robotmode"
    SAFETY_STATUS = "safetystatus"
    PROGRAM_STATE = "programState"
    LOADED_PROGRAM = "get loaded program"
    REMOTE_CONTROL = "is in remote control"


_BEFORE: Final[Mapping[Question, str]] = {
    Question.ROBOT_MODE: "Robotmode: ",
    Question.SAFETY_STATUS: "Safetystatus: ",
    Question.LOADED_PROGRAM: "Loaded program: ",
}
"""What stands before the answer proper."""
_NOTHING_LOADED: Final = "No program loaded"


class Misunderstood(Exception):
    """An answer that is none to this question."""


def meaning(question: Question, line: str) -> Scalar:
    """The answer proper: text, or a truth value for remote control; None for no program. Raises `Misunderstood`."""
    if question is Question.REMOTE_CONTROL:
        if line.lower() not in ("true", "false"):
            raise Misunderstood(f"{line[:60]!r} to {question.value!r}")
        return line.lower() == "true"
    if question is Question.LOADED_PROGRAM and line == _NOTHING_LOADED:
        return None
    before = _BEFORE.get(question, "")
    if not line.startswith(before) or len(line) == len(before):
        raise Misunderstood(f"{line[:60]!r} to {question.value!r}")
    return line[len(before) :]


class Dashboard:
    """One connection; a question that is not answered in time makes it useless."""

    def __init__(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
        self.name = name
        self._reader, self._writer, self._seconds = reader, writer, seconds

    async def ask(self, question: Question) -> str:
        """The line that comes back. Raises `Unavailable`."""
        self._writer.write(f"{question.value}\n".encode())
        return await self.hear(question.value)

    async def hear(self, after: str) -> str:
        """The next line. Raises `Unavailable`."""
        try:
            async with asyncio.timeout(self._seconds):
                line = await self._reader.readuntil(b"\n")
        except TimeoutError as error:
            raise Unavailable(f"{self.name}: no answer to {after!r} within {self._seconds:g} s") from error
        except asyncio.LimitOverrunError as error:
            raise Unavailable(f"{self.name}: an answer without an end to {after!r}") from error
        except asyncio.IncompleteReadError as error:
            raise Unavailable(f"{self.name} closed the connection") from error
        except OSError as error:
            raise Unavailable(f"{self.name}: {error.strerror or error}") from error
        return line.decode("utf-8", "replace").strip()


@asynccontextmanager
async def dashboard(host: str, port: int, seconds: float) -> AsyncIterator[Dashboard]:
    """Connected and greeted. Raises `Unavailable` with the reason in words."""
    name = f"dashboard {host}:{port}"
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(host, port, limit=_LINE_BYTES_MAX)
    except TimeoutError as error:
        raise Unavailable(f"no connection to {name} within {seconds:g} s") from error
    except UnicodeError as error:
        raise Unavailable(f"{name} is no host name: {error}") from error
    except OSError as error:
        raise Unavailable(f"{name} cannot be reached: {error.strerror or error}") from error
    try:
        board = Dashboard(name, reader, writer, seconds)
        await board.hear("our coming")
        yield board
    finally:
        writer.transport.abort()
