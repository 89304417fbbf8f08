"""The actuator: one data package a command, and a confirmation by what the robot program shows, for RTDE gives none."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, NoReturn

from plantgate.sdk import Command, Context, Deadline, OutcomeUnknown, Rejected, Sample, Unavailable
from plantgate.sdk.quality import GOOD
from plantgate_connectors.ur.interlocks import Remote, permit, plays
from plantgate_connectors.ur.mailbox import REFUSED, Sent, Slot, State, Verdict
from plantgate_connectors.ur.opening import Opened, opened
from plantgate_connectors.ur.setpoint import Number, numbers, shown
from plantgate_connectors.ur.settings import RemoteControl, UrSettings, Write
from plantgate_connectors.ur.state import Live
from plantgate_connectors.ur.watching import beside

_FRESH_PERIODS: Final = 2
_SILENT_PERIODS: Final = 3
_WORD_SECONDS: Final = 0.25
"""How long after a command's deadline the program's word on it is waited for."""


class UrActuator:
    """Writes one command after the other. A session whose outcome is unknown is of no use any more."""

    def __init__(self, open_: Opened, live: Live, remote: Remote | None) -> None:
        self._link, self._live, self._remote = open_.link, live, remote
        self._writes, self._recipes = open_.writes, open_.inputs
        self._fresh_seconds = _FRESH_PERIODS * open_.period_seconds
        self._slots = {write.tag: Slot(write.mailbox) for write in self._writes.values() if write.mailbox is not None}
        self._epochs: dict[str, int] = {}
        self._turn = asyncio.Lock()
        self._under_way: Write | None = None
        """What a command was sent for that has no outcome yet."""
        self._spoilt = ""

    def fence(self) -> None:
        """Overwrite what an earlier session may have left in the mailboxes, whether or not the program runs."""
        for tag, slot in self._slots.items():
            self._epochs[tag] = slot.epoch_after(self._live.state)
            self._send_idle(self._writes[tag], slot)

    async def lost(self) -> NoReturn:
        """Until the connection is gone, or has brought nothing for `silence_seconds`. Raises `Unavailable`."""
        await asyncio.wait((self._link.gone,))
        raise Unavailable(self._link.gone.result())

    async def write(self, command: Command) -> None:
        """Send it once. Returns when the robot program shows that it has taken and applied it.

        Raises `Rejected` (a value that does not fit, an interlock, or the program's own refusal), `Unavailable` (not
        one byte of it was sent), `OutcomeUnknown` (sent, and no word on it before the deadline).
        """
        write = self._known(command.tag)
        values = numbers(write, command.value)
        async with self._in_turn(command.deadline):
            await self._permit(command.deadline)
            slot = self._slots.get(write.tag)
            if slot is not None:
                await self._heeded(write, slot, command.deadline)
                await self._permit(command.deadline)
            confirmed = self._send(write, slot, values, command)
            self._under_way = write
            try:
                await self._outcome(write, slot, values, confirmed, command.deadline)
            finally:
                self._under_way = None

    async def read(self, tag: str, deadline: Deadline) -> Sample:
        """What the robot program shows in a data package that comes after this call; its source time is unknown.

        Raises `Unavailable`, also while the program does not run: nobody keeps its registers up then.
        """
        write = self._known(tag)
        async with self._in_turn(deadline):
            if (slot := self._slots.get(tag)) is not None:
                await self._heeded(write, slot, deadline)
            state = await self._next(deadline)
            if not plays(state):
                raise Unavailable(f"{tag}: the robot program does not run, so what its registers show is not believed")
            return Sample(tag, shown(write, [state[name] for name in write.confirm]), GOOD, None)

    def close(self) -> None:
        """While the connection is still there: a command that is under way is taken back, as far as it can be."""
        if (write := self._under_way) is not None:
            self._withdraw(write, self._slots.get(write.tag), "the session was closed while a command was under way")

    # Before anything is sent.

    def _known(self, tag: str) -> Write:
        if (write := self._writes.get(tag)) is None:
            raise Rejected(f"{tag} is not among the `writes` of this connection")
        return write

    @asynccontextmanager
    async def _in_turn(self, deadline: Deadline) -> AsyncIterator[None]:
        try:
            async with deadline.timeout():
                await self._turn.acquire()
        except TimeoutError as error:
            raise Unavailable("an earlier command is still under way; nothing was sent") from error
        try:
            if self._spoilt:
                raise Unavailable(f"{self._spoilt}; open another session")
            yield
        finally:
            self._turn.release()

    async def _permit(self, deadline: Deadline) -> None:
        if asyncio.get_running_loop().time() - self._live.at > self._fresh_seconds:
            await self._next(deadline)
        permit(self._live.state)
        if self._remote is not None:
            self._remote.permit()

    async def _heeded(self, write: Write, slot: Slot, deadline: Deadline) -> None:
        """Until the program listens to this session, and so takes nothing of an earlier one any more."""
        epoch, asked = self._epochs[write.tag], None
        while not slot.heeds(self._live.state, epoch):
            if not plays(self._live.state):
                raise Unavailable(f"{write.tag}: the robot program does not run, so its mailbox is not read")
            idle = slot.idle(self._live.state, epoch)
            if idle != asked:  # a late command of an earlier session can have come before: ask anew
                self._send_idle(write, slot)
                asked = idle
            await self._next(deadline)

    async def _next(self, deadline: Deadline) -> State:
        try:
            return await self._live.next(deadline)
        except TimeoutError as error:
            raise Unavailable(f"{self._link.name}: no answer of the robot in time; nothing was sent") from error

    # Sending, and what comes of it.

    def _send(self, write: Write, slot: Slot | None, values: tuple[Number, ...], command: Command) -> "_Confirmed":
        live = self._live
        if objection := command.objection():
            raise Unavailable(f"{write.tag}: {objection}; nothing was sent")
        if not self._link.clear:
            raise Unavailable(f"{self._link.name} does not take what is sent; nothing more was sent")
        if slot is None:
            self._link.send(self._recipes[write.tag], values)
            return lambda state: Verdict.APPLIED if _shows(write, values, state) else None
        age = asyncio.get_running_loop().time() - live.at
        until, epoch, sequence = slot.command(live.state, self._epochs[write.tag], age, command.deadline.left())
        self._link.send(self._recipes[write.tag], (*values, until, epoch, sequence))
        return lambda state: slot.judged(state, Sent(sequence, epoch))

    async def _outcome(
        self, write: Write, slot: Slot | None, values: tuple[Number, ...], confirmed: "_Confirmed", deadline: Deadline
    ) -> None:
        """Raises what became of it, if it was not applied. The word on it may come a little after the deadline."""
        word = Deadline(deadline.at + _WORD_SECONDS)
        try:
            while (verdict := confirmed(await self._live.next(word))) is None:
                pass
        except TimeoutError as error:
            self._withdraw(write, slot, "no word came on a command until after its deadline")
            raise OutcomeUnknown(f"{write.tag}: sent, and the robot program did not show it in time") from error
        except Unavailable as error:
            self._withdraw(write, slot, str(error))
            raise OutcomeUnknown(f"{write.tag}: sent, and then {error}") from error
        except BaseException:
            self._withdraw(write, slot, "a command was given up after it was sent")
            raise
        if verdict in REFUSED:
            raise Rejected(f"{write.tag}: {REFUSED[verdict]}")
        if verdict is Verdict.STARTED:
            self._withdraw(write, slot, "the robot program was started while a command was under way")
            raise OutcomeUnknown(f"{write.tag}: sent, and the robot program was started anew meanwhile")
        if not _shows(write, values, self._live.state):
            self._withdraw(write, slot, "the robot program confirmed a command and shows another value")
            raise OutcomeUnknown(f"{write.tag}: the robot program confirms it and shows another value")

    def _withdraw(self, write: Write, slot: Slot | None, why: str) -> None:
        """Take it out of the mailbox, so that a program that is paused does not find it when it goes on.

        Without a mailbox nothing is taken back; what of it has not left this machine stays here.
        """
        self._spoilt = why
        if slot is not None:
            self._send_idle(write, slot)
        else:
            self._link.end(why)

    def _send_idle(self, write: Write, slot: Slot) -> None:
        if self._link.clear:
            rest = tuple(False if "_bit_" in name else 0 for name in write.registers)
            idle = slot.idle(self._live.state, self._epochs[write.tag])
            self._link.send(self._recipes[write.tag], (*rest, *idle))


_Confirmed = Callable[[State], Verdict | None]


def _shows(write: Write, values: tuple[Number, ...], state: State) -> bool:
    return tuple(state[name] for name in write.confirm) == values


@asynccontextmanager
async def ur_actuator(settings: UrSettings, context: Context) -> AsyncIterator[UrActuator]:
    """A session. Entering connects, or raises `Unavailable`."""
    live = Live()
    async with opened(settings, context, live) as open_:
        remote = None
        if settings.remote_control is RemoteControl.REQUIRED:
            remote = Remote(settings)
            await remote.ask_once()
        actuator = UrActuator(open_, live, remote)
        actuator.fence()
        silence = max(settings.silence_seconds, _SILENT_PERIODS * open_.period_seconds)
        link = open_.link
        work = {link.name: link.heard_within(silence, lambda: live.at)}
        if remote is not None:
            work[f"{link.name}: remote control"] = remote.keep_asking()
        async with beside(work):
            try:
                yield actuator
            finally:
                actuator.close()
