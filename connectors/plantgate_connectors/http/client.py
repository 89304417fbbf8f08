"""Calls to another's server: who we are there, one exchange within its limits, and its failures as sentences."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from plantgate.sdk import Unavailable
from plantgate_connectors.calls import authorization, shown, why
from plantgate_connectors.http.settings import Calling
from plantgate_connectors.tls import client_context

_IDLE_SECONDS: Final = 4.0
"""How long a connection is kept for the next exchange. Node.js closes one after 5 s; what is sent into that is lost."""
_HEAD_BYTES_MAX: Final = 8_190


class TooLarge(Unavailable):
    """The answer is larger than was agreed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def header(self, name: str) -> str:
        """Empty where it is not there."""
        return self.headers.get(name, "")


@asynccontextmanager
async def calling(call: Calling, connection: str) -> AsyncIterator[aiohttp.ClientSession]:
    """Connections to one server: no cookies, no proxies from the environment, no unpacking of what it sends."""
    secure = urlsplit(call.url).scheme == "https"
    connector = aiohttp.TCPConnector(
        ssl=client_context(call.tls, connection) if secure else False, limit=4, keepalive_timeout=_IDLE_SECONDS
    )
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # deadlines are ours
        headers={"User-Agent": "plantgate", "Accept-Encoding": "identity"},
        auto_decompress=False,
        trust_env=False,
        max_line_size=_HEAD_BYTES_MAX,
        max_field_size=_HEAD_BYTES_MAX,
    ) as session:
        yield session


def credentials(call: Calling) -> dict[str, str]:
    """The header that says who we are; secrets are read anew each time. Raises `Unavailable` for one that is gone."""
    return authorization(call.username, call.password, call.bearer)


async def exchange(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    *,
    who: str,
    seconds: float,
    bytes_max: int,
    headers: Mapping[str, str],
    body: bytes | None = None,
) -> Answer:
    """One request and its whole answer; redirects are not followed.

    Raises `Unavailable`: no answer in time, or none that can be read; `TooLarge` for one larger than `bytes_max`.
    """
    try:
        async with (
            asyncio.timeout(seconds),
            session.request(method, url, data=body, headers=headers, allow_redirects=False) as response,
        ):
            encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
            if encoding != "identity":
                raise Unavailable(f"{who}: it sends a compressed answer ({shown(encoding)}), though none was asked for")
            return Answer(response.status, response.headers, await _read(response, bytes_max, who))
    except TimeoutError:
        raise Unavailable(f"{who}: no answer in {seconds:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: headers and URLs that are none
        raise Unavailable(f"{who}: {why(error)}") from error


async def reach(call: Calling, who: str, connection: str) -> None:
    """Connect, TLS included, and leave: nothing is asked. Raises `Unavailable`."""
    parts = urlsplit(call.url)
    secure = client_context(call.tls, connection) if parts.scheme == "https" else None
    try:
        async with asyncio.timeout(call.answer_seconds):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port or (443 if secure else 80), ssl=secure)
            writer.close()
            with suppress(OSError):  # it was there; how it takes our leaving does not matter
                await writer.wait_closed()
    except TimeoutError:
        raise Unavailable(f"{who}: no answer in {call.answer_seconds:g} s") from None
    except ssl.SSLCertVerificationError as error:
        raise Unavailable(f"{who}: it shows a certificate we do not trust: {error.verify_message}") from error
    except ssl.SSLError as error:
        raise Unavailable(f"{who}: TLS failed: {error.reason or error}") from error
    except OSError as error:
        raise Unavailable(f"{who}: cannot be reached: {error.strerror or error}") from error


async def _read(response: aiohttp.ClientResponse, bytes_max: int, who: str) -> bytes:
    too_large = f"{who}: its answer is larger than {bytes_max} bytes (body_bytes_max)"
    if (response.content_length or 0) > bytes_max and response.method != "HEAD":
        raise TooLarge(too_large)
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > bytes_max:
            raise TooLarge(too_large)
    return bytes(body)
