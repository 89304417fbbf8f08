"""Calls to another's server, for every connector that makes them: the URL, who we are, and failures as sentences."""

import base64
from collections.abc import Collection
from urllib.parse import urlsplit

from plantgate.sdk import Secret


def checked_url(url: str, schemes: Collection[str]) -> str:
    """The same URL. Raises `ValueError` for one that cannot be called, or that would leak a password."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{url!r} is not a URL: {error}") from None
    if parts.scheme not in schemes or not host or not url.isprintable() or " " in url:
        raise ValueError(
            f"{url!r} is not a URL to call; write {' or '.join(f'{each}://host/path' for each in schemes)}"
        )
    if parts.username is not None or parts.password is not None:
        raise ValueError("url: a password in a URL ends up in logs; write username and password beside it")
    if parts.fragment:
        raise ValueError(f"url: what follows # is never sent; leave #{parts.fragment} out")
    return url


def check_who(username: str | None, password: Secret | None, bearer: Secret | None = None) -> None:
    """Raises `ValueError` where it is not clear who we are."""
    if (username is None) != (password is None):
        raise ValueError("username and password come together: write both or neither")
    if bearer is not None and username is not None:
        raise ValueError("bearer and username both say who we are: write one of them")


def authorization(username: str | None, password: Secret | None, bearer: Secret | None) -> dict[str, str]:
    """The header that says who we are; secrets are read anew each time. Raises `Unavailable` for one that is gone."""
    if bearer is not None:
        return {"Authorization": f"Bearer {bearer.reveal()}"}
    if username is not None and password is not None:
        pair = f"{username}:{password.reveal()}".encode()
        return {"Authorization": "Basic " + base64.b64encode(pair).decode()}
    return {}


def shown(text: str, most: int = 80) -> str:
    """Safe to write into a log or an answer, whatever is in it: one line, printable, not long."""
    cut = text[:most]
    safe = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in cut
    )
    return safe + ("…" if len(text) > most else "")


def why(error: Exception) -> str:
    """What went wrong in an exchange over HTTP, as aiohttp tells it."""
    import aiohttp  # late: settings are checked where nothing is called

    match error:
        case aiohttp.ClientConnectorCertificateError():
            reason = getattr(error.certificate_error, "verify_message", "") or str(error.certificate_error)
            return f"it shows a certificate we do not trust: {reason}"
        case aiohttp.ClientSSLError():
            return f"TLS failed: {shown(str(error.os_error), 200)}"
        case aiohttp.ClientConnectorError():
            return f"cannot be reached: {error.os_error.strerror or error.os_error}"
        case aiohttp.ServerDisconnectedError() | ConnectionError():
            return "the connection broke before the answer was there"
        case aiohttp.ClientPayloadError():
            return "its answer broke off"
        case _:
            return f"its answer is not HTTP as it must be: {shown(str(error), 120)}"
