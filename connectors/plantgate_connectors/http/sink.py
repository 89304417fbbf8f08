"""Batches out by POST; safe when the server has said so."""

import hashlib
import secrets
from collections.abc import Iterator
from typing import Final

import aiohttp
from yarl import URL

from plantgate.sdk import Batch, Context, Rejected
from plantgate_connectors.http import signature
from plantgate_connectors.http.client import Answer, credentials, exchange, reach
from plantgate_connectors.http.payloads import CONTENT_TYPES, encoder
from plantgate_connectors.http.settings import Send
from plantgate_connectors.http.verdicts import TOO_LARGE, verdict

_ANSWER_BYTES_MAX: Final = 64 * 1024
"""An answer says yes or no; a longer one is read no further, and is no answer."""


class HttpSink:
    """Posts batches. A batch may be several requests; until each has been answered with yes, all are sent again."""

    def __init__(self, settings: Send, context: Context, session: aiohttp.ClientSession) -> None:
        self._settings, self._context, self._session = settings, context, session
        self._who = f"{context.connection}: {settings.url}"
        self._target = URL(settings.url).raw_path_qs  # as aiohttp writes it, which is what is signed
        self._encode = encoder(settings.format, settings.time, f"/plantgate/{context.connection}")

    async def begin(self) -> None:
        """Find the server. Raises `Unavailable`."""
        await reach(self._settings, self._who, self._context.connection)
        self._context.standing.up()

    async def accept(self, batch: Batch) -> None:
        """Post the gaps and the samples. What can be delivered is, even if a part is then named in `Rejected`."""
        refused: list[str] = []
        if batch.tags or batch.gaps:
            await self._deliver(batch, 0, len(batch), refused)
        if refused:
            more = f" (and {len(refused) - 1} more like it)" if len(refused) > 1 else ""
            raise Rejected(f"{refused[0]}{more}")

    async def _deliver(self, batch: Batch, start: int, stop: int, refused: list[str]) -> None:
        body = self._encode(batch, start, stop)
        if len(body) > self._settings.body_bytes_max:
            answer = None
        else:
            answer = await self._post(batch, start, body)
        if answer is None or answer.status == TOO_LARGE:
            for smaller in _halves(start, stop):
                await self._deliver(batch, *smaller, refused)
            if stop - start <= 1:
                what = batch.tags[start] if stop > start else "a record of missing values"
                refused.append(f"{self._who}: a value of {what} makes {len(body)} bytes, too large a request")
            return
        no = verdict(
            answer,
            self._who,
            now=self._context.clock.now(),
            web_page_is_success=self._settings.web_page_is_success,
        )
        if isinstance(no, Rejected):
            refused.append(str(no))
        elif no is not None:
            raise no

    async def _post(self, batch: Batch, start: int, body: bytes) -> Answer:
        headers = {
            "Content-Type": CONTENT_TYPES[self._settings.format],
            "Idempotency-Key": f'"{_key(batch, start, body)}"',
            **self._who_we_are(body),
        }
        return await exchange(
            self._session,
            "POST",
            self._settings.url,
            who=self._who,
            seconds=self._settings.answer_seconds,
            bytes_max=_ANSWER_BYTES_MAX,
            headers=headers,
            body=body,
        )

    def _who_we_are(self, body: bytes) -> dict[str, str]:
        key = self._settings.signature
        if key is None:
            return credentials(self._settings)
        return {
            "Authorization": signature.header(
                key.reveal(),
                key=self._settings.username or "",
                method="POST",
                target=self._target,
                time=self._context.clock.now() // 1_000_000_000,
                nonce=secrets.token_hex(16),
                body=body,
            )
        }


def _halves(start: int, stop: int) -> Iterator[tuple[int, int]]:
    if stop - start > 1:
        middle = start + (stop - start) // 2
        yield start, middle
        yield middle, stop


def _key(batch: Batch, start: int, body: bytes) -> str:
    """The same whenever the same samples are posted again, and another for any other body: a batch may be cut otherwise
    after a restart."""
    origin = batch.origin if batch.origin.isascii() and batch.origin.isprintable() else "plantgate"
    safe = origin.replace('"', "").replace("\\", "")
    return f"{safe[:100]}/{batch.position + start}/{hashlib.sha256(body).hexdigest()[:16]}"
