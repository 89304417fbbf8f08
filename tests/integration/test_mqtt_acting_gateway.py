"""The gateway as a process, a person at its socket, Mosquitto, and a device on paho-mqtt that is commanded by it."""

import asyncio
import json
import os
import pwd
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.integration.test_acting_gateway import House
from tests.peers.mosquitto import Mosquitto, free_port, mosquitto
from tests.peers.mqtt_device import MqttDevice, mqtt_device
from tests.peers.require import require

pytestmark = pytest.mark.integration

PLANT = """\
plant: line3
http: {{ listen: 127.0.0.1:{http} }}
connections:
  plc:
    type: mqtt
    host: 127.0.0.1
    port: {broker}
    subscribe:
      - {{ topic: door, tag: oven/closed, payload: json }}
    commands:
      - tag: oven/setpoint
        topic: oven/set
        payload: json
        value: /setpoint
        template: {{ ramp: 5 }}
        confirm_seconds: 2
        state: {{ topic: oven, payload: json, value: /setpoint, ask: {{ topic: oven/get }} }}
        answer: {{ value: /status, accepted: [ok], refused: [error], error: /error }}
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
      interlocks: {{ door: {{ when: closed, over: {{ closed: oven/closed }}, age_max_seconds: 60 }} }}
      read_back: {{ settle_seconds: 3 }}
  rules:
    R-1: {{ cites: shift book, when: "true", allows: [oven/setpoint] }}
"""


@asynccontextmanager
async def house(folder: Path) -> AsyncIterator[tuple[House, MqttDevice, Mosquitto]]:
    async with mosquitto(folder=folder / "broker") as broker:
        user = pwd.getpwuid(os.getuid()).pw_name
        text = PLANT.format(http=free_port(), broker=broker.port, user=user)
        (folder / "plant.yaml").write_text(text, encoding="utf-8")
        here = House(folder, None)  # type: ignore[arg-type]  # its Modbus slave is what the other tests act on
        assert (await here.type("audit", "keys", "gateway.example/line3", "--out", "audit.key"))[0] == 0
        async with mqtt_device(broker, "oven", {"setpoint": 40.0}) as device, here.gateway():
            await broker.publish("door", b"true")
            assert (await here.type("control", "arm", "--reason", "go"))[0] == 0
            yield here, device, broker


async def write(here: House, value: str) -> tuple[int, str]:
    return await here.type("control", "write", "oven/setpoint", value, "degC", "--rule", "R-1", "--within", "5")


async def until_known(here: House, value: str) -> str:
    """Written as soon as nothing holds the connection and there is a session for it."""
    async with asyncio.timeout(60):
        while True:
            _, said = await write(here, value)
            if "it is not known yet" not in said and "no session for writing" not in said:
                return said


async def stands(here: House, state: str) -> str:
    """Until the session for writing stands so; what is said of it."""
    async with asyncio.timeout(60):
        while True:
            uses = json.loads((await here.type("status", "--json"))[1])["connections"]["plc"]["uses"]
            [use] = [use for use in uses if use["role"] == "actuator"]
            if use["state"] == state:
                return str(use["reason"])


def test_a_broker_restarted_while_nobody_writes_is_shown_away_and_reached_by_the_next_command(tmp_path: Path) -> None:
    require("mosquitto")

    async def play() -> None:
        async with house(tmp_path) as (here, device, broker):
            await broker.kill()
            assert "the broker at 127.0.0.1" in await stands(here, "away")
            code, said = await write(here, "50.0")
            assert (code, "there is no session for writing" in said) == (2, True), said
            await device.stop()
            await broker.start()
            await device.come()
            await stands(here, "up")
            code, said = await write(here, "51.0")
            assert (code, "the machine has 51.0" in said) == (0, True), said
            assert [told["setpoint"] for told in device.commands()] == [51.0]

    asyncio.run(play())


def test_a_person_writes_and_undoes_and_is_told_what_the_device_said(tmp_path: Path) -> None:
    require("mosquitto")

    async def play() -> None:
        async with house(tmp_path) as (here, device, _):
            code, said = await write(here, "50.0")
            assert (code, "the machine has 50.0" in said) == (0, True), said
            assert device.commands() == [{"ramp": 5, "setpoint": 50.0}]
            entry = said.split()[2]
            assert "the machine has 40.0" in (await here.type("revert", entry))[1]
            assert device.has["setpoint"] == 40.0
            device.verdict, device.does = {"status": "error", "error": "door open"}, False
            code, said = await write(here, "51.0")
            assert (code, "the device refused it: door open" in said) == (2, True), said
            device.verdict = {"status": "ok"}
            code, said = await write(here, "52.0")
            assert (code, "the machine confirmed it, and has another value" in said) == (2, True), said
            said = (await here.type("explain", "audit/public", entry))[1]
            assert "the person p-1 wanted 50.0 degC written to oven/setpoint (plc)" in said
        code, said = await here.type("audit", "verify", "audit/public", "--policy", "audit.key.pub")
        assert code == 0, said

    asyncio.run(play())


def test_a_device_that_falls_silent_is_asked_until_it_says_what_it_has_and_told_nothing_again(tmp_path: Path) -> None:
    require("mosquitto")

    async def play() -> None:
        async with house(tmp_path) as (here, device, _):
            device.verdict = None  # it does it, and does not say so
            code, said = await write(here, "50.0")
            assert (code, "unknown: " in said, "nothing confirmed it within 2 s" in said) == (2, True, True), said
            device.verdict = {"status": "ok"}
            assert "the machine has 51.0" in await until_known(here, "51.0")
            await device.leave()
            code, said = await write(here, "52.0")
            assert (code, "the device said nothing on 'oven' in time" in said) == (2, True), said
            await device.come()
            assert "the machine has 53.0" in await until_known(here, "53.0")
            assert [told["setpoint"] for told in device.commands()] == [50.0, 51.0, 53.0]

    asyncio.run(play())
