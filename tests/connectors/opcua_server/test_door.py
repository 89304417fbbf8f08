"""Who may open a channel: clients' certificates, judged at the door."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from asyncua import Client, ua
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from asyncua.ua.uaerrors import BadCertificateUriInvalid

from plantgate.sdk import Clock
from plantgate.testing.context import RecordedLog, lent
from plantgate_connectors.opcua_server.door import Door
from plantgate_connectors.opcua_server.frames import Broken
from tests.connectors.opcua.plant_given import NOW, Made, certificate
from tests.connectors.opcua_server.serving import secret, served, settings, trusted_client

DAY = timedelta(days=1)
NAMED = {"login": {"users": [{"name": "hmi", "password": "${env:HMI}"}]}}


class Then(Clock):
    """The time at which the certificates of these tests count."""

    def now(self) -> int:
        return int(NOW.timestamp() * 1e9)


@pytest.fixture
def log() -> RecordedLog:
    return RecordedLog()


@pytest.fixture
def door(tmp_path: Path) -> Door:
    made = Door(settings(NAMED), lent(tmp_path, clock=Then()))
    made.store.prepare()
    made.users.prepare()
    return made


def admit(door: Door, *chain: Made) -> None:
    asyncio.run(door.admit([made.certificate for made in chain]))


def test_an_unknown_certificate_is_parked_and_told_once(door: Door) -> None:
    made = certificate("scada", hosts=())
    for _ in range(3):
        with pytest.raises(Broken, match="nobody has trusted it yet"):
            admit(door, made)
    (parked,) = door.store.rejected.iterdir()
    log = door._context.log
    assert isinstance(log, RecordedLog)
    assert len(log.lines) == 1
    assert str(parked) in log.lines[0][1]
    parked.rename(door.store.trusted / parked.name)
    admit(door, made)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: certificate(until=NOW - DAY), "expired on .*; renew it at the client"),
        (lambda: certificate(since=NOW + DAY), "one of the clocks, the client's"),
        (lambda: certificate(bits=1024), "key of 1024 bits"),
        (lambda: certificate(authority=True), "authority's certificate, not a client's"),
        (lambda: certificate(signing=False), "key usage"),
    ],
    ids=["expired", "not yet valid", "1024 bit", "authority as client", "no signing"],
)
def test_a_certificate_with_a_fault_is_refused_though_it_is_trusted(
    door: Door, make: Callable[[], Made], says: str
) -> None:
    made = make()
    made.save(door.store.trusted)
    with pytest.raises(Broken, match=says):
        admit(door, made)


def test_a_client_is_trusted_through_its_authority_whatever_its_address(door: Door) -> None:
    root = certificate("plant root", uri=None, hosts=(), authority=True, number=9)
    root.save(door.store.trusted)
    admit(door, certificate("scada", hosts=("elsewhere",), issuer=root))


def test_users_and_clients_are_trusted_apart(door: Door) -> None:
    client, user = certificate("scada", number=1), certificate("fitter", number=2)
    client.save(door.store.trusted)
    user.save(door.users.trusted)
    assert not asyncio.run(door.admits_user([client.certificate]))
    assert asyncio.run(door.admits_user([user.certificate]))
    with pytest.raises(Broken):
        admit(door, user)


def test_what_the_opc_ua_client_trusts_is_not_thereby_let_in(tmp_path: Path, door: Door) -> None:
    made = certificate("press")
    theirs = tmp_path / "site" / "pki" / "trusted"
    theirs.mkdir(parents=True)
    made.save(theirs)
    with pytest.raises(Broken):
        admit(door, made)


def test_a_client_that_calls_itself_otherwise_than_its_certificate_gets_no_session(tmp_path: Path) -> None:
    issued = trusted_client(tmp_path)
    written = {"login": {"users": [{"name": "hmi", "password": secret(tmp_path, "let me in")}]}}

    async def main() -> None:
        async with served(tmp_path, written) as server:
            impostor = Client(server.url, timeout=10)
            impostor.application_uri = "urn:somebody:else"
            await impostor.set_security(
                SecurityPolicyBasic256Sha256, issued.certificate, issued.key, mode=ua.MessageSecurityMode.SignAndEncrypt
            )
            with pytest.raises(BadCertificateUriInvalid):
                await impostor.connect()
            impostor.disconnect_socket()
            assert any("calls itself otherwise" in line for line in server.log)

    asyncio.run(main())
