"""Polls one device on its own schedule, so that no other device waits for it."""

import asyncio
import math
from dataclasses import dataclass
from typing import Final

from plantgate.sdk import Backoff, Context
from plantgate_connectors.modbus.account import Account
from plantgate_connectors.modbus.backlog import Backlog
from plantgate_connectors.modbus.blocks import Block, Budget, blocks
from plantgate_connectors.modbus.clock_register import ClockRegister
from plantgate_connectors.modbus.exchange import Patience
from plantgate_connectors.modbus.gather import Gathering
from plantgate_connectors.modbus.line import Line
from plantgate_connectors.modbus.parting import Parting
from plantgate_connectors.modbus.pdu import Failure, Silent
from plantgate_connectors.modbus.presence import Presence
from plantgate_connectors.modbus.refusals import absent, divisible, for_good, trouble
from plantgate_connectors.modbus.registers import Field

_SLOW_TOLD_SECONDS: Final = 60.0
"""How long polls left out by a slow device are gathered before a gap record names them."""
_ASK_AGAIN: Final = Backoff(first_seconds=1.0, most_seconds=300.0)
"""Before registers that were refused for good are asked for again."""
_ROUNDS_MOST: Final = 12
"""Of parting refused blocks in one poll; what is not done then goes on in the next."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is read from a device, and how."""

    name: str
    unit: int
    fields: tuple[Field, ...]
    clock: ClockRegister | None
    budget: Budget
    patience: Patience
    interval_seconds: float
    demote_after: int
    probe: Backoff

    def blocks(self) -> tuple[Block, ...]:
        """The requests of one poll, if all goes well."""
        fields = self.fields if self.clock is None else (*self.fields, self.clock.field)
        return blocks(fields, self.budget)


class Device:
    """Outlives the sessions: what is owed between two of them is on its account."""

    def __init__(self, plan: Plan, context: Context, began: float, *, resumed: bool, time: int | None) -> None:
        """`began`: when poll 0 was due, on the loop's clock. `resumed`: an earlier run of the gateway polled it.

        `time`: source time of the last values that were safe then.
        """
        self.plan = plan
        self._context = context
        self._began = began
        self._poll = 0
        self._fails = 0
        self._parting = Parting(plan.budget)
        self._accounts = [Account(block, settled=-1, time=time, resumed=resumed) for block in plan.blocks()]
        self._slow_told = began

    async def keep_polling(self, line: Line, backlog: Backlog, presence: Presence) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        interval = self.plan.interval_seconds
        due = math.floor((loop.time() - self._began) / interval)
        if due > self._poll:  # between two sessions nobody polled
            self._missed("not polled")
            self._poll = due
        while True:
            await self._until(self._began + self._poll * interval)
            if backlog.full:
                self._missed("outbox slow")
                self._context.standing.count("polls_held_back")
                await backlog.room()
                self._poll = max(self._poll + 1, math.ceil((loop.time() - self._began) / interval))
                continue
            answered = await self._ask(self._poll, line, backlog, presence)
            due = self._poll + 1
            if answered:
                self._fails = 0
                self._poll = max(due, math.floor((loop.time() - self._began) / interval))
                if self._poll > due:
                    self._left_out(due - 1, self._poll - due)
                continue
            self._fails += 1
            if not line.up.is_set():
                await line.up.wait()
            elif self._fails >= self.plan.demote_after:
                self._context.standing.count("probes")
                pause = self.plan.probe.delay(self._fails - self.plan.demote_after)
                due = max(due, self._poll + math.ceil(pause / interval))
            self._poll = max(due, math.ceil((loop.time() - self._began) / interval))

    async def _until(self, moment: float) -> None:
        pause = moment - asyncio.get_running_loop().time()
        if pause > 0:
            await asyncio.sleep(pause)

    # One poll.

    async def _ask(self, poll: int, line: Line, backlog: Backlog, presence: Presence) -> bool:
        """Ask for everything that is due; true when the device was heard."""
        plan, gathering = self.plan, Gathering(self.plan.clock)
        due = [account for account in self._accounts if account.ask_again <= poll]
        if not due:
            return True
        if self._fails:  # one that has been silent may cost the line one time-out, not one for each block
            due.sort(key=lambda account: account.silences)
            heard, failure = await self._round(poll, due[:1], line, gathering, presence)
            due = due[1:]
            if heard and due and failure is None:
                _, failure = await self._round(poll, due, line, gathering, presence)
            elif failure is not None:
                for account in due:
                    gathering.bad(account, trouble(failure))
        else:
            heard, failure = await self._round(poll, due, line, gathering, presence)
        self._give(poll, gathering, backlog)
        if heard:
            presence.here(plan.name, refused=sum(len(a.block.tags) for a in self._accounts if a.refused))
        elif failure is not None:
            presence.away(plan.name, trouble(failure).reason)
        return heard

    async def _round(
        self, poll: int, asked: list[Account], line: Line, gathering: Gathering, presence: Presence
    ) -> tuple[bool, Failure | None]:
        """Whether the device was heard, and what kept it from being heard to the end."""
        heard, missing = False, None
        silent: list[Account] = []
        for _ in range(_ROUNDS_MOST):
            reads = [account.block.read for account in asked]
            self._context.standing.count("requests", len(reads))
            answers = await line.ask(self.plan.unit, reads, self.plan.patience)
            parts: list[Account] = []
            for account, came in zip(asked, answers, strict=True):
                if isinstance(came, bytes):
                    heard = True
                    gathering.good(account, came)
                elif absent(came):
                    missing = came
                    gathering.bad(account, trouble(came))
                    if not isinstance(came, Silent) or came.asked:
                        silent.append(account)
                else:
                    heard = True
                    parts += self._refused(poll, account, came, gathering, presence)
            if not parts:
                break
            asked = parts
        if heard:
            for account in silent:
                self._silent(poll, account)
        return heard, missing

    def _refused(
        self, poll: int, account: Account, failure: Failure, gathering: Gathering, presence: Presence
    ) -> list[Account]:
        """Tell it, or divide the block and return the parts, which are to be asked at once."""
        if divisible(failure) and (parts := self._parting.part(account)):
            at = self._accounts.index(account)
            self._accounts[at : at + 1] = parts
            self._context.standing.count("blocks_parted")
            return parts
        found = trouble(failure)
        if for_good(failure):
            if not account.refused:
                presence.refuses(self.plan.name, str(account.block.read), found.reason)
            self._ask_later(poll, account, account.refused)
            account.refused += 1
        gathering.bad(account, found, for_good=for_good(failure))
        return []

    def _silent(self, poll: int, account: Account) -> None:
        """The device answers, but not this: some are silent about what they do not have."""
        account.silences += 1
        if account.silences >= self.plan.demote_after:
            self._ask_later(poll, account, account.silences - self.plan.demote_after)

    def _ask_later(self, poll: int, account: Account, attempt: int) -> None:
        account.ask_again = poll + math.ceil(_ASK_AGAIN.delay(attempt) / self.plan.interval_seconds)

    def _give(self, poll: int, gathering: Gathering, backlog: Backlog) -> None:
        """What came goes to the backlog, and the accounts are settled."""
        now = asyncio.get_running_loop().time()
        tell_slow = now - self._slow_told >= _SLOW_TOLD_SECONDS
        if tell_slow:
            self._slow_told = now
        batch = gathering.batch(poll, self._context.clock.now(), tell_slow=tell_slow)
        self._accounts = self._parting.mend(self._accounts, poll)
        if batch is None:
            return
        if gathering.clocks_ahead:
            self._context.standing.count("clocks_ahead", gathering.clocks_ahead)
        backlog.put(batch, self.plan.name, gathering.time)

    def _missed(self, cause: str) -> None:
        for account in self._accounts:
            account.missed(cause)

    def _left_out(self, poll: int, polls: int) -> None:
        """A poll took longer than its interval, and those after it were due meanwhile."""
        self._context.standing.count("polls_left_out", polls)
        for account in self._accounts:
            if account.settled == poll:
                account.left_out(polls)
