"""Writes that wait for people. What they agree to is one exact command, once, and not for long."""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from plantgate.audit.entry import Approval, Kind, Result, Target, Who
from plantgate.control import guard
from plantgate.control.book import Limits, Rule
from plantgate.control.gate import Gate
from plantgate.control.proposal import Agreed, Answer, Proposal, Standing
from plantgate.control.record import Record
from plantgate.control.settings import Role, WriteClass
from plantgate.control.typed import exact, written
from plantgate.sdk import Clock, Deadline, Rejected, iso

SECONDS: Final = {WriteClass.W2: 300.0, WriteClass.W3: 120.0}
"""How long a question stands."""
WAITING_MAX: Final = 100
"""Questions that stand at a time; more are refused, so that nobody drowns the one that matters."""
_ROLES: Final = frozenset({Role.OPERATOR, Role.ENGINEER})
_NOT_LONG: Final = 1.0
"""A proposal that must be done within this many seconds cannot wait for anybody."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody at the desk, as the kernel and the plant file know them."""

    id: str
    roles: frozenset[Role]


@dataclass(slots=True)
class Question:
    """One write that waits."""

    id: str
    """Of the entry that asked it."""
    proposal: Proposal
    limits: Limits
    rule: Rule
    digest: str
    """Of the exact command; whoever agrees says which digest was seen."""
    command: Mapping[str, str]
    """What is digested, for people to read."""
    until: Deadline
    wall: int
    """The same moment on the wall clock, ns: a clock that is set back does not make it stand longer."""
    agreed: dict[str, tuple[Approval, frozenset[Role]]] = field(default_factory=dict)
    """By person."""

    @property
    def needed(self) -> int:
        """How many people."""
        return guard.people_needed(self.limits, self.rule)


class Approvals:
    """All questions that stand. None survives a restart, and so no change of the rules."""

    def __init__(self, gate: Gate, record: Record, clock: Clock) -> None:
        self._gate, self._record, self._clock = gate, record, clock
        self._questions: dict[str, Question] = {}
        self._asking = 0
        """Questions that are being put on record."""

    async def propose(self, proposal: Proposal) -> Answer:
        """Act on it; where people have to agree, ask them: the answer then waits, and names the question."""
        answer = await self._gate.act(proposal)
        if answer.standing is not Standing.WAITING:
            return answer
        limits, rule = self._gate.book.limits[proposal.tag], self._gate.book.rules[proposal.rule]
        self._forget()
        if (waiting := len(self._questions) + self._asking) >= WAITING_MAX:
            sentence = f"{waiting} writes wait for people already; decide about those first"
            return await self._gate.refuse(proposal, "people", sentence)
        if proposal.deadline.left() < _NOT_LONG:
            sentence = f"{answer.reason}, and the deadline leaves no time to ask; class and deadline do not fit"
            return await self._gate.refuse(proposal, "people", sentence)
        command = _command(proposal, limits, rule)
        for question in self._questions.values():
            if question.command == {**command, "until": question.command["until"]}:  # asked already: people have time
                return replace(answer, entry=question.id)
        return await self._ask(proposal, limits, rule, answer, command)

    def waiting(self) -> tuple[Question, ...]:
        """Oldest first."""
        self._forget()
        return tuple(self._questions.values())

    def question(self, name: str) -> Question:
        """By id, or by its first characters where they are enough. Raises `Rejected`."""
        self._forget()
        found = [question for question in self._questions.values() if name and question.id.startswith(name)]
        if len(found) == 1:
            return found[0]
        what = "more than one question begins" if found else "no question that still stands begins"
        raise Rejected(f"{what} with {name[:40]!r}; `plantgate approvals list` shows them")

    async def approve(self, name: str, person: Person, digest: str) -> Answer:
        """One more person agrees; with the last one it is written. Raises `Rejected`, `GatewayError`."""
        question = self.question(name)
        self._may_agree(question, person, digest)
        entry = await self._record.observed(
            Kind.APPROVAL,
            _who(person),
            target=_target(question),
            note="agreed",
            details={"question": question.id, "command": question.digest},
            result=Result.OK,
        )
        if self._questions.get(question.id) is not question:
            raise Rejected(f"{question.id} was decided by somebody else meanwhile")
        self._may_agree(question, person, digest)  # once more: somebody else may have agreed meanwhile
        question.agreed[person.id] = (Approval(entry=entry.id, by=person.id), person.roles)
        if len(question.agreed) < question.needed:
            return Answer(
                standing=Standing.WAITING,
                reason=f"{len(question.agreed)} of {question.needed} people have agreed",
                entry=question.id,
            )
        del self._questions[question.id]  # before anything is awaited: an agreement is used once
        approvals = tuple(approval for approval, _ in question.agreed.values())
        agreed = Agreed(approvals, question.limits.text.digest, question.rule.text.digest)
        return await self._gate.act(question.proposal, agreed)

    async def deny(self, name: str, person: Person, reason: str) -> Question:
        """It will not be written. Anybody who may agree may also refuse. Raises `Rejected`, `GatewayError`."""
        question = self.question(name)
        if not person.roles & _ROLES:
            raise Rejected(f"{person.id} is neither operator nor engineer")
        del self._questions[question.id]
        await self._record.observed(
            Kind.APPROVAL,
            _who(person),
            target=_target(question),
            note=reason,
            details={"question": question.id, "command": question.digest},
            result=Result.DENIED,
        )
        return question

    async def _ask(
        self, proposal: Proposal, limits: Limits, rule: Rule, answer: Answer, command: dict[str, str]
    ) -> Answer:
        seconds = SECONDS[limits.settings.write_class]
        until = Deadline(min(proposal.deadline.at, asyncio.get_running_loop().time() + seconds))
        wall = self._clock.now() + int(until.left() * 1e9)
        command["until"] = iso(wall) or ""
        digest = "sha256:" + hashlib.sha256(msgspec.json.encode(command, order="sorted")).hexdigest()
        asked = replace(proposal, deadline=until)
        self._asking += 1
        try:
            entry = await self._record.observed(
                Kind.APPROVAL,
                proposal.who,
                target=Target(connection=limits.settings.connection, address=limits.tag),
                note=f"asked: {answer.reason}",
                details={**command, "command": digest},
            )
        finally:
            self._asking -= 1
        self._questions = {  # another question of the same proposer about the same tag takes the place of the older
            name: each
            for name, each in self._questions.items()
            if (each.proposal.who.id, each.limits.tag) != (proposal.who.id, limits.tag)
        }
        question = Question(entry.id, asked, limits, rule, digest, command, until, wall)
        self._questions[entry.id] = question
        return replace(answer, entry=entry.id)

    def _may_agree(self, question: Question, person: Person, digest: str) -> None:
        if not person.roles & _ROLES:
            raise Rejected(f"{person.id} is neither operator nor engineer")
        if digest != question.digest:
            raise Rejected(f"{question.id} is another command than the one that was seen; look at it again")
        if person.id == question.proposal.who.id or person.id == question.proposal.who.on_behalf_of:
            raise Rejected(f"{person.id} proposed it; somebody else must agree")
        if person.id in question.agreed:
            raise Rejected(f"{person.id} has agreed already; somebody else must agree too")
        if objection := self._gate.steady.objection():
            raise Rejected(f"nobody can agree to anything now: {objection}")
        if question.limits.settings.write_class is WriteClass.W2 and Role.OPERATOR not in person.roles:
            raise Rejected(f"{question.limits.tag} needs an operator")
        if len(question.agreed) + 1 == question.needed == len((Role.OPERATOR, Role.ENGINEER)):
            roles = person.roles.union(*(roles for _, roles in question.agreed.values()))
            if not roles >= _ROLES:
                raise Rejected(f"{question.limits.tag} needs an operator and an engineer")

    def _forget(self) -> None:
        """Those that nobody answered in time, by either clock."""
        now = self._clock.now()
        for name, question in tuple(self._questions.items()):
            if question.until.passed() or now >= question.wall:
                del self._questions[name]


def _command(proposal: Proposal, limits: Limits, rule: Rule) -> dict[str, str]:
    value = exact(proposal.value, limits.settings.data_type)
    return {
        "tag": limits.tag,
        "connection": limits.settings.connection,
        "value": written(value),
        "data_type": limits.settings.data_type.value,
        "unit": limits.settings.unit,
        "expected": "" if proposal.expected is None else written(proposal.expected),
        "class": limits.settings.write_class.value,
        "proposer": f"{proposal.who.kind} {proposal.who.id}",
        "rule": rule.id,
        "rule_digest": rule.text.digest,
        "limits_digest": limits.text.digest,
        "model_digest": "" if proposal.model is None else proposal.model.digest,
        "reverses": proposal.reverses,
    }


def _who(person: Person) -> Who:
    return Who(kind="person", id=person.id, authenticated_by="local socket")


def _target(question: Question) -> Target:
    return Target(connection=question.limits.settings.connection, address=question.limits.tag)
