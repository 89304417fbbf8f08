"""A whole gateway that is killed again and again while machines post to it: what it has answered for is on disk."""

import asyncio
import contextlib
import json
import sys
from pathlib import Path

import pytest

from tests.peers.child import Child
from tests.peers.mosquitto import free_port
from tests.peers.require import find, require

pytestmark = pytest.mark.integration

MACHINES = 6
KILLS = 3
TOKEN = "a token of the machines, long enough"


def plant(folder: Path, port: int) -> Path:
    """Posted readings go to files."""
    (folder / "token").write_text(TOKEN)
    written = {
        "plant": "line3",
        "http": {"listen": f"127.0.0.1:{free_port()}"},
        "store": {"folder": str(folder / "store")},
        "connections": {
            "machines": {
                "type": "http",
                "receive": {
                    "port": port,
                    "allow": [{"name": "machines", "bearer": f"${{file:{folder / 'token'}}}"}],
                    "paths": [{"path": "/{machine}/count", "tag": "{machine}/count", "payload": "number"}],
                },
            },
            "out": {"type": "files", "write": {"folder": str(folder / "out"), "format": "json_lines"}},
        },
        "flows": {"telemetry": {"from": "machines", "to": "out"}},
    }
    file = folder / "plant.yaml"
    file.write_text(json.dumps(written))  # JSON is YAML
    return file


def delivered(folder: Path) -> list[tuple[str, int]]:
    """Tags and values in the files, in their order."""
    there = []
    for file in sorted(folder.glob("*.jsonl")):
        rows = [json.loads(line) for line in file.read_text().split("\n")[:-1]]
        there += [(row["tag"], row["value"]) for row in rows if "gap" not in row]
    return there


async def post(port: int, machine: int, number: int) -> bool:
    """True if it was answered for."""
    body = str(number).encode()
    try:
        async with asyncio.timeout(15):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(
                    f"POST /m{machine}/count HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
                    f"Idempotency-Key: m{machine}-{number}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                    + body
                )
                return (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 204 ")
            finally:
                writer.close()
    except (OSError, EOFError, TimeoutError):
        return False


def test_what_was_answered_with_204_outlives_a_gateway_that_is_killed(tmp_path: Path) -> None:
    async def main() -> None:
        port = free_port()
        file = plant(tmp_path, port)
        answered: set[tuple[str, int]] = set()
        going = True

        async def machine(number: int) -> None:
            count = 0
            while going:
                if await post(port, number, count):
                    answered.add((f"m{number}/count", count))
                    count += 1
                else:
                    await asyncio.sleep(0.05)

        posting = [asyncio.create_task(machine(number)) for number in range(MACHINES)]
        gateway: Child | None = None
        for kill in range(KILLS + 1):
            gateway = await Child.start(
                [sys.executable, "-m", "plantgate", "run", file], log=tmp_path / "gateway.log", output=tmp_path / "said"
            )
            before = len(answered)
            async with asyncio.timeout(60):
                while len(answered) < before + 100:
                    assert gateway.running, gateway.last_words()
                    await asyncio.sleep(0.02)
            if kill < KILLS:
                await gateway.kill()
        going = False
        await asyncio.gather(*posting)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(20):  # what is on its way out gets there
                while answered - set(delivered(tmp_path / "out")):  # noqa: ASYNC110  another process has no event
                    await asyncio.sleep(0.2)
        assert gateway is not None
        assert await gateway.stop(20.0) == 0
        there = delivered(tmp_path / "out")
        assert len(answered) >= 100 * (KILLS + 1)
        missing = answered - set(there)
        assert not missing, f"answered with 204, and gone: {sorted(missing)[:5]}"
        for number in range(MACHINES):
            values = list(dict.fromkeys(value for tag, value in there if tag == f"m{number}/count"))
            assert values == sorted(values), "out of order"

    asyncio.run(main())


def test_curl_asks_the_gateways_own_page_by_names_of_this_machine_only(tmp_path: Path) -> None:
    require("curl")

    async def main() -> None:
        file = plant(tmp_path, free_port())
        listen = json.loads(file.read_text())["http"]["listen"]
        gateway = await Child.start(
            [sys.executable, "-m", "plantgate", "run", file], log=tmp_path / "gateway.log", output=tmp_path / "said"
        )
        try:

            async def curl(*arguments: str) -> str:
                process = await asyncio.create_subprocess_exec(
                    str(find("curl")), "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-m", "10", "--retry", "20",
                    "--retry-connrefused", "--retry-delay", "1", *arguments, stdout=asyncio.subprocess.PIPE,
                )  # fmt: skip
                printed, _ = await process.communicate()
                return printed.decode()

            assert await curl(f"http://{listen}/status") == "200"
            assert await curl(f"http://localhost:{listen.partition(':')[2]}/plan") == "200"
            rebound = f"evil.example:{listen.partition(':')[2]}:127.0.0.1"
            assert await curl("--resolve", rebound, f"http://evil.example:{listen.partition(':')[2]}/plan") == "421"
        finally:
            await gateway.stop(20.0)

    asyncio.run(main())
