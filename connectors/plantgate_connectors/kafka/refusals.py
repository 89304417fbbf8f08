"""What a broker's error codes mean for us, in sentences."""

import ssl
from typing import Final

from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
    for_code,
)

from plantgate.sdk import Unavailable
from plantgate_connectors.kafka.settings import KafkaSettings

OFFSET_OUT_OF_RANGE: Final = 1
TOO_LARGE: Final = 10
COORDINATOR_LOADING: Final = 14
COORDINATOR_NOT_THERE: Final = 15
NOT_COORDINATOR: Final = 16
BATCH_TOO_LARGE: Final = 18
INVALID_TIMESTAMP: Final = 32
DUPLICATE: Final = 46
INVALID_RECORD: Final = 87

PASSING: Final = frozenset((3, 5, 6, 7, 8, 9, 13, 19, 20, 56, 74, 75))
"""Worth asking again, after a look at who leads now: elections, replicas out of step, a broker that is starting."""
STARTING: Final = frozenset((COORDINATOR_LOADING, COORDINATOR_NOT_THERE, NOT_COORDINATOR, 51))
"""A coordinator that is being found, or is reading its log."""
DISOWNED: Final = frozenset((45, 47, 59))
"""Our producer's number is worth nothing any more."""
NEVER: Final = frozenset((TOO_LARGE, BATCH_TOO_LARGE, INVALID_RECORD, 43))
"""This batch of records will not be taken: but a part of it may be."""

_SENTENCES: Final = {
    2: "the broker found our records damaged",
    3: "is not there; create it, since plantgate makes none",
    5: "has no leader at the moment",
    14: "the coordinator is starting",
    15: "no coordinator is there at the moment",
    6: "is being led by another broker",
    7: "was not replicated in time",
    10: "the record batch is larger than the topic's max.message.bytes",
    17: "is no name for a topic",
    18: "the record batch is larger than a log segment of the broker",
    19: "has fewer replicas in step than its min.insync.replicas",
    20: "has fewer replicas in step than its min.insync.replicas",
    25: "another consumer is at work under this name; choose another group",
    29: "may not be used by us; the cluster's access list must allow it",
    30: "may not be used by us; the cluster's access list must allow it",
    31: "may not be done by us; the cluster's access list must allow IDEMPOTENT_WRITE or writing to the topic",
    32: "the records' timestamps are outside what the topic takes",
    45: "the broker misses records of ours before these",
    47: "another producer has our number",
    56: "the broker cannot write to its disk",
    59: "the broker has forgotten our number",
    87: "the broker takes no such records (is the topic compacted?)",
}
_WAIT_SECONDS: Final = {3: 5.0, 17: 30.0, 29: 15.0, 30: 15.0, 31: 15.0}
"""What only a person can mend is asked for more seldom."""


def sentence(code: int) -> str:
    """What the code means."""
    return _SENTENCES.get(code) or f"error {code} ({for_code(code).__name__.removesuffix('Error')})"


def unwanted(code: int, who: str, what: str) -> Unavailable:
    """The error to raise when `what` was refused."""
    return Unavailable(f"{who}: {what}: {sentence(code)}", retry_after_seconds=_WAIT_SECONDS.get(code))


def unreached(error: OSError | KafkaError, where: str, settings: KafkaSettings) -> Unavailable:
    """Why a broker could not be connected to."""
    if isinstance(error, SaslAuthenticationFailed):
        return Unavailable(f"{where}: wrong user name or password, or an unknown user", retry_after_seconds=15.0)
    if isinstance(error, UnsupportedSaslMechanismError):
        return Unavailable(f"{where}: it does not offer that sasl.mechanism ({error})", retry_after_seconds=15.0)
    if isinstance(error, ssl.SSLCertVerificationError):
        return Unavailable(f"{where} shows a certificate we do not trust: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        return Unavailable(f"{where}: TLS failed: {error.reason or error}")
    if isinstance(error, KafkaConnectionError):
        hints = [hint for hint, there in (("TLS", settings.tls), ("a login", settings.sasl)) if there is None]
        return Unavailable(
            f"{where} ends the connection at once (does it want {' or '.join(hints) or 'another port'}?)"
        )
    if isinstance(error, OSError):
        return Unavailable(f"{where} cannot be reached: {error.strerror or error}")
    return Unavailable(f"{where}: {error}")
