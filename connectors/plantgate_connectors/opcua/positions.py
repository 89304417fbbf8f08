"""How far everything was accepted, kept so that another process can go on from there. The only writer of these files.

Invariant: the ledger never says more than was accepted. What it does not say is asked for, or looked for, again.
"""

import asyncio
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from asyncua import ua

from plantgate_connectors.opcua import ledger
from plantgate_connectors.opcua.ledger import Ledger
from plantgate_connectors.opcua.monitored import Items
from plantgate_connectors.opcua.session import Resume
from plantgate_connectors.opcua.subscription import Mark, Subscription, nonce

_FORMAT: Final = 2


@dataclass(slots=True)
class Left:
    """What a former process left."""

    items: Items = field(default_factory=Items)
    subscriptions: list[Subscription] = field(default_factory=list)
    times: dict[int, int] = field(default_factory=dict)
    resume: Resume | None = None


class Positions:
    """Three files: which item is where (on change), how far each was accepted (always), the session (once each)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._epoch = nonce()
        self._accepted: dict[int, int] = {}
        self._ledger: Ledger | None = None
        self._times: Sequence[int | None] = ()

    def load(self) -> Left:
        """What can be used of what is there. Raises `ValueError` if it cannot be read; it is then as if nothing was."""
        kept = ledger.read(self._folder / "positions")
        written = _read(self._folder / "subscriptions.json")
        if kept is None or written is None:
            return Left()
        left = Left()
        try:
            if written["format"] != _FORMAT or written["epoch"] != kept.epoch:
                raise ValueError("of another time than the positions")
            left.items = Items.from_json(written["items"])
            for id_, interval, keepalive, lifetime, number in written["subscriptions"]:
                each = Subscription(int(id_), float(interval), float(keepalive), float(lifetime), int(number))
                each.received = kept.positions.get(each.nonce, 0)
                left.subscriptions.append(each)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"what was kept of the subscriptions cannot be used: {error!r}") from error
        self._epoch = kept.epoch
        self._accepted = {each.nonce: each.received for each in left.subscriptions if each.received}
        self._times = [kept.times.get(handle) for handle in range(len(left.items))]
        left.times = {handle: time for handle, time in enumerate(self._times) if time is not None}
        left.resume = _read_resume(self._folder / "session.json")
        return left

    async def keep_items(self, items: Items, subscriptions: Iterable[Subscription]) -> None:
        """Write down which items are where, and forget other subscriptions; returns once it is in place."""
        alive = list(subscriptions)
        self._accepted = {each.nonce: self._accepted[each.nonce] for each in alive if each.nonce in self._accepted}
        if self._ledger is None or self._ledger.items < len(items):
            if self._ledger is not None:
                self._ledger.close()
            room = len(items) * 5 // 4 + 64
            self._ledger = Ledger.make(self._folder / "positions", self._epoch, self._accepted, self._times, room)
        else:
            self._ledger.accept(self._accepted)
        rows = [
            (each.id, each.interval_seconds, each.keepalive_seconds, each.lifetime_seconds, each.nonce)
            for each in alive
        ]
        content = {"format": _FORMAT, "epoch": self._epoch, "subscriptions": rows, "items": items.to_json()}
        await asyncio.to_thread(_write, self._folder / "subscriptions.json", content)

    def accept(self, marks: Iterable[Mark]) -> None:
        """These messages, and all before them, are safe."""
        for subscription, sequence in marks:
            self._accepted[subscription.nonce] = sequence
        if self._ledger is not None:
            self._ledger.accept(self._accepted)

    def remember(self, times: Sequence[int | None]) -> None:
        """Source times (ns UTC) of the last values that were accepted, by handle."""
        self._times = times
        if self._ledger is not None:
            self._ledger.remember(times)

    async def keep_session(self, resume: Resume) -> None:
        """Write down how to pick the session up. Whoever holds the token can act in it: the file is ours alone."""
        await asyncio.to_thread(_write, self._folder / "session.json", resume.to_json())

    def forget_session(self) -> None:
        """It was closed: there is nothing to pick up."""
        (self._folder / "session.json").unlink(missing_ok=True)


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
