"""The connector's security and addressing against a server that others wrote (node-opcua), over a real wire."""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from plantgate.sdk import Context, SystemClock, Unavailable
from plantgate.testing.context import lent
from plantgate_connectors.opcua import events
from plantgate_connectors.opcua.addressing import resolve, resolve_again
from plantgate_connectors.opcua.client import Resume
from plantgate_connectors.opcua.pki import thumbprints
from plantgate_connectors.opcua.session import Session, connect
from plantgate_connectors.opcua.survey import survey
from plantgate_connectors.opcua.values import Unlearned, Values
from tests.connectors.opcua.plant_given import certificate, settings
from tests.peers.opcua_server import NodeOpcua, Settings, Variable, node_opcua
from tests.peers.require import require

pytestmark = pytest.mark.integration

Use = Callable[[NodeOpcua], Coroutine[Any, Any, None]]


def against(folder: Path, wanted: Settings, use: Use) -> None:
    """Run `use` with a server of its own."""
    require("node-opcua")
    (folder / "server").mkdir()

    async def main() -> None:
        async with node_opcua(wanted, folder=folder / "server") as server:
            await use(server)

    asyncio.run(main())


def context_in(folder: Path) -> Context:
    return lent(folder / "gateway", connection="press3", clock=SystemClock())


def pinned(server: NodeOpcua) -> str:
    return thumbprints(x509.load_pem_x509_certificate(server.certificate.read_bytes()))[0]


def secret(folder: Path, text: str) -> str:
    path = folder / f"secret-{len(text)}-{text[:3]}"
    path.write_text(text + "\n", encoding="utf-8")
    return f"${{file:{path}}}"


async def read(session: Session, *nodes: ua.NodeId) -> list[object]:
    answers = await session.client.uaclient.read_attributes(list(nodes), ua.AttributeIds.Value)
    return [answer.Value.Value if answer.Value is not None else None for answer in answers]


def test_every_policy_carries_a_session_and_picks_it_up_again(tmp_path: Path) -> None:
    async def use(server: NodeOpcua) -> None:
        for policy in ("None", "Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss", "best"):
            chosen = settings(server.url, security={"policy": policy, "server_thumbprint": pinned(server)})
            first = await connect(chosen, context_in(tmp_path))
            assert first.fresh
            assert first.security.startswith("Aes256_Sha256_RsaPss" if policy == "best" else policy)
            kept = Resume.from_json(first.resume().to_json())
            assert kept == first.resume()
            first.abandon()
            second = await connect(chosen, context_in(tmp_path), kept)
            assert not second.fresh
            assert second.resume().token == kept.token
            [state] = await read(second, ua.NodeId(ua.ObjectIds.Server_ServerStatus_State))
            assert state == 0
            await second.close()
            third = await connect(chosen, context_in(tmp_path), kept)
            assert third.fresh
            await third.close()
        assert (await server.counts()).sessions == 0

    against(tmp_path, Settings(), use)


def test_first_contact_is_refused_and_parked_and_moving_the_file_is_trust(tmp_path: Path) -> None:
    async def use(server: NodeOpcua) -> None:
        context = context_in(tmp_path)
        chosen = settings(server.url)
        pki = context.site_folder / "pki"
        with pytest.raises(Unavailable, match="nobody has trusted it yet") as caught:
            await connect(chosen, context)
        assert str(caught.value).startswith("press3: ")
        assert pinned(server) in str(caught.value)
        assert caught.value.retry_after_seconds
        [parked] = (pki / "rejected").iterdir()
        assert str(parked) in str(caught.value)
        assert (await server.counts()).created_sessions == 0
        parked.rename(pki / "trusted" / parked.name)
        with pytest.raises(Unavailable, match="does not accept our certificate"):
            await connect(chosen, context)
        [own] = (pki / "own").glob("*/certificate.der")
        await server.trust(own)
        session = await connect(chosen, context)
        await session.close()

    against(tmp_path, Settings(trust_unknown=False), use)


def test_a_server_that_offers_less_than_asked_for_is_not_talked_to(tmp_path: Path) -> None:
    async def use(server: NodeOpcua) -> None:
        for security in ({}, {"policy": "Aes256_Sha256_RsaPss"}, {"policy": "best", "mode": "Sign"}):
            with pytest.raises(Unavailable, match="the server offers only None; refusing to connect with less"):
                await connect(settings(server.url, security=security), context_in(tmp_path))
        assert (await server.counts()).created_sessions == 0

    against(tmp_path, Settings(policies=("None",)), use)


def test_users_log_in_by_name_on_every_channel_and_by_certificate(tmp_path: Path) -> None:
    made = certificate("operator")
    made.save(tmp_path, "operator")
    (tmp_path / "operator.pem").write_bytes(
        made.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    user_certificate = tmp_path / "operator-certificate.pem"
    user_certificate.write_bytes(made.certificate.public_bytes(serialization.Encoding.PEM))
    by_name = {"name": "operator", "password": secret(tmp_path, "right")}
    by_certificate = {"certificate": str(user_certificate), "private_key": str(tmp_path / "operator.pem")}

    async def use(server: NodeOpcua) -> None:
        pin = pinned(server)
        for user in (by_name, by_certificate):
            for policy in ("None", "Basic256Sha256", "Aes256_Sha256_RsaPss"):
                chosen = settings(server.url, security={"policy": policy, "server_thumbprint": pin}, user=user)
                session = await connect(chosen, context_in(tmp_path))
                kept = session.resume()
                session.abandon()
                again = await connect(chosen, context_in(tmp_path), kept)
                # node-opcua does not implement comparing certificates: it refuses, and we begin anew
                assert again.fresh is (user is by_certificate)
                await again.close()
        wrong = {"name": "operator", "password": secret(tmp_path, "wrong!")}
        chosen = settings(server.url, security={"server_thumbprint": pin}, user=wrong)
        with pytest.raises(Unavailable, match="the server refuses our user") as caught:
            await connect(chosen, context_in(tmp_path))
        assert caught.value.retry_after_seconds is not None
        assert caught.value.retry_after_seconds >= 60
        with pytest.raises(Unavailable, match="asked to log in by anonymous, but the server offers only"):
            await connect(settings(server.url, security={"server_thumbprint": pin}), context_in(tmp_path))

    against(
        tmp_path,
        Settings(anonymous=False, users={"operator": "right"}, user_certificates=[user_certificate]),
        use,
    )


def test_a_password_is_not_encrypted_for_a_server_nobody_trusted(tmp_path: Path) -> None:
    async def use(server: NodeOpcua) -> None:
        user = {"name": "operator", "password": secret(tmp_path, "right")}
        with pytest.raises(Unavailable, match="nobody has trusted it yet"):
            await connect(settings(server.url, security={"policy": "None"}, user=user), context_in(tmp_path))

    against(tmp_path, Settings(users={"operator": "right"}), use)


def test_tags_keep_their_nodes_when_the_server_comes_back_with_its_namespaces_reordered(tmp_path: Path) -> None:
    chosen: dict[str, object] = {
        "security": {"policy": "None"},
        "tags": [{"tag": "line3/t", "node": "nsu=urn:press;s=line3/t"}],
    }
    seen: list[int] = []

    async def use(server: NodeOpcua) -> None:
        await server.create("line3", Variable(name="t", value=float(len(seen) + 1)), namespace="urn:press")
        session = await connect(settings(server.url, **chosen), context_in(tmp_path))
        found = await resolve(session, settings(server.url, **chosen))
        assert (found.tags, found.keys, found.problems) == (["line3/t"], ["nsu=urn:press;s=line3/t"], [])
        assert await read(session, *found.nodes) == [float(len(seen) + 1)]
        seen.append(int(found.nodes[0].NamespaceIndex))
        await session.close()

    for name, namespaces in (("one", ("urn:press", "urn:stamp")), ("two", ("urn:stamp", "urn:press"))):
        (tmp_path / name).mkdir()
        against(tmp_path / name, Settings(namespaces=namespaces), use)
    assert seen == [2, 3]


def test_a_tag_whose_namespace_is_missing_waits_and_is_told(tmp_path: Path) -> None:
    async def use(server: NodeOpcua) -> None:
        await server.create("line", Variable(name="a"), Variable(name="b"))
        chosen = settings(
            server.url,
            security={"policy": "None"},
            tags=[{"tag": "far", "node": "nsu=urn:nowhere;s=x"}, {"tag": "line/a", "node": "nsu=urn:press;s=line/a"}],
            browse=[{"path": "Objects/line/*", "tag": "{path}"}, {"path": "Objects/line/*", "tag": "line/{name}"}],
        )
        session = await connect(chosen, context_in(tmp_path))
        found = await resolve(session, chosen)
        assert found.tags == ["line/a", "a", "b", "line/b"]
        assert (found.waiting, found.desired) == (["far"], 5)
        assert [str(problem) for problem in found.problems] == [
            (
                "line/a: nsu=urn:press;s=line/a (browse Objects/line/*) would take the name that tags[1] has;"
                " it is left out"
            ),
            "namespace urn:nowhere: the server does not have it; 1 tags wait for it",
        ]
        assert await resolve_again(session, chosen, found) is found
        await server.create("line", Variable(name="late"))
        later = await resolve_again(session, chosen, found)
        assert set(later.tags) - set(found.tags) == {"late", "line/late"}
        assert len({id(options) for options in later.options}) == 1
        await session.close()

    against(tmp_path, Settings(namespaces=("urn:press",)), use)


def test_a_structure_is_read_by_the_definition_the_server_gives(tmp_path: Path) -> None:
    async def use(server: NodeOpcua) -> None:
        await server.structure("line", "recipe", "Recipe", {"speed": 1.5, "name": "Blech µ", "count": 7})
        chosen = settings(server.url, security={"policy": "None"}, browse=[{"path": "Objects/line/*"}])
        session = await connect(chosen, context_in(tmp_path))
        [node] = (await resolve(session, chosen)).nodes
        values = Values(session)
        [value] = await read(session, node)
        with pytest.raises(Unlearned):
            values.plain(value)
        await values.definitions.learn()
        assert not values.definitions.unlearned
        assert values.plain(value) == {"speed": 1.5, "name": "Blech µ", "count": 7}
        await session.close()

    fields = (("speed", "Double"), ("name", "String"), ("count", "UInt32"))
    against(tmp_path, Settings(structures={"Recipe": fields}), use)


def test_events_pass_the_severity_and_standing_alarms_come_with_a_refresh(tmp_path: Path) -> None:
    async def use(server: NodeOpcua) -> None:
        await server.create("line", Variable(name="level", value=50.0))
        await server.limit_alarm("line/level", high=90)
        await server.set(("line/level", 95.0))
        chosen = settings(
            server.url,
            security={"policy": "None"},
            events=[
                {"tag": "line/events", "severity_min": 300},
                {"tag": "line/alarms", "type": "i=2915", "fields": ["ActiveState/Id", "SourceNode"]},
            ],
        )
        session = await connect(chosen, context_in(tmp_path))
        values = Values(session)
        plans = [await events.plan(session, wanted) for wanted in (await resolve(session, chosen)).events]
        assert [made.conditions for made in plans] == [False, True]
        async with noticed(session, plans) as (subscription, arrived):
            await events.refresh(session, subscription)
            await server.raise_event("line", "too low to matter", severity=100)
            await server.raise_event("line", "guard open", severity=600)
            async with asyncio.timeout(10):
                for number in itertools.count():
                    if sum(kind is events.Kind.RECORD for _, kind, _ in read_all(plans, arrived, values)) >= 2:
                        break
                    await server.raise_event("line", f"too low to matter {number}", severity=100)
        records = {tag: value for tag, kind, value in read_all(plans, arrived, values) if kind is events.Kind.RECORD}
        assert records["line/events"]["Message"] == "guard open"
        assert records["line/alarms"]["ActiveState/Id"] is True
        assert records["line/alarms"]["SourceNode"] == "nsu=urn:press;s=line/level"
        await session.close()

    against(tmp_path, Settings(namespaces=("urn:press",)), use)


def read_all(
    plans: list[events.Plan], arrived: list[ua.EventFieldList], values: Values
) -> list[tuple[str, events.Kind, dict[str, Any]]]:
    found = []
    for notification in list(arrived):
        made = plans[notification.ClientHandle]
        event = events.read_event(made, notification.EventFields, values)
        if event is not None:
            found.append((made.wanted.tag, event.kind, event.value))
    return found


@contextlib.asynccontextmanager
async def noticed(session: Session, plans: list[events.Plan]) -> Any:
    """A subscription with these event items; gives its id and what arrives."""
    arrived: list[ua.EventFieldList] = []

    def take(result: ua.PublishResult) -> None:
        for notification in result.NotificationMessage.NotificationData or []:
            arrived.extend(getattr(notification, "Events", []))

    parameters = ua.CreateSubscriptionParameters(
        RequestedPublishingInterval=50,
        RequestedLifetimeCount=1000,
        RequestedMaxKeepAliveCount=10,
        PublishingEnabled=True,
    )
    made = await session.client.uaclient.create_subscription(parameters, take)
    items = []
    for handle, plan in enumerate(plans):
        item = ua.MonitoredItemCreateRequest(MonitoringMode=ua.MonitoringMode.Reporting)
        item.ItemToMonitor = ua.ReadValueId(NodeId=plan.wanted.node, AttributeId=ua.AttributeIds.EventNotifier)
        item.RequestedParameters = ua.MonitoringParameters(ClientHandle=handle, Filter=plan.filter, QueueSize=100)
        items.append(item)
    wanted = ua.CreateMonitoredItemsParameters(SubscriptionId=made.SubscriptionId, ItemsToCreate=items)
    for result in await session.client.uaclient.session.create_monitored_items(wanted):
        assert result.StatusCode.is_good()
    yield made.SubscriptionId, arrived


def test_keeping_a_session_outlives_a_timeout_of_one_second_and_short_keys(tmp_path: Path) -> None:
    async def use(server: NodeOpcua) -> None:
        chosen = settings(server.url, security={"server_thumbprint": pinned(server)}, channel_lifetime_seconds=1)
        session = await connect(chosen, context_in(tmp_path))
        assert session.session_timeout_seconds <= 1.0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(4):
                await session.keep()
        [state] = await read(session, ua.NodeId(ua.ObjectIds.Server_ServerStatus_State))
        assert state == 0
        keeping = asyncio.create_task(session.keep())
        await server.kill()
        with pytest.raises(Unavailable, match="press3: cannot reach the server"):
            async with asyncio.timeout(15):
                await keeping
        await session.close()

    against(tmp_path, Settings(session_timeout_ms=1000), use)


def test_a_survey_says_what_would_be_granted_and_leaves_nothing_behind(tmp_path: Path) -> None:
    async def use(server: NodeOpcua) -> None:
        await server.create("line", *(Variable(name=f"t{number}", value=1.0) for number in range(250)))
        chosen = settings(
            server.url,
            security={"policy": "None"},
            tags=[
                {"tag": "gone", "node": "nsu=urn:press;s=line/none"},
                {"tag": "shaky", "node": "ns=2;s=line/t1", "queue_size": 100_000},
            ],
            browse=[{"path": "Objects/line/*"}],
            publishing_interval_ms=100,
        )
        found = await survey(chosen, context_in(tmp_path))
        said = {finding.subject: finding for finding in found.findings}
        assert not found.fine
        assert (said["gone"].granted, said["gone"].fine) == ("BadNodeIdUnknown", False)
        assert said["t0, t1, t2 and 247 more"].granted.startswith("Double, every 100 ms, queue 100")
        assert said["publishing interval"].granted == "1000 ms"
        assert not said["publishing interval"].fine
        assert any("write nsu=urn:press; instead" in finding.granted for finding in found.findings)
        counts = await server.counts()
        assert (counts.sessions, counts.subscriptions, counts.monitored_items) == (0, 0, 0)

    against(tmp_path, Settings(namespaces=("urn:press",), min_publishing_interval_ms=1000), use)
