"""The rules and limits in force, each with the digest by which a record names it."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from plantgate.audit import decisions
from plantgate.control.condition import Condition
from plantgate.control.latest import Latest
from plantgate.control.settings import (
    ControlSettings,
    InterlockSettings,
    LoopSettings,
    Proposer,
    RuleSettings,
    WritableSettings,
    digestible,
)
from plantgate.sdk import Settings, Value

LEASE_RULE: Final = "gateway.lease"
"""By which the gateway writes a fallback when a lease has ended."""
REVERT_RULE: Final = "gateway.revert"
"""By which a person undoes a write."""
EMERGENCY_RULE: Final = decisions.EMERGENCY_RULE
"""By which a person writes who has declared an emergency."""
BUILT_IN: Final = frozenset({LEASE_RULE, REVERT_RULE, EMERGENCY_RULE})

_ENCODER: Final = msgspec.json.Encoder(order="sorted")


@dataclass(frozen=True, slots=True)
class Text:
    """What was written in the plant file, exactly, and its digest."""

    name: str
    content: str
    digest: str

    @classmethod
    def of(cls, name: str, settings: Settings) -> "Text":
        """Canonical JSON of the settings, under their name."""
        return cls.made(name, digestible(settings))

    @classmethod
    def made(cls, name: str, what: object) -> "Text":
        """The same of anything else."""
        content = _ENCODER.encode({name: what})
        return cls(name, content.decode(), f"sha256:{hashlib.sha256(content).hexdigest()}")


@dataclass(frozen=True, slots=True)
class Clause:
    """A condition, and the live tags it is judged over."""

    condition: Condition
    over: Mapping[str, str]
    age_max_seconds: float

    @classmethod
    def of(cls, settings: InterlockSettings | RuleSettings) -> "Clause":
        """Facts that a proposer gives are named by a rule only."""
        given = settings.facts if isinstance(settings, RuleSettings) else ()
        return cls(Condition(settings.when, (*settings.over, *given)), settings.over, settings.age_max_seconds)

    def saw(self, latest: Latest) -> str:
        """The live values that it is judged over, for the record."""
        seen = {name: latest.get(tag) for name, tag in self.over.items()}
        return ", ".join(f"{name} {'none' if one is None else one.value!r}" for name, one in seen.items())

    def objection(self, latest: Latest, given: Mapping[str, Value]) -> str:
        """Why it does not hold now; empty where it does."""
        facts = dict(given)
        try:
            for name, tag in self.over.items():
                facts[name] = latest.trusted(tag, self.age_max_seconds)
        except ValueError as error:
            return str(error)
        return self.condition.objection(facts)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, ready to be judged."""

    id: str
    settings: RuleSettings
    clause: Clause
    text: Text


@dataclass(frozen=True, slots=True)
class Limits:
    """What one tag may be written with."""

    tag: str
    settings: WritableSettings
    interlocks: Mapping[str, Clause]
    text: Text


@dataclass(frozen=True, slots=True)
class Watch:
    """What a closed loop may be about."""

    tags: frozenset[str]
    """That it writes."""
    text: Text
    """Its decisions, its camera and its model, as the plant file has them."""

    @classmethod
    def of(cls, name: str, settings: LoopSettings, parts: Mapping[str, Settings]) -> "Watch":
        """`parts`: the settings of its camera and of its model."""
        told = {"loop": digestible(settings), **{part: digestible(each) for part, each in parts.items()}}
        return cls(frozenset(each.tag for each in settings.decisions), Text.made(f"loop {name}", told))


@dataclass(frozen=True, slots=True)
class Book:
    """All of them."""

    rules: Mapping[str, Rule]
    limits: Mapping[str, Limits]
    people: Text
    """Who may agree and arm, how many it takes, and when a model is not believed any more."""
    connections: Mapping[str, Text]
    """Where machines are and what tags mean on them: who changes an address changes what is written."""
    loops: Mapping[str, Watch]
    """Who changes what a loop looks at, by what, or what it makes of it, changes what is written."""

    @classmethod
    def of(
        cls,
        settings: ControlSettings,
        connections: Mapping[str, Settings],
        loops: Mapping[str, Mapping[str, Settings]] = {},
    ) -> "Book":
        """As the plant file has them; `connections`: the settings of those that are written through; `loops`: of each
        loop the settings of its ``camera`` and its ``model``."""
        rules = {**settings.rules, **_built_in(settings)}
        return cls(
            {name: Rule(name, rule, Clause.of(rule), Text.of(f"rule {name}", rule)) for name, rule in rules.items()},
            {
                tag: Limits(
                    tag,
                    writable,
                    {name: Clause.of(interlock) for name, interlock in writable.interlocks.items()},
                    Text.of(f"tag {tag}", writable),
                )
                for tag, writable in settings.writes.items()
            },
            Text.of("people", settings.model_copy(update={"writes": {}, "rules": {}, "loops": {}, "socket": None})),
            {name: Text.of(f"connection {name}", each) for name, each in connections.items()},
            {name: Watch.of(name, each, loops.get(name, {})) for name, each in settings.loops.items()},
        )

    def texts(self) -> Iterator[Text]:
        """Of every rule, limit, connection and loop."""
        yield from (rule.text for rule in self.rules.values())
        yield from (limits.text for limits in self.limits.values())
        yield from self.connections.values()
        yield from (watch.text for watch in self.loops.values())
        yield self.people

    def tags(self) -> frozenset[str]:
        """The live tags that any of them asks about."""
        clauses = [rule.clause for rule in self.rules.values()]
        clauses += [clause for limits in self.limits.values() for clause in limits.interlocks.values()]
        return frozenset(tag for clause in clauses for tag in clause.over.values())


def _built_in(settings: ControlSettings) -> dict[str, RuleSettings]:
    """The rules that come with what the plant file says: the first two pass every guard that its own rules pass."""
    rules = {
        REVERT_RULE: RuleSettings(
            when="true", cites="the intent that it undoes", allows=tuple(settings.writes), proposers=(Proposer.PERSON,)
        ),
        EMERGENCY_RULE: RuleSettings(
            when="true", cites="an emergency declared", allows=tuple(settings.writes), proposers=(Proposer.PERSON,)
        ),
    }
    leased = tuple(tag for tag, writable in settings.writes.items() if writable.lease is not None)
    if leased:
        rules[LEASE_RULE] = RuleSettings(
            when="true", cites="the lease in the tag's limits", allows=leased, proposers=(Proposer.GATEWAY,)
        )
    return rules
