"""The HTTP connector and software we did not write: curl and OpenSSL as clients, a Node.js server as the far end."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk import Batch, Context, Gap, Rejected, Sample, Standing, SystemClock, Unavailable
from plantgate.testing.context import RecordedLog
from plantgate_connectors.http import Http, HttpSettings
from tests.peers.certificates import Authority
from tests.peers.http_office import office
from tests.peers.mosquitto import free_port
from tests.peers.require import find, require

pytestmark = pytest.mark.integration
T0 = 1_767_225_600_000_000_000
MS = T0 // 1_000_000


def run(body: Coroutine[Any, Any, None], seconds: float = 60.0) -> None:
    """Run it, but not for ever."""

    async def bounded() -> None:
        async with asyncio.timeout(seconds):
            await body

    asyncio.run(bounded())


def http(folder: Path, **written: Any) -> Http:
    """A connector, as from a plant file."""
    folder.mkdir(parents=True, exist_ok=True)
    log = RecordedLog()
    context = Context("hook", folder, folder, SystemClock(), log, Standing(log))
    return Http(HttpSettings.model_validate_json(json.dumps(written)), context)


async def program(*command: str | Path, given: bytes = b"") -> str:
    """What it prints."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate(given)
    return printed.decode()


async def curl(*arguments: str | Path, given: bytes = b"") -> str:
    """Status and body."""
    return await program(find("curl"), "-sS", "-m", "30", "-w", "\n%{http_code}", *arguments, given=given)


@asynccontextmanager
async def receiving(folder: Path, **written: Any) -> AsyncIterator[tuple[str, Batch, Http]]:
    """A receiver on a port of its own, with a pump behind it."""
    port = free_port()
    paths = [
        {"path": "/readings", "payload": "plantgate"},
        {"path": "/press3/{name}", "tag": "press3/{name}", "payload": "number"},
    ]
    connector = http(folder, receive={"port": port, "paths": paths, **written})
    got = Batch.empty()

    async with connector.source() as source:

        async def pump() -> None:
            while True:
                batch = await source.read()
                got.extend(batch)
                await source.ack(batch.cursor)

        pumping = asyncio.create_task(pump())
        try:
            yield f"127.0.0.1:{port}", got, connector
        finally:
            pumping.cancel()
            await asyncio.wait([pumping])


def secret(folder: Path, name: str, value: str) -> str:
    """A reference to a secret in a file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(value)
    return f"${{file:{folder / name}}}"


def test_curl_posts_with_a_token_a_password_or_neither(tmp_path: Path) -> None:
    require("curl")

    async def body() -> None:
        token = secrets.token_hex(32)
        allow = [
            {"name": "press3", "bearer": secret(tmp_path, "token", token), "tags": ["press3/"]},
            {"name": "office", "password": secret(tmp_path, "password", "pä ss:word")},
        ]
        async with receiving(tmp_path / "c", allow=allow) as (where, got, _):
            url = f"http://{where}"
            bearer = f"Authorization: Bearer {token}"
            assert await curl("-H", bearer, "--data", "61.2", f"{url}/press3/temperature") == "\n204"
            assert await curl("-u", "office:pä ss:word", "--data", "7", f"{url}/press3/count") == "\n204"
            assert (await curl("--data", "1", f"{url}/press3/count")).endswith("\n401")
            assert (await curl("-u", "office:wrong", "--data", "1", f"{url}/press3/count")).endswith("\n401")
            foreign = json.dumps({"tags": ["line1/a"], "values": [1], "qualities": [0], "times": [None]})
            refused = await curl("-H", bearer, "--data", foreign, f"{url}/readings")
            assert refused.endswith("\n403")
            assert "press3 may not give values of" in refused
            assert (await curl("-H", bearer, f"{url}/press3/temperature")).endswith("\n405")
            assert (await curl("-H", bearer, "--path-as-is", "--data", "1", f"{url}/press3/../x")).endswith("\n400")
            assert list(zip(got.tags, got.values, strict=True)) == [("press3/temperature", 61.2), ("press3/count", 7)]

    run(body())


def test_curl_posts_a_large_batch_in_chunks_after_asking_whether_it_may(tmp_path: Path) -> None:
    require("curl")

    async def body() -> None:
        count = 20_000
        batch = {
            "tags": [f"line1/{n % 50}" for n in range(count)],
            "values": [n / 7 for n in range(count)],
            "qualities": [0] * count,
            "times": [T0 + n for n in range(count)],
        }
        sent = json.dumps(batch).encode()
        async with receiving(tmp_path / "c", anonymous=True, body_bytes_max=4_000_000) as (where, got, _):
            url = f"http://{where}/readings"
            headers = (
                "-H",
                "Expect: 100-continue",
                "-H",
                "Transfer-Encoding: chunked",
                "-H",
                "Content-Type: text/json",
            )
            assert await curl(*headers, "--data-binary", "@-", url, given=sent) == "\n204"
            assert (got.tags, got.values, got.times) == (batch["tags"], batch["values"], batch["times"])
            assert (await curl("--data-binary", "@-", url, given=sent * 4)).endswith("\n413")
            assert (await curl("-H", "Content-Encoding: gzip", "--data", "x", url)).endswith("\n415")

    run(body())


def test_openssl_signs_and_a_repeat_is_refused(tmp_path: Path) -> None:
    """As in the README."""
    require("curl", "openssl")

    async def body() -> None:
        key = secrets.token_hex(32)
        allow = [{"name": "press3", "signature": secret(tmp_path, "key", key)}]
        async with receiving(tmp_path / "c", allow=allow) as (where, got, _):
            await asyncio.sleep(1.0)  # what was signed in the second it started is not told from what was signed before

            async def signed(sent: str, nonce: str, at: int, path: str = "/press3/count") -> str:
                digest = (await program(find("openssl"), "dgst", "-sha256", given=sent.encode())).split()[-1]
                lines = f"POST\n{path}\n{at}\n{nonce}\n{digest}".encode()
                mac = (await program(find("openssl"), "dgst", "-sha256", "-hmac", key, given=lines)).split()[-1]
                return f'Authorization: HMAC-SHA256 key="press3", time="{at}", nonce="{nonce}", signature="{mac}"'

            url = f"http://{where}/press3/count"
            header = await signed("5", "nonce-number-1", int(time.time()))
            assert await curl("-H", header, "--data", "5", url) == "\n204"
            replayed = await curl("-H", header, "--data", "5", url)
            assert "sign each attempt anew" in replayed
            forged = await signed("6", "nonce-number-2", int(time.time()))
            assert (await curl("-H", forged, "--data", "600", url)).endswith("\n401")
            other = await signed("6", "nonce-number-3", int(time.time()))
            assert (await curl("-H", other, "--data", "6", f"http://{where}/press3/other")).endswith("\n401")
            stale = await signed("7", "nonce-number-4", int(time.time()) - 301)
            assert "behind ours" in await curl("-H", stale, "--data", "7", url)
            assert got.values == [5]

    run(body())


def test_curl_shows_a_certificate_or_is_not_let_in(tmp_path: Path) -> None:
    require("curl")

    async def body() -> None:
        authority, stranger = Authority(tmp_path / "ca"), Authority(tmp_path / "other", "somebody else")
        server = authority.issue("receiver", hosts=["127.0.0.1", "localhost"])
        mine, theirs = authority.issue("press3"), stranger.issue("press4")
        tls = {
            "certificate_file": str(server.certificate),
            "key_file": str(server.key),
            "client_ca_file": str(authority.certificate),
        }
        async with receiving(tmp_path / "c", tls=tls) as (where, got, _):
            url, trust = f"https://{where}/press3/count", ("--cacert", authority.certificate)
            shown = ("--cert", mine.certificate, "--key", mine.key)
            assert await curl(*trust, *shown, "--data", "5", url) == "\n204"
            assert await curl(*trust, "--tls-max", "1.2", *shown, "--data", "6", url) == "\n204"
            assert (await curl(*trust, "--data", "5", url)).endswith("\n000")
            assert (await curl(*trust, "--cert", theirs.certificate, "--key", theirs.key, "--data", "5", url)).endswith(
                "\n000"
            )
            assert (await curl("--data", "5", f"http://{where}/press3/count")).endswith("\n000")
            key = ("-H", "Idempotency-Key: 1")
            also = authority.issue("press5")
            for certificate, value in ((mine, "7"), (mine, "7"), (also, "8")):  # keys are of the certificate's owner
                shown = ("--cert", certificate.certificate, "--key", certificate.key)
                assert await curl(*trust, *shown, *key, "--data", value, url) == "\n204"
            assert got.values == [5, 6, 7, 8]

    run(body())


def test_a_handshake_that_never_comes_is_cut_off(tmp_path: Path) -> None:
    async def body() -> None:
        server = Authority(tmp_path / "ca").issue("receiver", hosts=["127.0.0.1"])
        tls = {"certificate_file": str(server.certificate), "key_file": str(server.key)}
        async with receiving(tmp_path / "c", tls=tls, anonymous=True, head_seconds=1.0) as (where, _, _):
            reader, writer = await asyncio.open_connection("127.0.0.1", int(where.rpartition(":")[2]))
            writer.write(b"\x16\x03\x01\x02\x00\x01")
            started = time.monotonic()
            assert await _until_closed(reader) == b""
            assert time.monotonic() - started < 10
            writer.close()

    run(body())


def test_two_hundred_megabytes_from_curl_are_refused_and_held_by_nobody(tmp_path: Path) -> None:
    require("curl")

    async def body() -> None:
        large = tmp_path / "large"
        with large.open("wb") as file:
            file.truncate(200_000_000)
        async with receiving(tmp_path / "c", anonymous=True) as (where, got, _):
            url = f"http://{where}/press3/count"
            said = curl("-H", "Transfer-Encoding: chunked", "-H", "Expect:", "-T", large, "-X", "POST", url)
            told = curl("-H", "Expect:", "-T", large, "-X", "POST", url)
            started = time.monotonic()
            answers = await asyncio.gather(said, told)
            assert [answer[-3:] for answer in answers] == ["413", "413"]
            assert time.monotonic() - started < 20
            assert await curl("--data", "5", url) == "\n204"
            assert got.values == [5]

    run(body())


def test_three_hundred_half_sent_requests_keep_nobody_out(tmp_path: Path) -> None:
    require("curl")

    async def body() -> None:
        limits = {"head_seconds": 2.0, "per_peer_max": 64, "connections_max": 128}
        async with receiving(tmp_path / "c", anonymous=True, **limits) as (where, got, connector):
            port = int(where.rpartition(":")[2])
            halves = []
            for _ in range(300):
                reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
                writer.write(b"POST /press3/count HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
                halves.append((reader, writer))
            assert await curl("--data", "5", f"http://{where}/press3/count") == "\n204"
            answers = await asyncio.gather(*(_until_closed(reader) for reader, _ in halves))
            for _, writer in halves:
                writer.close()
            assert {answer[:12] for answer in answers} <= {b"HTTP/1.1 408", b"HTTP/1.1 503", b""}
            assert sum(answer.startswith(b"HTTP/1.1 408") for answer in answers) >= 64
            assert got.values == [5]
            assert connector.context.standing.counters["refused"] == 300

    run(body())


async def _until_closed(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionError:
        return b""


def batch(position: int, count: int = 3) -> Batch:
    """Samples as an outbox gives them."""
    given = Batch.of(Sample("line1/a", float(n), 0, T0 + n) for n in range(position, position + count))
    given.origin, given.position, given.received = "telemetry", position, T0
    return given


def test_node_takes_batches_and_what_it_does_not_answer_comes_again_with_the_same_key(tmp_path: Path) -> None:
    require("nodejs")

    async def body() -> None:
        async with office(tmp_path) as node:
            await node.tell(answers=[204, 0, 503, 204, 422, 429, 204], retry_after=3)
            connector = http(tmp_path / "c", send={"url": node.url("/in")})
            waits: list[object] = []
            for position in (0, 3, 6, 9):
                while True:
                    try:
                        async with connector.sink() as sink:
                            await sink.accept(batch(position))
                            break
                    except Unavailable as error:
                        waits.append(error.retry_after_seconds)
                    except Rejected:
                        waits.append("rejected")
                        break
            await node.caught_up()
            assert waits == [None, 3.0, "rejected", 3.0]
            keys = [taken["key"] for taken in node.taken]
            assert keys[1] == keys[2] == keys[3]
            assert len(set(keys)) == 4
            positions = [json.loads(taken["body"])["position"] for taken in node.taken]
            assert positions == [0, 3, 3, 3, 6, 9, 9]
            first = json.loads(node.taken[0]["body"])
            assert first["samples"][1] == {
                "tag": "line1/a",
                "value": 1.0,
                "quality": "Good",
                "code": 0,
                "time": "2026-01-01T00:00:00.000000001Z",
            }

    run(body())


def test_node_wants_our_certificate_and_gets_it(tmp_path: Path) -> None:
    require("nodejs")

    async def body() -> None:
        authority = Authority(tmp_path / "ca")
        ours = authority.issue("gateway")
        async with office(tmp_path, authority) as node:
            tls = {
                "ca_file": str(authority.certificate),
                "certificate_file": str(ours.certificate),
                "key_file": str(ours.key),
            }
            connector = http(tmp_path / "c", send={"url": node.url("/in"), "tls": tls})
            async with connector.sink() as sink:
                await sink.accept(batch(0))
            await node.caught_up()
            assert len(node.taken) == 1

            async def reach(**send: Any) -> str:
                with pytest.raises(Unavailable) as caught:
                    async with http(tmp_path / "d", send={"url": node.url("/in"), **send}).sink() as sink:
                        await sink.accept(batch(0))
                return str(caught.value)

            assert "a certificate we do not trust" in await reach()
            assert await reach(tls={"ca_file": str(authority.certificate)})
            await node.caught_up()
            assert len(node.taken) == 1

    run(body())


def test_node_is_asked_again_and_again_and_says_when_nothing_has_changed(tmp_path: Path) -> None:
    require("nodejs", "curl")

    async def body() -> None:
        async with office(tmp_path) as node:
            await node.tell(now={"v": 1, "at": MS})
            poll = {
                "url": node.url("/now"),
                "interval_seconds": 0.1,
                "values": {"yard/temperature": "/v"},
                "time": "/at",
                "time_unit": "ms",
            }
            connector = http(tmp_path / "c", poll=[poll])
            async with connector.source() as source:
                assert (await source.read()).values == [1]
                before = int((await curl(node.url("/looks"))).split()[0])
                await asyncio.sleep(0.5)
                assert int((await curl(node.url("/looks"))).split()[0]) > before
                await node.tell(now={"v": 2, "at": MS + 1})
                assert (await source.read()).values == [2], "what had not changed came again"
                await node.tell(now={"w": 3})
                bad = await source.read()
                assert (bad.values, bad.qualities) == ([None], [0x8007_0000])
                await node.tell(now={"v": 4, "at": MS + 9})
                good = await source.read()
                assert good.values == [4]
                (gap,) = good.gaps
                assert gap == Gap(("yard/temperature",), T0 + 1_000_000, T0 + 9_000_000, "unreadable answer", gap.lost)
                assert gap.lost

    run(body())
