"""The closed loop: see, infer, decide, guard, act, under one deadline that begins with the picture. Late is no.

It does not go through an outbox: what it does is on record in the audit log, and a picture that comes too late is of no
use to anybody.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from math import nan
from typing import Final

from plantgate.audit.entry import Kind, Payload, Reckoning, Result, Who
from plantgate.control.acting import Acting
from plantgate.control.book import Rule
from plantgate.control.condition import Expression
from plantgate.control.proposal import Answer, Proposal, Standing
from plantgate.control.settings import DecisionSettings, LoopSettings
from plantgate.control.typed import plain, vector_text
from plantgate.flow.stop import Stop
from plantgate.sdk import (
    Camera,
    Deadline,
    Exhausted,
    Frame,
    GatewayError,
    Log,
    Model,
    Prediction,
    Rejected,
    Value,
)

BOUNDS_MS: Final = (5.0, 10.0, 20.0, 30.0, 40.0, 60.0, 80.0, 100.0, 120.0, 200.0, 500.0)
"""Upper ends of the histogram's bins; one more has what took longer."""


LOOKS_KEPT: Final = 8
PIXELS_KEPT_MAX: Final = 8 * 2**20
"""Bytes of a picture that is kept for people to look at."""


@dataclass(slots=True)
class Figures:
    """What a loop has done since the process started."""

    frames: int = 0
    late: int = 0
    """Pictures whose answer, or whose write, came too late."""
    unreadable: int = 0
    decided: int = 0
    """Pictures for which a rule held, so that a write was proposed."""
    done: int = 0
    bins: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_MS) + 1))
    """From the picture to the outcome on record, of pictures that led to a write."""

    def took(self, seconds: float) -> None:
        """One more."""
        milliseconds = seconds * 1000
        self.bins[next((at for at, bound in enumerate(BOUNDS_MS) if milliseconds <= bound), len(BOUNDS_MS))] += 1


@dataclass(frozen=True, slots=True)
class Look:
    """One picture and what was done about it, for people who look on."""

    number: int
    """Counts the pictures of this process."""
    frame: Frame
    facts: Mapping[str, Value]
    answers: tuple[Answer, ...]
    seconds: float
    note: str = ""
    """Why nothing was judged."""
    chosen: tuple[Value, ...] = ()
    """The facts that the answers are about."""


@dataclass(frozen=True, slots=True)
class _Decision:
    settings: DecisionSettings
    rule: Rule
    value: Expression


class Loop:
    """One camera, one model, and the rules that say what is done about what they see."""

    def __init__(self, name: str, settings: LoopSettings, acting: Acting, log: Log) -> None:
        self.name, self.figures = name, Figures()
        self.looks: deque[Look] = deque(maxlen=LOOKS_KEPT)
        self._settings, self._acting, self._log = settings, acting, log
        self._decisions = [
            _Decision(each, acting.gate.book.rules[each.rule], Expression(each.value, (each.fact,)))
            for each in settings.decisions
        ]

    async def run(self, camera: Camera, model: Model, stop: Stop) -> None:
        """Look at every picture until asked to stop, or until there are no more. Raises `GatewayError`: open anew."""
        await self._acting.meet(self.name, model)
        while not stop.is_set():
            try:
                frame = await stop.unless(camera.frame)
            except Exhausted:
                return
            if frame is not None:
                await self.look(frame, model)

    async def look(self, frame: Frame, model: Model) -> tuple[Answer, ...]:
        """One picture, to its end. Raises `Unavailable` where the model cannot be asked."""
        self.figures.frames += 1
        # A camera whose clock is ahead, or none at all, moves no deadline.
        frame = replace(frame, at=min(asyncio.get_running_loop().time(), frame.at))
        deadline = Deadline(frame.at + self._settings.deadline_ms / 1000)
        try:
            async with deadline.timeout():
                prediction = await model.predict(frame, deadline)
        except TimeoutError:
            await self._too_late(frame, model)
            self._keep(frame, {}, (), "no answer in time")
            return ()
        except Rejected as error:
            self.figures.unreadable += 1
            self._keep(frame, {}, (), str(error))
            self._log.warning("a picture cannot be judged", loop=self.name, frame=frame.name, reason=str(error))
            return ()
        chosen = [(decision, fact) for decision in self._decisions for fact in self._that_holds(decision, prediction)]
        answers: list[Answer] = []
        async with self._evidence(frame, wanted=bool(chosen)) as payloads:
            for decision, fact in chosen:
                answers.append(await self._act(decision, fact, frame, prediction, model, deadline, payloads))
        if answers:
            self._count(answers, asyncio.get_running_loop().time() - frame.at)
        self._keep(frame, prediction.facts, tuple(answers), chosen=tuple(fact for _, fact in chosen))
        return tuple(answers)

    def _that_holds(self, decision: _Decision, prediction: Prediction) -> Iterator[Value]:
        """The surest fact for which the rule holds; none if it holds for none.

        The gate asks the rule again: this only saves a record of each fact that no rule speaks of.
        """
        for fact in _surest_first(prediction.facts.get(decision.settings.of)):
            if not decision.rule.clause.objection(self._acting.gate.latest, {decision.settings.fact: fact}):
                yield fact
                return

    @asynccontextmanager
    async def _evidence(self, frame: Frame, *, wanted: bool) -> AsyncIterator[tuple[Payload, ...]]:
        """What entries say of the picture; it is kept when they have been written."""
        kept = self._acting.evidence if self._settings.keep_pictures and wanted else None
        promise = None if kept is None else await kept.promise(frame)
        if kept is None or promise is None:
            yield ()
            return
        try:
            yield (promise.payload,)
        finally:
            kept.redeem(promise)

    async def _act(
        self,
        decision: _Decision,
        fact: Value,
        frame: Frame,
        prediction: Prediction,
        model: Model,
        deadline: Deadline,
        payloads: tuple[Payload, ...],
    ) -> Answer:
        confidence = _confidence(fact, prediction)
        facts = {decision.settings.fact: fact}
        try:
            value = decision.value.of(facts)
        except ValueError as error:
            value = str(error)  # of no type that is written: the guard says so, and the record too
        proposal = Proposal(
            tag=decision.settings.tag,
            value=vector_text(value),
            unit=decision.settings.unit,
            rule=decision.rule.id,
            who=Who(kind="model", id=model.name),
            deadline=deadline,
            facts=facts,
            confidence=confidence,
            model=Reckoning(
                model=plain(model.name, 120),
                digest=plain(model.digest, 120),
                target=plain(model.target, 200),
                inputs=plain(prediction.inputs, 120),
                output=plain(prediction.output, 500),
                confidence=repr(confidence),
                threshold=repr(decision.rule.settings.confidence_min),
            ),
            trace=frame.name[:120],
            payloads=payloads,
        )
        try:
            return await self._acting.approvals.propose(proposal)
        except GatewayError as error:
            return Answer(standing=Standing.DENIED, reason=str(error))

    def _count(self, answers: list[Answer], seconds: float) -> None:
        self.figures.decided += 1
        standings = {answer.standing for answer in answers}
        if Standing.LATE in standings:
            self.figures.late += 1
        if Standing.DONE in standings:
            self.figures.done += 1
            self.figures.took(seconds)

    def _keep(
        self,
        frame: Frame,
        facts: Mapping[str, Value],
        answers: tuple[Answer, ...],
        note: str = "",
        chosen: tuple[Value, ...] = (),
    ) -> None:
        """A few, while they are small; a picture is kept by reference."""
        if frame.pixels.nbytes <= PIXELS_KEPT_MAX:
            seconds = asyncio.get_running_loop().time() - frame.at
            self.looks.append(Look(self.figures.frames, frame, facts, answers, seconds, note, chosen))

    async def _too_late(self, frame: Frame, model: Model) -> None:
        """The model's answer did not come in time; that it was asked, and nothing done, is on record."""
        self.figures.late += 1
        try:
            await self._acting.record.observed(
                Kind.DECISION,
                Who(kind="model", id=model.name),
                note=f"no answer within {self._settings.deadline_ms:g} ms, so nothing is done",
                details={"loop": self.name, "frame": plain(frame.name, 120)},
                result=Result.LATE,
            )
        except GatewayError as error:
            self._log.error("a late answer could not be put on record", loop=self.name, reason=str(error))


def _surest_first(facts: Value) -> list[Value]:
    """Each of a list of facts; one that is no list is one."""
    if facts is None:
        return []
    if isinstance(facts, str | bytes | Mapping) or not hasattr(facts, "__iter__"):
        return [facts]
    return sorted(facts, key=lambda fact: -max(0.0, _stated(fact)))


def _confidence(fact: Value, prediction: Prediction) -> float:
    """Its own, where it says one."""
    return _stated(fact) if isinstance(fact, Mapping) and "confidence" in fact else prediction.confidence


def _stated(fact: Value) -> float:
    """What a fact says of its own confidence; NaN, which passes no guard, where that is no number."""
    own = fact.get("confidence") if isinstance(fact, Mapping) else None
    return float(own) if isinstance(own, float) or (type(own) is int and own in (0, 1)) else nan
