"""What an entry says: who did what to what, by which rule, and how it ended. One JSON object is one leaf of the tree.

Never a number with a fraction: a float has many spellings, and NaN none. A process value is its text and its data type
(``{"value": "20.137", "data_type": "Double"}``), as OPC UA names it. The bytes are canonical (RFC 8785 within this
profile: keys in order, no spaces), but whoever verifies hashes the bytes as they are stored and writes none anew.

Nothing here names a person: people are ids. What does, or is large, is in the vault, by its digest. A reason that
somebody types stands here as it was typed, and whoever asks for one says so.
"""

import secrets
from contextlib import suppress
from enum import Enum
from typing import Any, Final

import msgspec

from plantgate.sdk.errors import Rejected

FORMAT: Final = 1
BYTES_MAX: Final = 16 * 1024
"""Of an entry; what is larger belongs into the vault."""
MINIMUM: Final = "minimum_index"
"""The detail of a prune intent: entries before this one are archived."""
_INTEGER_MAX: Final = 2**53
_DEPTH_MAX: Final = 16


class Kind(Enum):
    """What it is about."""

    WRITE = "write"
    """A value to a machine."""
    DENIAL = "denial"
    """A write that was asked for, and that a guard or a person refused."""
    POST = "post"
    """A document to a business system."""
    DECISION = "decision"
    """A model's answer, and what was made of it."""
    ROUTE = "route"
    APPROVAL = "approval"
    SWITCH = "switch"
    """Somebody stopped or armed the gateway, or a part of it."""
    LEASE = "lease"
    """Somebody is still there, so that a setpoint stands for its whole time again."""
    EMERGENCY = "emergency"
    """Somebody on the spot declared one: what this person writes goes past rules and interlocks for a while."""
    RULE_CHANGE = "rule_change"
    MODEL_CHANGE = "model_change"
    CONFIG_CHANGE = "config_change"
    AUTHENTICATION = "authentication"
    KEY_ROTATION = "key_rotation"
    ERASURE = "erasure"
    EXPORT = "export"
    PRUNE = "prune"
    """Entries that went into the archive."""
    RECOVERY = "recovery"
    CLOCK_STEP = "clock_step"
    HEARTBEAT = "heartbeat"
    START = "start"
    STOP = "stop"


class Phase(Enum):
    """Intent before the world changes, outcome after; the rest simply happened."""

    INTENT = "intent"
    OUTCOME = "outcome"
    OBSERVED = "observed"


class Result(Enum):
    """How it ended."""

    OK = "ok"
    DENIED = "denied"
    FAILED = "failed"
    LATE = "late"
    UNKNOWN = "unknown"
    """Nobody knows yet; another outcome of the same intent will say."""


class Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Part of an entry; what is empty is left out."""


class Quantity(Part, frozen=True, kw_only=True):
    """A process value."""

    value: str
    """As text, so that it is exact."""
    data_type: str
    """An OPC UA built-in type: Double, Int32, Boolean, String, …"""
    unit: str = ""
    quality: str = ""
    """Name of its OPC UA StatusCode; empty for Good."""


class Who(Part, frozen=True, kw_only=True):
    """Whoever acted."""

    kind: str
    """``person``, ``model``, ``gateway`` or ``system``."""
    id: str
    """A person's is random and stands for them; only the vault knows for whom."""
    on_behalf_of: str = ""
    authenticated_by: str = ""


class Target(Part, frozen=True, kw_only=True):
    """What it was done to."""

    connection: str
    address: str
    """A tag, or the business key of a document."""


class Check(Part, frozen=True, kw_only=True):
    """One guard, and what it said."""

    guard: str
    passed: bool
    saw: str = ""


class Why(Part, frozen=True, kw_only=True):
    """The rule that allowed it, or refused."""

    rule: str
    digest: str
    """``sha256:`` and the digest of the rule's exact text."""
    cites: str = ""
    """What the rule stands on: a procedure, a paragraph."""
    reason: str = ""
    checks: tuple[Check, ...] = ()


class Reckoning(Part, frozen=True, kw_only=True):
    """The model that was asked."""

    model: str
    digest: str
    target: str
    """Where it ran."""
    inputs: str
    """Digest of the exact inputs."""
    output: str = ""
    confidence: str = ""
    threshold: str = ""


class Approval(Part, frozen=True, kw_only=True):
    """Who agreed, in an entry of its own."""

    entry: str
    by: str


class Payload(Part, frozen=True, kw_only=True):
    """Something in the vault."""

    name: str
    commitment: str
    """``sha256:`` and the digest of salt and content."""
    size: int


class Entry(Part, frozen=True, kw_only=True):
    """One leaf."""

    v: int
    """`FORMAT`."""
    id: str
    kind: Kind
    phase: Phase
    time: str
    """RFC 3339, UTC, by the gateway's clock; order follows the index, not this."""
    who: Who
    target: Target | None = None
    before: Quantity | None = None
    after: Quantity | None = None
    result: Result | None = None
    why: Why | None = None
    model: Reckoning | None = None
    approvals: tuple[Approval, ...] = ()
    refers_to: str = ""
    """Id of the intent that this is the outcome of."""
    reverses: str = ""
    """Id of the intent that this one undoes."""
    trace: str = ""
    note: str = ""
    payloads: tuple[Payload, ...] = ()
    details: dict[str, str] = {}
    """What has no place of its own: names and texts."""
    late: bool = False
    """The log could not take it when it happened, and took it later; `time` is when it happened."""

    def __post_init__(self) -> None:
        if (self.phase is Phase.OUTCOME) != bool(self.refers_to):
            raise ValueError(f"{self.kind.value}: an outcome names its intent, and nothing else does")
        if (self.phase is Phase.OUTCOME) != (self.result is not None) and self.phase is not Phase.OBSERVED:
            raise ValueError(f"{self.kind.value}: an outcome has a result, an intent has none yet")


_ENCODER: Final = msgspec.json.Encoder(order="sorted")
_DECODER: Final = msgspec.json.Decoder(Entry)


def new_id(now: int) -> str:
    """A UUID of version 7 (RFC 9562): sorts by time (ns since 1970), and cannot be guessed."""
    number = (now // 1_000_000 & (1 << 48) - 1) << 80 | 7 << 76 | secrets.randbits(12) << 64 | 2 << 62
    digits = f"{number | secrets.randbits(62):032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def encode(entry: Entry) -> bytes:
    """The canonical bytes. Raises `Rejected` for what the profile does not allow, or what is too large."""
    content = _allowed(entry)
    if content is None:
        with suppress(TypeError):
            _inspect(msgspec.to_builtins(entry, str_keys=True), "entry", 0)
        raise Rejected(f"{entry.kind.value}: an entry with a value of another type than its field has")
    if len(content) > BYTES_MAX:
        raise Rejected(f"{entry.kind.value}: an entry of {len(content)} bytes; over {BYTES_MAX} belongs into the vault")
    return content


def _allowed(entry: Entry) -> bytes | None:
    """The bytes, if they read back as the entry; that is quicker to see than what is wrong with it."""
    try:
        content = _ENCODER.encode(entry)
        same = _DECODER.decode(content) == entry
    except (UnicodeEncodeError, TypeError, ValueError):  # msgspec's own errors among them
        return None
    named = all(map(str.isascii, entry.details))
    counted = abs(entry.v) < _INTEGER_MAX and all(abs(payload.size) < _INTEGER_MAX for payload in entry.payloads)
    return content if same and named and counted else None


def decode(content: bytes) -> Entry:
    """Raises `ValueError` for bytes that are not a canonical entry of this format."""
    entry = _DECODER.decode(content)
    if entry.v != FORMAT:
        raise ValueError(f"an entry of format {entry.v}; this plantgate reads {FORMAT}")
    if _ENCODER.encode(entry) != content:
        raise ValueError("an entry that is not in its canonical form")
    return entry


def _inspect(value: Any, where: str, depth: int) -> None:
    if depth > _DEPTH_MAX:
        raise Rejected(f"{where}: nested deeper than {_DEPTH_MAX}")
    match value:
        case None | bool():
            return
        case int():
            if abs(value) >= _INTEGER_MAX:
                raise Rejected(f"{where}: {value} is beyond what every reader can hold; write it as text")
        case str():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise Rejected(f"{where}: text that is not Unicode") from None
        case list() | tuple():
            for at, each in enumerate(value):
                _inspect(each, f"{where}[{at}]", depth + 1)
        case dict():
            for key, each in value.items():
                if not isinstance(key, str) or not key.isascii():
                    raise Rejected(f"{where}: {key!r} is no name for a field; plain ASCII text is")
                _inspect(each, f"{where}.{key}", depth + 1)
        case _:
            raise Rejected(f"{where}: a {type(value).__name__}; an entry holds texts, whole numbers, true and false")
