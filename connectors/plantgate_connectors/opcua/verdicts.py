"""What a StatusCode says of a write: done, refused, or neither for certain (OPC 10000-4, 5.11.4 and 7.38)."""

from typing import Final

from asyncua import ua

_CODES: Final = ua.StatusCodes
DONE: Final = frozenset({_CODES.Good, _CODES.GoodCompletesAsynchronously})
"""Written, or accepted and passed on to the device behind the server: confirmed, and in neither case in effect yet."""
REFUSED: Final = frozenset(
    {
        _CODES.BadNodeIdInvalid,
        _CODES.BadNodeIdUnknown,
        _CODES.BadAttributeIdInvalid,
        _CODES.BadIndexRangeInvalid,
        _CODES.BadIndexRangeNoData,
        _CODES.BadDataEncodingInvalid,
        _CODES.BadDataEncodingUnsupported,
        _CODES.BadNotWritable,
        _CODES.BadTypeMismatch,
        _CODES.BadWriteNotSupported,
        _CODES.BadUserAccessDenied,
        _CODES.BadSecurityModeInsufficient,
        _CODES.BadOutOfRange,
        _CODES.BadNotSupported,
        _CODES.BadLocked,
        # Of the whole request: the server did not begin with it.
        _CODES.BadServiceUnsupported,
        _CODES.BadTooManyOperations,
        _CODES.BadNothingToDo,
        _CODES.BadSessionIdInvalid,
        _CODES.BadSessionClosed,
        _CODES.BadSessionNotActivated,
    }
)
"""The server did not do it. Every other code, bad or good, leaves open what the device has."""
NEVER_READ: Final = frozenset(
    {
        _CODES.BadNodeIdInvalid,
        _CODES.BadNodeIdUnknown,
        _CODES.BadAttributeIdInvalid,
        _CODES.BadNotReadable,
        _CODES.BadUserAccessDenied,
        _CODES.BadSecurityModeInsufficient,
    }
)
"""Of a read: asking again would bring the same."""
