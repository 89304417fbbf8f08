"""A camera that is asked for a picture again and again, over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urljoin, urlsplit

import aiohttp

from plantgate.sdk import Frame, OneThread, Unavailable
from plantgate_connectors.calls import authorization, shown, why
from plantgate_connectors.camera.picture import Unreadable
from plantgate_connectors.camera.settings import Snapshot
from plantgate_connectors.camera.sight import Sight
from plantgate_connectors.tls import client_context

_HEAD_BYTES_MAX: Final = 8_190
_HEADERS: Final = {
    "User-Agent": "plantgate",
    "Accept": "image/*",
    "Accept-Encoding": "identity",
    "Cache-Control": "no-cache",  # a cache on the way would give yesterday's picture as that of the moment
}
_REDIRECTS_MAX: Final = 3
_REDIRECTED: Final = frozenset({301, 302, 303, 307, 308})
_PICTURES: Final = frozenset(
    {"image/png", "image/jpeg", "image/jpg", "image/pjpeg", "image/bmp", "image/x-ms-bmp", "image/tiff"}
)
_UNSAID: Final = frozenset({"", "application/octet-stream", "binary/octet-stream"})


class SnapshotCamera:
    """A `plantgate.sdk.Camera`; asks when it is asked, so nothing waits here and nothing is skipped."""

    def __init__(self, snapshot: Snapshot, sight: Sight, thread: OneThread, session: aiohttp.ClientSession) -> None:
        self._snapshot, self._sight, self._thread, self._session = snapshot, sight, thread, session
        self._due = asyncio.get_running_loop().time()
        self._number = 0

    async def frame(self) -> Frame:
        """The picture of the next turn. Raises `Unavailable` where the camera does not answer, or refuses."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._due - loop.time())
            self._due = max(self._due, loop.time() - 1e-3) + self._snapshot.interval_ms / 1000
            self._number += 1
            name = f"{self._sight.name} {self._number}"
            try:
                packed, at = await self._ask()
                pixels = await self._thread.do(lambda packed=packed: self._sight.unpack(packed))  # type: ignore[misc]
            except Unreadable as error:
                self._sight.unreadable(name, str(error))
            else:
                return self._sight.frame(name, pixels, at, {})

    async def _ask(self) -> tuple[bytes, float]:
        """One picture, packed, and when it began to arrive: by then it was taken.

        Raises `Unavailable`, or `Unreadable` for an answer that is none.
        """
        seconds = self._snapshot.answer_seconds
        try:
            async with asyncio.timeout(seconds):
                return await self._follow()
        except TimeoutError:
            raise Unavailable(f"{self._snapshot.url}: no whole picture in {seconds:g} s (answer_seconds)") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: headers and URLs that are none
            raise Unavailable(f"{self._snapshot.url}: {why(error)}") from error

    async def _follow(self) -> tuple[bytes, float]:
        snapshot = self._snapshot
        url, headers = snapshot.url, authorization(snapshot.username, snapshot.password, snapshot.bearer)
        for _ in range(_REDIRECTS_MAX + 1):
            async with self._session.get(url, headers=headers, allow_redirects=False) as answer:
                began = asyncio.get_running_loop().time()
                if answer.status not in _REDIRECTED:
                    return await self._body(answer), began
                url = self._elsewhere(url, answer.headers.get("Location", ""))
        raise Unavailable(f"{self._snapshot.url}: it redirects more than {_REDIRECTS_MAX} times")

    def _elsewhere(self, url: str, location: str) -> str:
        """Where it redirects to; never to another server, which would get our credentials and give its pictures."""
        target = urljoin(url, location)
        if _origin(target) != _origin(self._snapshot.url):
            raise Unavailable(
                f"{self._snapshot.url}: it redirects to {shown(target)}; if that is right, write that as url"
            )
        return target

    async def _body(self, answer: aiohttp.ClientResponse) -> bytes:
        if answer.status in (401, 403):
            raise Unavailable(f"{self._snapshot.url}: it does not let us in ({answer.status}); see username, bearer")
        if answer.status != 200:
            raise Unavailable(f"{self._snapshot.url}: it answers {answer.status} {shown(answer.reason or '')}")
        self._sight.up(url=self._snapshot.url)
        if (encoding := answer.headers.get("Content-Encoding", "identity").strip().lower()) != "identity":
            raise Unreadable(f"it is compressed ({shown(encoding)}), though none such was asked for")
        said = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if said not in _PICTURES and said not in _UNSAID:
            raise Unreadable(f"the camera sends {shown(said)}, not a picture; is url the one of its snapshots?")
        most = self._snapshot.body_bytes_max
        body = bytearray()
        if (answer.content_length or 0) <= most:
            async for piece in answer.content.iter_any():
                body += piece
                if len(body) > most:
                    break
            else:
                return bytes(body)
        raise Unreadable(f"the answer has more than {most} bytes (body_bytes_max)")


@asynccontextmanager
async def snapshot_camera(snapshot: Snapshot, sight: Sight) -> AsyncIterator[SnapshotCamera]:
    """No cookies, no proxies from the environment, no unpacking of what it sends. The first picture connects."""
    secure = urlsplit(snapshot.url).scheme == "https"
    connector = aiohttp.TCPConnector(ssl=client_context(snapshot.tls, sight.name) if secure else False, limit=1)
    with OneThread("camera") as thread:
        async with aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # deadlines are ours
            headers=_HEADERS,
            auto_decompress=False,
            trust_env=False,
            max_line_size=_HEAD_BYTES_MAX,
            max_field_size=_HEAD_BYTES_MAX,
        ) as session:
            yield SnapshotCamera(snapshot, sight, thread, session)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
