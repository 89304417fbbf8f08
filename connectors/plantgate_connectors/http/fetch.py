"""One look at a URL: what is new there."""

from typing import Final
from urllib.parse import urljoin, urlsplit

import aiohttp

from plantgate.sdk import Unavailable
from plantgate_connectors.calls import shown
from plantgate_connectors.http.client import Answer, credentials, exchange
from plantgate_connectors.http.settings import Poll
from plantgate_connectors.http.verdicts import said

REDIRECTS_MOST: Final = 3


class Fetcher:
    """Asks one URL, and remembers what it was told, so as to be sent only what is new."""

    def __init__(self, poll: Poll, connection: str, session: aiohttp.ClientSession) -> None:
        self._poll, self._session = poll, session
        self._who = f"{connection}: {poll.url}"
        self._etag = self._modified = ""

    async def fetch(self) -> bytes | None:
        """The body; None where the server says that nothing has changed. Raises `Unavailable`."""
        try:
            return await self._fetch()
        except Unavailable:
            self.forget()
            raise

    def forget(self) -> None:
        """The next look asks for the whole, whatever was seen before."""
        self._etag = self._modified = ""

    async def _fetch(self) -> bytes | None:
        url = self._poll.url
        for _ in range(REDIRECTS_MOST + 1):
            answer = await self._get(url)
            if answer.status == 304:
                return None
            if answer.status == 200:
                self._etag = answer.header("ETag")[:256]
                self._modified = answer.header("Last-Modified")[:64]
                return answer.body
            if answer.status not in (301, 302, 303, 307, 308):
                raise Unavailable(f"{self._who}: it answers {answer.status}{said(answer)}")
            url = self._next(url, answer.header("Location"))
        raise Unavailable(f"{self._who}: it sends us on more than {REDIRECTS_MOST} times")

    async def _get(self, url: str) -> Answer:
        headers = credentials(self._poll)
        if self._etag:
            headers["If-None-Match"] = self._etag
        if self._modified:
            headers["If-Modified-Since"] = self._modified
        return await exchange(
            self._session,
            "GET",
            url,
            who=self._who,
            seconds=self._poll.answer_seconds,
            bytes_max=self._poll.body_bytes_max,
            headers=headers,
        )

    def _next(self, url: str, location: str) -> str:
        """Where a redirect leads, if that is the same server; the operator named this one, and nobody else may name
        another, least of all one that only we can reach."""
        try:
            then = urljoin(url, location)
            same = _origin(then) == _origin(self._poll.url)
        except ValueError:
            same = False
        if not location or not same:
            raise Unavailable(
                f"{self._who}: it sends us on to {shown(location, 200) or 'nowhere'}, another server, which is not "
                "asked; if that is right, write it as the url"
            )
        return then


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        raise ValueError("somebody's credentials")
    return parts.scheme, (parts.hostname or "").lower(), parts.port or (443 if parts.scheme == "https" else 80)
