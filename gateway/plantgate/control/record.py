"""What is put on record about a write: the intent before it, the outcome after it, and what was denied."""

from collections.abc import Mapping
from typing import Protocol

from plantgate.audit.entry import (
    FORMAT,
    Approval,
    Check,
    Entry,
    Kind,
    Phase,
    Quantity,
    Result,
    Target,
    Who,
    Why,
    new_id,
)
from plantgate.control.book import EMERGENCY_RULE, Limits, Rule
from plantgate.control.proposal import Proposal
from plantgate.control.typed import LENGTH_MAX, plain, written
from plantgate.sdk import Clock, Sample, Setpoint, iso, quality_name

GATEWAY = Who(kind="gateway", id="gateway")
_SHOWN_MAX = 120
"""Characters of a name or a value that came from somebody else."""
_NOTE_MAX = 2000


class Ledger(Protocol):
    """What an entry is appended to: `plantgate.audit.log.AuditLog`."""

    async def append(self, entry: Entry) -> int:
        """Durable on return. Raises `GatewayError` where it is not."""
        ...

    async def append_in_emergency(self, entry: Entry) -> int | None:
        """Durable on return, also where the disk is full. Raises `GatewayError`, `OSError` where it is not."""
        ...


class Record:
    """Writes entries about writes, in the gateway's own name."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger, self._clock = ledger, clock

    async def denied(
        self, proposal: Proposal, limits: Limits | None, rule: Rule | None, checks: tuple[Check, ...], reason: str
    ) -> Entry:
        """An attempt that came to nothing."""
        entry = self._of(proposal, limits, rule, checks, Kind.DENIAL, Phase.OBSERVED, result=Result.DENIED, note=reason)
        await self._ledger.append(entry)
        return entry

    async def intent(
        self,
        proposal: Proposal,
        limits: Limits,
        rule: Rule,
        checks: tuple[Check, ...],
        before: Sample,
        value: Setpoint,
        approvals: tuple[Approval, ...],
        *,
        emergency: bool = False,
    ) -> Entry:
        """What is about to be written; durable on return, and only then may it be."""
        entry = self._of(
            proposal,
            limits,
            rule,
            checks,
            Kind.WRITE,
            Phase.INTENT,
            before=_sampled(before, limits),
            after=_quantity(written(value), limits),
            approvals=approvals,
        )
        return await self._put(entry, emergency)

    async def outcome(
        self,
        intent: Entry,
        result: Result,
        note: str = "",
        seen: Sample | None = None,
        limits: Limits | None = None,
    ) -> Entry:
        """How it ended; after `Result.UNKNOWN` another outcome of the same intent says what came of it.

        Where the intent may stand in the room for emergencies, so may this, whoever found it out.
        """
        entry = Entry(
            v=FORMAT,
            id=new_id(self._clock.now()),
            kind=intent.kind,
            phase=Phase.OUTCOME,
            time=self.now(),
            who=GATEWAY,
            target=intent.target,
            after=None if seen is None or limits is None else _sampled(seen, limits),
            result=result,
            refers_to=intent.id,
            trace=intent.trace,
            note=plain(note, _NOTE_MAX),
        )
        return await self._put(entry, intent.why is not None and intent.why.rule == EMERGENCY_RULE)

    async def observed(
        self,
        kind: Kind,
        who: Who,
        *,
        target: Target | None = None,
        note: str = "",
        details: Mapping[str, str] | None = None,
        approvals: tuple[Approval, ...] = (),
        result: Result | None = None,
        emergency: bool = False,
    ) -> Entry:
        """Something that simply happened."""
        entry = Entry(
            v=FORMAT,
            id=new_id(self._clock.now()),
            kind=kind,
            phase=Phase.OBSERVED,
            time=self.now(),
            who=who,
            target=target,
            result=result,
            note=plain(note, _NOTE_MAX),
            details=dict(details or {}),
            approvals=approvals,
        )
        return await self._put(entry, emergency)

    async def _put(self, entry: Entry, emergency: bool) -> Entry:
        """Only what a person does in an emergency may stand in the room that is kept for it."""
        if emergency:
            await self._ledger.append_in_emergency(entry)
        else:
            await self._ledger.append(entry)
        return entry

    def _of(
        self,
        proposal: Proposal,
        limits: Limits | None,
        rule: Rule | None,
        checks: tuple[Check, ...],
        kind: Kind,
        phase: Phase,
        *,
        result: Result | None = None,
        before: Quantity | None = None,
        after: Quantity | None = None,
        approvals: tuple[Approval, ...] = (),
        note: str = "",
    ) -> Entry:
        proposed = after or _proposed(proposal, limits)
        return Entry(
            v=FORMAT,
            id=new_id(self._clock.now()),
            kind=kind,
            phase=phase,
            time=self.now(),
            who=proposal.who,
            target=Target(
                connection=limits.settings.connection if limits else "", address=plain(proposal.tag, _SHOWN_MAX)
            ),
            before=before,
            after=proposed,
            result=result,
            why=Why(
                rule=plain(proposal.rule, _SHOWN_MAX),
                digest=rule.text.digest if rule else "",
                cites=rule.settings.cites if rule else "",
                checks=checks,
            ),
            model=proposal.model,
            approvals=approvals,
            reverses=proposal.reverses,
            trace=plain(proposal.trace, _SHOWN_MAX),
            payloads=proposal.payloads,
            note=plain(note, _NOTE_MAX),
            details={"limits": limits.text.digest} if limits else {},
        )

    def now(self) -> str:
        """RFC 3339."""
        return iso(self._clock.now()) or ""


def _quantity(value: str, limits: Limits) -> Quantity:
    return Quantity(value=value, data_type=limits.settings.data_type.value, unit=limits.settings.unit)


def _sampled(sample: Sample, limits: Limits) -> Quantity:
    value = sample.value
    shown = written(value) if isinstance(value, bool | int | float | str) else type(value).__name__
    return Quantity(
        value=plain(shown, LENGTH_MAX),
        data_type=limits.settings.data_type.value,
        unit=limits.settings.unit,
        quality="" if sample.quality == 0 else quality_name(sample.quality),
    )


def _proposed(proposal: Proposal, limits: Limits | None) -> Quantity:
    """What was proposed, as it came: it may be of any type."""
    value = proposal.value
    shown = written(value) if isinstance(value, bool | int | float | str) else type(value).__name__
    data_type = limits.settings.data_type.value if limits else ""
    return Quantity(value=plain(shown, LENGTH_MAX), data_type=data_type, unit=plain(proposal.unit, _SHOWN_MAX))
