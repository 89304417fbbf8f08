"""Answers that say no: a status, and a sentence in JSON (RFC 9457)."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from aiohttp import web

CONTENT_TYPE: Final = "application/problem+json"


class Problem(Exception):
    """Ends a request with this answer."""

    def __init__(
        self, status: int, detail: str, *, headers: Mapping[str, str] | None = None, close: bool = False
    ) -> None:
        """With `close`, the connection ends too: what is left of the body is not read."""
        super().__init__(detail)
        self.status, self.detail = status, detail
        self.headers = dict(headers or {})
        self.close = close

    def answer(self) -> web.Response:
        """As a response. What a client wrote is in it only escaped."""
        said = {"title": HTTPStatus(self.status).phrase, "status": self.status, "detail": self.detail}
        response = web.Response(
            status=self.status,
            body=json.dumps(said).encode(),
            headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store", **self.headers},
        )
        if self.close:
            response.force_close()
        return response


def not_now(detail: str, retry_after_seconds: float, *, close: bool = False) -> Problem:
    """503: the same request can succeed later."""
    return Problem(503, detail, headers={"Retry-After": str(max(1, round(retry_after_seconds)))}, close=close)
