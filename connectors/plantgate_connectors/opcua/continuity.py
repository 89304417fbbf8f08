"""What outlives a session: the subscriptions, what has been given, and what is still to be given."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Final, Self

from plantgate.sdk import Batch, Context
from plantgate_connectors.opcua.backlog import Backlog
from plantgate_connectors.opcua.last_values import LastValues
from plantgate_connectors.opcua.monitored import Items
from plantgate_connectors.opcua.positions import Left, Positions
from plantgate_connectors.opcua.session import Resume
from plantgate_connectors.opcua.subscription import Mark, Subscription
from plantgate_connectors.opcua.unacknowledged import Unacknowledged

_REMEMBER_SECONDS: Final = 1.0
"""Between two times that the items' last source times are kept."""


@dataclass(slots=True)
class Continuity:
    """One for each connector; sessions come and go."""

    context: Context
    positions: Positions
    items: Items
    last: LastValues
    subscriptions: dict[int, Subscription] = field(default_factory=dict)
    resume: Resume | None = None
    restarted: bool = False
    """The subscriptions are a former process's."""
    began: bool = False
    """There was a session; the next one follows an interruption."""
    backlog: Backlog = field(default_factory=Backlog)
    unacknowledged: Unacknowledged = field(default_factory=Unacknowledged)
    acknowledgements: deque[Mark] = field(default_factory=deque)
    """Messages the server may forget and has not been told so yet."""
    _remembered: float = 0.0

    @classmethod
    def load(cls, context: Context) -> Self:
        """What a former process left in the folder; nothing if it left nothing that can be used."""
        positions = Positions(context.folder)
        try:
            left = positions.load()
        except ValueError as error:
            context.log.warning("starting anew", reason=str(error))
            positions, left = Positions(context.folder), Left()
        made = cls(context, positions, left.items, LastValues(left.times))
        made.subscriptions = {each.id: each for each in left.subscriptions}
        made.resume = left.resume
        made.restarted = bool(left.subscriptions)
        made.began = bool(left.times)
        return made

    async def keep_items(self) -> None:
        """Write down which items are where."""
        await self.positions.keep_items(self.items, self.subscriptions.values())

    async def keep_session(self, resume: Resume) -> None:
        """Remember how to pick this session up, in this process and the next."""
        self.resume = resume
        await self.positions.keep_session(resume)

    def forget_session(self) -> None:
        """It was closed."""
        self.resume = None
        self.positions.forget_session()

    def bury(self, subscription: Subscription) -> list[int]:
        """The server no longer has it; returns the handles it had."""
        handles = self.items.at_home(subscription.id)
        self.items.unsettle(handles)
        if self.subscriptions.get(subscription.id) is subscription:
            del self.subscriptions[subscription.id]
        return handles

    def accepted(self, cursor: str) -> None:
        """Everything up to this cursor is safe."""
        done = self.unacknowledged.acknowledge(cursor)
        if done:
            self.positions.accept(done)
            self.acknowledgements += done
        now = asyncio.get_running_loop().time()
        if now - self._remembered >= _REMEMBER_SECONDS:
            self._remembered = now
            self.remember()

    def remember(self) -> None:
        """Keep the last source times; only while everything given was accepted, since they are what was given."""
        if self.unacknowledged.none:
            self.positions.remember(self.last.times(len(self.items)))

    def to_acknowledge(self, most: int) -> list[Mark]:
        """Messages to tell the server about now; those of subscriptions that are gone are left out."""
        told: list[Mark] = []
        while self.acknowledgements and len(told) < most:
            mark = self.acknowledgements.popleft()
            if self.subscriptions.get(mark[0].id) is mark[0]:
                told.append(mark)
        return told

    def give(self, batch: Batch, marks: list[Mark]) -> Batch:
        """Number a batch and keep it until it is acknowledged."""
        return self.unacknowledged.give(batch, marks)
