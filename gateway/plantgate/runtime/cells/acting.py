"""An actuator that lives in a cell, as the gateway's gate sees it: an actuator."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Final

from plantgate.runtime.cells.link import Session
from plantgate.runtime.cells.messages import Ask, Recall, Write
from plantgate.sdk import Batch, Command, Deadline, Sample, Unavailable

_LOOK_SECONDS: Final = 0.01
"""How often a command that waits in the cell is asked whether it still stands."""


class CelledActuator:
    """What is told to the cell is told once: nothing here, and nothing on the way there, says it again."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._turn = asyncio.Lock()

    async def write(self, command: Command) -> None:
        """As `Actuator.write`. The cell ending before it has answered is an unknown outcome."""
        async with self._in_turn(command.tag, command.deadline):
            if objection := command.objection():
                raise Unavailable(f"{command.tag}: {objection}; nothing was sent")
            told = Write(self._session.number, command.id, command.tag, command.value, command.deadline.at)
            with self._looking(command):
                await self._session.call(told)

    async def read(self, tag: str, deadline: Deadline) -> Sample:
        """As `Actuator.read`. Cancelled, or too late, the session stays as good as it was, unless the cell goes on to
        say nothing: then every later call is `Unavailable`."""
        async with self._in_turn(tag, deadline):
            try:
                async with deadline.timeout():
                    batch = await self._session.call(Ask(self._session.number, tag, deadline.at))
            except TimeoutError:
                raise Unavailable(f"{tag}: the cell did not say in time what the machine has") from None
        assert isinstance(batch, Batch)
        (sample,) = batch
        return sample

    @asynccontextmanager
    async def _in_turn(self, tag: str, deadline: Deadline) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            try:
                async with deadline.timeout():
                    await stack.enter_async_context(self._turn)
                    await self._session.done()
            except TimeoutError:
                raise Unavailable(f"{tag}: an earlier call is still under way; nothing was sent") from None
            yield

    @contextmanager
    def _looking(self, command: Command) -> Iterator[None]:
        """What the gateway learns while the command waits in the cell, the cell must learn as well."""
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle

        def look() -> None:
            nonlocal timer
            if reason := command.recalled():
                self._session.tell(Recall(self._session.number, reason))
            elif not command.deadline.passed():
                timer = loop.call_later(_LOOK_SECONDS, look)

        timer = loop.call_later(_LOOK_SECONDS, look)
        try:
            yield
        finally:
            timer.cancel()
