"""The judge of the acting journey: what was asked for, what was on record, what was sent, what the machine did."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from plantgate.audit.entry import Entry, Kind, Phase, Result
from tests.integration.journey.overheard import Arrival

WAY_SECONDS: Final = 0.05
"""How long a write may be under way from the gateway's last look at the clock to whoever hears it: on a busy computer
each of the two waits for its turn."""
_GUARDS: Final = frozenset(
    {"switch", "class", "type", "unit", "range", "resolution", "rule", "deadline", "people", "hold", "reading"}
)


@dataclass(slots=True)
class Asked:
    """One command as its proposer knows it. No two commands to a machine have the same value."""

    value: int
    taken: float | None
    """When the gateway had certainly read it, on the monotonic clock; None if it never did."""
    seconds: float
    allowed: bool
    """By the limits and rules of the plant file."""
    standing: str = ""
    """What the gateway answered; empty where it never did."""


@dataclass(frozen=True, slots=True)
class Machined:
    """One machine's part: what was asked, what was heard on the way to it, what it says that it did."""

    name: str
    asked: Sequence[Asked]
    arrivals: Sequence[Arrival]
    applied: Sequence[int]


@dataclass(slots=True)
class Acted:
    """The closing line, and what stands behind it."""

    commands: int = 0
    applied: int = 0
    twice: int = 0
    """Commands that were sent, or done, more than once."""
    unruled: int = 0
    """Writes that no intent allowed which was on record by then, with a rule and nothing but guards that passed."""
    late: int = 0
    """Writes that came after their deadline."""
    open: int = 0
    """Intents of which nobody knows what became of them."""
    untrue: int = 0
    """Outcomes on record, and answers, that say something else than the machine does."""
    surprises: list[str] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)
    """How often each answer was given, and each outcome put on record; for people."""
    margin: float = float("inf")
    """Of all writes the least time from its arrival to its deadline, seconds."""

    @property
    def fine(self) -> bool:
        return not (self.twice or self.unruled or self.late or self.open or self.untrue)

    def __str__(self) -> str:
        return (
            f"acted: commands {self.commands}, applied {self.applied}, twice {self.twice}, unruled {self.unruled}, "
            f"late {self.late}, open {self.open}"
        )


def judge(machines: Sequence[Machined], entries: Sequence[Entry]) -> Acted:
    """`entries`: all of the log, verified."""
    acted = Acted()
    intents = [entry for entry in entries if entry.kind is Kind.WRITE and entry.phase is Phase.INTENT]
    final = {
        entry.refers_to: entry
        for entry in entries
        if entry.phase is Phase.OUTCOME and entry.result is not None and entry.result is not Result.UNKNOWN
    }
    for intent in intents:
        if intent.id not in final:
            acted.open += 1
            acted.surprises.append(f"open: {intent.id}")
    for entry in entries:
        if entry.phase is Phase.OUTCOME and entry.result is not None:
            acted.ends[f"outcome {entry.result.value}"] += 1
    for machine in machines:
        mine = [intent for intent in intents if intent.target is not None and intent.target.connection == machine.name]
        _machine(acted, machine, {_value(intent): intent for intent in mine}, final)
        if len({_value(intent) for intent in mine}) != len(mine):
            acted.twice += 1
            acted.surprises.append(f"{machine.name}: two intents of one command")
    return acted


def _machine(acted: Acted, machine: Machined, intents: dict[int, Entry], final: dict[str, Entry]) -> None:
    asked = {each.value: each for each in machine.asked}
    sent, done = Counter(each.value for each in machine.arrivals), Counter(machine.applied)
    acted.commands += len(asked)
    acted.applied += len(done)
    for value, times in (sent | done).items():
        if times > 1:
            acted.twice += 1
            acted.surprises.append(f"{machine.name} {value}: sent {sent[value]} times, done {done[value]} times")
    for arrival in machine.arrivals:
        if objection := _unruled(arrival, asked, intents.get(arrival.value)):
            acted.unruled += 1
            acted.surprises.append(f"{machine.name} {arrival.value}: {objection}")
        if (each := asked.get(arrival.value)) is not None and each.taken is not None:
            left = each.taken + each.seconds - arrival.at
            acted.margin = min(acted.margin, left)
            if left < -WAY_SECONDS:
                acted.late += 1
                acted.surprises.append(f"{machine.name} {arrival.value}: {-left * 1000:.0f} ms after its deadline")
    for value in done.keys() - sent.keys():
        acted.unruled += 1
        acted.surprises.append(f"{machine.name} {value}: done, and nobody heard it being sent")
    for value, intent in intents.items():
        outcome = final.get(intent.id)
        if outcome is not None and (outcome.result is Result.OK) != (value in done):
            acted.untrue += 1
            was = f"{outcome.result and outcome.result.value} on record ({outcome.note})"
            acted.surprises.append(f"{machine.name} {value}: {was}, done {done[value]} times")
    for each in asked.values():
        acted.ends[f"answered {each.standing or 'nothing'}"] += 1
        if each.standing not in ("", "unknown") and (each.standing == "done") != (each.value in done):
            acted.untrue += 1
            acted.surprises.append(
                f"{machine.name} {each.value}: answered {each.standing}, done {done[each.value]} times"
            )


def _unruled(arrival: Arrival, asked: dict[int, Asked], intent: Entry | None) -> str:
    """Why this write should not have been; empty where it may."""
    if intent is None:
        return "sent without an intent"
    if not arrival.on_record or _nanoseconds(intent.time) > arrival.time:
        return "sent before its intent was on record"
    why = intent.why
    if why is None or not why.rule or not why.digest:
        return "sent without a rule"
    if missing := _GUARDS - {check.guard for check in why.checks}:
        return f"sent, and nobody asked {', '.join(sorted(missing))}"
    if objecting := [check.guard for check in why.checks if not check.passed]:
        return f"sent against {', '.join(objecting)}"
    if arrival.value not in asked or not asked[arrival.value].allowed:
        return "sent, though no rule and limits allow it"
    return ""


def _value(intent: Entry) -> int:
    assert intent.after is not None, "an intent says what is to be written"
    return int(float(intent.after.value))


def _nanoseconds(time: str) -> int:
    """Of RFC 3339 text in UTC, down to the microsecond that `datetime` keeps."""
    whole, _, fraction = time.removesuffix("Z").partition(".")
    seconds = int(datetime.fromisoformat(f"{whole}+00:00").timestamp())
    return seconds * 10**9 + int(fraction.ljust(9, "0") or "0")
