"""What people may do at the gateway itself: see what waits, agree, refuse, stop, arm, write, undo.

The local socket is one way to the desk; whatever else opens a way brings its own proof of who is there.
"""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import nullcontext, suppress
from typing import Any, Final

from plantgate.audit.entry import Entry, Kind, Result, Target, Who
from plantgate.control.approvals import SECONDS, Approvals, Person, Question
from plantgate.control.arming import Arming
from plantgate.control.book import BUILT_IN, EMERGENCY_RULE, Book, Limits
from plantgate.control.gate import Gate
from plantgate.control.leases import Leases
from plantgate.control.proposal import Answer, Proposal
from plantgate.control.record import Record
from plantgate.control.reversal import reversal
from plantgate.control.settings import Role
from plantgate.control.shadow import is_source
from plantgate.control.switches import EVERYTHING
from plantgate.control.typed import read_back, written
from plantgate.sdk import Deadline, GatewayError, Log, Rejected, Severity, quality_name, severity

Told = dict[str, Any]
"""What the desk answers: plain JSON."""
Asked = dict[str, str]

_WRITE_SECONDS: Final = 10.0
"""How long a person's write may take that nobody else has to agree to."""
_LOOK_SECONDS: Final = 2.0
"""How long a machine may take to say what it has, when somebody looks at a question."""
_ACTING: Final = frozenset({Role.OPERATOR, Role.ENGINEER})


class Desk:
    """Each request takes who is there and what is asked. Raises `Rejected` with a sentence, `GatewayError`."""

    def __init__(
        self,
        gate: Gate,
        leases: Leases,
        approvals: Approvals,
        arming: Arming,
        record: Record,
        *,
        stoppable: Iterable[str],
        find: Callable[[str], Awaitable[Entry | None]],
        log: Log,
    ) -> None:
        """`stoppable`: tags, connections and cells; each has a switch of its own, as has every model.

        `find`: an entry of the log, by id.
        """
        self._gate, self._leases, self._approvals = gate, leases, approvals
        self._arming, self._record = arming, record
        self._stoppable = {EVERYTHING, *stoppable}
        self._find, self._log = find, log
        self.requests: dict[str, Callable[[Person, Asked], Awaitable[Told]]] = {
            "status": self._status,
            "list": self._list,
            "show": self._show,
            "approve": self._approve,
            "deny": self._deny,
            "stop": self._stop,
            "emergency": self._emergency,
            "arm": self._arm,
            "write": self._write,
            "revert": self._revert,
            "settle": self._settle,
            "renew": self._renew,
        }

    async def _status(self, person: Person, asked: Asked) -> Told:
        return {
            "you": person.id,
            "roles": sorted(role.value for role in person.roles),
            "stopped": [
                {"name": name, "by": thrown.by, "reason": thrown.reason, "time": thrown.time}
                for name, thrown in sorted(self._gate.stopped().items())
            ],
            "held": [
                {"connection": connection, "entry": intent.id, "tag": intent.target.address if intent.target else ""}
                for connection, intents in sorted(self._gate.held.items())
                for intent in intents.values()
            ],
            "waiting": len(self._approvals.waiting()),
            "arming": [{"name": name, "by": by} for name, by in sorted(self._arming.begun().items())],
            "clock": self._gate.steady.objection(),
            "tags": [
                {
                    "tag": limits.tag,
                    "class": limits.settings.write_class.value,
                    "connection": limits.settings.connection,
                }
                for limits in self._gate.book.limits.values()
            ],
        }

    async def _list(self, person: Person, asked: Asked) -> Told:
        return {"waiting": [_shown(question) for question in self._approvals.waiting()]}

    async def _show(self, person: Person, asked: Asked) -> Told:
        question = self._approvals.question(asked.get("entry", ""))
        rule = {"cites": question.rule.settings.cites, "when": question.rule.settings.when}
        return {"question": {**_shown(question), **rule, "has": await self._has(question.limits)}}

    async def _has(self, limits: Limits) -> str:
        """What the machine has now, in words: whoever agrees wants to see how far it will go."""
        try:
            seen = await self._gate.hands[limits.settings.connection].read(limits.tag, Deadline.after(_LOOK_SECONDS))
        except GatewayError as error:
            return f"not known ({error})"
        value = written(seen.value) if isinstance(seen.value, bool | int | float | str) else "a value of no plain type"
        doubt = "" if severity(seen.quality) is Severity.GOOD else f" ({quality_name(seen.quality)})"
        return f"{value} {limits.settings.unit}".strip() + doubt

    async def _approve(self, person: Person, asked: Asked) -> Told:
        answer = await self._approvals.approve(asked.get("entry", ""), person, asked.get("digest", ""))
        return _answered(answer)

    async def _deny(self, person: Person, asked: Asked) -> Told:
        question = await self._approvals.deny(asked.get("entry", ""), person, asked.get("reason", ""))
        return {"denied": question.id}

    async def _stop(self, person: Person, asked: Asked) -> Told:
        name = asked.get("name", "") or EVERYTHING
        if name not in self._stoppable and not is_source(name):
            there = ", ".join(sorted(self._stoppable))
            raise Rejected(f"{name[:64]!r} cannot be stopped by itself; there are {there}, and any model as model:NAME")
        if not person.roles - {Role.VIEWER}:
            raise Rejected(f"{person.id} has no role that may stop anything")
        who = Who(kind="person", id=person.id, authenticated_by="local socket")
        self._log.warning("stopped by a person", name=name, person=person.id)
        await self._arming.stop(name, who, _reason(asked))
        return {"stopped": name}

    async def _arm(self, person: Person, asked: Asked) -> Told:
        sentence = await self._arming.arm(asked.get("name", "") or EVERYTHING, person, _reason(asked))
        return {"said": sentence}

    async def _emergency(self, person: Person, asked: Asked) -> Told:
        """Break-glass: for this person, for a quarter of an hour."""
        self._may_propose(person)
        who = Who(kind="person", id=person.id, authenticated_by="local socket")
        reason = _reason(asked)
        if asked.get("over", "") == "yes":
            note = {"emergency": "over"}
            if not self._gate.emergencies.end(person.id):
                raise Rejected(f"{person.id} has not declared an emergency")
        else:
            note = {"emergency": "declared"}
        self._log.error("an emergency", person=person.id, reason=reason, **note)
        await self._record.observed(Kind.EMERGENCY, who, note=reason, details=note, emergency=True)
        if note["emergency"] == "over":
            return {"said": "the emergency is over: rules and interlocks hold again"}
        seconds = self._gate.emergencies.declare(person.id)
        return {
            "said": f"for {seconds / 60:g} minutes you write past rules and interlocks with --rule {EMERGENCY_RULE}"
        }

    async def _write(self, person: Person, asked: Asked) -> Told:
        self._may_propose(person)
        limits = self._gate.book.limits.get(asked.get("tag", ""))
        if limits is None:
            there = ", ".join(sorted(self._gate.book.limits)[:8])
            raise Rejected(f"{asked.get('tag', '')[:64]!r} may not be written; there are {there}")
        value: object = asked.get("value", "")
        with suppress(ValueError):  # what is of no such type the guard refuses, so that the attempt is on record
            value = read_back(asked.get("value", ""), limits.settings.data_type)
        expected = asked.get("expected", "")
        try:
            expects = read_back(expected, limits.settings.data_type) if expected else None
        except ValueError as error:
            raise Rejected(str(error)) from None
        if asked.get("rule", "") in BUILT_IN - {EMERGENCY_RULE}:
            raise Rejected(f"{asked['rule']} is not for writing; `plantgate revert` undoes a write")
        proposal = Proposal(
            tag=limits.tag,
            value=value,
            unit=asked.get("unit", ""),
            rule=asked.get("rule", ""),
            who=Who(kind="person", id=person.id, authenticated_by="local socket"),
            deadline=Deadline.after(_within(asked, _patience(self._gate.book, limits.tag))),
            expected=expects,
        )
        return _answered(await self._approvals.propose(proposal))

    async def _revert(self, person: Person, asked: Asked) -> Told:
        self._may_propose(person)
        intent = await self._entry(asked)
        who = Who(kind="person", id=person.id, authenticated_by="local socket")
        tag = intent.target.address if intent.target else ""
        deadline = Deadline.after(_patience(self._gate.book, tag))
        return _answered(await self._approvals.propose(reversal(intent, self._gate.book, who, deadline)))

    async def _renew(self, person: Person, asked: Asked) -> Told:
        self._may_propose(person)
        tag = asked.get("tag", "")
        limits = self._gate.book.limits.get(tag)
        if limits is None or not self._leases.stands(tag):
            raise Rejected(f"nothing that was written to {tag[:64]!r} stands under a lease")
        who = Who(kind="person", id=person.id, authenticated_by="local socket")
        target = Target(connection=limits.settings.connection, address=tag)
        await self._record.observed(Kind.LEASE, who, target=target, note="renewed", result=Result.OK)
        if not self._leases.renew(tag):
            raise Rejected(f"the lease of {tag} ended meanwhile; its fallback is on its way")
        return {"left_seconds": round(self._leases.left(tag) or 0.0, 1)}

    async def _settle(self, person: Person, asked: Asked) -> Told:
        """A person has looked at a machine that cannot be asked, and says what became of a write."""
        self._may_propose(person)
        entry = asked.get("entry", "")
        connection = next((name for name, intents in self._gate.held.items() if entry in intents), "")
        happened = {"yes": Result.OK, "no": Result.FAILED}.get(asked.get("happened", ""))
        if happened is None:
            raise Rejected("say whether it happened: yes or no")
        reason = _reason(asked)
        hand = self._gate.hands.get(connection)
        async with hand.busy if hand is not None else nullcontext():  # the machine may be being asked just now
            if (intent := self._gate.held.get(connection, {}).get(entry)) is None:
                raise Rejected(f"{entry[:64]!r} is not held; `plantgate control status` shows what is")
            await self._record.outcome(intent, happened, f"{person.id} looked at the machine: {reason}")
            self._gate.settle(intent)
        return {"settled": intent.id}

    async def _entry(self, asked: Asked) -> Entry:
        name = asked.get("entry", "")
        if (entry := await self._find(name)) is None:
            raise Rejected(f"the audit log has no entry {name[:64]!r}")
        return entry

    def _may_propose(self, person: Person) -> None:
        if not person.roles & _ACTING:
            raise Rejected(f"{person.id} is neither operator nor engineer")


def _reason(asked: Asked) -> str:
    reason = asked.get("reason", "").strip()
    if not reason:
        raise Rejected("say why, in a few words; it stands in the record")
    return reason[:500]


def _within(asked: Asked, patience: float) -> float:
    """Seconds: as the person wants it, at most what a person's write may take; `patience` where nothing is said."""
    if not (wanted := asked.get("seconds", "")):
        return patience
    try:
        seconds = float(wanted)
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds <= _WRITE_SECONDS:
        raise Rejected(f"within {wanted[:32]!r} seconds: say a number above 0, at most {_WRITE_SECONDS:g}")
    return seconds


def _patience(book: Book, tag: str) -> float:
    """Seconds: where people have to agree, as long as a question stands."""
    limits = book.limits.get(tag)
    return _WRITE_SECONDS if limits is None else SECONDS.get(limits.settings.write_class, _WRITE_SECONDS)


def _shown(question: Question) -> Told:
    return {
        "entry": question.id,
        "digest": question.digest,
        "command": dict(question.command),
        "agreed": sorted(question.agreed),
        "needed": question.needed,
        "left_seconds": round(question.until.left(), 1),
    }


def _answered(answer: Answer) -> Told:
    return {
        "standing": answer.standing.value,
        "reason": answer.reason,
        "entry": answer.entry,
        "seen": None if answer.seen is None else written(answer.seen),
        "checks": [{"guard": each.guard, "passed": each.passed, "saw": each.saw} for each in answer.checks],
    }
