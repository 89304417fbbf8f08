"""What the operator writes about acting on machines: which tags, in which limits, by which rules, with whose word."""

import re
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from plantgate.control.condition import Condition, Expression
from plantgate.control.typed import DataType, exact, is_numeric, vector
from plantgate.sdk import Settings

RULE_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_FACT_PATTERN: Final = r"^[a-z_][a-z0-9_]{0,63}$"


def _rule_id(written: str) -> str:
    if re.fullmatch(RULE_PATTERN, written) is None:
        raise ValueError(f"`{written[:70]}` is not an id: letters, digits, `.`, `_`, `-`; at most 64")
    if written.startswith("gateway."):
        raise ValueError(f"`{written}`: ids that begin with `gateway.` are the gateway's own; take another")
    return written


def _fact(written: str) -> str:
    if re.fullmatch(_FACT_PATTERN, written) is None:
        raise ValueError(f"`{written[:70]}` is not a name for a condition: small letters, digits, `_`; at most 64")
    return written


RuleId = Annotated[str, AfterValidator(_rule_id), WithJsonSchema({"type": "string", "pattern": RULE_PATTERN})]
Fact = Annotated[str, AfterValidator(_fact), WithJsonSchema({"type": "string", "pattern": _FACT_PATTERN})]
Positive = Annotated[float, Field(gt=0)]
Written = bool | int | float | str


class WriteClass(Enum):
    """How much a write can do, and so how many people it needs."""

    W0 = "W0"
    """Advice: a value that people look at."""
    W1 = "W1"
    """A trim inside narrow bounds."""
    W2 = "W2"
    """A setpoint: one person agrees."""
    W3 = "W3"
    """Motion, recipes: two people agree."""
    W4 = "W4"
    """Never: safety functions, emergency stops, firmware, operating modes, interlocks."""


PEOPLE_NEEDED: Final = {WriteClass.W0: 0, WriteClass.W1: 0, WriteClass.W2: 1, WriteClass.W3: 2, WriteClass.W4: 0}


class Proposer(Enum):
    """Who may ask."""

    PERSON = "person"
    MODEL = "model"
    SYSTEM = "system"
    GATEWAY = "gateway"
    """The gateway itself: ends a lease, and nothing else."""


class Role(Enum):
    """What a person may do (IEC 62443-3-3, SR 2.1)."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ENGINEER = "engineer"
    AUDITOR = "auditor"
    ADMIN = "admin"


class _Conditional(Settings):
    when: str
    """A condition in CEL over the names below; anything but true is no, and so is an error."""
    over: dict[Fact, str] = Field(default_factory=dict)
    """Live tags it speaks of, by the name it uses: `{ door: line3/oven/door }`. Each must be Good and young enough."""
    age_max_seconds: Positive = 5.0
    """How old such a value may be, by the gateway's clock and by the device's."""


class InterlockSettings(_Conditional):
    """What must hold on the plant for a tag to be written."""

    @model_validator(mode="after")
    def _speaks_of_what_is_declared(self) -> Self:
        Condition(self.when, tuple(self.over))
        return self


class ReadBackSettings(Settings):
    """How the gateway makes sure that a write took effect."""

    tolerance: Annotated[float, Field(ge=0)] = 0.0
    """How far from the written value the machine's own may be, in the tag's unit."""
    settle_seconds: Annotated[float, Field(gt=0, le=600)] = 2.0
    """How long the machine may take to have it."""


class LeaseSettings(Settings):
    """A setpoint that stands for a while only, unless it is renewed."""

    seconds: Annotated[float, Field(gt=0, le=86400)]
    """How long it stands after it was written or renewed; whoever set it renews it while it is there."""
    fallback: Written
    """What is written when it ends, or when the gateway starts and finds it standing."""


class WritableSettings(Settings):
    """One tag that may be written, and its limits. A tag that is not here is never written."""

    connection: str
    """The connection through which it is written, and read back."""
    data_type: DataType
    """OPC UA built-in type of its value; nothing of another type is accepted, and nothing converted."""
    unit: str = ""
    """Unit of its value, for example `degC`; a proposal in another unit is refused."""
    range: tuple[float, float] | None = None
    """Least and most, `[20, 80]`; needed for numbers."""
    numbers: Annotated[tuple[tuple[float, float], ...], Field(min_length=1, max_length=12)] | None = None
    """For a String that is a list of numbers, such as a pose correction `[0.5,-0.25,0.01]`: least and most of each.
    `step_max`, `change_max_per_minute` and the tolerance of reading back then hold for every number."""
    resolution: Positive | None = None
    """The step of the machine's own encoding: a value between two steps is refused."""
    step_max: Positive | None = None
    """How far one write may go from what the machine has."""
    change_max_per_minute: Positive | None = None
    """How far all writes of a minute may go together."""
    interval_seconds: Annotated[float, Field(ge=0)] = 0.0
    """Least time between two writes of this tag."""
    writes_max_per_minute: Annotated[int, Field(ge=1)] = 60
    """How many writes of this tag a minute may bring."""
    write_class: WriteClass = Field(alias="class", default=WriteClass.W2)
    """`W0` advice and `W1` a trim need nobody, `W2` a setpoint one person, `W3` motion or recipe two; `W4` is never
    written, whatever else is said."""
    interlocks: dict[Fact, InterlockSettings] = Field(default_factory=dict)
    """What must hold on the plant, by name."""
    read_back: ReadBackSettings = ReadBackSettings()
    """How it is checked that the write took effect."""
    lease: LeaseSettings | None = None
    """For setpoints that must not outlive whoever set them."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        numeric = is_numeric(self.data_type)
        if self.numbers is not None and self.data_type is not DataType.STRING:
            raise ValueError(f"numbers: only a String is a list of numbers; a {self.data_type.value} has a `range`")
        if numeric and self.range is None:
            raise ValueError(f"`range` is missing: least and most value, since {self.data_type.value} is a number")
        for name in ("range", "resolution", "step_max", "change_max_per_minute"):
            listed = self.numbers is not None and name in ("step_max", "change_max_per_minute")
            if not numeric and not listed and getattr(self, name) is not None:
                raise ValueError(f"{name}: a {self.data_type.value} has none; leave it out")
        if self.range is not None and not self.range[0] <= self.range[1]:
            raise ValueError(f"range: {self.range[0]:g} is more than {self.range[1]:g}; write the least first")
        if self.lease is not None:
            try:
                fallback = exact(self.lease.fallback, self.data_type)
            except ValueError as error:
                raise ValueError(f"lease.fallback: {error}") from None
            self._fallback_fits(fallback)
        return self

    def _fallback_fits(self, fallback: Written) -> None:
        """What ends a lease must itself pass the guards."""
        if self.range is not None and isinstance(fallback, int | float):
            low, high = self.range
            if not low <= fallback <= high:
                raise ValueError(f"lease.fallback: {fallback:g} is outside the range {low:g} to {high:g}")
        if self.resolution is not None and isinstance(fallback, int | float):
            steps = fallback / self.resolution
            if abs(steps - round(steps)) > 1e-6:
                raise ValueError(f"lease.fallback: {fallback:g} is between two steps of {self.resolution:g}")
        if self.numbers is not None:
            numbers = vector(str(fallback))
            if numbers is None or len(numbers) != len(self.numbers):
                raise ValueError(f"lease.fallback: not a list of {len(self.numbers)} numbers")
            if not all(low <= number <= high for number, (low, high) in zip(numbers, self.numbers, strict=True)):
                raise ValueError(f"lease.fallback: {fallback} is outside `numbers`")


class RuleSettings(_Conditional):
    """Why something may be written. A write names one; without a rule nothing is written."""

    cites: Annotated[str, Field(max_length=500)]
    """What it stands on: a procedure, a paragraph, a decision."""
    facts: tuple[Fact, ...] = ()
    """Names that the proposer must give values for, beside those of `over`."""
    allows: tuple[str, ...] = Field(min_length=1)
    """Tags it allows to be written."""
    proposers: tuple[Proposer, ...] = Field(min_length=1, default=(Proposer.PERSON,))
    """Who may use it."""
    confidence_min: Annotated[float, Field(ge=0, le=1)] | None = None
    """Least confidence of a model; needed if models may use it."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if double := sorted(set(self.facts) & set(self.over)):
            raise ValueError(f"facts: `{double[0]}` stands under `over` too; a name means one thing")
        if Proposer.MODEL in self.proposers and self.confidence_min is None:
            raise ValueError("`confidence_min` is missing: what a model's confidence must reach for this rule, 0 to 1")
        Condition(self.when, (*self.over, *self.facts))
        return self


class DecisionSettings(Settings):
    """What a loop does about what its model sees: one write, by one rule."""

    of: Fact
    """Name of the model's facts that it decides about, for example `defects`; of a list the surest one for which the
    rule holds."""
    fact: Fact
    """Name under which the rule and the value below speak of that one, for example `defect`."""
    rule: RuleId
    """The rule that must hold."""
    tag: str
    """What is written."""
    value: str
    """What it is set to, in CEL over the fact: `defect.dx_mm`; a list of numbers is `[defect.dx, defect.dy, 0.0]`."""
    unit: str = ""
    """Unit of the value; must be the tag's."""


class LoopSettings(Settings):
    """Camera, model, rule, machine: under one deadline."""

    camera: str
    """The connection that gives the pictures."""
    model: str
    """The model, by its name under `models`."""
    deadline_ms: Annotated[float, Field(gt=0, le=600_000)] = 120.0
    """From the picture to the write. What would come later is not done."""
    decisions: tuple[DecisionSettings, ...] = Field(min_length=1)
    """What is done, each on its own."""
    keep_pictures: bool = False
    """Whether each picture for which a rule held goes, as PNG, into the audit log's vault (`audit.vault`)."""


class ShadowSettings(Settings):
    """When a proposer is not believed any more."""

    refusals: Annotated[int, Field(ge=1, le=10_000)] = 10
    """So many proposals beyond type, unit, range, resolution, step or rate, or left in doubt, …"""
    within_seconds: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    """… within this time, and what it proposes is judged and on record, and not written, until people arm it."""


class PersonSettings(Settings):
    """A person of the plant, as the machine that the gateway runs on knows them."""

    user: Annotated[str, Field(min_length=1)]
    """Login name on this machine; the kernel says who is at the other end of the gateway's local socket."""
    roles: tuple[Role, ...] = Field(min_length=1)
    """`operator` and `engineer` may agree to writes; `admin` may not; everybody but a `viewer` may stop."""


class ControlSettings(Settings):
    """Acting on machines."""

    writes: dict[str, WritableSettings] = Field(min_length=1)
    """Tags that may be written, by name."""
    rules: dict[RuleId, RuleSettings] = Field(min_length=1)
    """By id, which stands in every record."""
    loops: dict[RuleId, LoopSettings] = Field(default_factory=dict)
    """Closed loops, by name."""
    people: dict[RuleId, PersonSettings] = Field(default_factory=dict)
    """Who may agree, by the id that stands in the record: never a name."""
    people_to_arm: Annotated[int, Field(ge=1, le=2)] = 2
    """How many people must arm the gateway before it writes: an operator and an engineer, or one of them alone."""
    shadow: ShadowSettings = ShadowSettings()
    """When a model is not believed any more."""
    socket: Path | None = None
    """Local socket of `plantgate control` and `plantgate approvals`; `control.sock` in the store's folder by default.
    A relative path starts at the plant file, and the whole path has 107 bytes at most."""

    @model_validator(mode="after")
    def _loops_fit(self) -> Self:
        for name, loop in self.loops.items():
            for number, decision in enumerate(loop.decisions):
                where = f"loops.{name}.decisions[{number}]"
                if decision.tag not in self.writes:
                    raise ValueError(f"{where}.tag: `{decision.tag}` is not under `writes`")
                if decision.rule not in self.rules:
                    raise ValueError(f"{where}.rule: there is no rule `{decision.rule}`")
                if self.rules[decision.rule].facts != (decision.fact,):
                    raise ValueError(f"{where}.fact: `{decision.rule}` must have `facts: [{decision.fact}]`")
                try:
                    Expression(decision.value, (decision.fact,))
                except ValueError as error:
                    raise ValueError(f"{where}.value: {error}") from None
        return self


def digestible(settings: Settings) -> Any:
    """The settings as they stand in the record: JSON with every default spelled out."""
    return settings.model_dump(mode="json", by_alias=True)
