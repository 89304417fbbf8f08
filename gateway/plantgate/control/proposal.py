"""What somebody wants written, and what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from plantgate.audit.entry import Approval, Check, Payload, Reckoning, Who
from plantgate.sdk import Deadline, Setpoint, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One write, asked for. Whoever asks is not believed: every part of it is judged."""

    tag: str
    value: object
    """As it came; the guard says whether it is of the tag's type."""
    unit: str
    """Unit of the value; must be the tag's."""
    rule: str
    """Id of the rule that is to allow it."""
    who: Who
    deadline: Deadline
    """Too late is no: after it nothing leaves."""
    facts: Mapping[str, Value] = field(default_factory=dict)
    """What the rule's condition asks the proposer for."""
    expected: Setpoint | None = None
    """What the proposer believes the machine has now; where it has something else, nothing is written."""
    confidence: float | None = None
    """Of the model, 0 to 1."""
    model: Reckoning | None = None
    payloads: tuple[Payload, ...] = ()
    """What is kept in the vault about it: the picture."""
    reverses: str = ""
    """Id of the intent that this one undoes."""
    trace: str = ""


class Standing(Enum):
    """How a proposal ended."""

    DONE = "done"
    """The machine has it: read back."""
    WAITING = "waiting"
    """For people to agree."""
    DENIED = "denied"
    """By a guard; nothing left the gateway."""
    LATE = "late"
    """The deadline passed before anything left."""
    FAILED = "failed"
    """The machine refused, was away, or took it and has something else."""
    UNKNOWN = "unknown"
    """It may have happened. The machine is asked until it is known, and nothing else is written to it meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the proposer is told."""

    standing: Standing
    reason: str = ""
    """A sentence; empty when all went well."""
    entry: str = ""
    """Id of the entry that begins the record: the intent, the denial, or the question to people."""
    checks: tuple[Check, ...] = ()
    """Every guard, and what it said."""
    seen: Setpoint | None = None
    """What the machine has now, where it was read back."""


@dataclass(frozen=True, slots=True)
class Agreed:
    """That people have agreed to a proposal, under these limits and by this rule; under others they have not."""

    approvals: tuple[Approval, ...]
    limits_digest: str
    rule_digest: str
