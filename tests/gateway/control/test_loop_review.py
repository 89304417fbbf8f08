"""Faults that were found once in loops, in the pictures behind them, and in the shadow, each by what it let happen."""

import asyncio
import errno
import math
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from plantgate.audit import vault as vaults
from plantgate.audit.vault import Vault
from plantgate.control.evidence import Evidence
from plantgate.control.loop import Loop
from plantgate.control.proposal import Standing
from plantgate.flow.stop import Stop
from plantgate.runtime.supervisor import keep_running
from plantgate.sdk import Backoff, Deadline, Exhausted, Frame, Prediction, Value, iso
from plantgate.sdk import Standing as State
from plantgate.store.disk import Disk, Open, OsDisk, OsFile
from plantgate.testing.clock import WallClock
from plantgate.testing.disk import SimulatedDisk
from tests.gateway.control.given import Quiet, plant, run
from tests.gateway.control.test_evidence import KEPT, look, of, opened
from tests.gateway.control.test_loop import Eyes, Pictures, defect, picture, written
from tests.gateway.control.test_loop import look as see
from tests.gateway.control.test_shadow import IN_THE_SHADOW, beyond


@pytest.mark.parametrize("at", [math.nan, math.inf, 1e9])
def test_a_picture_of_a_time_that_is_still_to_come_moves_no_deadline(at: float) -> None:
    """A time that is no number was never too late, for any guard or actuator."""

    async def main() -> None:
        async with plant(written=written()) as here:
            loop = Loop("heat", written().loops["heat"], here.acting, here.news)
            answers = await loop.look(replace(picture(), at=at), Eyes([defect()], seconds=0.3))
            assert (answers, here.oven.written, loop.figures.late) == ((), [], 1)

    run(main)


@pytest.mark.parametrize("own", [0, "0.1", None, True, math.nan, [0.99]])
def test_a_fact_whose_own_confidence_is_no_number_has_none(own: Value) -> None:
    """It had that of the model's answer as a whole."""

    async def main() -> None:
        async with plant(written=written()) as here:
            fact: Mapping[str, Value] = {"score": 0.9, "shift": 10.0, "confidence": own}
            _, answers = await see(here, Eyes([fact]))
            assert {answer.standing for answer in answers} <= {Standing.DENIED}
            assert here.oven.written == []

    run(main)


def test_a_fact_that_is_certain_and_one_without_a_confidence_are_believed() -> None:
    async def main() -> None:
        async with plant(written=written()) as here:
            for fact in ({"score": 0.9, "shift": 10.0, "confidence": 1}, {"score": 0.9, "shift": 11.0}):
                _, (answer,) = await see(here, Eyes([fact]))
                assert answer.standing is Standing.DONE

    run(main)


def test_one_fact_without_a_sound_confidence_does_not_come_before_a_sure_one() -> None:
    async def main() -> None:
        async with plant(written=written()) as here:
            _, (answer,) = await see(here, Eyes([defect(confidence=0.5), {**defect(), "confidence": None}, defect()]))
            assert answer.standing is Standing.DONE

    run(main)


@pytest.mark.parametrize("whose", ["camera", "model"])
def test_a_wait_that_a_library_cancelled_itself_ends_the_session_and_not_the_loop(whose: str) -> None:
    """The service ended in silence, and nothing looked at any picture any more."""

    class Leaving(Pictures):
        async def frame(self) -> Frame:
            if whose == "camera":
                raise asyncio.CancelledError
            return await super().frame()

    class Dreaming(Eyes):
        async def predict(self, frame: Frame, deadline: Deadline) -> Prediction:
            raise asyncio.CancelledError

    async def main() -> None:
        async with plant(written=written()) as here:
            loop = Loop("heat", written().loops["heat"], here.acting, here.news)
            ways: list[tuple[Pictures, Eyes]] = [(Leaving(1), Dreaming()), (Pictures(1), Eyes())]

            async def session(stop: Stop) -> None:
                await loop.run(*ways.pop(0), stop)

            standing = State(here.news)
            await keep_running(session, stop=Stop(), backoff=Backoff(0.1, 0.1), standing=standing, log=here.news)
            assert (ways, standing.counters) == ([], {"session_errors": 1})
            assert loop.looks[-1].note == "", "it looks at pictures again"
            looking = asyncio.create_task(loop.run(Pictures(100), Eyes(), Stop()))
            await asyncio.sleep(0.2)
            looking.cancel()
            await asyncio.wait([looking])
            assert looking.cancelled(), "whoever ends the loop ends it"

    run(main)


def test_a_model_that_says_that_there_is_no_more_ends_no_loop() -> None:
    async def main() -> None:
        async with plant(written=written()) as here:
            loop = Loop("heat", written().loops["heat"], here.acting, here.news)
            with pytest.raises(Exhausted):
                await loop.run(Pictures(1), Eyes(error=Exhausted("odd")), Stop())

    run(main)


def test_a_picture_too_large_to_be_kept_stops_no_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ended the session, each time."""
    monkeypatch.setattr(vaults, "CONTENT_BYTES_MAX", 2000)

    async def main() -> None:
        with opened(SimulatedDisk()) as vault:
            async with plant(written=KEPT, vault=vault) as here:
                for number, (side, kept) in enumerate(((40, 1), (50, 0), (50, 0), (40, 1))):
                    (answer,) = await look(here, defect(shift=10.0 + number), side=side)
                    assert answer.standing is Standing.DONE
                    assert len(of(here, answer).payloads) == kept
                    await asyncio.sleep(1.0)
                    here.door()
                told = [line for line in here.news.lines if "are not kept any more" in line]
                assert len(told) == 1
                assert "picture: a payload of" in told[0]

    run(main)


@dataclass
class Gathering:
    """Evidence over a real vault, of which nothing goes to the disk as long as `keep` does not run."""

    evidence: Evidence
    news: Quiet


def gathering(folder: Path, bytes_max: int = 2**30, disk: Disk | None = None) -> Gathering:
    news = Quiet()
    vault = Vault.open(folder / "vault", folder / "wrapping", disk=disk)
    return Gathering(Evidence(vault, 0, bytes_max, WallClock(), news), news)


def frame(side: int = 10) -> Frame:
    return Frame("p", memoryview(bytes(side * side)).cast("B", (side, side)), 0.0)


def test_a_disk_that_hangs_keeps_no_loop_waiting_however_many_there_are(tmp_path: Path) -> None:
    """Two loops that had both been promised the last place: the second one waited for the disk for ever."""

    async def main() -> None:
        here = gathering(tmp_path)
        promises = [await here.evidence.promise(frame()) for _ in range(12)]
        assert [promise is not None for promise in promises] == [True] * 8 + [False] * 4
        for promise in promises:
            if promise is not None:
                here.evidence.redeem(promise)
        assert "the disk does not keep up" in here.news.lines[0]

    run(main)


def test_pictures_on_their_way_count_towards_what_the_vault_may_hold(tmp_path: Path) -> None:
    async def main() -> None:
        here = gathering(tmp_path, bytes_max=20_000)
        promises = [await here.evidence.promise(frame(70)) for _ in range(6)]
        assert sum(promise.payload.size for promise in promises if promise is not None) <= 20_000
        assert "the vault has its 20000 bytes" in here.news.lines[0]

    run(main)


def test_what_could_not_be_kept_takes_no_room(tmp_path: Path) -> None:
    async def main() -> None:
        disk = SimulatedDisk()
        with opened(disk) as vault:
            async with plant(written=KEPT, vault=vault, vault_bytes_max=4000) as here:
                for number in range(12):
                    disk.fail("pwrite", errno.EIO)
                    (answer,) = await look(here, defect(shift=10.0 + number))
                    assert len(of(here, answer).payloads) == 1
                    await asyncio.sleep(1.0)
                    here.door()

    run(main)


class Hanging(OsDisk):
    """A disk that takes nothing, and says nothing, until `over` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.over = threading.Event()
        self.over.set()

    def open(self, path: Path, purpose: Open) -> OsFile:
        self.over.wait()
        return super().open(path, purpose)


def test_pictures_that_a_hanging_disk_has_not_taken_when_the_gateway_ends_are_named(tmp_path: Path) -> None:
    """Entries commit to them; nothing said that they are missing."""

    async def main() -> None:
        disk = Hanging()
        here = gathering(tmp_path, disk=disk)
        disk.over.clear()
        promises = [promise for _ in range(3) if (promise := await here.evidence.promise(frame())) is not None]
        for promise in promises:
            here.evidence.redeem(promise)
        keeping = asyncio.create_task(here.evidence.keep(Stop()))
        await asyncio.sleep(0.1)
        keeping.cancel()
        await asyncio.wait([keeping])
        disk.over.set()
        for promise in promises:
            assert [line for line in here.news.lines if promise.payload.commitment in line and "had to end" in line]

    asyncio.run(main())


def test_a_picture_belongs_to_the_day_of_its_decision_and_not_to_that_on_which_the_disk_took_it(tmp_path: Path) -> None:
    """Whoever erased the day of the decision left its picture."""

    async def main() -> None:
        here = gathering(tmp_path)
        day = (iso(WallClock().now()) or "")[:10]
        promise = await here.evidence.promise(frame())
        assert promise is not None
        here.evidence.redeem(promise)
        WallClock().step(86_400.0)
        stop = Stop()
        stop.set()
        await here.evidence.keep(stop)
        (name,) = (path.name for path in (tmp_path / "vault" / "payloads").iterdir())
        assert name.endswith(f".pictures:{day}")

    run(main)


def test_names_that_cannot_be_looked_up_keep_no_picture_waiting(tmp_path: Path) -> None:
    """Look-ups of names hang on the threads that all share; the loop waited for one of them, beyond its deadline."""

    async def main() -> None:
        loop, over = asyncio.get_running_loop(), threading.Event()
        loop.set_default_executor(ThreadPoolExecutor(1))
        hanging = loop.run_in_executor(None, over.wait)
        try:
            async with asyncio.timeout(20.0):
                assert await gathering(tmp_path).evidence.promise(frame()) is not None
        finally:
            over.set()
            await hanging

    asyncio.run(main())


def test_a_proposer_in_the_shadow_that_could_not_be_put_on_record_still_gets_its_answer() -> None:
    async def main() -> None:
        disk = SimulatedDisk()
        async with plant(disk) as here:
            await beyond(here, 9)

            async def full(entry: object) -> int | None:
                raise OSError(errno.EIO, "the reserve cannot be written")

            here.acting.record._ledger.append_in_emergency = full  # type: ignore[method-assign]
            await beyond(here, 1)
            assert IN_THE_SHADOW in here.acting.gate.switches.thrown()
            assert [line for line in here.news.lines if "could not be put on record" in line]

    run(main)
