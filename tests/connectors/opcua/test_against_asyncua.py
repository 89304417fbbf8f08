"""Security over a real wire against asyncua's own server: what node-opcua does not offer (rung 2c)."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua

from plantgate.sdk import Unavailable
from plantgate.testing.context import lent
from plantgate_connectors.opcua import credentials
from plantgate_connectors.opcua.pki import thumbprints
from plantgate_connectors.opcua.session import connect
from tests.connectors.opcua.plant_given import NOW, FixedClock, Made, asyncua_server, certificate, settings

KINDS = ua.SecurityPolicyType
SIGNED = {
    "Basic256Sha256": KINDS.Basic256Sha256_Sign,
    "Aes128_Sha256_RsaOaep": KINDS.Aes128Sha256RsaOaep_Sign,
    "Aes256_Sha256_RsaPss": KINDS.Aes256Sha256RsaPss_Sign,
}


def against(folder: Path, made: Made, policies: list[KINDS], use: Callable[[str], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with asyncua_server(folder, made=made, policies=policies, nodes={"Temp": 20.5}) as url:
            await use(url)

    asyncio.run(main())


def test_every_policy_carries_a_signed_session(tmp_path: Path) -> None:
    made = certificate(hosts=("127.0.0.1",))
    pin = thumbprints(made.certificate)[1]

    async def use(url: str) -> None:
        for policy in SIGNED:
            security = {"policy": policy, "mode": "Sign", "server_thumbprint": pin}
            session = await connect(settings(url, security=security), lent(tmp_path, clock=FixedClock()))
            assert session.security == f"{policy}/Sign"
            assert session.namespaces[-1] == "urn:press"
            await session.close()

    against(tmp_path, made, [KINDS.NoSecurity, *SIGNED.values()], use)


def test_a_trusted_server_whose_certificate_expired_gets_no_channel(tmp_path: Path) -> None:
    faulty = certificate(until=NOW - timedelta(days=1))

    async def use(url: str) -> None:
        context = lent(tmp_path, connection="press3", clock=FixedClock())
        faulty.save(context.site_folder / "pki" / "trusted")
        with pytest.raises(Unavailable, match="expired on 2026-11-25; renew it at the server") as caught:
            await connect(settings(url), context)
        assert str(caught.value).startswith("press3: the server's certificate CN=press3 (SHA-256 ")
        assert len(list((context.site_folder / "pki" / "rejected").iterdir())) == 1

    against(tmp_path, faulty, [KINDS.Basic256Sha256_SignAndEncrypt], use)


def test_a_better_endpoint_hidden_from_us_on_the_way_ends_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody in between strips the strong endpoints from the open discovery; the protected answer tells."""
    made = certificate()
    honest = credentials.PlainClient.get_endpoints

    async def stripped(self: credentials.PlainClient) -> list[ua.EndpointDescription]:
        return [offer for offer in await honest(self) if "Aes256" not in offer.SecurityPolicyUri]

    monkeypatch.setattr(credentials.PlainClient, "get_endpoints", stripped)

    async def use(url: str) -> None:
        security = {"server_thumbprint": thumbprints(made.certificate)[0]}
        with pytest.raises(Unavailable, match="Aes256_Sha256_RsaPss/SignAndEncrypt, which was hidden"):
            await connect(settings(url, security=security), lent(tmp_path, clock=FixedClock()))

    against(tmp_path, made, [KINDS.Basic256Sha256_SignAndEncrypt, KINDS.Aes256Sha256RsaPss_SignAndEncrypt], use)


def test_a_password_goes_in_clear_only_if_the_operator_wrote_so(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n", encoding="utf-8")
    user = {"name": "operator", "password": f"${{file:{tmp_path}/password}}"}

    async def use(url: str) -> None:
        context = lent(tmp_path, clock=FixedClock())
        with pytest.raises(Unavailable, match="password_in_clear: true"):
            await connect(settings(url, security={"policy": "None"}, user=user), context)
        allowed = {**user, "password_in_clear": True}
        session = await connect(settings(url, security={"policy": "None"}, user=allowed), context)
        await session.close()

    async def main() -> None:
        async with asyncua_server(tmp_path) as url:
            await use(url)

    asyncio.run(main())
