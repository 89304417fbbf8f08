"""Pictures on their way to a disk that hangs, is full, or does not take them."""

import asyncio
import errno
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from plantgate.audit import vault as vaults
from plantgate.audit.vault import Vault
from plantgate.control.evidence import Evidence
from plantgate.control.proposal import Standing
from plantgate.flow.stop import Stop
from plantgate.sdk import Frame, iso
from plantgate.store.disk import Disk, Open, OsDisk, OsFile
from plantgate.testing.clock import WallClock
from plantgate.testing.disk import SimulatedDisk
from tests.gateway.control.given import Quiet, plant, run
from tests.gateway.control.test_evidence import KEPT, look, of, opened
from tests.gateway.control.test_loop import defect


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
