"""What the cases of an actuator's contract share: a device that counts writes, a connector, and ways of writing."""

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import pytest

from plantgate.sdk import Actuator, Command, Connector, Deadline, GatewayError, Setpoint, Unavailable
from plantgate.testing.event_loop import where_is
from plantgate.testing.simloop import running

D = TypeVar("D")


class ActuatorUnderTest(Generic[D]):
    """Override what is abstract. A fault put on the device holds until the device is left."""

    host: ClassVar[str] = ""
    """The host the connector dials on the simulated network; the cases of a bad network need it."""
    tags: ClassVar[tuple[str, ...]] = ("line1/a", "line1/b")
    """Tags that can be written; at least two."""
    dials: ClassVar[bool] = True
    """False if the connector listens at `host` and others dial it: nobody can then be found away."""
    patience_seconds: ClassVar[float] = 60.0
    """Simulated time within which every call must have ended."""
    latency_seconds: ClassVar[float] = 0.1
    """A slow network's, one way: slow, and still so that an answer is waited for."""

    @abstractmethod
    def device(self) -> AbstractAsyncContextManager[D]:
        """The simulated device, running while the context is."""

    @abstractmethod
    def connector(self, device: D, tmp_path: Path) -> Connector[Any]:
        """The connector, set up for `device` and `tags`; `lent(tmp_path)` makes a context."""

    @abstractmethod
    def written(self, device: D, tag: str) -> Sequence[Setpoint]:
        """Every write of this tag that the device has done, in order: what a repeated write would be seen in."""

    @abstractmethod
    def change(self, device: D, tag: str, value: Setpoint) -> None:
        """Somebody at the machine gives the tag another value, now."""

    @abstractmethod
    def refuse(self, device: D) -> None:
        """From now on the device refuses every write, and does none."""

    @abstractmethod
    def silence(self, device: D) -> None:
        """From now on the device does what it is told and never says so."""

    @abstractmethod
    def lies(self) -> Sequence[Callable[[D], None]]:
        """Ways of confirming something else than was asked (another tag, value, function); each is put on a device."""

    def value(self, number: int) -> Setpoint:
        """The `number`th value that is written; override where values must be of another type. No two are equal."""
        return float(number)

    def is_the_devices(self, task: "asyncio.Task[Any]") -> bool:
        """Whether a task belongs to the simulated device, which may keep it after the connector has gone."""
        return False

    # How the cases are done.

    def command(self, number: int, tag: str | None = None, seconds: float = 10.0) -> Command:
        """The `number`th value for a tag, not to be sent later than in so many seconds."""
        return Command(f"command-{number}", tag or self.tags[0], self.value(number), Deadline.after(seconds))

    def count(self, device: D) -> int:
        """Writes that the device has done."""
        return sum(len(self.written(device, tag)) for tag in self.tags)

    async def outcome(self, actuator: Actuator, command: Command) -> GatewayError | None:
        """What came of it: None if it was confirmed. An error that is no verdict goes on, and fails the case."""
        try:
            async with asyncio.timeout(self.patience_seconds):
                await actuator.write(command)
        except TimeoutError:
            pytest.fail(f"after {self.patience_seconds:.0f} s there is still no verdict")
        except GatewayError as verdict:
            if not str(verdict):
                pytest.fail(f"`{type(verdict).__name__}` without a word: say what failed, for which tag, what to do")
            return verdict
        return None

    async def done_once(self, device: D) -> None:
        """Nothing is written a second time, however long one waits."""
        assert self.count(device) <= 1, f"written {self.count(device)} times"
        await asyncio.sleep(10 * self.patience_seconds)
        assert self.count(device) <= 1, "written once more, long after the call had ended"

    async def works(self, connector: Connector[Any], device: D) -> None:
        """A new session writes and reads; one that cannot be opened yet is tried again."""
        before = list(self.written(device, self.tags[1]))
        try:
            async with asyncio.timeout(10 * self.patience_seconds):
                while True:
                    try:
                        async with connector.actuator() as actuator:
                            await actuator.read(self.tags[1], Deadline.after(10.0))
                            await actuator.write(self.command(99, self.tags[1]))
                            there = await actuator.read(self.tags[1], Deadline.after(10.0))
                            break
                    except Unavailable as away:
                        await asyncio.sleep(away.retry_after_seconds or 1.0)
        except TimeoutError:
            pytest.fail("after the trouble no session works")
        assert there.value == self.value(99)
        assert list(self.written(device, self.tags[1])) == [*before, self.value(99)]

    async def nothing_left(self, before: "set[asyncio.Task[Any]]") -> None:
        """Every task but those of `before` has ended, and every connection is closed."""
        await asyncio.sleep(10.0)
        left = [task for task in running().unfinished() if task not in before and not self.is_the_devices(task)]
        assert not left, "left behind: " + "; ".join(map(where_is, left))
        if self.host:
            assert running().network.connections(self.host) == 0, "a connection was left open"
