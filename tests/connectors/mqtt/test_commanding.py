"""Commands and looks at a device, on the simulated network: which reports count, which answers, and what stays here."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk import Actuator, Command, Deadline, OutcomeUnknown, Rejected, Sample, Standing, Unavailable
from plantgate.sdk.quality import BAD, BAD_DECODING, GOOD, UNCERTAIN
from plantgate.testing.mqtt_fields import Property
from plantgate.testing.simloop import running
from plantgate_connectors.mqtt.hearing import Hearing
from plantgate_connectors.mqtt.post import properties
from plantgate_connectors.mqtt.publisher import on_the_wire
from tests.connectors.mqtt.given import T0, Log, mqtt, settings
from tests.connectors.mqtt.obeying import Device, commands, device
from tests.connectors.mqtt.test_session import hostile

pytestmark = pytest.mark.simulated(seeds=1)


def command(value: Any, tag: str = "oven", seconds: float = 10.0) -> Command:
    return Command("1", tag, value, Deadline.after(seconds))


@asynccontextmanager
async def acting(folder: Path, state: dict[str, Any], **written: Any) -> AsyncIterator[tuple[Device, Actuator]]:
    """A session for one device whose state is written so."""
    whole = {"tag": "oven", "topic": "oven/set", "state": {"topic": "oven", "payload": "json", **state}, **written}
    async with device("oven") as machine, mqtt(folder, commands=[whole]).actuator() as actuator:
        yield machine, actuator


async def look(actuator: Actuator, machine: Device, *payloads: bytes, seconds: float = 5.0) -> Sample:
    """What is read while the device says these, one after the other."""
    reading = asyncio.create_task(actuator.read("oven", Deadline.after(seconds)))
    await asyncio.sleep(0.1)
    for payload in payloads:
        machine.broker.publish("oven", payload)
    return await reading


async def test_what_came_before_the_look_is_not_what_the_machine_has(tmp_path: Path) -> None:
    async with acting(tmp_path, {}) as (machine, actuator):
        machine.broker.publish("oven", b"20")
        await asyncio.sleep(1.0)
        assert (await look(actuator, machine, b"21")).value == 21
        with pytest.raises(Unavailable, match=r"the device said nothing on 'oven' in time; if something makes it"):
            await actuator.read("oven", Deadline.after(5.0))


async def test_a_young_report_counts_where_that_is_written_and_not_one_from_before_our_command(tmp_path: Path) -> None:
    async with acting(tmp_path, {"fresh_seconds": 60}) as (machine, actuator):
        machine.broker.publish("oven", b"20")
        await asyncio.sleep(59.0)
        assert (await actuator.read("oven", Deadline.after(1.0))).value == 20
        await asyncio.sleep(2.0)
        with pytest.raises(Unavailable):
            await actuator.read("oven", Deadline.after(1.0))
        machine.broker.publish("oven", b"22")
        machine.reports = False
        await asyncio.sleep(1.0)
        await actuator.write(command(30.0))
        with pytest.raises(Unavailable):
            await actuator.read("oven", Deadline.after(1.0))
        machine.reports = True
        machine.report("oven")
        await asyncio.sleep(1.0)
        assert (await actuator.read("oven", Deadline.after(1.0))).value == 30.0


async def test_messages_that_say_nothing_of_the_tag_are_passed_over(tmp_path: Path) -> None:
    """As Tasmota's RESULT, which tells of whatever changed."""
    async with acting(tmp_path, {"value": "/POWER", "true_is": "ON", "false_is": "OFF"}) as (machine, actuator):
        assert (await look(actuator, machine, b'{"Dimmer": 7}', b'{"POWER": "OFF", "Dimmer": 7}')).value is False
        assert (await look(actuator, machine, b'{"POWER": "ON"}')).value is True


@pytest.mark.parametrize(
    ("state", "payload"),
    [
        ({}, b"nonsense"),
        ({}, b"\xff\xfe"),
        ({}, b""),
        ({"payload": "number"}, b"nan"),
        ({"payload": "number"}, b"-inf"),
        ({"payload": "number"}, b"offline"),
        ({"payload": "text", "true_is": "ON", "false_is": "OFF"}, b"on"),
        ({"true_is": 1, "false_is": 0}, b"true"),
        ({"true_is": 1, "false_is": 0}, b"1.0"),
        ({"true_is": 1, "false_is": 0}, b"[1]"),
        ({"true_is": 1, "false_is": 0}, b"null"),
        ({"value": "/v", "true_is": True, "false_is": False}, b'{"v": 1}'),
    ],
)
async def test_a_report_that_cannot_be_read_has_no_value_and_says_so(
    tmp_path: Path, state: dict[str, Any], payload: bytes
) -> None:
    async with acting(tmp_path, state) as (machine, actuator):
        there = await look(actuator, machine, payload)
        assert (there.value, there.quality) == (None, BAD_DECODING)


async def test_quality_and_source_time_are_the_devices(tmp_path: Path) -> None:
    places = {"value": "/v", "time": "/t", "time_unit": "ns", "quality": "/ok"}
    async with acting(tmp_path, places) as (machine, actuator):
        for ok, quality in ((True, GOOD), (False, BAD)):
            said = json.dumps({"v": 1.5, "t": T0, "ok": ok}).encode()
            assert await look(actuator, machine, said) == Sample("oven", 1.5, quality, T0)
        ahead = json.dumps({"v": 1.5, "t": T0 + 10**18, "ok": True}).encode()
        assert await look(actuator, machine, ahead) == Sample("oven", 1.5, UNCERTAIN, T0 + 10**18)


async def test_a_device_that_is_away_finds_only_what_is_still_wanted(tmp_path: Path) -> None:
    async with device("oven") as machine, mqtt(tmp_path, commands=commands("oven")).actuator() as actuator:
        machine.leave()
        await actuator.write(command(1.0, seconds=3.5))
        await actuator.write(command(2.0, seconds=60.0))
        await asyncio.sleep(3.5)
        machine.come_back()
        assert machine.written["oven"] == [2.0]
        assert machine.heard[0].properties[Property.MESSAGE_EXPIRY] == 59, "one second is taken off"
        await actuator.write(command(3.0, seconds=0.9))
        assert machine.heard[-1].properties[Property.MESSAGE_EXPIRY] == 1, "0 would mean for ever to some brokers"


async def test_the_deadline_travels_where_it_has_a_place(tmp_path: Path) -> None:
    written = commands("oven", payload="json", value="/value", until="/until")
    async with device("oven") as machine, mqtt(tmp_path, commands=written).actuator() as actuator:
        await actuator.write(command(1.0, seconds=7.5))
        told = json.loads(machine.heard[0].payload)
        assert told["value"] == 1.0
        assert running().wall_ns() / 1e6 + 7_490 < told["until"] <= running().wall_ns() / 1e6 + 7_500


async def test_a_confirmation_for_an_earlier_session_confirms_nothing_in_this_one(tmp_path: Path) -> None:
    """A broker, or a proxy before it, that gives it to whoever has our client id now, where identifiers begin anew."""
    late: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x20\x03\x00\x00\x00")
        if not late:
            command = b""
            while b"oven/set" not in command:
                command = await reader.read(4096)
                if command[0] == 0x82:
                    writer.write(b"\x90\x04" + command[2:4] + b"\x00\x01")
            at = command.index(b"oven/set") + len(b"oven/set")
            late.append(int.from_bytes(command[at : at + 2], "big"))
            return
        while came := await reader.read(4096):
            if came[0] == 0x82:
                writer.write(b"\x90\x04" + came[2:4] + b"\x00\x01")
            if b"oven/set" in came:
                writer.write(b"\x40\x02" + late[0].to_bytes(2, "big"))

    async with await hostile(serve):
        connector = mqtt(tmp_path, commands=commands("oven", confirm_seconds=1.0))
        for _ in range(2):
            async with connector.actuator() as actuator:
                with pytest.raises(OutcomeUnknown):
                    await actuator.write(command(1.0))


async def test_answers_to_others_and_answers_nobody_waits_for_are_counted(tmp_path: Path) -> None:
    ours = mqtt(tmp_path, commands=commands("oven", answer={"topic": "answers/us"}))
    async with device("oven") as machine, ours.actuator() as actuator:
        machine.say("answers/us", {"ok": True}, b"1")
        await actuator.write(command(1.0))
        machine.say("answers/us", {"ok": False}, b"1")
        await asyncio.sleep(1.0)
        assert ours.context.standing.counters["unexpected_messages"] == 2
        await actuator.write(command(2.0))
        assert machine.written["oven"] == [1.0, 2.0]


async def test_an_answer_that_comes_before_the_brokers_word_is_enough(tmp_path: Path) -> None:
    ours = mqtt(tmp_path, commands=commands("oven", answer={}, confirm_seconds=1.0))
    async with device("oven") as machine, ours.actuator() as actuator:
        answer = machine.answer
        machine.is_never_heard_of_again()
        machine.answer = answer
        await actuator.write(command(1.0))
        machine.takes = False
        with pytest.raises(Rejected, match="the device refused it: too hot"):
            await actuator.write(command(2.0))
        assert machine.written["oven"] == [1.0]


# Brokers that cannot, or will not.


@asynccontextmanager
async def broker(welcome: bytes, heard: bytes = b"\x01") -> AsyncIterator[list[bytes]]:
    """One that says this to CONNECT and to a SUBSCRIBE, and nothing else; gives what it was sent after that."""
    came: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(welcome)
        await reader.read(4096)
        writer.write(b"\x90" + bytes((3 + len(heard),)) + b"\x00\x01\x00" + heard)
        while piece := await reader.read(4096):
            came.append(piece.replace(b"\xc0\x00", b"").removesuffix(b"\xe0\x00"))
            if piece == b"\xc0\x00":
                writer.write(b"\xd0\x00")

    async with await hostile(serve):
        yield came


async def test_a_broker_that_takes_no_qos_1_is_named(tmp_path: Path) -> None:
    async with broker(b"\x20\x05\x00\x00\x02\x24\x00"):
        with pytest.raises(Unavailable, match="takes QoS 0 only; write qos: 0 in each command"):
            async with mqtt(tmp_path, commands=commands("oven")).actuator():
                pass


async def test_where_we_may_not_listen_nothing_is_sent(tmp_path: Path) -> None:
    async with broker(b"\x20\x03\x00\x00\x00", heard=b"\x01\x87") as came:
        ours = mqtt(tmp_path, commands=commands("oven", answer={"topic": "replies"}))
        async with ours.actuator() as actuator:
            with pytest.raises(Unavailable, match="does not let us listen at 'replies': not authorised"):
                await actuator.write(command(1.0))
        assert not any(came)
    async with broker(b"\x20\x03\x00\x00\x00", heard=b"\x87\x01"), ours.actuator() as actuator:
        with pytest.raises(Unavailable, match="does not let us listen at 'oven': not authorised"):
            await actuator.read("oven", Deadline.after(5.0))


async def test_no_more_is_sent_than_the_broker_takes(tmp_path: Path) -> None:
    async with broker(b"\x20\x06\x00\x00\x03\x21\x00\x01") as came:
        async with mqtt(tmp_path, commands=commands("oven", confirm_seconds=60)).actuator() as actuator:
            first = asyncio.create_task(actuator.write(command(1.0)))
            await asyncio.sleep(0.5)
            with pytest.raises(Unavailable, match="has 1 messages to confirm, and takes no more; nothing was sent"):
                await actuator.write(command(2.0))
            first.cancel()
            await asyncio.wait([first])
        assert b"".join(came).count(b"oven/set") == 1
    async with broker(b"\x20\x08\x00\x00\x05\x27\x00\x00\x00\x20") as came:
        async with mqtt(tmp_path, commands=commands("oven")).actuator() as actuator:
            with pytest.raises(Rejected, match="more than the broker takes"):
                await actuator.write(command(1.0))
        assert not any(came)


async def test_a_message_that_breaks_the_protocol_ends_the_session_and_is_no_answer(tmp_path: Path) -> None:
    for broken in (b"\x34\x07\x00\x04oven\x00", b"\x32\x03\x00\x09o", b"\x30\x06\x00\x04oven"):

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, broken: bytes = broken) -> None:
            writer.write(b"\x20\x03\x00\x00\x00")
            await reader.read(4096)
            writer.write(b"\x90\x04\x00\x01\x00\x01")
            while b"oven/set" not in await reader.read(4096):
                pass
            writer.write(broken)

        async with await hostile(serve), mqtt(tmp_path, commands=commands("oven")).actuator() as actuator:
            with pytest.raises(OutcomeUnknown, match="sent, and then"):
                await actuator.write(command(1.0))
            with pytest.raises(Unavailable, match="nothing was sent"):
                await actuator.write(command(2.0))


@pytest.mark.simulated
async def test_no_bytes_of_a_broker_make_it_stumble_or_confirm_anything(seed: object) -> None:
    """Messages cut, damaged and made up, answers to others among them; then the right answer, whole, is taken."""
    luck = random.Random(f"{seed}/bytes")
    ours = settings(commands=commands("oven", answer={"topic": "answers"}))
    hearing = Hearing(ours, Standing(Log()))
    answer = ours.commands[0].answer
    assert answer is not None
    expected = hearing.answers.expect(answer, "answers", "7/ab")

    def said(number: str) -> bytes:
        marks = properties(expires_seconds=5, number=number, answer_topic="answers")
        return on_the_wire("answers") + marks + b'{"ok":true}'

    report = b"\x00\x04oven\x00" + b"21.5"
    for _ in range(3_000):
        whole = luck.choice((said("7/ba"), report, luck.randbytes(luck.randrange(40))))
        broken = bytearray(whole)
        for _ in range(luck.randrange(1, 4)):
            if broken:
                broken[luck.randrange(min(len(broken), 30))] = luck.randrange(256)
        hearing.publish(0x30 | luck.randrange(16), bytes(broken[: luck.randrange(len(broken) + 1)]))
        hearing.puback(luck.randrange(65_536), luck.randrange(256))
        hearing.oversized(bytes(broken[:9]), luck.randrange(3), 10**6)
    assert not expected.said.done(), "something that was not the answer confirmed a command"
    hearing.publish(0x30, said("7/ab"))
    assert expected.said.done()
