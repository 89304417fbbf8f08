"""The one way to a machine: guards, intent on record, one write, read back, outcome on record.

Whatever happens on the way, a write is sent once at most. What is not known to have happened holds its connection until
the machine has been asked (see `reconcile`).
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from plantgate.audit.entry import Approval, Check, Entry, Who
from plantgate.control import guard
from plantgate.control.book import EMERGENCY_RULE, Book, Limits, Rule
from plantgate.control.dispatch import Dispatch, standing_of
from plantgate.control.emergency import Emergencies
from plantgate.control.guard import Scene
from plantgate.control.hand import Hand
from plantgate.control.latest import Latest
from plantgate.control.pace import Pace
from plantgate.control.proposal import Agreed, Answer, Proposal, Standing
from plantgate.control.record import Record
from plantgate.control.shadow import Shadow, source
from plantgate.control.steady import Steady
from plantgate.control.switches import EVERYTHING, Switches, Thrown
from plantgate.sdk import (
    GatewayError,
    Log,
)

T = TypeVar("T")


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
        shadow: Shadow,
        log: Log,
        cells: Callable[[str], tuple[str, ...]] = lambda connection: (),
    ) -> None:
        """`cells`: the other names under which a connection can be stopped."""
        self.book, self.hands, self.latest, self.switches, self.steady = book, hands, latest, switches, steady
        self.emergencies = Emergencies()
        self.pace = Pace()
        self.answers: Counter[Standing] = Counter()
        """How proposals ended, by this process."""
        self.held: dict[str, dict[str, Entry]] = {name: {} for name in hands}
        """Intents of which it is not known whether they happened, by connection and id."""
        self.unrecorded = ""
        """Why nothing but an emergency may act until the next start; empty where what may act is on record."""
        self.doubt = asyncio.Event()
        """Set when there is something to reconcile."""
        self._record, self._shadow, self._log, self._cells = record, shadow, log, cells
        self.dispatch = Dispatch(record, self.pace, self.hold, log)
        self._acting: set[asyncio.Task[Any]] = set()

    async def act(self, proposal: Proposal, agreed: Agreed | None = None) -> Answer:
        """Judge it, and if nothing objects write it; the answer says how that ended. Raises nothing but cancellation.

        Cancelled, what was begun is brought to its end and put on record all the same. `Standing.WAITING`: nothing
        objects but that people have to agree.
        """
        answer = await self._to_its_end(self._act_and_tell(proposal, agreed))
        self.answers[answer.standing] += 1
        return answer

    def objection(self, proposal: Proposal) -> str:
        """What the gateway itself says against it now; nothing is put on record. It is for tags that may be written."""
        limits, rule = self.book.limits[proposal.tag], self.book.rules.get(proposal.rule)
        return guard.refused(guard.first_round(self._scene(proposal, limits, rule, ())))

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

    async def _act_and_tell(self, proposal: Proposal, agreed: Agreed | None) -> Answer:
        answer = await self._act(proposal, agreed)
        await self._shadow.note(proposal.who, answer)
        return answer

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
            return await self._deny(proposal, limits, rule, checks, standing_of(checks))
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
            return await self._deny(proposal, limits, rule, checks, standing_of(checks))
        value = guard.setpoint(scene)
        try:
            intent = await self._record.intent(
                proposal, limits, rule, checks, before, value, approvals, emergency=scene.emergency
            )
        except (GatewayError, OSError) as error:
            self._log.error("nothing is written to machines: the audit log takes no entry", reason=str(error))
            return Answer(standing=Standing.DENIED, reason=f"the audit log takes no entry: {error}", checks=checks)
        answer = await self.dispatch.write(
            hand,
            proposal.deadline,
            limits,
            intent,
            before,
            value,
            lambda: self._scene(proposal, limits, rule, approvals),
        )
        return Answer(standing=answer.standing, reason=answer.reason, entry=intent.id, checks=checks, seen=answer.seen)

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
        emergency = proposal.rule == EMERGENCY_RULE and self.emergencies.is_open(proposal.who)
        return Scene(
            proposal=proposal,
            limits=limits,
            rule=rule,
            latest=self.latest,
            pace=self.pace,
            stopped=self._stopped(limits, proposal.who, emergency),
            held=f"it is not known yet what became of {held}" if held else "",
            agreed=len({approval.by for approval in approvals}),
            emergency=emergency,
            lease_ended=self.dispatch.leases.ended(limits.tag),
            clock=self.steady.objection(),
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

    def stopped(self) -> Mapping[str, Thrown]:
        """Of what nothing is written, and why."""
        thrown = dict(self.switches.thrown())
        if self.unrecorded:
            thrown[EVERYTHING] = Thrown("gateway", self.unrecorded, "")
        return thrown

    def _stopped(self, limits: Limits, who: Who, emergency: bool) -> str:
        connection = limits.settings.connection
        names = limits.tag, connection, *self._cells(connection), source(who)
        unrecorded = "" if emergency else self.unrecorded
        return unrecorded or self.switches.objection(names, in_emergency=emergency)

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
