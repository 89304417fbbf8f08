"""What can be written, what is refused before anything is opened, and what is remarked on."""

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError

from plantgate.testing.context import lent
from plantgate_connectors.http import Http
from plantgate_connectors.http.paths import PathPattern, read_path
from tests.connectors.http.given import HOST, dialling, receiver, server, settings  # noqa: F401  a fixture

TOKEN = "${env:TOKEN}"
PATHS: list[dict[str, Any]] = [{"path": "/a", "tag": "a"}]
ALLOW = [{"name": "press3", "bearer": TOKEN}]


def receive(**written: Any) -> dict[str, Any]:
    """A receiver that is fine, but for what is given."""
    whole = {"allow": ALLOW, "paths": PATHS, **written}
    return {"receive": {name: value for name, value in whole.items() if value is not None}}


def path(**written: Any) -> dict[str, Any]:
    """A receiver with this path."""
    return receive(paths=[{"path": "/a", **written}])


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ({}, "write receive, poll or send"),
        ({**receive(), "poll": [{"url": "http://x/", "tag": "a"}]}, "make a connection of each"),
        (receive(allow=None), "nobody may post"),
        (receive(allow=[]), "nobody may post"),
        (receive(anonymous=True), "so allow has no use"),
        (receive(allow=[{"name": "a"}]), "write one of bearer, password and signature"),
        (receive(allow=[{"name": "a", "bearer": TOKEN, "password": TOKEN}]), "write one of"),
        (receive(allow=ALLOW * 2), "press3 is named twice"),
        (receive(allow=[{"name": "a:b", "bearer": TOKEN}]), "pattern"),
        (receive(allow=[{"name": "a", "bearer": "in-the-clear"}]), "a secret is written as a reference"),
        (receive(paths=[]), "at least 1 item"),
        (path(path="a", tag="a"), "write /name/name"),
        (path(path="/a/", tag="a"), "without a / at the end"),
        (path(path="/a?b", tag="a"), "without ?"),
        (path(path="/{x#}/b", tag="a"), "can only come last"),
        (path(path="/{x}/{x}", tag="a"), "a name stands twice"),
        (path(path="/a%20b", tag="a"), "must be plain text or {name}"),
        (path(path="/{X}", tag="a"), "must be plain text or {name}"),
        (path(tag="{name}"), "{name} has no meaning here"),
        (path(), "no tag is named"),
        (path(tag=""), "a name in braces"),
        (path(values={"a": "v"}), "is not a JSON Pointer"),
        (path(tag="a", values={"a": "/v"}), "stands instead of tag and value"),
        (path(payload="plantgate", tag="a"), "has tags of its own"),
        (path(payload="number", tag="a", value="/v"), "only payload: json"),
        ({"poll": [{"url": "ftp://x/", "tag": "a"}]}, "is not a URL to call"),
        ({"poll": [{"url": "http://", "tag": "a"}]}, "is not a URL to call"),
        ({"poll": [{"url": "http://x:99999/", "tag": "a"}]}, "is not a URL"),
        ({"poll": [{"url": "http://x/\r\nX: 1", "tag": "a"}]}, "is not a URL to call"),
        ({"poll": [{"url": "http://u:p@x/", "tag": "a"}]}, "ends up in logs"),
        ({"poll": [{"url": "http://x/#a", "tag": "a"}]}, "leave #a out"),
        ({"poll": [{"url": "http://x/", "tag": "{a}"}]}, "{a} has no meaning here"),
        ({"poll": [{"url": "http://x/", "tag": "a", "interval_seconds": 0}]}, "greater than or equal to 0.05"),
        ({"send": {"url": "http://x/", "username": "u"}}, "come together"),
        ({"send": {"url": "http://x/", "username": "u", "password": TOKEN, "bearer": TOKEN}}, "write one of them"),
        ({"send": {"url": "http://x/", "signature": TOKEN}}, "write username (the key's name) beside it"),
        ({"send": {"url": "http://x/", "tls": {"certificate_file": "a.pem"}}}, "come together"),
        (receive(tls={"certificate_file": "a.pem"}), "Field required"),
        (receive(colour="red"), "Extra inputs"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_sentence(written: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(**written)
    assert sentence in str(caught.value)


def test_a_certificate_of_a_known_authority_is_enough_to_post() -> None:
    tls = {"certificate_file": "a.pem", "key_file": "a.key", "client_ca_file": "ca.pem"}
    assert settings(**receive(allow=None, tls=tls)).receive is not None


@pytest.mark.parametrize(
    ("written", "remarks"),
    [
        (receive(), []),
        (receive(host="0.0.0.0"), ["receive.host 0.0.0.0: others on the network can read and change"]),
        (receive(host="0.0.0.0", tls={"certificate_file": "a", "key_file": "b"}), []),
        (receive(host="::1"), []),
        (receive(allow=None, anonymous=True), ["receive.anonymous: every program on this machine"]),
        (
            receive(allow=None, anonymous=True, host="10.0.0.7"),
            ["receive.host 10.0.0.7: ", "receive.anonymous: every program on the network"],
        ),
        ({"poll": [{"url": "http://x/", "tag": "a", "bearer": TOKEN}]}, ["poll.0: credentials go over the network"]),
        ({"poll": [{"url": "http://127.0.0.1/", "tag": "a", "bearer": TOKEN}]}, []),
        ({"poll": [{"url": "http://x/", "tag": "a", "interval_seconds": 1}]}, ["poll.0.answer_seconds is longer"]),
        ({"send": {"url": "http://x/", "bearer": TOKEN}}, ["send: credentials go over the network unencrypted"]),
        ({"send": {"url": "http://x/"}}, ["send.url: batches go over the network unencrypted"]),
        ({"send": {"url": "https://x/", "bearer": TOKEN}}, []),
    ],
)
def test_what_is_unwise_is_remarked_on(written: dict[str, Any], remarks: list[str]) -> None:
    found = Http.remarks(settings(**written))
    assert len(found) == len(remarks)
    assert all(said.startswith(begins) for said, begins in zip(found, remarks, strict=True))


def test_each_role_needs_its_part() -> None:
    receiving, sending = settings(**receive()), settings(send={"url": "https://x/"})
    assert "no flow can write to it" in Http.objection(receiving, source=False)
    assert "no flow can read from it" in Http.objection(sending, source=True)
    assert not Http.objection(receiving, source=True)
    assert not Http.objection(sending, source=False)


def test_a_path_gives_its_names() -> None:
    pattern = PathPattern("/a/{x}/b/{rest#}")
    assert pattern.match(("a", "1", "b", "2", "3")) == {"x": "1", "rest": "2/3"}
    assert pattern.match(("a", "1", "b")) is None
    assert pattern.match(("a", "1", "c", "2")) is None
    assert PathPattern("/").match(()) == {}
    assert PathPattern("/a").match(("a", "b")) is None


@pytest.mark.parametrize(
    ("target", "segments"),
    [
        ("/", ()),
        ("/a/b?c=/../d", ("a", "b")),
        ("/a%20b", ("a b",)),
        ("/%E2%82%AC", ("€",)),
        ("/a/", None),
        ("", None),
        ("a", None),
        ("/a/%2e", None),
        ("/\udcff", None),
    ],
)
def test_a_path_is_read_in_one_way_or_not_at_all(target: str, segments: tuple[str, ...] | None) -> None:
    assert read_path(target) == segments


@pytest.mark.simulated(seeds=1)
async def test_a_survey_says_what_can_be_read_and_posts_nothing(tmp_path: Path) -> None:
    posted: list[str] = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        posted.append(request.method)
        return web.Response(body=b'{"v":1}')

    connector = receiver(tmp_path)
    assert (await connector.survey()).fine
    (tmp_path / "token").unlink()
    (finding,) = (await connector.survey()).findings
    assert not finding.fine
    assert "cannot read" in finding.granted
    url = f"http://{HOST}:8461/"
    polls = [{"url": url, "values": {"a": "/v", "b": "/v"}}, {"url": url, "tag": "a", "value": "/w"}]
    connector = Http(settings(poll=polls, send={"url": url}), lent(tmp_path))
    assert not (await connector.survey()).fine
    async with server(answer, 8461):
        found = (await connector.survey()).findings
    assert [finding.fine for finding in found] == [True, False, True]
    assert [finding.granted for finding in found] == [
        "2 values",
        "the answer is not json: there is nothing at /w",
        "yes; nothing was posted",
    ]
    assert posted == ["GET", "GET"]


def test_the_settings_show_no_secret() -> None:
    assert json.loads(settings(**receive()).model_dump_json())["receive"]["allow"][0]["bearer"] == TOKEN
