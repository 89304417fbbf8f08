"""The OPC UA server on node-opcua does what it is for, seen by another client than our own (asyncua)."""

import asyncio
import contextlib
import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asyncua import Client, ua
from asyncua.crypto.security_policies import (
    SecurityPolicyAes128Sha256RsaOaep,
    SecurityPolicyAes256Sha256RsaPss,
    SecurityPolicyBasic256Sha256,
)
from asyncua.ua.uaerrors import BadIdentityTokenRejected, BadTooManySubscriptions, BadUserAccessDenied

from tests.peers.certificates import Issued, self_signed
from tests.peers.child import PeerError
from tests.peers.opcua_server import NodeOpcua, Settings, Value, Variable, node_opcua
from tests.peers.require import data, require

pytestmark = pytest.mark.integration

PRESS = "line3/press1"
APPLICATION = "urn:plantgate:tests:client"


class Heard:
    """A subscriber that keeps what it hears."""

    def __init__(self) -> None:
        self.values: list[tuple[Any, str, datetime | None]] = []
        self.events: list[tuple[str, int, str]] = []

    def datachange_notification(self, _node: object, value: object, change: Any) -> None:
        heard = change.monitored_item.Value
        self.values.append((value, heard.StatusCode.name, heard.SourceTimestamp))

    def event_notification(self, event: Any) -> None:
        self.events.append((event.Message.Text, event.Severity, event.SourceName))


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for what another process will do."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  another process sets no event of ours
            await asyncio.sleep(0.01)


async def subscribe(client: Client, server: NodeOpcua, path: str, heard: Heard) -> Any:
    node = client.get_node(f"ns=2;s={path}")
    subscription = await client.create_subscription(50, heard)
    filter_ = ua.DataChangeFilter(Trigger=ua.DataChangeTrigger.StatusValueTimestamp)
    await subscription._subscribe(
        node, ua.AttributeIds.Value, mfilter=filter_, queuesize=5000, monitoring=ua.MonitoringMode.Reporting,
        sampling_interval=ua.Double(0),
    )  # fmt: skip
    return subscription


def test_node_opcua_delivers_values_with_the_status_and_time_they_were_set_with() -> None:
    require("node-opcua")

    async def run() -> None:
        async with node_opcua() as server:
            nodes = await server.create(
                PRESS, Variable(name="t", value=1.0), Variable(name="n", type="Int64", value=2**60)
            )
            assert nodes == {f"{PRESS}/t": f"ns=2;s={PRESS}/t", f"{PRESS}/n": f"ns=2;s={PRESS}/n"}
            heard = Heard()
            async with Client(server.url) as client:
                assert await client.get_node(nodes[f"{PRESS}/n"]).read_value() == 2**60
                await subscribe(client, server, f"{PRESS}/t", heard)
                await until(lambda: heard.values)
                await server.set(
                    (f"{PRESS}/t", 2.5, None, 1467331200000.5),
                    (f"{PRESS}/t", 2.5, "UncertainLastUsableValue", 1467331201000),
                    (f"{PRESS}/t", None, "BadSensorFailure", 1467331202000),
                )
                await until(lambda: len(heard.values) == 4)
                counts = await server.counts()
            first = datetime(2016, 7, 1, tzinfo=UTC)
            assert heard.values[1:] == [
                (2.5, "Good", first + timedelta(microseconds=500)),
                (2.5, "UncertainLastUsableValue", first + timedelta(seconds=1)),
                (None, "BadSensorFailure", first + timedelta(seconds=2)),
            ]
            assert (counts.sessions, counts.subscriptions, counts.monitored_items) == (1, 1, 1)

    asyncio.run(run())


def test_node_opcua_replays_every_row_and_keeps_its_history() -> None:
    require("node-opcua", "ett")

    async def run() -> None:
        async with node_opcua() as server:
            await server.create("ett", Variable(name="OT", history=50))
            heard = Heard()
            async with Client(server.url) as client:
                await subscribe(client, server, "ett/OT", heard)
                told: list[int] = []
                rows = await server.replay(
                    data() / "ett" / "ETTh1.csv",
                    folder="ett",
                    rows_per_second=500,
                    first=10,
                    rows=200,
                    tell=told.append,
                )
                assert rows == 200
                assert told[-1] == 200
                await until(lambda: len(heard.values) == 201)
                times = [time for _, _, time in heard.values[1:] if time is not None]
                assert times[0] == datetime(2016, 7, 1, 10, tzinfo=UTC)
                assert times == sorted(times)
                assert len(set(times)) == 200
                whole = await client.get_node("ns=2;s=ett/HUFL").read_raw_history(times[0], times[-1])
                kept = await client.get_node("ns=2;s=ett/OT").read_raw_history(times[0], times[-1])
                part = await client.get_node("ns=2;s=ett/HUFL").read_raw_history(times[5], times[9])
            assert [each.SourceTimestamp for each in whole] == times
            assert [each.SourceTimestamp for each in kept] == times[-50:]
            assert [each.SourceTimestamp for each in part] == times[5:10]

    asyncio.run(run())


@pytest.mark.parametrize(
    "policy", [SecurityPolicyBasic256Sha256, SecurityPolicyAes128Sha256RsaOaep, SecurityPolicyAes256Sha256RsaPss]
)
def test_node_opcua_refuses_an_unknown_client_certificate_until_it_is_trusted(policy: Any, tmp_path: Path) -> None:
    require("node-opcua")
    ours = self_signed(tmp_path, "client", APPLICATION)

    async def connect(server: NodeOpcua, password: str) -> ua.DataValue:
        client = Client(server.url)
        client.application_uri = APPLICATION
        await client.set_security(
            policy, str(ours.certificate), str(ours.key), mode=ua.MessageSecurityMode.SignAndEncrypt
        )
        client.set_user("fitter")
        client.set_password(password)
        async with client:
            return await client.get_node("i=2255").read_data_value()

    async def run() -> None:
        settings = Settings(trust_unknown=False, anonymous=False, users={"fitter": "secret"})
        async with node_opcua(settings, folder=tmp_path / "server") as server:
            # asyncua takes the fault for an OpenSecureChannelResponse and runs into its own assertion.
            with pytest.raises((ua.UaError, ConnectionError, AssertionError)):
                await connect(server, "secret")
            await server.trust(ours.certificate)
            assert (await connect(server, "secret")).StatusCode is not None
            with pytest.raises((BadUserAccessDenied, BadIdentityTokenRejected)):
                await connect(server, "wrong")
            with pytest.raises((BadIdentityTokenRejected, ua.UaError)):
                async with Client(server.url):
                    pass

    (tmp_path / "server").mkdir()
    asyncio.run(run())


def test_node_opcua_knows_its_users_by_certificate_and_can_close_their_sessions(tmp_path: Path) -> None:
    require("node-opcua")
    ours = self_signed(tmp_path, "client", APPLICATION)
    fitter = self_signed(tmp_path, "fitter", "urn:plantgate:tests:fitter")
    stranger = self_signed(tmp_path, "stranger", "urn:plantgate:tests:stranger")

    async def connect(server: NodeOpcua, who: Issued) -> Client:
        client = Client(server.url)
        client.application_uri = APPLICATION
        mode = ua.MessageSecurityMode.SignAndEncrypt
        await client.set_security(SecurityPolicyBasic256Sha256, str(ours.certificate), str(ours.key), mode=mode)
        await client.load_client_certificate(str(who.certificate))
        await client.load_private_key(who.key)
        await client.connect()
        return client

    async def run() -> None:
        async with node_opcua(Settings(anonymous=False, user_certificates=[fitter.certificate])) as server:
            client = await connect(server, fitter)
            assert (await server.counts()).sessions == 1
            assert await server.close_sessions() == 1
            assert (await server.counts()).sessions == 0
            with contextlib.suppress(ua.UaError, ConnectionError):
                await client.disconnect()
            with pytest.raises(ua.UaError):
                await connect(server, stranger)

    asyncio.run(run())


def test_node_opcua_raises_events_and_limit_alarms() -> None:
    require("node-opcua")

    async def run() -> None:
        async with node_opcua() as server:
            await server.create(PRESS, Variable(name="t", value=20.0))
            await server.limit_alarm(f"{PRESS}/t", high=90.0, high_high=100.0)
            heard = Heard()
            async with Client(server.url) as client:
                subscription = await client.create_subscription(50, heard)
                await subscription.subscribe_events(client.nodes.server)
                await server.raise_event(PRESS, "door open", severity=700)
                await server.set((f"{PRESS}/t", 95.0), (f"{PRESS}/t", 96.0, "BadSensorFailure"), (f"{PRESS}/t", 20.0))
                await until(lambda: heard.events and heard.events[-1][0] == "Back to normal")
            assert heard.events[0] == ("door open", 700, PRESS)
            # The alarm that nobody acknowledged is told a second time, as a branch, when the next state begins.
            assert list(dict.fromkeys(message for message, _, _ in heard.events[1:])) == [
                "Condition is 95.000 and state is High",
                "Back to normal",
            ]

    asyncio.run(run())


def test_node_opcua_carries_structures_arrays_and_values_json_cannot_write() -> None:
    require("node-opcua")

    async def run() -> None:
        settings = Settings(structures={"Recipe": [("speed", "Double"), ("steps", "Int32"), ("name", "String")]})
        async with node_opcua(settings) as server:
            recipe = await server.structure("line3", "recipe", "Recipe", {"speed": 2.5, "steps": 3, "name": "a"})
            nodes = await server.create(
                "odd",
                Variable(name="nan", value=float("nan")),
                Variable(name="inf", type="Float", value=float("-inf")),
                Variable(name="raw", type="ByteString", value=b"\x00\xff"),
                Variable(name="when", type="DateTime", value=datetime(2026, 1, 2, tzinfo=UTC)),
                Variable(name="list", type="Int16", value=[1, -2, 3]),
                Variable(name="waiting"),
            )
            async with Client(server.url) as client:
                values: dict[str, Any] = {
                    path.removeprefix("odd/"): await client.get_node(node).read_data_value(raise_on_bad_status=False)
                    for path, node in nodes.items()
                }
                before: Any = await client.get_node(recipe).read_data_value()
                changed: dict[str, Value] = {"speed": 5.0, "steps": 4, "name": "b"}
                await server.set(("line3/recipe", changed))
                after: Any = await client.get_node(recipe).read_data_value()
            assert values["nan"].Value.Value != values["nan"].Value.Value
            assert values["inf"].Value.Value == float("-inf")
            assert values["raw"].Value.Value == b"\x00\xff"
            assert values["when"].Value.Value == datetime(2026, 1, 2, tzinfo=UTC)
            assert values["list"].Value.Value == [1, -2, 3]
            assert not values["waiting"].StatusCode.is_good()
            assert before.Value.Value.Body == struct.pack("<di", 2.5, 3) + b"\x01\0\0\0a"
            assert after.Value.Value.Body == struct.pack("<di", 5.0, 4) + b"\x01\0\0\0b"

    asyncio.run(run())


def test_node_opcua_grants_what_it_is_told_and_refuses_on_command() -> None:
    require("node-opcua")

    async def run() -> None:
        settings = Settings(
            namespaces=("urn:b", "urn:a"),
            session_timeout_ms=1000,
            min_publishing_interval_ms=200,
            max_monitored_items_per_call=7,
            max_nodes_per_read=11,
        )
        async with node_opcua(settings) as server:
            nodes = await server.create("x", Variable(name="v", value=1.0), namespace="urn:a")
            async with Client(server.url, timeout=10) as client:
                assert client.session_timeout == 1000
                assert (await client.get_namespace_array())[2:] == ["urn:b", "urn:a"]
                assert nodes == {"x/v": "ns=3;s=x/v"}
                limits = [await client.get_node(f"i={node}").read_value() for node in (11714, 11705)]
                assert limits == [7, 11]
                await server.refuse("CreateSubscription", "BadTooManySubscriptions", times=1)
                with pytest.raises(BadTooManySubscriptions):
                    await client.create_subscription(50, Heard())
                subscription = await client.create_subscription(50, Heard())
                assert subscription.parameters.RequestedPublishingInterval == 200  # asyncua keeps the revised one there
                await server.delete("x/v")
                with pytest.raises(PeerError, match="no node x/v"):
                    await server.set(("x/v", 2.0))
                await server.create("x", Variable(name="v", value=3.0), namespace="urn:a")
                assert await client.get_node("ns=3;s=x/v").read_value() == 3.0

    asyncio.run(run())


def test_node_opcua_comes_back_on_its_port_with_its_certificate_after_a_power_cut(tmp_path: Path) -> None:
    require("node-opcua")

    async def run() -> None:
        async with node_opcua(folder=tmp_path) as server:
            port, certificate = server.port, server.certificate.read_bytes()
            await server.kill()
            with pytest.raises(PeerError):
                await server.counts()
        async with node_opcua(Settings(port=port), folder=tmp_path) as server:
            assert server.port == port
            assert server.certificate.read_bytes() == certificate

    asyncio.run(run())
