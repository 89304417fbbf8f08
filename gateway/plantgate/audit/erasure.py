"""Erases what is known about a subject: an intent in the log, then the vault, then the outcome.

The log itself is not touched: every proof, root and receipt is what it was; what its commitments stood for is gone.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import msgspec

from plantgate.audit.entry import FORMAT, Entry, Kind, Phase, Result, Target, Who, Why, decode, new_id
from plantgate.audit.log import AuditLog
from plantgate.audit.vault import Vault
from plantgate.sdk.clock import Clock, iso
from plantgate.sdk.errors import Rejected

_LIST_BYTES_MAX: Final = 8 * 1024
"""Of a list of entries in one entry; a longer one goes on in the next."""
_VAULT: Final = "vault"


@dataclass(frozen=True, slots=True)
class Order:
    """Who wants whom erased, and why they may."""

    subject: str
    """Its id in the vault."""
    basis: str
    """The law or rule, and the request: ``GDPR 17(1)(b), request 2026-17``."""
    by: str
    """Id of whoever does it."""
    approved_by: str
    """Id of somebody else, who agreed."""


@dataclass(frozen=True, slots=True)
class Erased:
    """What was done."""

    intent: str
    """Id of the entry; its outcome names it."""
    indexes: tuple[int, ...]
    """The entries whose payloads nobody can read any more."""
    payloads: int


async def erase(audit: AuditLog, vault: Vault, order: Order, *, clock: Clock) -> Erased:
    """Durable on return, in the log and in the vault. Ends one that was cut short, under the intent that it had.

    Raises `Rejected` where there is nothing to erase, or nobody else agreed; and what `AuditLog.append` and
    `Vault.erase` raise, after which the same call goes on where it was.
    """
    if not order.approved_by or order.approved_by == order.by:
        raise Rejected(f"{order.subject}: an erasure needs the agreement of somebody other than {order.by}")
    if not order.basis:
        raise Rejected(f"{order.subject}: an erasure names the law or rule that it stands on")
    found = _Found(order.subject, frozenset(vault.of(order.subject)))
    await audit.inspect(found.take)
    intent = found.begun
    if intent is None:
        if order.subject not in vault:
            raise Rejected(f"{order.subject}: the vault holds nothing about it")
        intent = new_id(clock.now())
        for entry in _announced(order, intent, found, clock):
            await audit.append(entry)
    gone = await asyncio.to_thread(vault.erase, order.subject)
    await audit.append(_entry(order, new_id(clock.now()), Phase.OUTCOME, clock, refers_to=intent, result=Result.OK))
    return Erased(intent, tuple(found.indexes), len(gone))


class _Found:
    """What the log says of a subject."""

    def __init__(self, subject: str, commitments: frozenset[str]) -> None:
        self._subject = subject
        self._commitments = commitments
        self.indexes: list[int] = []
        self.begin: int | None = None
        """The first entry that is here: what is archived is not looked into."""
        self.begun: str | None = None
        """An erasure that has no outcome."""

    def take(self, index: int, content: bytes) -> None:
        """One entry."""
        self.begin = index if self.begin is None else self.begin
        if b'"payloads":' not in content and b'"kind":"erasure"' not in content:
            return
        try:
            entry = decode(content)
        except ValueError:  # bytes that somebody else appended
            return
        if any(payload.commitment in self._commitments for payload in entry.payloads):
            self.indexes.append(index)
        if entry.kind is Kind.ERASURE and entry.phase is Phase.INTENT:
            if entry.target is not None and entry.target.address == self._subject:
                self.begun = entry.id
        elif entry.kind is Kind.ERASURE and entry.refers_to and entry.refers_to == self.begun:
            self.begun = None


def _announced(order: Order, intent: str, found: _Found, clock: Clock) -> Iterator[Entry]:
    """The intent; before it, where one entry cannot name them all, those that name the rest."""
    *before, last = _lists(found.indexes)
    for entries in before:
        details = {"erasure": intent, "entries": entries}
        yield _entry(order, new_id(clock.now()), Phase.OBSERVED, clock, details=details)
    details = {"entries": last, "approved_by": order.approved_by}
    if found.begin:
        details["looked_from"] = str(found.begin)
    digest = f"sha256:{sha256(order.basis.encode()).hexdigest()}"
    why = Why(rule="erasure", digest=digest, cites=order.basis)
    entry = _entry(order, intent, Phase.INTENT, clock, details=details)
    yield msgspec.structs.replace(entry, why=why)


def _entry(
    order: Order,
    id_: str,
    phase: Phase,
    clock: Clock,
    *,
    details: dict[str, str] | None = None,
    refers_to: str = "",
    result: Result | None = None,
) -> Entry:
    return Entry(
        v=FORMAT,
        id=id_,
        kind=Kind.ERASURE,
        phase=phase,
        time=iso(clock.now()) or "",
        who=Who(kind="person", id=order.by),
        target=Target(connection=_VAULT, address=order.subject),
        details=details or {},
        refers_to=refers_to,
        result=result,
    )


def _lists(indexes: Sequence[int]) -> list[str]:
    """``3, 17, 20-22``, in pieces that an entry has room for; one that is empty, where there are none."""
    pieces = [""]
    for first, last in _ranges(indexes):
        text = str(first) if first == last else f"{first}-{last}"
        if len(pieces[-1]) + len(text) + 2 > _LIST_BYTES_MAX:
            pieces.append("")
        pieces[-1] = f"{pieces[-1]}, {text}" if pieces[-1] else text
    return pieces


def _ranges(indexes: Sequence[int]) -> Iterator[tuple[int, int]]:
    at = 0
    while at < len(indexes):
        end = at
        while end + 1 < len(indexes) and indexes[end + 1] == indexes[end] + 1:
            end += 1
        yield indexes[at], indexes[end]
        at = end + 1
