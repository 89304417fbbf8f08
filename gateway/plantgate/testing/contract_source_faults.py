"""What every source must do while the device, or the line to it, misbehaves. The docstring of a case is its promise."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from plantgate.sdk import GatewayError, Severity, Source, Unavailable, severity
from plantgate.testing.reading import Collected, D, SourceUnderTest
from plantgate.testing.simloop import running


class SourceUnderFaults(SourceUnderTest[D]):
    """The cases that need a `host`: its network is cut, slow, noisy, silent."""

    @pytest.mark.bad_network
    async def test_survives_a_reset(self, tmp_path: Path, seed: object) -> None:
        """A broken connection is `Unavailable`, and the next session goes on.

        Look at: what `read` does with `OSError` and end of stream.
        """
        await self.through(tmp_path, seed, lambda: running().network.reset(self.host), heal=False)

    @pytest.mark.bad_network
    async def test_survives_a_stall(self, tmp_path: Path, seed: object) -> None:
        """A peer that falls silent is noticed, given up as `Unavailable`, and found again.

        Look at: the deadline around every wait for the network; a half-open connection never ends by itself.
        """
        await self.through(tmp_path, seed, lambda: running().network.cut(self.host), heal=True)

    @pytest.mark.bad_network
    async def test_survives_a_refusal(self, tmp_path: Path, seed: object) -> None:
        """A device that is not there for a while is `Unavailable` on opening, and found again.

        Look at: what entering `source()` does with `ConnectionRefusedError`.
        """

        def away() -> None:
            running().network.refuse(self.host)
            running().network.reset(self.host)

        await self.through(tmp_path, seed, away, heal=True)

    @pytest.mark.bad_network
    async def test_survives_a_cut_at_any_byte(self, tmp_path: Path, seed: object) -> None:
        """A connection may break after any byte, in a welcome or in a message; half a message is no message.

        Look at: lengths that are trusted before the bytes are there, and state kept from the broken connection.
        """
        luck = random.Random(f"{seed}/bytes")  # noqa: S311  chooses places

        def cut() -> None:
            running().network.link(self.host).breaks_after_bytes = round(10 ** luck.uniform(0.0, 3.5))

        await self.through(tmp_path, seed, cut, heal=False)

    @pytest.mark.bad_network
    async def test_survives_noise(self, tmp_path: Path, seed: object) -> None:
        """Whatever bytes come, the connector says `Unavailable` or gives bad quality, and works again afterwards.

        Look at: exceptions of your parser that reach the caller (`ValueError`, `IndexError`, `struct.error`), and
        waits for bytes that a damaged length promised.
        """
        link, late = running().network.link(self.host), self.series(1001, 5)
        link.noise_from_dialler = not self.dials

        async def play(device: D) -> None:
            for start in range(1, 31, 3):
                link.noise = 0.3
                await self.produce(device, self.series(start, 3))
                await asyncio.sleep(1.0)
                link.noise = 0.0
                running().network.reset(self.host)  # a stream out of step cannot always be noticed as such
                await asyncio.sleep(5.0)
            await asyncio.sleep(self.patience_seconds / 2)
            await self.produce(device, late)

        async with self.device() as device:
            got = await self.collect(device, self.connector(device, tmp_path), play, late)
        assert not got.missing(late), f"never came back: {got.missing(late)[:3]} did not arrive"
        self.in_order(got.of(late), late)

    @pytest.mark.bad_network
    async def test_survives_a_slow_link(self, tmp_path: Path) -> None:
        """Messages that arrive late and in pieces are the same messages.

        Look at: reads that expect a whole message at once, and deadlines shorter than a slow line needs.
        """
        produced = self.series(1, 20)
        async with self.device() as device:
            link = running().network.link(self.host)
            link.latency_seconds, link.split = (0.05, 0.4), 1.0
            got = await self.collect_while(device, tmp_path, produced)
        assert not got.missing(produced)
        self.in_order(got.of(produced), produced)

    @pytest.mark.bad_network(dials=True)
    async def test_a_device_that_is_not_there_is_unavailable(self, tmp_path: Path) -> None:
        """A device that refuses is `Unavailable` (or read as bad quality), never another error, never a good value.

        Look at: entering `source()`, where errors of the library and of the operating system become verdicts.
        """
        running().network.refuse(self.host)
        await self._says_that_it_is_away(tmp_path)

    @pytest.mark.bad_network(dials=True)
    async def test_a_device_that_accepts_and_says_nothing_is_given_up(self, tmp_path: Path) -> None:
        """Connected is not answered: a device that accepts and stays silent is `Unavailable` in good time.

        Look at: the deadline of the first exchange after connecting.
        """
        running().network.mute(self.host)
        await self._says_that_it_is_away(tmp_path)

    async def test_cancelling_an_opening_leaves_nothing(self, tmp_path: Path, seed: object) -> None:
        """A session can be cancelled at any moment, its opening included: nothing stays behind, and the next one works.

        Look at: what is acquired before the `try` whose `finally` releases it, and long waits in `finally`.
        """
        luck = random.Random(f"{seed}/opening")  # noqa: S311  chooses moments
        produced = self.series(1, 2)
        async with self.device() as device:
            before: set[asyncio.Task[object]] = set(running().unfinished())
            connector = self.connector(device, tmp_path)
            for _ in range(10):
                started = running().elapsed
                try:
                    async with asyncio.timeout(luck.choice((0.0, luck.uniform(0.0, 0.005), luck.uniform(0.0, 0.1)))):
                        async with connector.source() as source:
                            await source.read()
                except (TimeoutError, Unavailable):
                    pass
                took = running().elapsed - started
                assert took < 30.0, f"a cancelled source took {took:.0f} s to end"
            await self.nothing_left(before)
            got = await self.collect(device, connector, lambda device: self.produce(device, produced), produced)
        assert not got.missing(produced), "after cancelled openings the source no longer works"

    # How they are done.

    async def through(self, tmp_path: Path, seed: object, fault: Callable[[], None], *, heal: bool) -> None:
        """Readings before, during and after a few faults at seeded moments."""
        luck = random.Random(f"{seed}/faults")  # noqa: S311  chooses moments
        network = running().network
        early, late = self.series(1, 30), self.series(1001, 5)

        async def play(device: D) -> None:
            for start in range(0, len(early), len(early) // 5):
                await self.produce(device, early[start : start + len(early) // 5])
                await asyncio.sleep(luck.uniform(0.0, 5.0))
                fault()
                await asyncio.sleep(luck.uniform(0.0, 40.0) if heal else 0.0)
                if heal:
                    network.heal(self.host)
            await asyncio.sleep(self.patience_seconds / 2)
            network.link(self.host).breaks_after_bytes = None
            await self.produce(device, late)

        async with self.device() as device:
            got = await self.collect(device, self.connector(device, tmp_path), play, late)
        assert not got.missing(late), f"never came back: {got.missing(late)[:3]} did not arrive"
        self.in_order(got.of(early + late), early + late)
        self.accounted_for(got, early)

    async def _says_that_it_is_away(self, tmp_path: Path) -> None:
        """`Unavailable`, a gap, or bad quality, in good time; and once the device is back, readings."""
        produced = self.series(1, 2)
        async with self.device() as device:
            connector = self.connector(device, tmp_path)
            try:
                async with asyncio.timeout(self.patience_seconds), connector.source() as source:
                    await self._hears_of_it(source)
            except Unavailable as away:
                if not str(away):
                    pytest.fail("`Unavailable` without a word: say what failed and for which connection")
            except TimeoutError:
                pytest.fail(f"the device was away for {self.patience_seconds:.0f} s, and the source did not say so")
            except GatewayError as verdict:
                pytest.fail(f"a device that is away is `Unavailable`, not `{type(verdict).__name__}`: {verdict}")
            running().network.heal(self.host)
            got = await self.collect(device, connector, lambda device: self.produce(device, produced), produced)
        assert not got.missing(produced), "the device is back, and the source is not"

    async def _hears_of_it(self, source: Source) -> None:
        while True:
            batch = await source.read()
            good = [sample for sample in batch if severity(sample.quality) is Severity.GOOD]
            assert not good, f"nobody is there, and still the source gave {good[:2]}"
            if batch.gaps or len(batch):
                return


__all__ = ["Collected", "SourceUnderFaults"]
