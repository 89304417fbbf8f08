"""The errors the gateway raises on purpose: each one is an instruction.

    GatewayError
    ├── Unavailable       later: the same call can succeed
    ├── Rejected          never: the same call will be refused again
    ├── OutcomeUnknown    ask first: it may have happened
    └── Exhausted         the source has ended

Anything else is a bug, or a library's error that its connector did not translate; it ends the session that met it.
"""


class GatewayError(Exception):
    """Root of every error the gateway raises on purpose."""


class Unavailable(GatewayError):
    """Not now: the same call can succeed later."""

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Rejected(GatewayError):
    """Not ever: the same call will be refused again."""


class OutcomeUnknown(GatewayError):
    """It may have happened: ask before trying again."""


class Exhausted(GatewayError):
    """The source has ended; there is nothing more to read."""
