"""What an answer to a batch means: delivered, later, or never."""

import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from plantgate.sdk import GatewayError, Rejected, Unavailable
from plantgate_connectors.calls import shown
from plantgate_connectors.http.client import Answer

TOO_LARGE: Final = 413
PATIENCE_SECONDS: Final = 30.0
"""How long to leave a server alone that an operator must see to first."""
_RETRY_SECONDS_MOST: Final = 3600.0
"""A server may ask for a day; looking once an hour whether it still means it costs nothing."""
_OPERATORS: Final = {
    401: "it does not know our credentials",
    402: "it wants to be paid",
    403: "it does not allow us in",
    404: "there is nothing at this URL",
    405: "it takes no posts at this URL",
    407: "a proxy wants credentials",
    410: "there is nothing at this URL any more",
    421: "it does not answer for this host name",
    426: "it wants another protocol",
    451: "it may not take this",
    511: "a network in between wants a log-in",
}
"""Answers that speak of the connection and not of the batch: the same batch succeeds once somebody has acted."""
_LATER: Final = frozenset((408, 409, 423, 424, 425, 429))


def verdict(answer: Answer, who: str, *, now: int, web_page_is_success: bool) -> GatewayError | None:
    """None where the batch is delivered; else what to raise. `now` is in ns UTC, for a Retry-After with a date."""
    status = answer.status
    if 200 <= status < 300:
        if not web_page_is_success and answer.header("Content-Type").partition(";")[0].strip().lower() == "text/html":
            return Unavailable(
                f"{who}: it answered {status} with a web page, perhaps a log-in; if that is its way to say yes, write "
                "web_page_is_success: true",
                retry_after_seconds=PATIENCE_SECONDS,
            )
        return None
    if 300 <= status < 400:
        place = shown(answer.header("Location"), 200)
        return Unavailable(
            f"{who}: it sends us on ({status}) to {place or 'nowhere'}; batches are not sent on: write the right url",
            retry_after_seconds=PATIENCE_SECONDS,
        )
    words = said(answer)
    if status in _OPERATORS:
        return Unavailable(f"{who}: {_OPERATORS[status]} ({status}){words}", retry_after_seconds=PATIENCE_SECONDS)
    if status in _LATER or status >= 500 or status < 200:
        pause = retry_after(answer.header("Retry-After"), now)
        return Unavailable(f"{who}: not now ({status}){words}", retry_after_seconds=pause)
    return Rejected(f"{who}: it refuses this batch ({status}){words}")


def said(answer: Answer) -> str:
    """The server's own sentence, if it has one we can show: `detail` or `title` of a problem (RFC 9457), or text."""
    kind = answer.header("Content-Type").partition(";")[0].strip().lower()
    text = ""
    if kind in ("application/problem+json", "application/json"):
        try:
            problem = json.loads(answer.body)
        except (ValueError, RecursionError):
            return ""
        if isinstance(problem, dict):
            text = next((str(problem[key]) for key in ("detail", "title", "message", "error") if problem.get(key)), "")
    elif kind == "text/plain":
        text = answer.body[:400].decode(errors="replace").strip()
    return f": {shown(text, 200)}" if text else ""


def retry_after(written: str, now: int) -> float | None:
    """Seconds to wait, from a number of them or a date; None where there is neither."""
    written = written.strip()
    if written.isascii() and written.isdecimal():
        return min(float(written[:12]), _RETRY_SECONDS_MOST)
    if not written:
        return None
    try:
        then = parsedate_to_datetime(written[:64])
    except (ValueError, IndexError, TypeError, OverflowError):
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    seconds = (then - datetime.fromtimestamp(now / 1e9, UTC)).total_seconds()
    return min(max(0.0, seconds), _RETRY_SECONDS_MOST)
