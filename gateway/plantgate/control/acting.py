"""All that acts on machines, put together: what the runtime keeps running, and what people and loops ask."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Set
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Self

from plantgate.audit.entry import Entry, Kind, Who, decode
from plantgate.audit.log import AuditLog
from plantgate.control.apart import distance
from plantgate.control.approvals import Approvals
from plantgate.control.arming import Arming
from plantgate.control.book import BUILT_IN, Book, Text
from plantgate.control.desk import Desk
from plantgate.control.evidence import Evidence
from plantgate.control.gate import Gate
from plantgate.control.hand import Hand
from plantgate.control.latest import Latest
from plantgate.control.leases import Leases, is_fallback
from plantgate.control.past import Past
from plantgate.control.reconcile import reconcile
from plantgate.control.record import GATEWAY, Ledger, Record
from plantgate.control.settings import ControlSettings
from plantgate.control.shadow import Shadow, source
from plantgate.control.steady import Steady
from plantgate.control.switches import EVERYTHING, NotKept, Switches, Thrown
from plantgate.control.typed import read_back
from plantgate.flow.stop import Stop
from plantgate.sdk import Clock, Log, Model, Settings, iso
from plantgate.store.disk import Disk
from plantgate.store.writer import DiskFull

_TEXT_MAX = 12_000
"""Bytes of a rule's text that go into an entry; of a longer one the digest does."""


class Acting:
    """Made by `begin`, which asks the log what is open. Nothing is written before what is open is settled."""

    def __init__(
        self,
        gate: Gate,
        leases: Leases,
        approvals: Approvals,
        desk: Desk,
        record: Record,
        evidence: Evidence | None,
        clock: Clock,
        log: Log,
    ) -> None:
        self.gate, self.leases, self.approvals, self.desk = gate, leases, approvals, desk
        self.evidence = evidence
        self.record, self._clock, self._log = record, clock, log
        self._on_record: dict[str, str] = {}
        """Digest of each text that is on record, by the text's name."""

    @classmethod
    async def begin(
        cls,
        settings: ControlSettings,
        log: AuditLog,
        past: Past,
        hands: Mapping[str, Hand],
        *,
        connections: Mapping[str, Settings],
        loops: Mapping[str, Mapping[str, Settings]],
        folder: Path,
        disk: Disk,
        clock: Clock,
        news: Log,
        cells: Callable[[str], tuple[str, ...]] = lambda connection: (),
        ledger: Ledger | None = None,
        evidence: Evidence | None = None,
    ) -> Self:
        """`past`: what the log said when it was opened. `hands`: one for each connection that `settings` write to.

        `connections`: the settings of each hand's; `loops`: of each loop those of its ``camera`` and its ``model``.
        `folder` keeps the switches. `ledger` stands before the log, where something else is to see each entry.
        `evidence` keeps the pictures of loops that want it.
        Raises `GatewayError`, `OSError`.
        """
        book = Book.of(settings, connections, loops)
        record = Record(ledger or log, clock)
        switches = Switches.open(disk, folder / "switches.json", iso(clock.now()) or "")
        steady = Steady(clock)
        arming = Arming(switches, steady, record, clock, people=settings.people_to_arm)
        shadow = Shadow(settings.shadow, arming.stop, news)
        latest = Latest(book.tags(), clock)
        gate = Gate(book, hands, record, latest, switches, steady, shadow=shadow, log=news, cells=cells)
        leases = Leases(gate, news)
        gate.dispatch.leases = leases
        approvals = Approvals(gate, record, clock)
        find = partial(_find, log)
        stoppable = {*book.limits, *hands, *(cell for connection in hands for cell in cells(connection))}
        desk = Desk(gate, leases, approvals, arming, record, stoppable=stoppable, find=find, log=news)
        acting = cls(gate, leases, approvals, desk, record, evidence, clock, news)
        await acting._take_up(past, book)
        return acting

    async def meet(self, loop: str, model: Model) -> None:
        """A loop's model, as it was loaded: another one than the last is stopped until people arm it.

        Whoever swaps a file is one person, and what it names, nobody has agreed to. Raises `GatewayError`.
        """
        text = Text.made(f"model of loop {loop}", {"name": model.name, "digest": model.digest})
        before = self._on_record.get(text.name)
        if before == text.digest:
            return
        if before is not None:
            name = source(Who(kind="model", id=model.name))
            self._log.warning("a loop has another model than before; it is stopped until people arm it", name=name)
            self.gate.switches.throw(name, Thrown("gateway", f"loop {loop} had another before", self.record.now()))
        await self._put_down(text)

    def services(self) -> Iterator[tuple[str, Callable[[Stop], Coroutine[Any, Any, None]]]]:
        """What is kept running beside the hands' own sessions, by name."""
        yield "reconcile", partial(reconcile, self.gate, self.record, self._log)
        yield "leases", self.leases.keep
        if self.evidence is not None:
            yield "evidence", self.evidence.keep

    async def _take_up(self, past: Past, book: Book) -> None:
        """Go on where the last run ended."""
        for intent in past.open.values():
            self._log.warning("a write is on record, and not what became of it; the machine is asked", entry=intent.id)
            self.gate.hold(intent)
        for intent in past.recent:
            self._keep_pace(intent, book)
        for tag, intent in past.standing.items():
            if (limits := book.limits.get(tag)) is None or limits.settings.lease is None:
                continue
            if past.happened.get(tag) != intent.id or not is_fallback(intent, limits):
                self.leases.expire(tag)
        self._on_record = dict(past.texts)
        new = [text for text in book.texts() if self._on_record.get(text.name) != text.digest]
        try:
            self._stop_what_changed({text.name for text in new}, book, first=not past.texts)
            for text in new:
                await self._put_down(text)
        except (NotKept, DiskFull) as error:  # people on the spot must still be able to act; the next start says it
            why = "what may be written has changed, and the disk was too full to record that"
            self.gate.unrecorded = f"{why}: make room and start the gateway again"
            self._log.error("nothing but an emergency may act until the next start", reason=str(error))

    async def _put_down(self, text: Text) -> None:
        content = text.content if len(text.content.encode()) <= _TEXT_MAX else ""
        details = {"name": text.name, "digest": text.digest, "text": content}
        await self.record.observed(Kind.RULE_CHANGE, GATEWAY, details=details)
        self._on_record[text.name] = text.digest

    def _keep_pace(self, intent: Entry, book: Book) -> None:
        """A restart is no way to write more often, or further, than the limits allow."""
        limits = book.limits.get(intent.target.address) if intent.target is not None else None
        if limits is None or intent.after is None:
            return
        ago = (self._clock.now() - datetime.fromisoformat(intent.time).timestamp() * 1e9) / 1e9
        with suppress(ValueError):  # the tag had another type then
            after = read_back(intent.after.value, limits.settings.data_type)
            before = after if intent.before is None else read_back(intent.before.value, limits.settings.data_type)
            at = asyncio.get_running_loop().time() - max(0.0, ago)
            self.gate.pace.note(limits.tag, at, distance(after, before))

    def _stop_what_changed(self, changed: Set[str], book: Book, *, first: bool) -> None:
        """Whoever can change the plant file is one person; what it allows now counts once people have armed it."""
        switches, now = self.gate.switches, self.record.now()
        stopped: dict[str, Thrown] = {}
        if first or book.people.name in changed:
            why = "people, or what they or models may do, have changed"
            if first:
                why = "none of its rules is in the audit log"
            seen = switches.thrown().get(EVERYTHING)
            if seen is None or not seen.unarmed:
                stopped[EVERYTHING] = Thrown("gateway", why, now, unarmed=True)
        if not first:
            stopped.update(_stops(changed, book, now))
        for name, thrown in sorted(stopped.items()):
            self._log.warning("stopped until people arm it", name=name, reason=thrown.reason)
        if stopped:
            switches.throw_all(stopped)


def _stops(changed: Set[str], book: Book, now: str) -> Iterator[tuple[str, Thrown]]:
    """Tags and connections that a change is about; of several reasons the one that counts most is the last."""
    for watch in book.loops.values():
        if watch.text.name in changed:
            yield from ((tag, Thrown("gateway", "its loops have changed", now)) for tag in watch.tags)
    why = "its limits or rules have changed"
    for rule in book.rules.values():
        if rule.text.name in changed and rule.id not in BUILT_IN:
            yield from ((tag, Thrown("gateway", why, now)) for tag in rule.settings.allows)
    for limits in book.limits.values():
        if limits.text.name in changed:
            yield limits.tag, Thrown("gateway", why, now, unarmed=True)
    for name, text in book.connections.items():
        if text.name in changed:
            yield name, Thrown("gateway", "its settings have changed", now, unarmed=True)


async def _find(log: AuditLog, name: str) -> Entry | None:
    """An entry by id."""
    return await asyncio.to_thread(lambda: _first(log.entries(), name))


def _first(entries: Iterable[bytes], name: str) -> Entry | None:
    mark = f'"id":"{name}"'.encode()
    for content in entries:
        if mark in content and (entry := decode(content)).id == name:
            return entry
    return None
