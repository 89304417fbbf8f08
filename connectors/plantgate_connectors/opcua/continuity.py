"""What outlives a session: subscriptions, positions in them, what has been given and what is still to be given.

The server keeps a subscription while we are away; whether the next session, or the next process, can go on where this
one ended depends on what is known here. Positions are in the ledger with every acknowledgement; which item has which
handle is written whenever it changes.
"""

import asyncio
import json
import os
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from asyncua import ua

from plantgate.sdk import Batch, Context, Value
from plantgate_connectors.opcua import ledger
from plantgate_connectors.opcua.backlog import UNKNOWN, Backlog, Last, Unknown
from plantgate_connectors.opcua.ledger import Ledger
from plantgate_connectors.opcua.monitored import Items
from plantgate_connectors.opcua.session import Resume

_FORMAT: Final = 1
_REMEMBER_SECONDS: Final = 1.0
"""Between two times that the items' last source times go to the ledger."""


@dataclass(slots=True)
class Subscription:
    """One subscription at the server."""

    id: int
    interval_seconds: float
    keepalive_seconds: float
    """The longest the server stays silent."""
    lifetime_seconds: float
    received: int = 0
    """Sequence number of the last message taken in; 0 before the first."""
    full: bool = False
    """The server takes no more items into it."""
    heard: float = 0.0
    """When it was heard of last, on the loop's clock."""
    outage: str | None = None
    """Why it was not listened to; cleared by the first message after it."""


@dataclass(slots=True)
class Given:
    """A batch that was given and is not acknowledged yet."""

    number: int
    batch: Batch
    marks: list[tuple[int, int]]


@dataclass(slots=True)
class Continuity:
    """One for each connector; sessions come and go."""

    context: Context
    items: Items = field(default_factory=Items)
    subscriptions: dict[int, Subscription] = field(default_factory=dict)
    resume: Resume | None = None
    restarted: bool = False
    """The subscriptions are a former process's."""
    began: bool = False
    """Some session has been open; the next one follows an interruption."""
    backlog: Backlog = field(default_factory=Backlog)
    given: deque[Given] = field(default_factory=deque)
    again: deque[Given] = field(default_factory=deque)
    """Given to a session that ended before they were acknowledged."""
    last: dict[int, Last] = field(default_factory=dict)
    """The last sample given, by handle."""
    repeats: dict[int, dict[int | None, Value | Unknown]] = field(default_factory=dict)
    """Samples (time: value) that will come once more and are then dropped, by handle."""
    acknowledged: dict[int, int] = field(default_factory=dict)
    numbered: int = 0
    _ledger: Ledger | None = None
    _remembered: float = 0.0

    @classmethod
    def load(cls, context: Context) -> Self:
        """What a former process left in the folder; nothing if it left nothing that can be used."""
        made = cls(context)
        written = _read(context.folder / "subscriptions.json")
        kept = ledger.read(context.folder / "positions")
        if written is None or kept is None or written.get("format") != _FORMAT:
            return cls._anew(context)
        positions, times = kept
        try:
            made.items = Items.from_json(written["items"])
            for row in written["subscriptions"]:
                id_, interval, keepalive, lifetime = row
                subscription = Subscription(int(id_), float(interval), float(keepalive), float(lifetime))
                subscription.received = positions.get(subscription.id, 0)
                made.subscriptions[subscription.id] = subscription
        except (KeyError, TypeError, ValueError):
            context.log.warning("what was kept of the subscriptions cannot be read; starting anew")
            return cls._anew(context)
        made.acknowledged = {id_: positions[id_] for id_ in made.subscriptions if id_ in positions}
        made.last = {handle: (time, UNKNOWN, 0) for handle, time in times.items() if handle < len(made.items)}
        made.resume = _read_resume(context.folder / "session.json")
        made.restarted = bool(made.subscriptions)
        made.began = bool(made.last)
        return made

    @classmethod
    def _anew(cls, context: Context) -> Self:
        """Positions are by handle: without the items they were for, they mean nothing."""
        (context.folder / "positions").unlink(missing_ok=True)
        return cls(context)

    async def keep_subscriptions(self) -> None:
        """Write down which items are where; returns once the file is in place."""
        if self._ledger is None or self._ledger.items < len(self.items):
            if self._ledger is not None:
                self._ledger.close()
            self._ledger = Ledger.open(self.context.folder / "positions", len(self.items) * 5 // 4 + 64)
            self._ledger.acknowledge(self.acknowledged)
        rows = [
            (each.id, each.interval_seconds, each.keepalive_seconds, each.lifetime_seconds)
            for each in self.subscriptions.values()
        ]
        content = {"format": _FORMAT, "subscriptions": rows, "items": self.items.to_json()}
        await asyncio.to_thread(_write, self.context.folder / "subscriptions.json", content)

    async def keep_session(self, resume: Resume) -> None:
        """Write down how to pick the session up. Whoever holds the token can act in it: the file is ours alone."""
        self.resume = resume
        await asyncio.to_thread(_write, self.context.folder / "session.json", resume.to_json())

    def forget_session(self) -> None:
        """It was closed: there is nothing to pick up."""
        self.resume = None
        (self.context.folder / "session.json").unlink(missing_ok=True)

    def bury(self, subscription: int) -> list[int]:
        """The server no longer has this subscription; returns the handles it had."""
        handles = self.items.at_home(subscription)
        self.items.unsettle(handles)
        self.subscriptions.pop(subscription, None)
        self.acknowledged.pop(subscription, None)
        return handles

    def give(self, batch: Batch, marks: list[tuple[int, int]]) -> Batch:
        """Number a batch and keep it until it is acknowledged."""
        self.numbered += 1
        batch.cursor = str(self.numbered)
        self.given.append(Given(self.numbered, batch, marks))
        return batch

    def give_again(self) -> Batch | None:
        """The next batch that a former session gave in vain."""
        if not self.again:
            return None
        given = self.again.popleft()
        self.given.append(given)
        return given.batch

    def session_over(self) -> None:
        """What was given and not acknowledged comes first next time."""
        self.again.extendleft(reversed(self.given))
        self.given.clear()

    def accepted(self, cursor: str) -> list[tuple[int, int]]:
        """Everything up to this cursor is safe; returns the messages that are done with."""
        done: list[tuple[int, int]] = []
        number = int(cursor)
        while self.given and self.given[0].number <= number:
            done += self.given.popleft().marks
        for subscription, sequence in done:
            if subscription in self.subscriptions:
                self.acknowledged[subscription] = sequence
        if self._ledger is not None:
            if done:
                self._ledger.acknowledge(self.acknowledged)
            now = asyncio.get_running_loop().time()
            if not self.given and now - self._remembered >= _REMEMBER_SECONDS:
                self._remembered = now
                self.remember()
        return done

    def remember(self) -> None:
        """Put the last source times into the ledger; only right while nothing given is unacknowledged."""
        if self._ledger is not None and not self.given:
            self._ledger.remember((handle, last[0]) for handle, last in self.last.items())

    def expect_repeats(self, handles: Iterable[int]) -> None:
        """These items will report their present value: it is no news if it is the one given last."""
        for handle in handles:
            if handle in self.last:
                time, value, _ = self.last[handle]
                self.repeats.setdefault(handle, {})[time] = value


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _write(path: Path, content: object) -> None:
    """In place at once or not at all."""
    fresh = path.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(json.dumps(content, separators=(",", ":")).encode())
    fresh.replace(path)


def _read_resume(path: Path) -> Resume | None:
    written = _read(path)
    try:
        return None if written is None else Resume.from_json(written)
    except (KeyError, TypeError, ValueError, ua.UaError):
        return None
