"""What must hold before a machine is written to. Every guard is asked, and every objection is on record.

In two rounds: first what the gateway knows by itself, then what needs the machine's own value. A guard says why not, in
a sentence; an empty one is consent. Nothing here waits or acts.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from plantgate.audit.entry import Check
from plantgate.control.apart import distance, dust, same
from plantgate.control.book import EMERGENCY_RULE, LEASE_RULE, REVERT_RULE, Limits, Rule
from plantgate.control.emergency import STAYS
from plantgate.control.latest import Latest
from plantgate.control.pace import Pace
from plantgate.control.proposal import Proposal
from plantgate.control.settings import PEOPLE_NEEDED, Proposer, WriteClass
from plantgate.control.typed import exact, plain, vector, written
from plantgate.sdk import Sample, Setpoint, Severity, quality_name, severity

SAW_MAX: Final = 400
"""Characters of an objection in a record."""
GRID: Final = 1e-6
"""How far from a step of the resolution a value may be, in steps: what arithmetic on floats leaves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """All that a guard may look at."""

    proposal: Proposal
    limits: Limits
    rule: Rule | None
    latest: Latest
    pace: Pace
    stopped: str
    """Why the tag, its connection or everything is stopped; empty where nothing is that counts for this proposal."""
    held: str
    """Why its connection is held: something written to it is not known to have happened."""
    agreed: int
    """How many people have agreed to exactly this."""
    emergency: bool
    """Whether this person has declared one, and writes by the rule for it."""
    lease_ended: bool
    """Whether the tag's lease has ended, so that its fallback may be written."""
    clock: str
    """Why the gateway's clock cannot be trusted; empty while it can."""
    now: float
    """On the loop's clock."""


Guard: TypeAlias = Callable[[Scene], str]


def first_round(scene: Scene) -> tuple[Check, ...]:
    """What can be said before the machine is asked."""
    if scene.emergency:
        return tuple(_check(name, guard(scene)) for name, guard in _FIRST if name in STAYS)
    checks = [_check(name, guard(scene)) for name, guard in _FIRST]
    for name, clause in scene.limits.interlocks.items():
        checks.append(_check(f"interlock {name}", clause.objection(scene.latest, {}), clause.saw(scene.latest)))
    return tuple(checks)


def last_look(scene: Scene) -> str:
    """Asked right before the first byte leaves: what objects now, of all that can have changed while the write waited.

    The pace is left out: it counts this very write already.
    """
    return refused(tuple(check for check in first_round(scene) if check.guard not in _COUNTS_IT))


def people_needed(limits: Limits, rule: Rule | None) -> int:
    """How many people must agree to a write of this tag.

    To a fallback nobody, since it was agreed to with the limits; in an emergency nobody either.
    """
    if rule is not None and rule.id in (LEASE_RULE, EMERGENCY_RULE):
        return 0
    return PEOPLE_NEEDED[limits.settings.write_class]


def enough_agree(scene: Scene) -> Check:
    """Asked last in the first round: where this alone is missing, people are asked."""
    needed = people_needed(scene.limits, scene.rule)
    return _check("people", "" if scene.agreed >= needed else f"{scene.agreed} of {needed} people have agreed")


def second_round(scene: Scene, before: Sample) -> tuple[Check, ...]:
    """What the machine's own value of the tag has to say."""
    return tuple(_check(name, objection) for name, objection in _against(scene, before))


def refused(checks: tuple[Check, ...]) -> str:
    """All objections in a sentence; empty where there is none."""
    return "; ".join(f"{check.guard}: {check.saw}" for check in checks if not check.passed)


def setpoint(scene: Scene) -> Setpoint:
    """The proposed value, once the guard ``type`` has passed."""
    return exact(scene.proposal.value, scene.limits.settings.data_type)


# The first round, in the order it is asked.


def _switch(scene: Scene) -> str:
    return scene.stopped


def _write_class(scene: Scene) -> str:
    forbidden = scene.limits.settings.write_class is WriteClass.W4
    return "class W4: safety functions, modes and firmware are never written" if forbidden else ""


def _type(scene: Scene) -> str:
    try:
        setpoint(scene)
    except ValueError as error:
        return str(error)
    return ""


def _unit(scene: Scene) -> str:
    wanted = scene.limits.settings.unit
    return "" if scene.proposal.unit == wanted else f"proposed in {scene.proposal.unit or 'no unit'}, not {wanted}"


def _range(scene: Scene) -> str:
    if scene.limits.settings.numbers is not None:
        return _ranges(scene, scene.limits.settings.numbers)
    value, limits = _number(scene), scene.limits.settings.range
    if value is None or limits is None:
        return ""
    low, high = limits
    return "" if low <= value <= high else f"{value:g} is outside {low:g} to {high:g}"


def _ranges(scene: Scene, ranges: tuple[tuple[float, float], ...]) -> str:
    proposed = scene.proposal.value
    numbers = vector(proposed) if isinstance(proposed, str) else None
    if numbers is None or len(numbers) != len(ranges):
        return f"not a list of {len(ranges)} numbers, such as [{','.join(['0.0'] * len(ranges))}]"
    for place, (number, (low, high)) in enumerate(zip(numbers, ranges, strict=True), 1):
        if not low <= number <= high:
            return f"number {place}, {number:g}, is outside {low:g} to {high:g}"
    return ""


def _resolution(scene: Scene) -> str:
    value, step = _number(scene), scene.limits.settings.resolution
    if value is None or step is None:
        return ""
    steps = value / step
    if not math.isfinite(steps):
        return f"{value!r} is beyond what steps of {step:g} can reach"
    return "" if abs(steps - round(steps)) <= GRID else f"{value!r} is between two steps of {step:g}"


def _rule(scene: Scene) -> str:
    rule, proposal = scene.rule, scene.proposal
    if rule is None:
        return f"there is no rule {proposal.rule[:64]!r}"
    if rule.id == REVERT_RULE and not proposal.reverses:
        return f"{rule.id} undoes a write, and this undoes none"
    if rule.id == LEASE_RULE and not scene.lease_ended:
        return f"{rule.id} ends a lease, and this one was written anew meanwhile, or there is none"
    if rule.id == EMERGENCY_RULE and not scene.emergency:
        return f"{proposal.who.id[:64]} has not declared an emergency"
    if proposal.tag not in rule.settings.allows:
        return f"{rule.id} does not allow {proposal.tag}"
    if proposal.who.kind not in {proposer.value for proposer in rule.settings.proposers}:
        return f"{rule.id} is not for a {proposal.who.kind[:32]}"
    if missing := [name for name in rule.settings.facts if name not in proposal.facts]:
        return f"{rule.id} asks for {', '.join(missing)}, which the proposal does not say"
    return rule.clause.objection(scene.latest, {name: proposal.facts[name] for name in rule.settings.facts})


def _confidence(scene: Scene) -> str:
    if scene.rule is None or scene.rule.settings.confidence_min is None:
        return ""
    if scene.proposal.who.kind != Proposer.MODEL.value:
        return ""
    least, confidence = scene.rule.settings.confidence_min, scene.proposal.confidence
    if confidence is None or type(confidence) is not float or not confidence >= least:  # NaN is refused too
        return f"{confidence!r} is not at least {least:g}"
    return "" if confidence <= 1.0 else f"{confidence!r} is more than certain"


def _deadline(scene: Scene) -> str:
    late = scene.now - scene.proposal.deadline.at
    return f"{late * 1000:.0f} ms too late" if late >= 0 else ""


def _interval(scene: Scene) -> str:
    since, least = scene.pace.since_last(scene.limits.tag, scene.now), scene.limits.settings.interval_seconds
    if since is None or since >= least:
        return ""
    return f"written {since:.1f} s ago; at least {least:g} s lie between two writes"


def _frequency(scene: Scene) -> str:
    most = scene.limits.settings.writes_max_per_minute
    writes = scene.pace.writes(scene.limits.tag, scene.now)
    return "" if writes < most else f"{writes} writes within a minute, and {most} are allowed"


def _hold(scene: Scene) -> str:
    return scene.held


def _clock(scene: Scene) -> str:
    return scene.clock if scene.limits.settings.write_class in (WriteClass.W2, WriteClass.W3) else ""


_FIRST: Final[tuple[tuple[str, Guard], ...]] = (
    ("switch", _switch),
    ("class", _write_class),
    ("type", _type),
    ("unit", _unit),
    ("range", _range),
    ("resolution", _resolution),
    ("rule", _rule),
    ("confidence", _confidence),
    ("deadline", _deadline),
    ("interval", _interval),
    ("frequency", _frequency),
    ("hold", _hold),
    ("clock", _clock),
)
_COUNTS_IT: Final = frozenset({"interval", "frequency"})


# The second round.


def _against(scene: Scene, before: Sample) -> Iterator[tuple[str, str]]:
    settings, value = scene.limits.settings, setpoint(scene)
    if severity(before.quality) is not Severity.GOOD:
        yield "reading", f"the machine's own value is {quality_name(before.quality)}"
        return
    try:
        has = exact(before.value, settings.data_type)
    except ValueError as error:
        yield "reading", f"the machine has another type: {error}"
        return
    yield "reading", ""
    if (expected := scene.proposal.expected) is not None:
        unchanged = same(expected, has, scene.limits)
        yield "unchanged", "" if unchanged else f"the machine has {written(has)}, not {written(expected)}"
    if scene.emergency:
        yield "deadline", _deadline(scene)
        return
    moved, blur = distance(value, has), dust(value, has, scene.limits)
    if settings.step_max is not None:
        fine = moved <= settings.step_max + blur
        yield "step", "" if fine else f"{moved:g} from {written(has)}; a step goes {settings.step_max:g} at most"
    if settings.change_max_per_minute is not None:
        together = scene.pace.distance(scene.limits.tag, scene.now) + moved
        fine = together <= settings.change_max_per_minute + blur
        yield (
            "rate",
            "" if fine else f"{together:g} within a minute, and {settings.change_max_per_minute:g} are allowed",
        )
    yield "deadline", _deadline(scene)


def _number(scene: Scene) -> float | int | None:
    """The value where it is a number of its type; otherwise ``type`` objects, or there is nothing to measure."""
    try:
        value = setpoint(scene)
    except ValueError:
        return None
    return None if isinstance(value, bool | str) else value


def _check(name: str, objection: str, saw: str = "") -> Check:
    """`saw`: what it looked at, which stands in the record where it does not object."""
    return Check(guard=name, passed=not objection, saw=plain(objection or saw, SAW_MAX))
