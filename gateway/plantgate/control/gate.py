"""The one way to a machine: guards, intent on record, one write, read back, outcome on record.

Whatever happens on the way, a write is sent once at most. What is not known to have happened holds its connection until
the machine has been asked (see `reconcile`).
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from plantgate.audit.entry import Approval, Check, Entry, Result
from plantgate.control import guard
from plantgate.control.book import EMERGENCY_RULE, Book, Limits, Rule
from plantgate.control.emergency import Emergencies
from plantgate.control.guard import Scene
from plantgate.control.hand import Hand
from plantgate.control.latest import Latest
from plantgate.control.lessor import Lessor, Nobody
from plantgate.control.pace import Pace
from plantgate.control.proposal import Agreed, Answer, Proposal, Standing
from plantgate.control.record import Record
from plantgate.control.steady import Steady
from plantgate.control.switches import EVERYTHING, Switches
from plantgate.sdk import (
    Command,
    Deadline,
    GatewayError,
    Log,
    OutcomeUnknown,
    Rejected,
    Sample,
    Setpoint,
    Severity,
    Unavailable,
    severity,
)

T = TypeVar("T")

_READ_BACK_PAUSES = (0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Seconds between one look at the machine and the next, the last for ever: quick for robots, patient for ovens."""


class Gate:
    """What proposes writes comes here, and nowhere else."""

    def __init__(
        self,
        book: Book,
        hands: Mapping[str, Hand],
        record: Record,
        latest: Latest,
        switches: Switches,
        steady: Steady,
        *,
        log: Log,
        cells: Callable[[str], tuple[str, ...]] = lambda connection: (),
    ) -> None:
        """`cells`: the other names under which a connection can be stopped."""
        self.leases: Lessor = Nobody()
        self.book, self.hands, self.latest, self.switches, self.steady = book, hands, latest, switches, steady
        self.emergencies = Emergencies()
        self.pace = Pace()
        self.answers: Counter[Standing] = Counter()
        """How proposals ended, by this process."""
        self.held: dict[str, dict[str, Entry]] = {name: {} for name in hands}
        """Intents of which it is not known whether they happened, by connection and id."""
        self.doubt = asyncio.Event()
        """Set when there is something to reconcile."""
        self._record, self._log, self._cells = record, log, cells
        self._acting: set[asyncio.Task[Any]] = set()

    async def act(self, proposal: Proposal, agreed: Agreed | None = None) -> Answer:
        """Judge it, and if nothing objects write it; the answer says how that ended. Raises nothing but cancellation.

        Cancelled, what was begun is brought to its end and put on record all the same. `Standing.WAITING`: nothing
        objects but that people have to agree.
        """
        answer = await self._to_its_end(self._act(proposal, agreed))
        self.answers[answer.standing] += 1
        return answer

    async def refuse(self, proposal: Proposal, name: str, saw: str) -> Answer:
        """Deny it for a reason that lies outside the guards, and put that on record."""
        limits, rule = self.book.limits.get(proposal.tag), self.book.rules.get(proposal.rule)
        self.answers[Standing.DENIED] += 1
        check = Check(guard=name, passed=False, saw=saw[: guard.SAW_MAX])
        return await self._deny(proposal, limits, rule, (check,), Standing.DENIED)

    def hold(self, intent: Entry) -> None:
        """Nothing else is written through the intent's connection until it is known what became of it."""
        assert intent.target is not None
        self.held.setdefault(intent.target.connection, {})[intent.id] = intent
        self.doubt.set()

    def settle(self, intent: Entry) -> None:
        """It is known now, and on record."""
        assert intent.target is not None
        self.held[intent.target.connection].pop(intent.id, None)

    async def close(self) -> None:
        """Wait for whatever is being written."""
        while self._acting:
            await asyncio.wait(self._acting)

    async def _act(self, proposal: Proposal, agreed: Agreed | None) -> Answer:
        limits, rule = self.book.limits.get(proposal.tag), self.book.rules.get(proposal.rule)
        if limits is None:
            known = Check(guard="known", passed=False, saw="no such tag may be written")
            return await self._deny(proposal, None, rule, (known,), Standing.DENIED)
        approvals = _that_count(agreed, limits, rule)
        scene = self._scene(proposal, limits, rule, approvals)
        checks = guard.first_round(scene)
        people = guard.enough_agree(scene)
        if not guard.refused(checks) and not people.passed and agreed is None:
            return Answer(standing=Standing.WAITING, reason=people.saw, checks=(*checks, people))
        if guard.refused(checks):  # then nobody is asked, and that nobody has agreed is no objection
            return await self._deny(proposal, limits, rule, checks, _standing_of(checks))
        checks = (*checks, people)
        if guard.refused(checks):
            return await self._deny(proposal, limits, rule, checks, Standing.DENIED)
        hand = self.hands[limits.settings.connection]
        assert rule is not None, "the guard `rule` has passed"
        try:
            async with proposal.deadline.timeout():
                await hand.busy.acquire()
        except TimeoutError:
            busy = Check(guard="deadline", passed=False, saw=f"{hand.connection} was busy until it was too late")
            return await self._deny(proposal, limits, rule, (*checks, busy), Standing.LATE)
        try:
            return await self._with(hand, proposal, limits, rule, checks, approvals)
        finally:
            hand.busy.release()

    async def _with(
        self,
        hand: Hand,
        proposal: Proposal,
        limits: Limits,
        rule: Rule,
        checks: tuple[Check, ...],
        approvals: tuple[Approval, ...],
    ) -> Answer:
        """With the machine to ourselves."""
        try:
            before = await hand.read(limits.tag, proposal.deadline)
        except GatewayError as error:
            asked = Check(guard="reading", passed=False, saw=str(error)[: guard.SAW_MAX])
            standing = Standing.LATE if proposal.deadline.passed() else Standing.FAILED
            return await self._deny(proposal, limits, rule, (*checks, asked), standing)
        # Anew, since the plant has gone on while we waited for our turn and for the machine.
        scene = self._scene(proposal, limits, rule, approvals)
        checks = (*guard.first_round(scene), guard.enough_agree(scene), *guard.second_round(scene, before))
        if guard.refused(checks):
            return await self._deny(proposal, limits, rule, checks, _standing_of(checks))
        value = guard.setpoint(scene)
        try:
            intent = await self._record.intent(
                proposal, limits, rule, checks, before, value, approvals, emergency=scene.emergency
            )
        except (GatewayError, OSError) as error:
            self._log.error("nothing is written to machines: the audit log takes no entry", reason=str(error))
            return Answer(standing=Standing.DENIED, reason=f"the audit log takes no entry: {error}", checks=checks)
        answer = await self._write(
            hand,
            proposal.deadline,
            limits,
            intent,
            before,
            value,
            lambda: self._scene(proposal, limits, rule, approvals),
        )
        return Answer(standing=answer.standing, reason=answer.reason, entry=intent.id, checks=checks, seen=answer.seen)

    async def _write(
        self,
        hand: Hand,
        deadline: Deadline,
        limits: Limits,
        intent: Entry,
        before: Sample,
        value: Setpoint,
        scene: Callable[[], Scene],
    ) -> Answer:
        """The intent is durable: write, once, and put on record what came of it."""
        # Once more: putting the intent on record took its time.
        checks = guard.first_round(scene())
        if objections := guard.refused(checks):
            standing = _standing_of(checks)
            result = Result.LATE if standing is Standing.LATE else Result.DENIED
            return await self._ended(intent, standing, result, objections)
        if deadline.passed():
            return await self._ended(intent, Standing.LATE, Result.LATE, "the deadline passed before anything was sent")
        has = before.value
        self.pace.note(
            limits.tag,
            asyncio.get_running_loop().time(),
            guard.distance(value, has) if isinstance(has, bool | int | float | str) else 0.0,
        )
        began = self.leases.begin(limits, _rule_of(intent))
        try:
            await hand.write(Command(intent.id, limits.tag, value, deadline), limits.settings.read_back.settle_seconds)
        except Unavailable as error:
            self._nothing_was_sent(limits, began)
            standing = Standing.LATE if deadline.passed() else Standing.FAILED
            result = Result.LATE if deadline.passed() else Result.FAILED
            return await self._ended(intent, standing, result, str(error))
        except Rejected as error:
            self._nothing_was_sent(limits, began)
            return await self._ended(intent, Standing.FAILED, Result.FAILED, str(error))
        except OutcomeUnknown as error:
            return await self._unknown(intent, str(error))
        except BaseException:
            self.hold(intent)  # the process is ending: what became of it is asked after the next start
            raise
        return await self._read_back(hand, limits, intent, value)

    def _nothing_was_sent(self, limits: Limits, began: bool) -> None:
        if began:
            self.leases.withdraw(limits.tag)

    async def _read_back(self, hand: Hand, limits: Limits, intent: Entry, value: Setpoint) -> Answer:
        """The machine has confirmed it; look until it has it."""
        settled = Deadline.after(limits.settings.read_back.settle_seconds)
        seen: Sample | None = None
        pauses = iter(_READ_BACK_PAUSES)
        pause = 0.0
        while True:
            pause = next(pauses, pause)
            if seen is not None and settled.left() <= pause:
                break
            await asyncio.sleep(pause)
            try:
                seen = await hand.read(limits.tag, settled)
            except GatewayError as error:
                return await self._unknown(intent, f"confirmed, and then not to be read back: {error}")
            if (has := _value_of(seen)) is not None and guard.same(value, has, limits):
                self.leases.stand(limits, _rule_of(intent))
                return await self._ended(intent, Standing.DONE, Result.OK, "", seen, limits)
        return await self._ended(
            intent, Standing.FAILED, Result.FAILED, "the machine confirmed it, and has another value", seen, limits
        )

    async def _ended(
        self,
        intent: Entry,
        standing: Standing,
        result: Result,
        reason: str,
        seen: Sample | None = None,
        limits: Limits | None = None,
    ) -> Answer:
        try:
            await self._record.outcome(intent, result, reason, seen, limits, emergency=_in_emergency(intent))
        except (GatewayError, OSError) as error:
            # The record says that it was about to happen, and not that it did: after the next start it is asked for.
            self.hold(intent)
            self._log.error("an outcome could not be put on record", entry=intent.id, reason=str(error))
        return Answer(standing=standing, reason=reason, seen=None if seen is None else _value_of(seen))

    async def _unknown(self, intent: Entry, reason: str) -> Answer:
        self.hold(intent)
        assert intent.target is not None
        self._log.warning(
            "it is not known whether a write happened; the machine is asked, and nothing else is written to it",
            connection=intent.target.connection,
            tag=intent.target.address,
            entry=intent.id,
            reason=reason,
        )
        return await self._ended(intent, Standing.UNKNOWN, Result.UNKNOWN, reason)

    async def _deny(
        self,
        proposal: Proposal,
        limits: Limits | None,
        rule: Rule | None,
        checks: tuple[Check, ...],
        standing: Standing,
    ) -> Answer:
        reason = guard.refused(checks)
        try:
            entry = (await self._record.denied(proposal, limits, rule, checks, "")).id
        except GatewayError as error:
            self._log.error("a denied write could not be put on record", tag=proposal.tag, reason=str(error))
            entry = ""
        return Answer(standing=standing, reason=reason, entry=entry, checks=checks)

    def _scene(self, proposal: Proposal, limits: Limits, rule: Rule | None, approvals: tuple[Approval, ...]) -> Scene:
        held = self._held_for(limits)
        return Scene(
            proposal=proposal,
            limits=limits,
            rule=rule,
            latest=self.latest,
            pace=self.pace,
            stopped=self._stopped(limits),
            held=f"it is not known yet what became of {held}" if held else "",
            agreed=len({approval.by for approval in approvals}),
            clock=self.steady.objection(),
            emergency=self._is_emergency(proposal),
            never_armed=self.switches.by_gateway(EVERYTHING),
            now=asyncio.get_running_loop().time(),
        )

    def _held_for(self, limits: Limits) -> str:
        """An intent that holds the tag's connection, or the tag itself, whatever its connection was called then."""
        for connection, intents in self.held.items():
            for name, intent in intents.items():
                same = intent.target is not None and intent.target.address == limits.tag
                if same or connection == limits.settings.connection:
                    return name
        return ""

    def _is_emergency(self, proposal: Proposal) -> bool:
        return proposal.rule == EMERGENCY_RULE and self.emergencies.is_open(proposal.who)

    def _stopped(self, limits: Limits) -> str:
        connection = limits.settings.connection
        return self.switches.objection((limits.tag, connection, *self._cells(connection)))

    async def _to_its_end(self, work: Coroutine[Any, Any, T]) -> T:
        acting = asyncio.create_task(work)
        self._acting.add(acting)
        acting.add_done_callback(self._acting.discard)
        return await asyncio.shield(acting)


def _that_count(agreed: Agreed | None, limits: Limits, rule: Rule | None) -> tuple[Approval, ...]:
    """Approvals of exactly these limits and this rule."""
    if agreed is None or rule is None:
        return ()
    same = agreed.limits_digest == limits.text.digest and agreed.rule_digest == rule.text.digest
    return agreed.approvals if same else ()


def _rule_of(intent: Entry) -> str:
    return "" if intent.why is None else intent.why.rule


def _in_emergency(intent: Entry) -> bool:
    return _rule_of(intent) == EMERGENCY_RULE


def _standing_of(checks: tuple[Check, ...]) -> Standing:
    """Late where the deadline alone objects."""
    objecting = {check.guard for check in checks if not check.passed}
    return Standing.LATE if objecting == {"deadline"} else Standing.DENIED


def _value_of(sample: Sample) -> Setpoint | None:
    """What can be compared: a Good value of a plain type."""
    good = severity(sample.quality) is Severity.GOOD
    return sample.value if good and isinstance(sample.value, bool | int | float | str) else None
