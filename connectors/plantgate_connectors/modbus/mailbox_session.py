"""A session with a PLC's mailbox: opens it, keeps its heart beating, and gets an answer to each command."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from plantgate.sdk import Command, Deadline, OutcomeUnknown, Rejected, Unavailable
from plantgate_connectors.modbus.encode import encoded
from plantgate_connectors.modbus.exchange import Patience
from plantgate_connectors.modbus.line import Line
from plantgate_connectors.modbus.lines import latest
from plantgate_connectors.modbus.mailbox import (
    EPOCH_MOST,
    REFUSED,
    REGISTERS,
    SEQUENCE_MOST,
    VALUE_BYTES,
    Echo,
    Order,
    Slot,
    echo,
    exact,
)
from plantgate_connectors.modbus.pdu import Answer, Read, Refused, Silent, Write
from plantgate_connectors.modbus.refusals import BUSY, for_good, trouble
from plantgate_connectors.modbus.registers import Field, Table

_LOOK_SECONDS: Final = 0.01
"""Between two looks at the echo; a PLC's scan takes a few milliseconds."""
_WORD_SECONDS: Final = 0.5
"""How long after a command's deadline the program's word on it is waited for."""


class MailboxSession:
    """Hands in one command after the other. After an unknown outcome it is of no use any more."""

    def __init__(self, name: str, slot: Slot, line: Line, unit: int, patience: Patience) -> None:
        self._name, self._slot = name, slot
        self._echo = Read(Table.HOLDING.function, slot.echo_address, REGISTERS)
        self._line, self._unit, self._patience = line, unit, patience
        self._turn = asyncio.Lock()
        self._opened: Order | None = None
        """The last block that was taken: by it the session is known."""
        self._heartbeat = secrets.randbelow(1 << 16)
        self._spoilt = ""

    async def write(self, command: Command, field: Field) -> None:
        """Returns when the program says that it has applied it. Raises as `plantgate.sdk.Actuator.write`."""
        encoded(field, command.value)  # what the tag's own registers cannot show, nobody could read back
        value = exact(command.value) if type(command.value) is int or type(command.value) is float else None
        if value is None:
            raise Rejected(f"{command.tag}: {command.value!r} is no number that a float64 holds exactly")
        async with self._in_turn(command.deadline):
            last, seen, came_at = await self._ready(command.deadline)
            not_after = seen.not_after(command.deadline.at - came_at)
            tag_id = self._slot.tag_ids[command.tag]
            order = Order(last.epoch, last.sequence + 1, self._beat(), tag_id, value, not_after)
            await self._hand_in(command, order)

    async def settle(self, deadline: Deadline) -> None:
        """Returns when the program takes nothing of an earlier session any more. Raises `Unavailable`, `Rejected`."""
        async with self._in_turn(deadline):
            if self._opened is None:
                await self._open(deadline)

    async def keep_beating(self) -> None:
        """Until cancelled, or until another session has taken over. Without it the program falls back."""
        every = self._slot.heartbeat_seconds
        while not self._spoilt:
            await asyncio.sleep(every)
            async with self._turn:
                if self._opened is not None and not self._spoilt:
                    await self._beat_once(Deadline.after(every))

    # Before a command.

    @asynccontextmanager
    async def _in_turn(self, deadline: Deadline) -> AsyncIterator[None]:
        try:
            async with deadline.timeout():
                await self._turn.acquire()
        except TimeoutError as error:
            raise Unavailable(f"{self._name}: a command or heartbeat is still under way; nothing was sent") from error
        try:
            if self._spoilt:
                raise Unavailable(f"{self._name}: {self._spoilt}; open another session")
            yield
        finally:
            self._turn.release()

    async def _ready(self, deadline: Deadline) -> tuple[Order, Echo, float]:
        """The last block that was taken, what the program shows now, and since when we know."""
        if self._opened is None or self._opened.sequence == SEQUENCE_MOST:
            self._opened = await self._open(deadline)
        seen, came_at = await self._look(deadline)
        self._check(seen, self._opened)
        if self._spoilt:
            raise Unavailable(f"{self._name}: {self._spoilt}; open another session; nothing was sent")
        return self._opened, seen, came_at

    async def _open(self, deadline: Deadline) -> Order:
        """Ask with a higher epoch until the program listens to us."""
        seen, _ = await self._look(deadline)
        while True:
            if seen.epoch == EPOCH_MOST:
                raise Rejected(f"{self._name}: there is no epoch after {seen.epoch}; set the PLC's back to 0")
            order = Order(seen.epoch + 1, 0, self._beat(), value=secrets.token_bytes(VALUE_BYTES))
            came = await self._put(order, deadline)
            if isinstance(came, Refused):
                why = f"{self._name}: the mailbox cannot be written: {trouble(came).reason}"
                raise Rejected(why) if for_good(came) else Unavailable(why)
            while seen.epoch < order.epoch:  # by whom it was taken is seen then
                await self._pause(deadline)
                seen, _ = await self._look(deadline)
            if seen.opened_by(order):
                self._opened = order
                return order

    def _check(self, seen: Echo, last: Order) -> None:
        if (seen.epoch, seen.sequence) != (last.epoch, last.sequence):
            self._spoilt = f"the PLC listens to another session, or was started (epoch {seen.epoch} after {last.epoch})"

    # The command, and what comes of it.

    async def _hand_in(self, command: Command, order: Order) -> None:
        self._spoilt = "a command was given up after it was sent"  # until it is known that it is not so
        came = await self._put(order, command.deadline, command.objection)
        if isinstance(came, Silent) and not came.asked:
            self._spoilt = ""
            raise Unavailable(f"{command.tag}: {came.reason}; nothing was sent")
        if isinstance(came, Refused) and (for_good(came) or came.code == BUSY):
            self._spoilt = ""
            raise Rejected(f"{command.tag}: the mailbox refuses it with {trouble(came).reason}; nothing was changed")
        self._spoilt = "no word came on a command"
        word = Deadline(command.deadline.at + _WORD_SECONDS)
        try:
            while True:
                seen, _ = await self._look(word)
                if (verdict := seen.judge(order)) is not None:
                    break
                if seen.epoch != order.epoch:
                    raise Unavailable(f"{self._name}: it listens to another session, or was started")
                await self._pause(word)
        except (Unavailable, Rejected, ValueError) as error:
            self._spoilt = f"no word came on a command that can be believed: {error}"
            raise OutcomeUnknown(
                f"{command.tag}: put into the mailbox, and then {error}; look at the machine"
            ) from error
        self._opened, self._spoilt = order, ""
        if verdict in REFUSED:
            raise Rejected(f"{command.tag}: refused by the PLC: {REFUSED[verdict]}")

    # Single requests.

    async def _beat_once(self, deadline: Deadline) -> None:
        assert self._opened is not None, "only an open session has a heart"
        try:
            seen, _ = await self._look(deadline)
        except (Unavailable, Rejected):
            return  # the next one may come through; if none does, the program falls back, as it should
        self._check(seen, self._opened)
        if not self._spoilt:
            await self._put(Order(self._opened.epoch, self._opened.sequence, self._beat()), deadline)

    def _beat(self) -> int:
        self._heartbeat = (self._heartbeat + 1) & 0xFFFF
        return self._heartbeat

    async def _put(self, order: Order, deadline: Deadline, objection: Callable[[], str] = lambda: "") -> Answer:
        write = Write.registers(self._slot.address, order.pack())
        not_after = latest(self._line, write, deadline)
        return await self._line.write(self._unit, write, self._patience, not_after, objection)

    async def _look(self, deadline: Deadline) -> tuple[Echo, float]:
        """What the program shows, and when that came. Raises `Unavailable`, `Rejected`."""
        while True:
            try:
                async with deadline.timeout():
                    [came] = await self._line.ask(self._unit, [self._echo], self._patience)
            except TimeoutError:
                raise Unavailable(f"{self._name}: no answer from {self._line.address} in time") from None
            if not isinstance(came, bytes):
                why = f"{self._name}: {trouble(came).reason}"
                raise Rejected(why) if for_good(came) else Unavailable(why)
            came_at = asyncio.get_running_loop().time()
            if (found := echo(came)) is not None:
                return found, came_at
            await self._pause(deadline)

    async def _pause(self, deadline: Deadline) -> None:
        if deadline.left() <= _LOOK_SECONDS:
            raise Unavailable(f"{self._name}: the PLC program shows no answer in time")
        await asyncio.sleep(_LOOK_SECONDS)
