"""The OPC UA server, seen by a client on node-opcua, a stack that is not ours, over a real wire."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk import Sample, Value
from tests.connectors.opcua_server.serving import (
    APPLICATION,
    NOW,
    OPEN,
    Served,
    client,
    numbers,
    secret,
    served,
    trust,
    trusted_client,
)
from tests.peers.certificates import Issued, self_signed
from tests.peers.child import PeerError
from tests.peers.opcua_client import ClientSettings, NodeOpcuaClient, node_opcua_client
from tests.peers.require import require

pytestmark = pytest.mark.integration

Use = Callable[[Served, NodeOpcuaClient], Awaitable[None]]
TEMPERATURE = "ns=2;s=line3/press1/temperature"


def against(folder: Path, use: Use, written: dict[str, Any] | None = None, **wanted: Any) -> None:
    """Run `use` with a server and a client of its own; without security unless `written` says otherwise."""
    require("node-opcua")

    async def main() -> None:
        async with served(folder, OPEN if written is None else written) as server:
            given = {"policy": "None", "mode": "None", **wanted} if written is None else wanted
            async with node_opcua_client(ClientSettings(url=server.url, **given)) as peer:
                await use(server, peer)

    asyncio.run(main())


def identified(issued: Issued) -> dict[str, Any]:
    return {"certificate": issued.certificate, "key": issued.key, "application_uri": APPLICATION}


def with_password(folder: Path) -> dict[str, Any]:
    return {"login": {"users": [{"name": "hmi", "password": secret(folder, "let me in")}]}}


# The address space.


def test_it_finds_the_tags_in_folders_by_the_levels_of_their_names(tmp_path: Path) -> None:
    async def use(server: Served, peer: NodeOpcuaClient) -> None:
        await server.show(*numbers("line3/press1/temperature", [61.5]), *numbers("line3/speed", [3.0]))
        await peer.connect()
        plant = next(each for each in await peer.browse("ns=0;i=85") if each["name"] == "Plant")
        assert [each["name"] for each in await peer.browse(str(plant["node"]))] == ["line3"]
        inside = await peer.browse("ns=3;s=line3")
        assert {(each["name"], each["node"], each["type"]) for each in inside} == {
            ("press1", "ns=3;s=line3/press1", "ns=0;i=61"),
            ("speed", "ns=2;s=line3/speed", "ns=0;i=63"),
        }
        found = await peer.do("translate", start="RootFolder", path="/Objects/3:Plant/3:line3/3:press1/2:temperature")
        assert found == {"status": "Good", "nodes": [TEMPERATURE]}
        names = (await peer.do("namespaces"))["namespaces"]
        assert isinstance(names, list)
        assert names[2:] == ["urn:plantgate:tags", "urn:plantgate:folders"]

    against(tmp_path, use)


def test_three_thousand_tags_in_one_folder_are_browsed_in_pages(tmp_path: Path) -> None:
    async def use(server: Served, peer: NodeOpcuaClient) -> None:
        await server.show(*(Sample(f"line/t{number}", number, 0, NOW) for number in range(3000)))
        await peer.connect()
        assert {each["name"] for each in await peer.browse("ns=3;s=line")} == {f"t{number}" for number in range(3000)}

    against(tmp_path, use)


def test_values_of_every_kind_arrive_as_they_are(tmp_path: Path) -> None:
    values: list[Value] = [
        True,
        -7,
        2**63,
        1.5,
        "Grüße",
        "",
        [1, 2, 3],
        [1.5, 2],
        ["a", "b"],
        [True, False],
        b"\x00\xff",
    ]
    types = [
        "Boolean",
        "Int64",
        "UInt64",
        "Double",
        "String",
        "String",
        "Int64",
        "Double",
        "String",
        "Boolean",
        "ByteString",
    ]

    async def use(server: Served, peer: NodeOpcuaClient) -> None:
        await server.show(*(Sample(f"k/{number}", value, 0, NOW) for number, value in enumerate(values)))
        await peer.connect()
        found = await peer.read(*(f"ns=2;s=k/{number}" for number in range(len(values))))
        assert [each.type for each in found] == types
        plain = [each.value for each in found]
        # node-opcua gives 64-bit numbers as [high, low].
        assert plain[0] is True
        assert plain[1] == [2**32 - 1, 2**32 - 7]
        assert plain[2] == [2**31, 0]
        assert plain[3:6] == [1.5, "Grüße", ""]
        assert plain[7:10] == [[1.5, 2], ["a", "b"], [True, False]]
        assert plain[10] == "AP8="

    against(tmp_path, use)


def test_status_codes_and_source_times_arrive_exactly(tmp_path: Path) -> None:
    async def use(server: Served, peer: NodeOpcuaClient) -> None:
        await server.show(
            Sample("a", 1.0, 0x8034_0000, NOW), Sample("b", 2.0, 0x4090_0000, None), Sample("c", None, 0x8005_0000, NOW)
        )
        await peer.connect()
        a, b, c, unknown = await peer.read("ns=2;s=a", "ns=2;s=b", "ns=2;s=c", "ns=2;s=d")
        assert (a.value, a.code, a.source_ns) == (1.0, 0x8034_0000, NOW)
        assert (b.value, b.status, b.source_ns) == (2.0, "UncertainLastUsableValue", None)
        assert (c.value, c.code) == (None, 0x8005_0000)
        assert unknown.status == "BadNodeIdUnknown"

    against(tmp_path, use)


def test_a_tag_that_is_awaited_says_so_until_its_first_value(tmp_path: Path) -> None:
    written = {**OPEN, "tags": ["line3/press1/temperature"]}

    async def use(server: Served, peer: NodeOpcuaClient) -> None:
        await peer.connect()
        await peer.subscribe(TEMPERATURE)
        await peer.until(lambda heard: any(each.status == "BadWaitingForInitialData" for each in heard))
        await server.show(*numbers("line3/press1/temperature", [61.5]))
        await peer.until(lambda heard: any(each.value == 61.5 and each.status == "Good" for each in heard))

    against(tmp_path, use, written, policy="None", mode="None")


# Subscriptions.


def test_a_subscriber_hears_every_value_in_order_with_its_time_and_status(tmp_path: Path) -> None:
    async def use(server: Served, peer: NodeOpcuaClient) -> None:
        await server.show(*numbers("line3/press1/temperature", [0.0]))
        await peer.connect()
        await peer.subscribe(TEMPERATURE, queue=1000)
        await peer.until(lambda heard: len(heard) == 1)
        sent = numbers("line3/press1/temperature", [float(number) for number in range(1, 301)], NOW + 10**9)
        sent[7] = Sample(sent[7].tag, sent[7].value, 0x4094_0000, sent[7].time)
        for start in range(0, 300, 30):
            await server.show(*sent[start : start + 30])
            await asyncio.sleep(0.03)
        heard = await peer.until(lambda heard: len(heard) >= 300)
        assert [(each.value, each.code, each.source_ns) for each in heard] == [
            (sample.value, sample.quality, sample.time) for sample in sent
        ]

    against(tmp_path, use)


def test_a_queue_that_overflows_keeps_the_newest_and_says_so(tmp_path: Path) -> None:
    async def use(server: Served, peer: NodeOpcuaClient) -> None:
        await server.show(*numbers("line3/press1/temperature", [0.0]))
        await peer.connect()
        await peer.subscribe(TEMPERATURE, queue=5, interval_ms=1000)
        await peer.until(lambda heard: len(heard) == 1)
        await server.show(*numbers("line3/press1/temperature", [float(number) for number in range(1, 21)], NOW + 10**9))
        heard = await peer.until(lambda heard: len(heard) >= 5)
        assert [each.value for each in heard] == [16.0, 17.0, 18.0, 19.0, 20.0]
        assert [each.code for each in heard] == [0x480, 0, 0, 0, 0]

    against(tmp_path, use)


def test_a_deadband_is_kept(tmp_path: Path) -> None:
    async def use(server: Served, peer: NodeOpcuaClient) -> None:
        await server.show(*numbers("line3/press1/temperature", [10.0]))
        await peer.connect()
        await peer.subscribe(TEMPERATURE, deadband=1.0, trigger="StatusValue")
        await peer.until(lambda heard: len(heard) == 1)
        await server.show(*numbers("line3/press1/temperature", [10.5, 11.0, 11.5, 11.0, 13.0], NOW + 10**9))
        heard = await peer.until(lambda heard: any(each.value == 13.0 for each in heard))
        assert [each.value for each in heard] == [11.5, 13.0]

    against(tmp_path, use)


def test_a_repeat_moves_nothing_back_in_time(tmp_path: Path) -> None:
    async def use(server: Served, peer: NodeOpcuaClient) -> None:
        sent = numbers("line3/press1/temperature", [1.0, 2.0, 3.0])
        await server.show(*sent, origin="o", position=10)
        await peer.connect()
        await peer.subscribe(TEMPERATURE)
        await peer.until(lambda heard: len(heard) == 1)
        await server.show(*sent[:2], origin="o", position=10)  # the outbox repeats itself
        await server.show(*sent, origin="o", position=13)  # the machine repeats itself, under new numbers
        await server.show(*numbers("line3/press1/temperature", [4.0], NOW + 10**9), origin="o", position=16)
        heard = await peer.until(lambda heard: any(each.value == 4.0 for each in heard))
        assert [each.value for each in heard] == [4.0]

    against(tmp_path, use)


# Nobody writes.


def test_nothing_can_be_written_or_called(tmp_path: Path) -> None:
    async def use(server: Served, peer: NodeOpcuaClient) -> None:
        await server.show(*numbers("line3/press1/temperature", [61.5]))
        await peer.connect()
        assert await peer.write(TEMPERATURE, 99.0) == "BadNotWritable"
        for attribute in ("DisplayName", "DataType", "AccessLevel", "BrowseName"):
            assert await peer.write(TEMPERATURE, 1.0, attribute) == "BadNotWritable"
        assert await peer.write("ns=0;i=2267", 0.0) == "BadNotWritable"
        called = await peer.do("call", object="ns=0;i=2253", method="ns=0;i=11492")
        assert called["status"] == "BadUserAccessDenied"
        access, user_access = [
            (await peer.read(TEMPERATURE, attribute=name))[0].value for name in ("AccessLevel", "UserAccessLevel")
        ]
        assert access == user_access == 1
        assert [each.value for each in await peer.read(TEMPERATURE)] == [61.5]

    against(tmp_path, use)


# Security.


@pytest.mark.parametrize("policy", ["Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"])
def test_every_policy_works_with_a_user_and_a_password(tmp_path: Path, policy: str) -> None:
    async def use(server: Served, peer: NodeOpcuaClient) -> None:
        await server.show(*numbers("line3/press1/temperature", [61.5]))
        await peer.connect()
        assert [each.value for each in await peer.read(TEMPERATURE)] == [61.5]

    issued = trusted_client(tmp_path)
    against(
        tmp_path, use, with_password(tmp_path), policy=policy, user="hmi", password="let me in", **identified(issued)
    )


def test_signed_only_works_where_the_operator_allows_it(tmp_path: Path) -> None:
    async def use(server: Served, peer: NodeOpcuaClient) -> None:
        await server.show(*numbers("line3/press1/temperature", [61.5]))
        await peer.connect()
        assert [each.value for each in await peer.read(TEMPERATURE)] == [61.5]

    issued = trusted_client(tmp_path)
    written = {**with_password(tmp_path), "security": {"sign_only": True}}
    against(tmp_path, use, written, mode="Sign", user="hmi", password="let me in", **identified(issued))


def test_only_secure_endpoints_are_offered_and_anyone_may_ask_for_them(tmp_path: Path) -> None:
    async def use(server: Served, peer: NodeOpcuaClient) -> None:
        answer = await peer.do("endpoints")
        offered = [(each["policy"], each["mode"], each["tokens"]) for each in answer["endpoints"]]  # type: ignore[attr-defined]
        assert offered == [
            ("Aes256_Sha256_RsaPss", "SignAndEncrypt", ["UserName"]),
            ("Aes128_Sha256_RsaOaep", "SignAndEncrypt", ["UserName"]),
            ("Basic256Sha256", "SignAndEncrypt", ["UserName"]),
        ]

    against(tmp_path, use, with_password(tmp_path))


def test_without_security_nobody_gets_a_session_by_default(tmp_path: Path) -> None:
    async def use(server: Served, peer: NodeOpcuaClient) -> None:
        with pytest.raises(PeerError):
            await peer.connect()
        assert not server.connector.context.standing.counters.get("sessions")

    against(tmp_path, use, with_password(tmp_path), policy="None", mode="None")


def test_a_wrong_password_is_refused_and_so_is_nobody(tmp_path: Path) -> None:
    issued = trusted_client(tmp_path)

    async def use(server: Served, peer: NodeOpcuaClient) -> None:
        with pytest.raises(PeerError, match="BadUserAccessDenied"):
            await peer.connect()
        anonymous = ClientSettings(url=server.url, **identified(issued))
        async with node_opcua_client(anonymous) as nobody:
            with pytest.raises(PeerError, match=r"(?i)anonymous|BadIdentityTokenRejected"):
                await nobody.connect()

    against(tmp_path, use, with_password(tmp_path), user="hmi", password="guess", **identified(issued))


def test_after_too_many_wrong_passwords_the_right_one_is_refused_too(tmp_path: Path) -> None:
    issued = trusted_client(tmp_path)
    written = with_password(tmp_path)
    written["login"] |= {"failures_max": 2, "lockout_seconds": 600}

    async def use(server: Served, peer: NodeOpcuaClient) -> None:
        for _ in range(2):
            with pytest.raises(PeerError, match="BadUserAccessDenied"):
                await peer.connect()
        right = ClientSettings(url=server.url, user="hmi", password="let me in", **identified(issued))
        async with node_opcua_client(right) as late:
            with pytest.raises(PeerError, match="BadUserAccessDenied"):
                await late.connect()
        assert any("refused for 600 s" in line for line in server.log)

    against(tmp_path, use, written, user="hmi", password="guess", **identified(issued))


def test_an_unknown_certificate_is_parked_and_let_in_once_it_is_trusted(tmp_path: Path) -> None:
    issued = client(tmp_path)

    async def use(server: Served, peer: NodeOpcuaClient) -> None:
        await server.show(*numbers("line3/press1/temperature", [61.5]))
        with pytest.raises(PeerError):
            await peer.connect()
        told = next(line for line in server.log if "certificate of a client is refused" in line)
        assert "nobody has trusted it yet" in told
        assert "move the file to" in told
        parked = list((tmp_path / "gateway" / "site" / "pki-server" / "rejected").iterdir())
        assert len(parked) == 1
        trust(tmp_path, parked[0])
        again = ClientSettings(url=server.url, user="hmi", password="let me in", **identified(issued))
        async with node_opcua_client(again) as accepted:
            await accepted.connect()
            assert [each.value for each in await accepted.read(TEMPERATURE)] == [61.5]

    against(tmp_path, use, with_password(tmp_path), user="hmi", password="let me in", **identified(issued))


def test_a_user_logs_in_with_a_certificate_once_it_is_trusted(tmp_path: Path) -> None:
    issued = trusted_client(tmp_path)
    (tmp_path / "user").mkdir()
    user = self_signed(tmp_path / "user", "fitter", "urn:fitter")

    async def use(server: Served, peer: NodeOpcuaClient) -> None:
        await server.show(*numbers("line3/press1/temperature", [61.5]))
        with pytest.raises(PeerError, match="BadIdentityTokenRejected"):
            await peer.connect()
        trust(tmp_path, user.certificate, "users/trusted")
        again = ClientSettings(
            url=server.url, user_certificate=user.certificate, user_key=user.key, **identified(issued)
        )
        async with node_opcua_client(again) as accepted:
            await accepted.connect()
            assert [each.value for each in await accepted.read(TEMPERATURE)] == [61.5]

    against(
        tmp_path, use, {"login": {"certificates": True}}, user_certificate=user.certificate, user_key=user.key,
        **identified(issued),
    )  # fmt: skip


def test_keys_renewed_every_few_seconds_lose_no_value(tmp_path: Path) -> None:
    issued = trusted_client(tmp_path)

    async def use(server: Served, peer: NodeOpcuaClient) -> None:
        await server.show(*numbers("line3/press1/temperature", [0.0]))
        await peer.connect()
        await peer.subscribe(TEMPERATURE, queue=1000, interval_ms=50)
        await peer.until(lambda heard: len(heard) == 1)
        for number in range(1, 501):
            await server.show(*numbers("line3/press1/temperature", [float(number)], NOW + number * 10**9))
            await asyncio.sleep(0.03)
        heard = await peer.until(lambda heard: any(each.value == 500.0 for each in heard))
        assert [each.value for each in heard] == [float(number) for number in range(1, 501)]

    against(
        tmp_path, use, with_password(tmp_path), user="hmi", password="let me in", token_ms=5000, **identified(issued)
    )


def test_a_restart_shows_every_tag_under_its_old_node_id_as_last_known(tmp_path: Path) -> None:
    require("node-opcua")

    async def main() -> None:
        async with served(tmp_path, OPEN) as before:
            await before.show(*numbers("z", [1.0]), *numbers("line3/press1/temperature", [61.5]))
        async with served(tmp_path, OPEN) as after:
            wanted = ClientSettings(url=after.url, policy="None", mode="None")
            async with node_opcua_client(wanted) as peer:
                await peer.connect()
                (found,) = await peer.read(TEMPERATURE)
                assert (found.value, found.status, found.source_ns) == (61.5, "UncertainLastUsableValue", NOW)
                await after.show(*numbers("line3/press1/temperature", [62.0], NOW + 10**9))
                (found,) = await peer.read(TEMPERATURE)
                assert (found.value, found.status) == (62.0, "Good")

    asyncio.run(main())
