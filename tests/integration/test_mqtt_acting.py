"""Commands by MQTT through Mosquitto to a device on paho-mqtt: each ending said rightly, nothing twice or late."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk import Actuator, Command, Deadline, OutcomeUnknown, Rejected, Unavailable
from plantgate_connectors.mqtt import Mqtt
from tests.integration.test_mqtt_mosquitto import VERSIONS, mqtt, run
from tests.peers.certificates import Authority
from tests.peers.mosquitto import Mosquitto, Tls, mosquitto
from tests.peers.mqtt_device import mqtt_device
from tests.peers.proxy import proxy
from tests.peers.recorder import recorder

pytestmark = pytest.mark.integration

ASK = {"ask": {"topic": "oven/get"}}
OVEN: dict[str, Any] = {"tag": "oven", "topic": "oven/set", "state": {"topic": "oven", "payload": "json", **ASK}}


def connector(folder: Path, broker: Mosquitto, *commands: dict[str, Any], **written: Any) -> Mqtt:
    return mqtt(folder, broker, commands=commands, **written)


def field(tag: str, **written: Any) -> dict[str, Any]:
    """A command that sets one field of the device's JSON, as zigbee2mqtt has it."""
    state = {"topic": "oven", "payload": "json", "value": f"/{tag}", **ASK}
    return {**OVEN, "tag": tag, "payload": "json", "value": f"/{tag}", "state": state, **written}


def command(value: Any, tag: str = "oven", seconds: float = 10.0) -> Command:
    return Command("entry-7", tag, value, Deadline.after(seconds))


def soon() -> Deadline:
    return Deadline.after(5.0)


async def shows(actuator: Actuator, value: Any, tag: str = "oven") -> None:
    """Until the device has it: a report may have been under way when it was asked."""
    async with asyncio.timeout(10):
        while True:
            there = (await actuator.read(tag, soon())).value
            if (type(there), there) == (type(value), value):
                return


@VERSIONS
def test_every_type_arrives_as_it_is_and_is_read_back_equal(tmp_path: Path, version: str) -> None:
    values: dict[str, Any] = {
        "running": True, "count": -9_007_199_254_740_993, "big": 2**64 - 1, "setpoint": 0.1, "tiny": 1e-300,
        "third": 1 / 3, "zero": 0.0, "name": 'Ofen "süd" /1', "empty": "",
    }  # fmt: skip

    async def body() -> None:
        async with mosquitto(folder=tmp_path / "broker") as broker, mqtt_device(broker, "oven", {}) as device:
            asked = [field(tag, template={"transition": 0}) for tag in values]
            asked.append(field("door", true_is="OPEN", false_is="SHUT"))
            asked[-1]["state"] |= {"true_is": "OPEN", "false_is": "SHUT"}
            async with connector(tmp_path / "c", broker, *asked, version=version).actuator() as actuator:
                for tag, value in values.items():
                    await actuator.write(command(value, tag))
                    await shows(actuator, value, tag)
                for door, word in ((True, "OPEN"), (False, "SHUT")):
                    await actuator.write(command(door, "door"))
                    await shows(actuator, door, "door")
                    assert device.has["door"] == word
            assert device.commands()[0] == {"transition": 0, "running": True}
            assert len(device.commands()) == len(values) + 2
            assert not any(heard.retained for heard in device.heard)

    run(body())


def test_what_is_sent_is_not_retained_expires_and_carries_its_number(tmp_path: Path) -> None:
    """Seen by mosquitto_sub: QoS, retained, seconds until it expires, user properties."""

    async def body() -> None:
        async with (
            mosquitto(folder=tmp_path / "broker") as broker,
            recorder(broker, "oven/set", folder=tmp_path) as recorded,
            mqtt_device(broker, "oven", 20.0) as device,
        ):
            async with connector(tmp_path / "c", broker, OVEN).actuator() as actuator:
                await actuator.write(command(21.5, seconds=60.9))
                await device.commanded()
            [message] = await recorded.caught_up()
            assert (message.payload, message.qos, message.retained) == (b"21.5", 1, False)
            [heard] = device.heard
            assert heard.properties["MessageExpiryInterval"] in (58, 59)
            [(name, number)] = heard.properties["UserProperty"]
            assert (name, number.partition("/")[0]) == ("plantgate-command", "entry-7")
        async with mosquitto(folder=tmp_path / "broker") as broker, recorder(broker, "oven/set") as recorded:
            assert await recorded.caught_up() == [], "the broker had kept a command"

    run(body())


def test_nobody_there_is_rejected_and_a_device_that_is_away_is_not_nobody(tmp_path: Path) -> None:
    async def body() -> None:
        async with (
            mosquitto(folder=tmp_path / "broker") as broker,
            connector(tmp_path / "c", broker, OVEN).actuator() as actuator,
        ):
            with pytest.raises(Rejected, match="nobody listens at topic 'oven/set'"):
                await actuator.write(command(1.0))
            with pytest.raises(Unavailable, match="nobody listens at topic 'oven/get', where the device is asked"):
                await actuator.read("oven", soon())
            async with mqtt_device(broker, "oven", 20.0):
                await actuator.write(command(2.0))
            await actuator.write(command(3.0))  # the broker keeps it for the device
            with pytest.raises(Unavailable, match="the device said nothing on 'oven' in time"):
                await actuator.read("oven", Deadline.after(0.5))

    run(body())


@VERSIONS
def test_a_command_that_the_broker_does_not_allow_is_rejected_where_it_can_say_so(tmp_path: Path, version: str) -> None:
    async def body() -> None:
        allowed = tmp_path / "acl"
        allowed.write_text("topic read oven/set\ntopic readwrite oven/get\ntopic readwrite oven\n")
        allowed.chmod(0o600)
        async with (
            mosquitto(folder=tmp_path / "broker", settings=(f"acl_file {allowed}",)) as broker,
            mqtt_device(broker, "oven", 20.0) as device,
        ):
            ours = connector(tmp_path / "c", broker, OVEN, version=version)
            async with ours.actuator() as actuator:
                if version == "5":
                    with pytest.raises(Rejected, match="did not take it on 'oven/set': not authorised"):
                        await actuator.write(command(1.0))
                else:
                    await actuator.write(command(1.0))  # Mosquitto confirms what it has thrown away
            async with ours.actuator() as actuator:  # anew, since after either Mosquitto 2.0.11 closes the connection
                assert (await actuator.read("oven", soon())).value == 20.0
            assert device.commands() == []

    run(body())


def test_a_broker_killed_before_it_confirmed_leaves_an_unknown_outcome_and_nothing_comes_later(tmp_path: Path) -> None:
    async def body() -> None:
        async with mosquitto(folder=tmp_path / "broker") as broker, mqtt_device(broker, "oven", 20.0) as device:
            ours = connector(tmp_path / "c", broker, OVEN)
            for number in range(1, 4):
                async with ours.actuator() as actuator:
                    await actuator.read("oven", soon())
                    broker.child.freeze()  # it has the command in its system's buffer, and never reads it
                    writing = asyncio.create_task(actuator.write(command(float(number))))
                    await asyncio.sleep(0.1)
                    await broker.kill()
                    with pytest.raises(OutcomeUnknown, match="sent, and then"):
                        await writing
                    with pytest.raises(Unavailable):
                        await actuator.write(command(99.0))
                await broker.start()
                await _answers(ours, 20.0)
            assert device.commands() == []

    run(body())


async def _answers(ours: Mqtt, value: Any) -> None:
    """Until the device, which comes back when it pleases, says that it has this."""
    async with asyncio.timeout(30):
        while True:
            try:
                async with ours.actuator() as actuator:
                    assert (await actuator.read("oven", soon())).value == value
                    return
            except Unavailable:
                await asyncio.sleep(0.1)


@pytest.mark.parametrize("qos", [1, 0])
def test_a_confirmation_lost_on_the_way_is_an_unknown_outcome_and_it_was_done_once(tmp_path: Path, qos: int) -> None:
    async def body() -> None:
        async with (
            mosquitto(folder=tmp_path / "broker") as broker,
            mqtt_device(broker, "oven", 20.0) as device,
            proxy(broker.host, broker.port) as between,
        ):
            oven = {**OVEN, "confirm_seconds": 0.5, "qos": qos}
            ours = connector(tmp_path / "c", broker, oven, host=between.host, port=between.port)
            for number in range(1, 4):
                async with ours.actuator() as actuator:
                    await actuator.read("oven", soon())
                    between.lose_answers()
                    with pytest.raises(OutcomeUnknown, match=r"nothing confirmed it within 0\.5 s"):
                        await actuator.write(command(number))
                between.mend()
                await _answers(ours, number)
                assert device.commands() == list(range(1, number + 1))

    run(body())


def test_a_device_that_answers_is_believed_and_one_that_does_not_is_not(tmp_path: Path) -> None:
    oven = {
        **OVEN,
        "confirm_seconds": 1.0,
        "answer": {"value": "/status", "accepted": ["ok"], "refused": ["error"], "error": "/error"},
    }

    async def body() -> None:
        async with mosquitto(folder=tmp_path / "broker") as broker, mqtt_device(broker, "oven", 20.0) as device:
            ours = connector(tmp_path / "c", broker, oven)
            async with ours.actuator() as actuator:
                await actuator.write(command(1.0))
                assert device.commands() == [1.0]
                device.verdict, device.does = {"status": "error", "error": "door open"}, False
                with pytest.raises(Rejected, match="the device refused it: door open"):
                    await actuator.write(command(2.0))
                device.verdict = {"status": "pending"}
                with pytest.raises(OutcomeUnknown, match=r"pending.*neither yes nor no"):
                    await actuator.write(command(3.0))
            device.verdict = None
            async with ours.actuator() as actuator:
                with pytest.raises(OutcomeUnknown, match="nothing confirmed it within 1 s"):
                    await actuator.write(command(4.0))
            assert device.commands() == [1.0, 2.0, 3.0, 4.0]

    run(body())


def test_over_tls_with_a_password_it_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path / "ours")
    server = authority.issue("server", hosts=("localhost",))
    monkeypatch.setenv("BROKER_PASSWORD", "right")

    async def body() -> None:
        tls = Tls(authority.certificate, server.certificate, server.key)
        users = {"device": "a", "gateway": "right"}
        async with (
            mosquitto(folder=tmp_path / "broker", tls=tls, users=users) as broker,
            mqtt_device(broker, "oven", 20.0) as device,
        ):
            account = {"username": "gateway", "password": "${env:BROKER_PASSWORD}"}
            trust = {"ca_file": str(authority.certificate)}
            oven = {**OVEN, "answer": {"value": "/status"}}
            ours = connector(tmp_path / "c", broker, oven, host="localhost", tls=trust, **account)
            async with ours.actuator() as actuator:
                for number in range(1, 21):
                    await actuator.write(command(number))
                    await shows(actuator, number)
            assert device.commands() == list(range(1, 21))

    run(body())


def test_what_the_broker_has_kept_is_no_answer(tmp_path: Path) -> None:
    async def body() -> None:
        async with mosquitto(folder=tmp_path / "broker") as broker:
            await broker.publish("oven", b"20.0", retain=True)
            oven = {**OVEN, "state": {"topic": "oven"}}
            async with connector(tmp_path / "c", broker, oven).actuator() as actuator:
                with pytest.raises(Unavailable, match="is the broker's memory and no answer") as caught:
                    await actuator.read("oven", Deadline.after(0.5))
                assert "state.ask" in str(caught.value)
                reading = asyncio.create_task(actuator.read("oven", soon()))
                await asyncio.sleep(0.1)
                await broker.publish("oven", b"21.0", retain=True)  # heard as it is said: live, for whoever listens
                assert (await reading).value == 21.0

    run(body())
