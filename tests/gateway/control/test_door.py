"""The local socket: whatever comes is a request or a sentence, and nobody's nonsense is the gateway's trouble."""

import asyncio
import json
import os
import pwd
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from plantgate.control.door import opened
from tests.gateway.control.given import Plant, plant


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[Plant, Path]]:
    path = folder / "s"
    async with plant() as here, opened(path, here.acting.desk, {}, here.news):
        yield here, path


async def said(path: Path, line: bytes) -> dict[str, Any]:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(line)
    told = await reader.readuntil()
    writer.close()
    return json.loads(told)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (b"\n", "not a request"),
        (b"\xff\xfe\n", "not a request"),
        (b'{"do":"\xff"}\n', "not a request"),
        (b'{"do":"status","asked":{"x":1}}\n', "not a request"),
        (b'{"do":"status","as":"root"}\n', "not a request"),
        (b'{"do":"\\ud800"}\n', "not a request"),
        (b"[" * 60_000 + b"\n", "not a request"),
        (b'{"do":"' + b"x" * 70_000 + b'"}\n', "not a request"),
        (b'{"do":"shutdown"}\n', "is not something to ask for"),
        (b'{"do":"__init__"}\n', "is not something to ask for"),
        (b'{"do":"arm","asked":{"reason":"go"}}\n', "neither operator nor engineer"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_what_is_no_request_is_answered_with_a_sentence(tmp_path: Path, line: bytes, sentence: str) -> None:
    async def main() -> None:
        async with served(tmp_path) as (here, path):
            before = list(here.news.lines)
            assert sentence in (await said(path, line))["error"]
            assert here.news.lines == before, "anybody on the machine can send that as often as they like"
            assert "stopped" in await said(path, b'{"do":"status"}\n')

    asyncio.run(main())


def test_a_directory_of_users_that_does_not_answer_holds_nothing_else_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names may come from the network."""
    goes_on, asked = threading.Event(), pwd.getpwuid(os.getuid())

    def slow(uid: int) -> pwd.struct_passwd:
        assert goes_on.wait(10), "the gateway stood still"
        return asked

    async def main() -> None:
        async with served(tmp_path) as (_, path):
            monkeypatch.setattr(pwd, "getpwuid", slow)
            asking = asyncio.create_task(said(path, b'{"do":"status"}\n'))
            await asyncio.sleep(0.1)
            goes_on.set()
            assert "stopped" in await asking

    asyncio.run(main())
