"""What every actuator must do while the line to the device misbehaves. The docstring of a case is its promise."""

import asyncio
import random
from pathlib import Path

import pytest

from plantgate.sdk import Command, Deadline, GatewayError, NoticingActuator, OutcomeUnknown, Rejected, Unavailable
from plantgate.testing.acting import ActuatorUnderTest, D
from plantgate.testing.simloop import running


class ActuatorUnderFaults(ActuatorUnderTest[D]):
    """The cases that need a `host`: its network is cut, slow, noisy, silent."""

    @pytest.mark.bad_network
    async def test_a_command_that_waited_its_turn_too_long_is_not_sent(self, tmp_path: Path) -> None:
        """While one command waits for its answer on a slow network, the next one's deadline passes: it stays here.

        Look at: locks and queues; the deadline is asked for after them, not before.
        """
        slow = self.latency_seconds
        async with self.device() as device, self.connector(device, tmp_path).actuator() as actuator:
            await actuator.read(self.tags[1], Deadline.after(10.0))
            link = running().network.link(self.host)
            link.latency_seconds, link.split = (slow, slow), 0.0
            first = asyncio.create_task(self.outcome(actuator, self.command(1, self.tags[0])))
            await asyncio.sleep(0)
            late = asyncio.create_task(self.outcome(actuator, self.command(2, self.tags[1], seconds=slow / 4)))
            await asyncio.sleep(1.5 * slow)  # what left in time has arrived
            in_time = list(self.written(device, self.tags[1]))
            assert await first is None, "a slow network is no trouble by itself"
            verdict = await late
            await asyncio.sleep(self.patience_seconds)
            assert list(self.written(device, self.tags[1])) == in_time, "sent after its deadline"
            assert len(in_time) <= 1
            if not in_time:
                assert isinstance(verdict, Unavailable), f"nothing was sent, and the verdict is {verdict!r}"

    @pytest.mark.bad_network(dials=True)
    async def test_a_command_that_waited_for_a_connection_too_long_is_not_sent(self, tmp_path: Path) -> None:
        """The connection broke and comes back after the deadline: `Unavailable`, and the device never hears of it.

        Look at: requests that a library parks until it is connected again.
        """
        network = running().network
        async with self.device() as device:
            connector = self.connector(device, tmp_path)
            async with connector.actuator() as actuator:
                await actuator.read(self.tags[0], Deadline.after(10.0))
                network.refuse(self.host)
                network.reset(self.host)
                await asyncio.sleep(1.0)
                writing = asyncio.create_task(self.outcome(actuator, self.command(1, seconds=2.0)))
                await asyncio.sleep(3.0)
                network.heal(self.host)
                verdict = await writing
                assert isinstance(verdict, Unavailable), f"nothing was sent, and the verdict is {verdict!r}"
                await self.done_once(device)
                assert self.count(device) == 0, "parked, and sent when the connection was back"
            await self.works(connector, device)

    @pytest.mark.bad_network(dials=True)
    async def test_a_session_lost_while_nothing_is_asked_is_noticed(self, tmp_path: Path) -> None:
        """`lost` raises `Unavailable` when the device is gone, and not before; nothing of that session is sent later.

        An actuator that cannot notice has no `lost`: the first command after the outage then fails for it.
        Look at: an end of the connection that is only seen by the next call, and a wait for it that outlives a cancel.
        """
        network = running().network
        async with self.device() as device:
            connector = self.connector(device, tmp_path)
            async with connector.actuator() as actuator:
                if not isinstance(actuator, NoticingActuator):
                    return
                for number in (1, 2):  # the second wait is what is left by one that was cancelled
                    losing = asyncio.create_task(actuator.lost())
                    await actuator.read(self.tags[0], Deadline.after(10.0))
                    await asyncio.sleep(self.patience_seconds)
                    assert not losing.done(), "lost, it says, and nothing had happened"
                    if number == 1:
                        losing.cancel()
                        await asyncio.wait([losing])
                network.refuse(self.host)
                network.reset(self.host)
                await asyncio.wait([losing], timeout=self.patience_seconds)
                assert losing.done(), f"{self.patience_seconds:.0f} s after the device had gone nobody had noticed"
                assert isinstance(losing.exception(), Unavailable), f"lost, and it says {losing.exception()!r}"
                assert str(losing.exception()), "`Unavailable` without a word: say what is away"
                verdict = await self.outcome(actuator, self.command(1))
                assert isinstance(verdict, Unavailable), f"nothing was sent, and the verdict is {verdict!r}"
                network.heal(self.host)
            await self.done_once(device)
            assert self.count(device) == 0, "refused, and sent when the device was back"
            await self.works(connector, device)

    @pytest.mark.bad_network
    async def test_a_connection_that_breaks_at_any_byte_is_judged_right(self, tmp_path: Path, seed: object) -> None:
        """Cut within the command or within its answer: never `Unavailable` for what the device has, never twice.

        Look at: errors of the network after the first byte has left, and answers believed before they are whole.
        """
        luck = random.Random(f"{seed}/bytes")  # noqa: S311  chooses places
        for number in range(12):
            async with self.device() as device:
                connector = self.connector(device, tmp_path / str(number))
                async with connector.actuator() as actuator:
                    await actuator.read(self.tags[0], Deadline.after(10.0))
                    running().network.link(self.host).breaks_after_bytes = round(10 ** luck.uniform(0.0, 2.5))
                    await self._judged(device, await self.outcome(actuator, self.command(1)))
                running().network.link(self.host).breaks_after_bytes = None
                await self.done_once(device)
                await self.works(connector, device)

    @pytest.mark.bad_network
    async def test_a_connection_cut_after_sending_is_an_unknown_outcome(self, tmp_path: Path) -> None:
        """The command is under way and the connection is reset, or bytes vanish: `OutcomeUnknown`, in good time.

        Look at: `ConnectionResetError` and end of stream while an answer is due.
        """
        network = running().network
        for fault in (network.reset, network.lose, network.cut, network.mute):
            async with self.device() as device:
                connector = self.connector(device, tmp_path / fault.__name__)
                async with connector.actuator() as actuator:
                    await actuator.read(self.tags[0], Deadline.after(10.0))
                    self.silence(device)
                    writing = asyncio.create_task(self.outcome(actuator, self.command(1)))
                    async with asyncio.timeout(self.patience_seconds):
                        while not self.count(device):  # noqa: ASYNC110  the device has no event for it
                            await asyncio.sleep(0.001)
                    fault(self.host)
                    verdict = await writing
                    assert isinstance(verdict, OutcomeUnknown), f"{fault.__name__}: done, and it says {verdict!r}"
                    await self.done_once(device)
                network.heal(self.host)
                await self.done_once(device)

    @pytest.mark.bad_network
    async def test_survives_noise(self, tmp_path: Path, seed: object) -> None:
        """Whatever bytes the device answers: a verdict, never another error; one write at most; and no false one.

        Look at: exceptions of your parser that reach the caller, and waits for bytes that a damaged length promised.
        """
        luck = random.Random(f"{seed}/noise")  # noqa: S311  chooses how much
        link = running().network.link(self.host)
        link.noise_from_dialler = not self.dials
        for number in range(8):
            async with self.device() as device:
                connector = self.connector(device, tmp_path / str(number))
                async with connector.actuator() as actuator:
                    await actuator.read(self.tags[0], Deadline.after(10.0))
                    link.noise = luck.choice((0.5, 1.0))
                    verdict = await self.outcome(actuator, self.command(1))
                    if not isinstance(verdict, Rejected):  # a damaged answer can be a true no
                        await self._judged(device, verdict)
                link.noise = 0.0
                await self.done_once(device)
                await self.works(connector, device)

    @pytest.mark.bad_network
    async def test_a_machine_that_does_not_answer_is_not_read(self, tmp_path: Path) -> None:
        """A read without an answer is `Unavailable`, in good time: never an old value.

        Look at: the deadline around every wait, and what is kept from before.
        """
        async with self.device() as device, self.connector(device, tmp_path).actuator() as actuator:
            await actuator.read(self.tags[0], Deadline.after(10.0))
            running().network.mute(self.host)
            try:
                async with asyncio.timeout(self.patience_seconds):
                    there = await actuator.read(self.tags[0], Deadline.after(5.0))
                pytest.fail(f"nobody answered, and it read {there.value!r}")
            except Unavailable:
                pass
            except TimeoutError:
                pytest.fail("a machine that does not answer was waited for beyond the deadline")

    @pytest.mark.bad_network(dials=True)
    async def test_a_device_that_is_not_there_is_unavailable(self, tmp_path: Path) -> None:
        """A device that refuses to be connected to is `Unavailable`, on opening or on the first write.

        Look at: entering `actuator()`, where errors of the library and of the operating system become verdicts.
        """
        running().network.refuse(self.host)
        await self._says_that_it_is_away(tmp_path)

    @pytest.mark.bad_network(dials=True)
    async def test_a_device_that_accepts_and_says_nothing_is_given_up(self, tmp_path: Path) -> None:
        """Connected is not answered: a device that accepts and stays silent is `Unavailable`, or unknown if written to.

        Look at: the deadline of the first exchange after connecting.
        """
        running().network.mute(self.host)
        await self._says_that_it_is_away(tmp_path)

    # How they are done.

    async def _judged(self, device: D, verdict: GatewayError | None) -> None:
        """The verdict fits what the device has, now and when everything under way has arrived."""
        await asyncio.sleep(self.patience_seconds)
        there = list(self.written(device, self.tags[0]))
        if verdict is None:
            assert there == [self.value(1)], f"confirmed, and the device has {there}"
        else:
            assert there in ([], [self.value(1)])
            assert isinstance(verdict, OutcomeUnknown) or not there, f"the device has it, and it says {verdict!r}"
            assert not isinstance(verdict, Rejected), f"nobody refused anything: {verdict}"

    async def _says_that_it_is_away(self, tmp_path: Path) -> None:
        async with self.device() as device:
            connector = self.connector(device, tmp_path)
            verdict: GatewayError | None = None
            try:
                async with asyncio.timeout(self.patience_seconds), connector.actuator() as actuator:
                    verdict = await self.outcome(actuator, self._short())
                    assert verdict is not None, "nobody was there, and still the write was confirmed"
            except Unavailable as away:
                verdict = away
            except TimeoutError:
                pytest.fail(f"the device was away for {self.patience_seconds:.0f} s, and the actuator did not say so")
            assert isinstance(verdict, Unavailable | OutcomeUnknown), f"a device that is away is no {verdict!r}"
            running().network.heal(self.host)
            await self.works(connector, device)

    def _short(self) -> Command:
        return self.command(1, seconds=self.patience_seconds / 4)
