"""The session through which one connection is acted on: there, or not."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from plantgate.flow.noticed import noticed
from plantgate.flow.stop import Stop
from plantgate.sdk import Actuator, Command, Deadline, OutcomeUnknown, Rejected, Sample, Unavailable

_READ_SECONDS_MAX = 5.0


class Hand:
    """One for each connection that is written to. One write at a time: hold `busy` from the first look to the last."""

    def __init__(
        self,
        connection: str,
        open_actuator: Callable[[], AbstractAsyncContextManager[Actuator]],
        opened: Callable[[], None] = lambda: None,
    ) -> None:
        """`opened` is told of every session."""
        self._opened = opened
        self.connection = connection
        self.busy = asyncio.Lock()
        self._open = open_actuator
        self._actuator: Actuator | None = None
        self._broken = asyncio.Event()
        self._there = asyncio.Event()

    async def session(self, stop: Stop) -> None:
        """Keep a session open until asked to stop. Raises `Unavailable` when it is of no more use: open the next.

        It is used from the next command on: whoever is busy began in the session before, and ends there.
        """
        broken = asyncio.Event()
        async with self._open() as actuator, noticed(actuator, broken.set):
            self._opened()
            await stop.unless(self._nobody_busy)
            self._actuator, self._broken = actuator, broken
            self._there.set()
            try:
                await stop.unless(broken.wait)
            finally:
                self._actuator = None
                self._there.clear()
        if not stop.is_set():
            raise Unavailable(f"{self.connection}: the session for writing is of no more use, opening another")

    async def there(self) -> None:
        """Until there is a session."""
        await self._there.wait()

    @property
    def open(self) -> bool:
        """Whether there is a session now that is still of use."""
        return self._actuator is not None and not self._broken.is_set()

    async def read(self, tag: str, deadline: Deadline) -> Sample:
        """What the machine has now. Raises `Unavailable`, `Rejected`; a bug of the actuator is `Unavailable` too."""
        actuator, broken = self._session()
        patience = Deadline(min(deadline.at, asyncio.get_running_loop().time() + _READ_SECONDS_MAX))
        try:
            async with patience.timeout():
                return await actuator.read(tag, patience)
        except TimeoutError:
            if not deadline.passed():  # where it is only our own hurry, the session is as good as before
                broken.set()
            raise Unavailable(f"{self.connection}: did not say in time what it has for {tag}") from None
        except Rejected:
            raise
        except Unavailable:
            broken.set()
            raise
        except (Exception, asyncio.CancelledError) as error:
            broken.set()
            if _we_are_cancelled(error):
                raise
            raise Unavailable(f"{self.connection}: unexpected {type(error).__name__}: {error}") from error

    async def write(self, command: Command, confirm_seconds: float) -> None:
        """Send it, once, and hear the machine confirm it within that time. Raises as `Actuator.write` does.

        Any other error counts as an unknown outcome: it may have been met after sending.
        """
        actuator, broken = self._session()
        try:
            async with asyncio.timeout(confirm_seconds):
                await actuator.write(command)
        except TimeoutError:
            broken.set()
            raise OutcomeUnknown(f"{self.connection}: did not confirm {command.tag} in {confirm_seconds:g} s") from None
        except Rejected:
            raise
        except Unavailable:
            if not command.objection():  # otherwise the session is as good as before: the command was not
                broken.set()
            raise
        except OutcomeUnknown:
            broken.set()
            raise
        except (Exception, asyncio.CancelledError) as error:
            broken.set()
            if _we_are_cancelled(error):
                raise
            raise OutcomeUnknown(f"{self.connection}: unexpected {type(error).__name__}: {error}") from error

    def _session(self) -> tuple[Actuator, asyncio.Event]:
        """The session, and what it is told by that it is of no more use: a late call must not end the next one."""
        if self._actuator is None or not self.open:
            raise Unavailable(f"{self.connection}: there is no session for writing at the moment")
        return self._actuator, self._broken

    async def _nobody_busy(self) -> None:
        async with self.busy:
            pass


def _we_are_cancelled(error: BaseException) -> bool:
    """Told from a future of the actuator's own that was cancelled, which is a fault of its and no wish of ours."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0
