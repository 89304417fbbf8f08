"""The gateway as a process, a person at its socket, and Eclipse Tahu's edge node, commanded through Mosquitto."""

import asyncio
import os
import pwd
import re
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_acting_gateway import House
from tests.integration.test_sparkplug_tahu import metric
from tests.peers.mosquitto import free_port, mosquitto
from tests.peers.require import require
from tests.peers.sparkplug_node import sparkplug_node

pytestmark = pytest.mark.integration

PLANT = """\
plant: line3
http: {{ listen: 127.0.0.1:{http} }}
connections:
  plc:
    type: sparkplug
    host: 127.0.0.1
    port: {broker}
    subscribe: {{ host_id: scada }}
    commands:
      datatypes: true
      answer_seconds: 2
      fresh_seconds: 1
      metrics:
        - {{ tag: plant/line/press/speed, group: plant, edge_node: line, device: press, metric: speed }}
  archive: {{ type: files, write: {{ folder: out }} }}
flows: {{ telemetry: {{ from: plc, to: archive }} }}
audit: {{ origin: gateway.example/line3, key: audit.key }}
control:
  socket: s
  people_to_arm: 1
  people: {{ p-1: {{ user: {user}, roles: [operator, engineer] }} }}
  writes:
    plant/line/press/speed:
      connection: plc
      data_type: Double
      unit: rpm
      range: [20, 80]
      class: W1
      read_back: {{ settle_seconds: 4 }}
      interlocks:
        turning: {{ when: speed > 30.0, over: {{ speed: plant/line/press/speed }}, age_max_seconds: 600 }}
  rules:
    R-1: {{ cites: shift book, when: "true", allows: [plant/line/press/speed] }}
"""
WRITE = ("control", "write", "plant/line/press/speed")


def speed(value: float) -> dict[str, Any]:
    return metric("speed", "Double", value, alias=7, timestamp=time.time_ns() // 1_000_000)


async def settled(here: House) -> None:
    """Until the machine has been asked what became of every write, and that is published."""
    async with asyncio.timeout(60):
        while "HELD" in (await here.type("control", "status"))[1]:  # noqa: ASYNC110  asked by a process of its own
            await asyncio.sleep(0.5)
    await asyncio.sleep(1.5)


def test_a_person_writes_and_undoes_and_what_the_edge_node_did_without_a_word_is_found_out(tmp_path: Path) -> None:
    require("mosquitto", "sparkplug-node")

    async def play() -> None:
        (tmp_path / "broker").mkdir()
        async with mosquitto(folder=tmp_path / "broker") as broker, sparkplug_node(broker) as node:
            here = House(tmp_path, slave=None)  # type: ignore[arg-type]  # there is none
            text = PLANT.format(http=free_port(), broker=broker.port, user=pwd.getpwuid(os.getuid()).pw_name)
            (tmp_path / "plant.yaml").write_text(text, encoding="utf-8")
            assert (await here.type("audit", "keys", "gateway.example/line3", "--out", "audit.key"))[0] == 0
            await node.birth({"metrics": []}, {"press": {"metrics": [speed(40.0)]}})
            async with here.gateway():
                assert (await here.type("control", "arm", "--reason", "go"))[0] == 0
                await node.device_data("press", speed(40.0))
                await asyncio.sleep(1.5)
                code, said = await here.type(*WRITE, "50.0", "rpm", "--rule", "R-1")
                assert (code, "the machine has 50.0" in said) == (0, True), said
                entry = said.split()[2]
                code, said = await here.type(*WRITE, "90.0", "rpm", "--rule", "R-1")
                assert code == 2, said
                code, said = await here.type("revert", entry)
                assert (code, "the machine has 40.0" in said) == (0, True), said
                await node.report("never")
                code, said = await here.type(*WRITE, "60.0", "rpm", "--rule", "R-1")
                assert code != 0, said
                last = re.search(r"[0-9a-f]{8}-[0-9a-f-]{27}", said)
                assert last is not None, said
                assert "HELD plc" in (await here.type("control", "status"))[1]
                await node.report("data")
                await settled(here)
                said = (await here.type("explain", "audit/public", entry))[1]
                assert "the person p-1 wanted 50.0 rpm written to plant/line/press/speed (plc)" in said
                assert "p-1 undid it" in said
                said = (await here.type("explain", "audit/public", last[0]))[1]
                assert "asked afterwards: it happened" in said, said
            assert await node.commanded() == [("speed", 50.0), ("speed", 40.0), ("speed", 60.0)]
            code, said = await here.type("audit", "verify", "audit/public", "--policy", "audit.key.pub")
            assert code == 0, said

    asyncio.run(play())
