"""Turns what asyncua raises into an instruction with a sentence an operator understands."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from asyncua import ua
from asyncua.crypto.uacrypto import InvalidSignature as LibraryInvalidSignature
from asyncua.ua.uaerrors import UaStatusCodeError
from cryptography.exceptions import InvalidSignature

from plantgate.sdk import Context, Unavailable
from plantgate_connectors.opcua.bounds import MalformedNotification

SECURITY_PAUSE_SECONDS: Final = 30.0
"""Between attempts that only a person can make succeed; short enough that one who moves a file sees it work."""
LOGIN_PAUSE_SECONDS: Final = 120.0
"""Between attempts with a refused password: many servers lock an account after a few."""

_CERTIFICATE: Final = (
    "the server does not accept our certificate; accept it there (it is in pki/own below the store folder)"
)
_SENTENCES: Final[dict[int, tuple[str, float | None]]] = {
    ua.StatusCodes.BadSecurityChecksFailed: (_CERTIFICATE, SECURITY_PAUSE_SECONDS),
    ua.StatusCodes.BadCertificateUntrusted: (_CERTIFICATE, SECURITY_PAUSE_SECONDS),
    ua.StatusCodes.BadCertificateUriInvalid: (
        "our certificate and our application_uri differ in the server's eyes",
        SECURITY_PAUSE_SECONDS,
    ),
    ua.StatusCodes.BadCertificateTimeInvalid: (
        "the server finds our certificate expired or not yet valid; check the server's clock",
        SECURITY_PAUSE_SECONDS,
    ),
    ua.StatusCodes.BadSecurityPolicyRejected: ("the server refuses this security policy", SECURITY_PAUSE_SECONDS),
    ua.StatusCodes.BadSecurityModeRejected: ("the server refuses this security mode", SECURITY_PAUSE_SECONDS),
    ua.StatusCodes.BadIdentityTokenRejected: ("the server refuses our user", LOGIN_PAUSE_SECONDS),
    ua.StatusCodes.BadIdentityTokenInvalid: ("the server refuses our user", LOGIN_PAUSE_SECONDS),
    ua.StatusCodes.BadUserAccessDenied: ("the server refuses our user", LOGIN_PAUSE_SECONDS),
    ua.StatusCodes.BadUserSignatureInvalid: ("the server refuses our user's signature", LOGIN_PAUSE_SECONDS),
    ua.StatusCodes.BadTooManySessions: ("the server has no free session", None),
    ua.StatusCodes.BadTcpMessageTooLarge: ("a message was longer than the limits of one side allow", None),
    ua.StatusCodes.BadRequestTooLarge: ("a message was longer than the limits of one side allow", None),
    ua.StatusCodes.BadResponseTooLarge: ("an answer would be longer than the limits allow", None),
    ua.StatusCodes.BadShutdown: ("the server is shutting down", None),
    ua.StatusCodes.BadServerHalted: ("the server has halted", None),
    ua.StatusCodes.BadSessionIdInvalid: ("the server has forgotten our session", None),
    ua.StatusCodes.BadSessionClosed: ("the server has closed our session", None),
    ua.StatusCodes.BadSecureChannelClosed: ("the server has closed the channel", None),
    ua.StatusCodes.BadTcpEndpointUrlInvalid: ("the server does not know itself by this address", None),
}

MALFORMED: Final = (
    struct.error,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    RecursionError,
)
"""What decoders raise on bytes that make no sense."""


@contextmanager
def translated(context: Context, doing: str) -> Iterator[None]:
    """Raise `Unavailable` in place of whatever asyncua or the network raise while `doing` ("create the session").

    Wrap calls into the library only: an error of our own in such a block would pass for the server's.
    """
    try:
        yield
    except (OSError, ua.UaError, InvalidSignature, LibraryInvalidSignature, MalformedNotification, *MALFORMED) as error:
        sentence, pause = explain(error)
        raise Unavailable(f"{context.connection}: cannot {doing}: {sentence}", retry_after_seconds=pause) from error


def explain(error: BaseException) -> tuple[str, float | None]:
    """A clause for people, and how long to wait at least (None: as the host sees fit)."""
    match error:
        case UaStatusCodeError():
            code = error.code
            sentence, pause = _SENTENCES.get(code, ("", None))
            name = status_name(code)
            return (f"{sentence} ({name})" if sentence else f"the server says {name}"), pause
        case TimeoutError():
            return "no answer in time", None
        case InvalidSignature() | LibraryInvalidSignature():
            return "the server could not prove that it holds the key of its certificate", SECURITY_PAUSE_SECONDS
        case OSError():
            return (error.strerror or str(error) or type(error).__name__).rstrip("."), None
        case ua.UaError() | MalformedNotification():
            return f"the server's answer is not valid: {_short(error)}", None
        case _:
            return f"the server's answer cannot be decoded: {type(error).__name__}: {_short(error)}", None


def status_name(code: int) -> str:
    """``BadNodeIdUnknown`` for a StatusCode, its number where it has no name."""
    name: str = ua.status_codes.get_name_and_doc(code)[0]
    return name if not name.startswith("Unknown") else f"0x{code:08X}"


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else text[:200] + "…"
