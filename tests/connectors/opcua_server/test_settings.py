"""What an operator writes, and what is said of it before anything runs."""

import asyncio
import socket
from pathlib import Path

import pytest
from pydantic import ValidationError

from plantgate.sdk import SystemClock, Unavailable
from plantgate.testing.context import lent
from plantgate_connectors.opcua_server import OpcUaServer
from tests.connectors.opcua_server.serving import client, served, settings, trust
from tests.peers.mosquitto import free_port

NAMED = {"login": {"users": [{"name": "hmi", "password": "${env:HMI}"}]}}


def test_the_default_is_secure_and_nothing_is_remarked_on() -> None:
    assert OpcUaServer.remarks(settings(NAMED)) == ()


@pytest.mark.parametrize(
    ("written", "word"),
    [
        ({"security": {"policies": ["None"]}}, "security.policies"),
        ({"security": {"sign_only": True}}, "security.sign_only"),
        ({"login": {"anonymous": True}}, "login.anonymous"),
    ],
)
def test_what_is_unwise_is_remarked_on(written: dict[str, object], word: str) -> None:
    (remark,) = OpcUaServer.remarks(settings({**NAMED, **written}))
    assert remark.startswith(word)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ({}, "nobody may log in"),
        ({**NAMED, "tags": ["a", "a"]}, "named twice"),
        ({**NAMED, "security": {"certificate": "a.der"}}, "given together"),
        ({**NAMED, "security": {"policies": ["Basic128Rsa15"]}}, "Basic256Sha256"),
        ({"login": {"users": [{"name": "hmi", "password": "typed in"}]}}, "reference"),
        ({**NAMED, "security": {"policies": []}}, "at least 1"),
    ],
)
def test_what_cannot_be_is_refused(written: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        settings(written)


def test_no_flow_can_read_from_it() -> None:
    assert "no flow can read" in OpcUaServer.objection(settings(NAMED), source=True)
    assert OpcUaServer.objection(settings(NAMED), source=False) == ""
    assert OpcUaServer.writes()
    assert not OpcUaServer.reads()


def test_a_survey_looks_at_port_certificate_and_trust_and_changes_nothing(tmp_path: Path) -> None:
    port = free_port()
    context = lent(tmp_path / "gateway", connection="scada", clock=SystemClock())
    connector = OpcUaServer(settings({**NAMED, "host": "127.0.0.1", "port": port}), context)

    async def main() -> None:
        first = await connector.survey()
        assert [finding.fine for finding in first.findings] == [True, True, False]
        assert not list(context.site_folder.iterdir())
        trust(tmp_path, client(tmp_path).certificate)
        with socket.create_server(("127.0.0.1", port)):
            second = await connector.survey()
        assert [finding.fine for finding in second.findings] == [False, True, True]

    asyncio.run(main())


def test_a_port_that_is_taken_is_waited_for_with_a_sentence(tmp_path: Path) -> None:
    async def main() -> None:
        port = free_port()
        refused = pytest.raises(Unavailable, match=rf"cannot listen on 127.0.0.1:{port}")
        with socket.create_server(("127.0.0.1", port)), refused:
            async with served(tmp_path, {"login": {"anonymous": True}}, port=port):
                pass
        async with served(tmp_path, {"login": {"anonymous": True}}, port=port):
            pass

    asyncio.run(main())


def test_what_the_flow_raises_comes_out_as_it_is(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(Unavailable, match="the flow's own"):
            async with served(tmp_path, {"login": {"anonymous": True}}):
                raise Unavailable("the flow's own")

    asyncio.run(main())
