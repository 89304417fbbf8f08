"""The MQTT connector against Eclipse Mosquitto, a broker we did not write, heard by its own client."""

import asyncio
import json
import random
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk import Batch, Gap, Rejected, Sample, Source, Unavailable
from plantgate.sdk.quality import UNCERTAIN_LAST_USABLE
from plantgate_connectors.mqtt import Mqtt, MqttSettings
from tests.connectors.mqtt.given import batch, context
from tests.peers.certificates import Authority
from tests.peers.mosquitto import Login, Mosquitto, Tls, mosquitto
from tests.peers.proxy import proxy
from tests.peers.recorder import Message, recorder
from tests.peers.require import require

pytestmark = pytest.mark.integration
VERSIONS = pytest.mark.parametrize("version", ["5", "3.1.1"])


def run(body: Coroutine[Any, Any, None], seconds: float = 60.0) -> None:
    """Run it, but not for ever."""
    require("mosquitto")

    async def bounded() -> None:
        async with asyncio.timeout(seconds):
            await body

    asyncio.run(bounded())


def mqtt(folder: Path, broker: Mosquitto, **written: Any) -> Mqtt:
    """A connector for this broker."""
    settings = {"host": broker.host, "port": broker.port, **written}
    return Mqtt(MqttSettings.model_validate_json(json.dumps(settings)), context(folder))


def positions(messages: list[Message]) -> list[int]:
    """Numbers of the samples in these messages, in order of arrival."""
    return [
        body["position"] + index
        for body in (json.loads(message.payload) for message in messages)
        for index in range(len(body["samples"]))
    ]


@VERSIONS
def test_nothing_accepted_is_lost_while_the_broker_is_killed(tmp_path: Path, version: str) -> None:
    """Mosquitto hands a message to an online subscriber before it confirms, if it may have as many under way; what it
    only queues it can forget when killed, confirmed or not."""

    async def body() -> None:
        async with (
            mosquitto(folder=tmp_path / "broker", settings=("max_inflight_messages 0",)) as broker,
            recorder(broker, "plantgate/samples", folder=tmp_path / "recorded") as recorded,
        ):
            connector = mqtt(tmp_path / "c", broker, version=version)
            accepted = 0
            killing = True

            async def deliver() -> None:
                nonlocal accepted
                while killing:
                    try:
                        async with connector.sink() as sink:
                            while killing:
                                await sink.accept(batch(*range(20), position=accepted))
                                accepted += 20
                                await asyncio.sleep(0.002)
                    except Unavailable:
                        await asyncio.sleep(0.05)

            delivering = asyncio.create_task(deliver())
            for _ in range(5):
                await asyncio.sleep(random.uniform(0.2, 0.5))
                await broker.kill()
                await broker.start()
                await recorded.caught_up()
            killing = False
            await delivering
            await recorded.caught_up()
            came = positions(recorded.messages())
            assert accepted > 100
            assert set(range(accepted)) <= set(came)
            first_seen = list(dict.fromkeys(came))
            assert first_seen == sorted(first_seen)

    (tmp_path / "broker").mkdir()
    (tmp_path / "recorded").mkdir()
    run(body())


@VERSIONS
def test_what_is_published_while_we_or_the_broker_are_away_is_read_in_order(tmp_path: Path, version: str) -> None:
    async def body() -> None:
        async with mosquitto(folder=tmp_path) as broker:
            connector = mqtt(
                tmp_path / "c", broker, version=version, subscribe=[{"topic": "line/{n}/temp", "tag": "{n}"}]
            )
            safe: list[Sample] = []

            async def read(until: int) -> None:
                while len(safe) < until:
                    try:
                        async with connector.source() as source:
                            while len(safe) < until:
                                got = await source.read()
                                assert got.gaps == ()
                                safe.extend(got)
                                await source.ack(got.cursor)
                            await asyncio.sleep(0.1)
                    except Unavailable:
                        await asyncio.sleep(0.05)

            reading = asyncio.create_task(read(3))
            await _until(lambda: connector.context.standing.monitored == 1)
            for value in range(3):
                await broker.publish("line/1/temp", b"%d" % value)
            await reading
            for value in range(3, 6):  # we are away
                await broker.publish("line/1/temp", b"%d" % value)
            await asyncio.sleep(0.05)
            await broker.kill()  # and so is the broker
            await broker.start()
            await read(6)
            values = list(dict.fromkeys(sample.value for sample in safe))
            assert values == list(range(6))
            assert {sample.tag for sample in safe} == {"1"}

    run(body())


async def _until(true: Any) -> None:
    while not true():  # noqa: ASYNC110  a foreign process has no event
        await asyncio.sleep(0.02)


@VERSIONS
def test_a_broker_that_forgot_us_makes_a_gap(tmp_path: Path, version: str) -> None:
    async def body() -> None:
        (tmp_path / "one").mkdir()
        (tmp_path / "two").mkdir()
        subscribe = [{"topic": "t"}]
        async with mosquitto(folder=tmp_path / "one") as broker:
            await _visit(mqtt(tmp_path / "c", broker, version=version, subscribe=subscribe))
        async with mosquitto(folder=tmp_path / "two") as broker:
            connector = mqtt(tmp_path / "c", broker, version=version, subscribe=subscribe)
            async with connector.source() as source:
                got = await source.read()
                assert [(gap.tags, gap.cause) for gap in got.gaps] == [(("t",), "the broker kept no session")]
                await source.ack(got.cursor)
                await broker.publish("t", b"1")
                assert (await source.read()).values == [1]

    run(body())


async def _visit(connector: Mqtt) -> None:
    async with connector.source():
        pass


def test_a_wrong_password_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(version: str) -> None:
        async with mosquitto(folder=tmp_path / version, users={"plant": "right"}) as broker:
            account = {"username": "plant", "password": "${env:BROKER_PASSWORD}", "version": version}
            monkeypatch.setenv("BROKER_PASSWORD", "wrong")
            said = await _failure(mqtt(tmp_path / "c", broker, **account))
            assert "refused us: " in said
            assert "(user 'plant'" in said
            assert 'wrong"' not in said
            monkeypatch.setenv("BROKER_PASSWORD", "right")
            async with mqtt(tmp_path / "c", broker, **account).sink() as sink:
                await sink.accept(batch(1))

    for version in ("5", "3.1.1"):
        (tmp_path / version).mkdir()
        run(body(version))


async def _failure(connector: Mqtt) -> str:
    with pytest.raises(Unavailable) as caught:
        async with connector.sink():
            pass
    return str(caught.value)


@VERSIONS
def test_tls_with_client_certificates(tmp_path: Path, version: str) -> None:
    ours, others = Authority(tmp_path / "ours"), Authority(tmp_path / "others")
    server = ours.issue("server", hosts=("localhost",))
    client = ours.issue("client")
    login = Login(certificate=client.certificate, key=client.key)

    async def body() -> None:
        (tmp_path / "broker").mkdir()
        tls = Tls(ours.certificate, server.certificate, server.key, client_certificates=True)
        async with mosquitto(folder=tmp_path / "broker", tls=tls, login=login) as broker:
            shown = {"certificate_file": str(client.certificate), "key_file": str(client.key)}
            trusted = {"ca_file": str(ours.certificate), **shown}

            def connector(**written: Any) -> Mqtt:
                return mqtt(tmp_path / "c", broker, **{"host": "localhost", "version": version, **written})

            async with connector(tls=trusted).sink() as sink:
                await sink.accept(batch(1))
            assert "shows a certificate we do not trust" in await _failure(
                connector(tls={**trusted, "ca_file": str(others.certificate)})
            )
            assert "shows a certificate we do not trust: IP address mismatch" in await _failure(
                connector(host="127.0.0.1", tls=trusted)
            )
            async with connector(host="127.0.0.1", tls={**trusted, "check_server_name": False}).sink() as sink:
                await sink.accept(batch(1))
            assert await _failure(connector(tls={"ca_file": str(ours.certificate)}))  # shows no certificate
            assert "cannot use ca_file" in await _failure(connector(tls={"ca_file": str(tmp_path / "none.pem")}))
            assert "cannot use certificate_file" in await _failure(
                connector(tls={**trusted, "key_file": str(server.key)})
            )
            assert await _failure(connector(tls=None))  # speaks no TLS

    run(body())


@VERSIONS
def test_the_will_says_offline_when_we_vanish_and_when_we_leave(tmp_path: Path, version: str) -> None:
    async def body() -> None:
        async with (
            mosquitto(folder=tmp_path) as broker,
            proxy(broker.host, broker.port) as net,
            recorder(broker, "st/#", folder=tmp_path) as recorded,
        ):
            connector = mqtt(
                tmp_path / "c", broker, port=net.port, version=version, publish={"status_topic": "st/{connection}"}
            )
            async with connector.sink():
                pass
            with pytest.raises(Unavailable):
                await _vanish(connector, net)
            await recorded.caught_up()
            await _until(lambda: len(recorded.messages()) == 4)
            assert [m.payload for m in recorded.messages()] == [b"online", b"offline", b"online", b"offline"]

    run(body())


async def _vanish(connector: Mqtt, net: Any) -> None:
    async with connector.sink():
        net.reset()
        await asyncio.sleep(30)


@VERSIONS
def test_kept_messages_come_back_marked(tmp_path: Path, version: str) -> None:
    async def body() -> None:
        async with mosquitto(folder=tmp_path) as broker:
            publish = {"each": "value", "topic": "kept/{tag}", "format": "text", "retain": True}
            async with mqtt(tmp_path / "a", broker, version=version, publish=publish).sink() as sink:
                await sink.accept(batch(1.5, tag="x"))
            subscribe = [{"topic": "kept/{tag#}", "tag": "{tag}"}]
            async with mqtt(tmp_path / "b", broker, version=version, subscribe=subscribe).source() as source:
                got = await source.read()
                assert list(got) == [Sample("x", 1.5, UNCERTAIN_LAST_USABLE, None)]

    run(body())


def test_the_brokers_packet_limit_splits_batches_and_rejects_only_what_cannot_be_split(tmp_path: Path) -> None:
    async def body() -> None:
        async with (
            mosquitto(folder=tmp_path, settings=("max_packet_size 2000",)) as broker,
            recorder(broker, "plantgate/samples", folder=tmp_path) as recorded,
        ):
            async with mqtt(tmp_path / "c", broker).sink() as sink:
                await sink.accept(batch(*range(100)))
                with pytest.raises(Rejected, match="the most is 2000"):
                    await sink.accept(batch("x" * 3000, position=100))
                await sink.accept(batch(1, position=101))
            await recorded.caught_up()
            assert positions(recorded.messages()) == [*range(100), 101]

    run(body())


def test_a_payload_limit_the_broker_does_not_announce_is_found_out(tmp_path: Path) -> None:
    """Mosquitto 2.0 refuses with a reason and then resets the connection, which can overtake the reason."""

    async def body() -> None:
        async with (
            mosquitto(folder=tmp_path, settings=("message_size_limit 100000",)) as broker,
            recorder(broker, "plantgate/samples", folder=tmp_path) as recorded,
        ):
            connector = mqtt(tmp_path / "c", broker)
            given = [batch(*range(4000)), batch("x" * 200_000, position=4000), batch(1, position=4001)]
            set_aside: list[str] = []
            sessions = 0
            while given:
                sessions += 1
                assert sessions < 20
                try:
                    async with connector.sink() as sink:
                        while given:
                            await sink.accept(given[0])
                            del given[0]
                except Rejected as error:
                    set_aside.append(str(error))
                    del given[0]
                except Unavailable:
                    continue
            assert len(set_aside) == 1
            assert "larg" in set_aside[0]
            await recorded.caught_up()
            assert set(positions(recorded.messages())) == {*range(4000), 4001}

    run(body())


@VERSIONS
def test_ten_megabytes_go_out_if_allowed_and_are_passed_over_if_not(tmp_path: Path, version: str) -> None:
    async def body() -> None:
        async with mosquitto(folder=tmp_path) as broker:
            subscribe = [{"topic": "plantgate/samples", "payload": "plantgate"}, {"topic": "small", "payload": "text"}]
            strict = mqtt(tmp_path / "strict", broker, version=version, subscribe=subscribe)
            lenient = mqtt(
                tmp_path / "lenient", broker, version=version, subscribe=subscribe, message_bytes_max="16MiB"
            )
            large = batch("x" * 10_000_000)
            sink_of = mqtt(tmp_path / "out", broker, version=version, publish={"message_bytes_max": "16MiB"})
            async with strict.source() as skipping, lenient.source() as taking, sink_of.sink() as sink:
                await sink.accept(large)
                await broker.publish("small", b"after")
                taken = await _read(taking, 2)
                assert [sample.value for sample in taken] == [large.values[0], "after"]
                gaps: list[Gap] = []
                assert [sample.value for sample in await _read(skipping, 1, gaps)] == ["after"]
                assert [gap.cause for gap in gaps] == ["message too large"]
            async with strict.source() as skipping:  # acknowledged: it does not come again
                await broker.publish("small", b"later")
                assert [sample.value for sample in await _read(skipping, 1)] == ["later"]

    run(body())


async def _read(source: Source, count: int, gaps: list[Gap] | None = None) -> list[Sample]:
    found: list[Sample] = []
    while len(found) < count:
        got: Batch = await source.read()
        found += got
        if gaps is not None:
            gaps += got.gaps
        await source.ack(got.cursor)
    return found


@VERSIONS
def test_a_second_client_with_our_name_is_suspected(tmp_path: Path, version: str) -> None:
    """Mosquitto 2.0 says nothing when it closes the older connection, not even to an MQTT 5 client."""

    async def body() -> None:
        async with mosquitto(folder=tmp_path) as broker:
            ours = mqtt(tmp_path / "a", broker, client_id="gate", version=version)
            theirs = mqtt(tmp_path / "b", broker, client_id="gate")
            for words in ("the broker closed", "the broker closed", "perhaps another client has our client id 'gate'"):
                with pytest.raises(Unavailable, match=words):
                    await _both(ours, theirs)

    run(body())


async def _both(first: Mqtt, second: Mqtt) -> None:
    async with first.sink(), second.sink():
        await asyncio.sleep(30)


def test_what_the_access_list_forbids_is_said(tmp_path: Path) -> None:
    async def body() -> None:
        allowed = tmp_path / "acl"
        allowed.write_text("topic write plantgate/#\ntopic read ours/#\n")
        allowed.chmod(0o600)
        async with mosquitto(folder=tmp_path, settings=(f"acl_file {allowed}",)) as broker:
            async with mqtt(tmp_path / "a", broker).sink() as sink:
                await sink.accept(batch(1))
            async with mqtt(tmp_path / "b", broker, publish={"topic": "forbidden"}).sink() as sink:
                with pytest.raises(Rejected, match="did not take a message on 'forbidden': not authorised"):
                    await sink.accept(batch(1))

    run(body())


def test_a_plan_asks_and_changes_nothing(tmp_path: Path) -> None:
    async def body() -> None:
        settings = ("max_packet_size 5000", "max_inflight_messages 7")
        async with mosquitto(folder=tmp_path, settings=settings) as broker:
            await broker.publish("t/1", b"1", retain=True)
            connector = mqtt(tmp_path / "c", broker, subscribe=[{"topic": "t/+"}])
            survey = await connector.survey()
            granted = {finding.subject: finding.granted for finding in survey.findings}
            assert survey.fine
            assert granted["publish.message_bytes_max"] == "5000"
            assert granted["t/+"] == "QoS 1"
            assert not (tmp_path / "c" / "subscriptions.json").exists()

    run(body())


def test_a_slow_line_costs_time_and_nothing_else(tmp_path: Path) -> None:
    async def body() -> None:
        async with (
            mosquitto(folder=tmp_path) as broker,
            proxy(broker.host, broker.port) as net,
            recorder(broker, "v/#", folder=tmp_path) as recorded,
        ):
            net.slowness.latency_seconds = 0.02
            net.slowness.slice_bytes = 100
            connector = mqtt(tmp_path / "c", broker, port=net.port, publish={"each": "value", "topic": "v/{tag}"})
            async with connector.sink() as sink:
                await sink.accept(batch(*range(200)))
            await recorded.caught_up()
            assert [json.loads(message.payload)["value"] for message in recorded.messages()] == list(range(200))

    run(body())
