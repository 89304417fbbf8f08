"""What every sink must do while the far end, or the line to it, misbehaves. The docstring of a case is its promise."""

import asyncio
import random
from pathlib import Path

import pytest

from plantgate.sdk import GatewayError, Rejected, Unavailable
from plantgate.testing.simloop import running
from plantgate.testing.writing import D, SinkUnderTest


class SinkUnderFaults(SinkUnderTest[D]):
    """The cases that need a `host`: its network is cut, slow, noisy, silent."""

    @pytest.mark.bad_network
    async def test_does_not_return_while_the_far_end_is_cut_off(self, tmp_path: Path) -> None:
        """`accept` returns when the far end has confirmed, never because the bytes were sent.

        Look at: `write` and `drain` only say that the operating system has the bytes.
        """
        async with self.device() as device:
            returned = False
            try:
                async with self.connector(device, tmp_path).sink() as sink:
                    await sink.accept(self.batch(0))
                    running().network.cut(self.host)
                    async with asyncio.timeout(self.patience_seconds):
                        await sink.accept(self.batch(4))
                    returned = True
            except (Unavailable, TimeoutError):
                pass
            assert not returned, "accepted, though nothing can have reached the far end"
            running().network.heal(self.host)
            assert len(await self.arrived(device)) <= 4

    @pytest.mark.bad_network
    async def test_nothing_is_lost_or_rejected_while_the_far_end_comes_and_goes(
        self, tmp_path: Path, seed: object
    ) -> None:
        """Through resets, cuts, refusals and stalls: everything arrives, in order, and nothing is called `Rejected`.

        Look at: errors of the network that are not `Unavailable`, and sessions that go on after a failure.
        """
        luck = random.Random(f"{seed}/faults")  # noqa: S311  chooses moments
        network = running().network

        async def trouble() -> None:
            for _ in range(8):
                await asyncio.sleep(luck.uniform(0.0, 3.0))
                luck.choice((network.reset, network.cut, network.refuse, network.hold))(self.host)
                await asyncio.sleep(luck.uniform(0.0, 60.0))
                network.heal(self.host)

        async with self.device() as device:
            troubling = asyncio.create_task(trouble())
            await self.deliver(self.connector(device, tmp_path), [self.batch(p) for p in range(0, 200, 4)], luck)
            await troubling
            there = await self.arrived(device)
        self.all_there(there, 200)
        self.in_order(there)

    @pytest.mark.bad_network
    async def test_nothing_is_lost_by_a_cut_at_any_byte(self, tmp_path: Path, seed: object) -> None:
        """A connection may break after any byte, of ours or of the answer; what was not confirmed is sent again.

        Look at: answers that are believed before they are whole, and state kept from the broken connection.
        """
        luck = random.Random(f"{seed}/bytes")  # noqa: S311  chooses places
        link = running().network.link(self.host)

        async def trouble() -> None:
            for _ in range(12):
                link.breaks_after_bytes = round(10 ** luck.uniform(0.0, 3.5))
                await asyncio.sleep(luck.uniform(0.0, 10.0))
            link.breaks_after_bytes = None

        async with self.device() as device:
            troubling = asyncio.create_task(trouble())
            await self.deliver(self.connector(device, tmp_path), [self.batch(p) for p in range(0, 200, 4)], luck)
            await troubling
            there = await self.arrived(device)
        self.all_there(there, 200)
        self.in_order(there)

    @pytest.mark.bad_network
    async def test_survives_noise(self, tmp_path: Path, seed: object) -> None:
        """Whatever bytes the far end answers, the connector says `Unavailable`, and works again afterwards.

        Look at: exceptions of your parser that reach the caller (`ValueError`, `IndexError`, `struct.error`), and
        waits for bytes that a damaged length promised.
        """
        luck = random.Random(f"{seed}/noise")  # noqa: S311  chooses moments
        link = running().network.link(self.host)
        link.noise_from_dialler = not self.dials

        async with self.device() as device:
            connector = self.connector(device, tmp_path)
            for position in range(0, 40, 4):
                link.noise = 0.5
                try:
                    async with asyncio.timeout(self.patience_seconds), connector.sink() as sink:
                        await sink.accept(self.batch(position))
                        await sink.accept(self.batch(position))
                except (Unavailable, Rejected):  # a damaged answer can be a true no
                    pass
                except TimeoutError:
                    pytest.fail(f"a damaged answer was waited on for {self.patience_seconds:.0f} s")
                link.noise = 0.0
                await asyncio.sleep(5.0)
            await self.deliver(connector, [self.batch(p) for p in range(40, 60, 4)], luck)
            there = await self.arrived(device)
        values = {sample.value for sample in there}
        assert {float(number) for number in range(40, 60)} <= values, "after the noise, accepted and not there"

    @pytest.mark.bad_network(dials=True)
    async def test_a_far_end_that_is_not_there_is_unavailable(self, tmp_path: Path) -> None:
        """A far end that refuses is `Unavailable`, never another error.

        Look at: entering `sink()`, where errors of the library and of the operating system become verdicts.
        """
        running().network.refuse(self.host)
        await self._says_that_it_is_away(tmp_path)

    @pytest.mark.bad_network(dials=True)
    async def test_a_far_end_that_accepts_and_says_nothing_is_given_up(self, tmp_path: Path) -> None:
        """Connected is not answered: a far end that accepts and stays silent is `Unavailable` in good time.

        Look at: the deadline of the first exchange after connecting, and of every confirmation.
        """
        running().network.mute(self.host)
        await self._says_that_it_is_away(tmp_path)

    async def _says_that_it_is_away(self, tmp_path: Path) -> None:
        luck = random.Random("away")  # noqa: S311  chooses moments
        async with self.device() as device:
            connector = self.connector(device, tmp_path)
            try:
                async with asyncio.timeout(self.patience_seconds), connector.sink() as sink:
                    await sink.accept(self.batch(0))
                pytest.fail("nobody was there, and still the batch was accepted")
            except Unavailable as away:
                if not str(away):
                    pytest.fail("`Unavailable` without a word: say what failed and for which connection")
            except TimeoutError:
                pytest.fail(f"the far end was away for {self.patience_seconds:.0f} s, and the sink did not say so")
            except GatewayError as verdict:
                pytest.fail(f"a far end that is away is `Unavailable`, not `{type(verdict).__name__}`: {verdict}")
            running().network.heal(self.host)
            await self.deliver(connector, [self.batch(0)], luck)
            self.all_there(await self.arrived(device), 4)
