"""What every actuator must do, as test cases against a simulated device. The docstring of a case is its promise."""

import asyncio
import random
from dataclasses import replace
from pathlib import Path

import pytest

from plantgate.sdk import Deadline, OutcomeUnknown, Rejected, Severity, Unavailable, severity
from plantgate.testing.acting import D
from plantgate.testing.contract_actuator_faults import ActuatorUnderFaults
from plantgate.testing.simloop import running


@pytest.mark.simulated
class ActuatorContract(ActuatorUnderFaults[D]):
    """Inherit, and override what `ActuatorUnderTest` leaves open. Each case runs once per seed."""

    async def test_writes_once_what_it_was_told(self, tmp_path: Path) -> None:
        """When `write` returns, the device has the value: this tag, this value, one write.

        Look at: confirmations that are not waited for, and libraries that repeat a request by themselves.
        """
        async with self.device() as device, self.connector(device, tmp_path).actuator() as actuator:
            for number in range(1, 6):
                for tag in self.tags:
                    assert await self.outcome(actuator, self.command(number, tag)) is None
                    wanted = [self.value(each) for each in range(1, number + 1)]
                    assert list(self.written(device, tag)) == wanted
            await asyncio.sleep(10 * self.patience_seconds)
            assert self.count(device) == 5 * len(self.tags), "written once more, long after the call had ended"

    async def test_reads_what_the_machine_has_and_not_what_was_written(self, tmp_path: Path) -> None:
        """`read` asks the machine, each time: what somebody changed there is what it gives.

        Look at: values kept from the last write or poll, caches, and an age that a server may answer from.
        """
        async with self.device() as device, self.connector(device, tmp_path).actuator() as actuator:
            for number, tag in enumerate(self.tags):
                assert await self.outcome(actuator, self.command(number, tag)) is None
                there = await actuator.read(tag, Deadline.after(10.0))
                assert (there.tag, there.value) == (tag, self.value(number))
                assert severity(there.quality) is Severity.GOOD
                self.change(device, tag, self.value(number + 50))
                there = await actuator.read(tag, Deadline.after(10.0))
                assert there.value == self.value(number + 50), "a remembered value was given for the machine's"

    async def test_nothing_is_sent_after_the_deadline(self, tmp_path: Path) -> None:
        """A command that comes too late is `Unavailable`, and the device never hears of it.

        Look at: the deadline, which is asked for right before the bytes leave.
        """
        async with self.device() as device, self.connector(device, tmp_path).actuator() as actuator:
            for seconds in (0.0, -1.0, -3600.0):
                verdict = await self.outcome(actuator, self.command(1, seconds=seconds))
                assert isinstance(verdict, Unavailable), f"too late, and the verdict is {verdict!r}"
            assert self.count(device) == 0, "sent after the deadline"
            await self.done_once(device)

    async def test_nothing_is_sent_of_a_command_that_was_recalled(self, tmp_path: Path) -> None:
        """A command that is stopped before its first byte leaves is `Unavailable`; the device never hears of it.

        Look at: `command.objection()`, which is asked for right before the bytes leave, and not before an `await`.
        """
        async with self.device() as device, self.connector(device, tmp_path).actuator() as actuator:
            verdict = await self.outcome(actuator, replace(self.command(1), recalled=lambda: "line3 is stopped"))
            assert isinstance(verdict, Unavailable), f"recalled, and the verdict is {verdict!r}"
            assert "line3 is stopped" in str(verdict), f"why it was recalled is not said: {verdict}"
            assert self.count(device) == 0, "sent, and it was recalled"
            assert await self.outcome(actuator, self.command(2)) is None, "the session is of no more use after it"
            await self.done_once(device)

    async def test_a_refusal_is_rejected(self, tmp_path: Path) -> None:
        """A device that refuses is `Rejected`, with a reason, and has done nothing.

        Look at: status codes and exception answers that do not raise by themselves.
        """
        async with self.device() as device, self.connector(device, tmp_path).actuator() as actuator:
            self.refuse(device)
            verdict = await self.outcome(actuator, self.command(1))
            assert isinstance(verdict, Rejected), f"refused, and the verdict is {verdict!r}"
            assert self.count(device) == 0

    async def test_a_tag_it_does_not_know_is_rejected(self, tmp_path: Path) -> None:
        """A tag that is not its own is `Rejected`, for writing and for reading.

        Look at: dictionaries that raise `KeyError`.
        """
        async with self.device() as device, self.connector(device, tmp_path).actuator() as actuator:
            verdict = await self.outcome(actuator, self.command(1, "nobody/knows/it"))
            assert isinstance(verdict, Rejected), f"an unknown tag, and the verdict is {verdict!r}"
            with pytest.raises(Rejected):
                await actuator.read("nobody/knows/it", Deadline.after(10.0))
            assert self.count(device) == 0

    async def test_a_device_that_confirms_something_else_has_an_unknown_outcome(self, tmp_path: Path) -> None:
        """An answer that is not the one to this command confirms nothing and denies nothing: `OutcomeUnknown`.

        Look at: what of an answer is compared with what was asked.
        """
        for lie in self.lies():
            async with self.device() as device:
                connector = self.connector(device, tmp_path)
                async with connector.actuator() as actuator:
                    lie(device)
                    verdict = await self.outcome(actuator, self.command(1))
                assert isinstance(verdict, OutcomeUnknown), f"{lie}: it lied, and the verdict is {verdict!r}"
                await self.done_once(device)

    async def test_a_lost_answer_is_an_unknown_outcome(self, tmp_path: Path) -> None:
        """The device did it and its answer never came: `OutcomeUnknown`, in good time, and one write for ever.

        Look at: time-outs that become `Unavailable`, which invites to write again; and retries.
        """
        async with self.device() as device:
            async with self.connector(device, tmp_path).actuator() as actuator:
                self.silence(device)
                verdict = await self.outcome(actuator, self.command(1))
                assert isinstance(verdict, OutcomeUnknown), f"it was done, and the verdict is {verdict!r}"
                assert list(self.written(device, self.tags[0])) == [self.value(1)]
                await self.done_once(device)
            await self.done_once(device)

    async def test_cancelled_after_sending_it_is_not_sent_again(self, tmp_path: Path) -> None:
        """A call that is cancelled while it waits for the answer ends at once; the device keeps its one write.

        Look at: `finally` blocks that wait, and handlers of `CancelledError` that try again or say `Unavailable`.
        """
        async with self.device() as device:
            connector = self.connector(device, tmp_path)
            async with connector.actuator() as actuator:
                self.silence(device)
                writing = asyncio.create_task(actuator.write(self.command(1)))
                async with asyncio.timeout(self.patience_seconds):
                    while not self.count(device):  # noqa: ASYNC110  the device has no event for it
                        await asyncio.sleep(0.001)
                started = running().elapsed
                writing.cancel()
                await asyncio.wait([writing])
                assert running().elapsed - started < 5.0, "a cancelled write took its time"
                if not writing.cancelled():
                    error = writing.exception()
                    assert isinstance(error, OutcomeUnknown), f"it was done, and the verdict is {error!r}"
            await self.done_once(device)

    async def test_cancelling_at_any_moment_leaves_nothing(self, tmp_path: Path, seed: object) -> None:
        """A session can be cancelled at any moment, its opening included: nothing stays behind, the next one works.

        Look at: what is acquired before the `try` whose `finally` releases it, and commands left in a queue.
        """
        luck = random.Random(f"{seed}/cancel")  # noqa: S311  chooses moments
        async with self.device() as device:
            before: set[asyncio.Task[object]] = set(running().unfinished())
            connector = self.connector(device, tmp_path)
            for number in range(10):
                done = len(self.written(device, self.tags[0]))
                unsent = False
                try:
                    async with asyncio.timeout(luck.choice((0.0, luck.uniform(0.0, 0.005), luck.uniform(0.0, 0.1)))):
                        async with connector.actuator() as actuator:
                            await actuator.write(self.command(number))
                except (TimeoutError, OutcomeUnknown):
                    pass
                except Unavailable:
                    unsent = True
                await self.nothing_left(before)
                there = list(self.written(device, self.tags[0]))[done:]
                assert there in ([], [self.value(number)])
                assert not (unsent and there), "`Unavailable`, and the device has it"
            await self.works(connector, device)

    async def test_closing_leaves_no_task_or_socket(self, tmp_path: Path) -> None:
        """A session that ends takes its tasks and connections with it.

        Look at: tasks outside a `TaskGroup`, and connections that are not closed in a `finally`.
        """
        async with self.device() as device:
            before: set[asyncio.Task[object]] = set(running().unfinished())
            connector = self.connector(device, tmp_path)
            for number in range(3):
                async with connector.actuator() as actuator:
                    await actuator.write(self.command(number))
            await self.nothing_left(before)
