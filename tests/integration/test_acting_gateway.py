"""The gateway as a process, people at its socket, and a libmodbus slave that is written to."""

import asyncio
import json
import os
import pwd
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import ClientSession

from tests.peers.modbus_slave import ModbusSlave, modbus_slave
from tests.peers.mosquitto import free_port

pytestmark = pytest.mark.integration

PLANT = """\
plant: line3
http: {{ listen: 127.0.0.1:{http} }}
connections:
  plc:
    type: modbus
    host: 127.0.0.1
    port: {modbus}
    poll_interval_ms: 100
    devices:
      - name: oven
        tags:
          - {{ tag: oven/setpoint, address: 10, type: int16, scale: 0.1 }}
          - {{ tag: oven/closed, address: 20, bit: 0 }}
  archive: {{ type: files, write: {{ folder: out }} }}
flows: {{ telemetry: {{ from: plc, to: archive }} }}
audit: {{ origin: gateway.example/line3, key: audit.key }}
control:
  socket: s
  people_to_arm: 1
  people: {{ p-1: {{ user: {user}, roles: [operator, engineer] }} }}
  writes:
    oven/setpoint:
      connection: plc
      data_type: Double
      unit: degC
      range: [20, 80]
      class: W1
      interlocks: {{ door: {{ when: closed, over: {{ closed: oven/closed }} }} }}
  rules:
    R-1: {{ cites: shift book, when: "true", allows: [oven/setpoint] }}
"""


@dataclass
class House:
    """The plant's folder, and what a person types there."""

    folder: Path
    slave: ModbusSlave

    async def type(self, *words: str) -> tuple[int, str]:
        """Exit code, and all that it prints."""
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "plantgate",
            *words,
            cwd=self.folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await child.communicate()
        return child.returncode or 0, printed.decode()

    @property
    def port(self) -> int:
        """Where the gateway answers HTTP."""
        port = re.search(r"listen: \S+:(\d+) ", (self.folder / "plant.yaml").read_text(encoding="utf-8"))
        assert port is not None
        return int(port[1])

    async def outputs(self) -> list[bytes]:
        """All that the gateway says and writes, but for its key."""
        found = [path.read_bytes() for path in self.folder.rglob("*") if path.is_file() and path.suffix != ".key"]
        async with ClientSession() as client:
            for name in ("status", "metrics", "plan", "looks"):
                async with client.get(f"http://127.0.0.1:{self.port}/{name}") as answer:
                    found.append(await answer.read())
        return found

    def holds_no_secret(self, outputs: list[bytes]) -> None:
        """The canary is the log's private key."""
        secret = (self.folder / "audit.key").read_bytes().strip().split(b"+", 4)[4]
        assert len(secret) > 40
        assert len(outputs) > 8
        assert not [content for content in outputs if secret in content]

    @asynccontextmanager
    async def gateway(self) -> AsyncIterator[asyncio.subprocess.Process]:
        """Running, and able to write; ended in order unless it was killed."""
        with (self.folder / "log").open("ab") as log:
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "plantgate", "run", cwd=self.folder, stdout=log, stderr=log
            )
        try:
            await self._up()
            yield child
        finally:
            if child.returncode is None:
                child.terminate()
            assert await child.wait() in (0, -signal.SIGKILL), (self.folder / "log").read_text()

    async def _up(self) -> None:
        async with asyncio.timeout(60):
            while True:
                code, said = await self.type("status", "--json")
                if code == 0:
                    uses = json.loads(said)["connections"]["plc"]["uses"]
                    if len(uses) == 2 and all(use["state"] == "up" for use in uses):
                        return
                await asyncio.sleep(0.1)


@asynccontextmanager
async def house(folder: Path, more: str = "") -> AsyncIterator[House]:
    """`more` of the plant file."""
    async with modbus_slave() as slave:
        user = pwd.getpwuid(os.getuid()).pw_name
        text = PLANT.format(http=free_port(), modbus=slave.port, user=user)
        (folder / "plant.yaml").write_text(text + more, encoding="utf-8")
        await slave.set(1, {10: [400]})
        await slave.set(1, {20: [1]})
        here = House(folder, slave)
        assert (await here.type("audit", "keys", "gateway.example/line3", "--out", "audit.key"))[0] == 0
        yield here


def test_a_person_arms_writes_undoes_stops_and_the_record_tells_it_all(tmp_path: Path) -> None:
    async def play() -> None:
        async with house(tmp_path) as here, here.gateway():
            write = ("control", "write", "oven/setpoint", "50.0", "degC", "--rule", "R-1")
            code, said = await here.type(*write)
            assert (code, "it has not been armed yet" in said) == (2, True)
            assert (await here.type("control", "arm", "--reason", "go"))[0] == 0
            code, said = await here.type(*write)
            assert (code, "the machine has 50.0" in said) == (0, True), said
            assert await here.slave.get(1, 10, 1) == [500]
            entry = said.split()[2]
            code, said = await here.type("control", "write", "oven/setpoint", "fifty", "degC", "--rule", "R-1")
            assert (code, "'fifty' is not a number" in said) == (2, True)
            assert "the machine has 40.0" in (await here.type("revert", entry))[1]
            await here.slave.set(1, {20: [0]})
            await asyncio.sleep(0.5)
            assert "interlock door: `closed` is not so" in (await here.type(*write))[1]
            await here.slave.set(1, {20: [1]})
            assert (await here.type("control", "stop", "plc", "--reason", "smoke"))[0] == 0
            assert "STOPPED plc: smoke" in (await here.type("control", "status"))[1]
            assert "plc is stopped by p-1: smoke" in (await here.type(*write))[1]
            assert (await here.slave.count(1)).written == 2
            await asyncio.sleep(1.5)
            here.holds_no_secret(await here.outputs())
            said = (await here.type("explain", "audit/public", entry))[1]
            assert "the person p-1 wanted 50.0 degC written to oven/setpoint (plc)" in said
            assert "The rule was R-1, which stands on shift book" in said
            assert "p-1 undid it" in said
        code, said = await here.type("audit", "verify", "audit/public", "--policy", "audit.key.pub")
        assert code == 0, said

    asyncio.run(play())


def test_a_stop_and_an_arming_survive_a_kill(tmp_path: Path) -> None:
    async def play() -> None:
        async with house(tmp_path) as here:
            async with here.gateway() as child:
                assert (await here.type("control", "arm", "--reason", "go"))[0] == 0
                child.kill()
            async with here.gateway() as child:
                code, said = await here.type("control", "write", "oven/setpoint", "45", "degC", "--rule", "R-1")
                assert code == 0, said
                assert (await here.type("control", "stop", "--reason", "smoke"))[0] == 0
                child.kill()
            async with here.gateway():
                code, said = await here.type("control", "write", "oven/setpoint", "46", "degC", "--rule", "R-1")
                assert (code, "everything is stopped by p-1: smoke" in said) == (2, True)
            assert (await here.slave.count(1)).written == 1

    asyncio.run(play())


def test_without_a_usable_log_the_telemetry_runs_and_nothing_is_written(tmp_path: Path) -> None:
    async def play() -> None:
        async with house(tmp_path) as here:
            (tmp_path / "audit.key").write_text("nonsense", encoding="utf-8")
            with (tmp_path / "log").open("ab") as log:
                child = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "plantgate", "run", cwd=tmp_path, stdout=log, stderr=log
                )
            try:
                async with asyncio.timeout(60):
                    while True:
                        code, said = await here.type("status", "--json")
                        if code == 0 and json.loads(said)["flows"]["telemetry"]["accepted"]:
                            break
                        await asyncio.sleep(0.1)
                assert "the audit log's key" in json.loads(said)["problem"]
                code, said = await here.type("control", "status")
                assert (code, "no gateway answers" in said) == (4, True)
            finally:
                child.terminate()
                assert await child.wait() == 0

    asyncio.run(play())
