"""The record of what was signed: it stays small, and what binds the log is in it after any power cut."""

import random
from contextlib import suppress
from pathlib import Path

import pytest

from plantgate.audit.checkpoint import Checkpoint
from plantgate.audit.log import AuditLog
from plantgate.audit.note import Note
from plantgate.audit.publish import Inconsistent
from plantgate.audit.verify import Verdict, verify
from plantgate.sdk import GatewayError
from plantgate.store.disk import SECTOR, replace_file
from plantgate.store.writer import JournalLimits, JournalWriter
from plantgate.testing.disk import PowerCut, SimulatedDisk, SimulatedFile
from plantgate.testing.simloop import simulate
from tests.gateway.audit.given import LOG, ORIGIN, POLICY, intent
from tests.gateway.audit.test_log import HERE, reading

SMALL = JournalLimits(segment_bytes=48 * SECTOR, record_bytes_max=40 * SECTOR)


async def opened(disk: SimulatedDisk) -> AuditLog:
    return await AuditLog.open(HERE, ORIGIN, [LOG], disk=disk, limits=SMALL)


async def publish(log: AuditLog, public: list[Note], times: int = 1) -> None:
    for _ in range(times):
        await log.append(intent(log.size))
        note = await log.publish()
        assert note is not None
        public.append(note)


def segments(disk: SimulatedDisk) -> int:
    return sum(path.parent == HERE / "signed" and path.suffix == ".segment" for path in disk.paths())


def test_the_record_of_what_was_signed_does_not_grow_without_end() -> None:
    disk, public = SimulatedDisk(), list[Note]()

    async def run(times: int) -> None:
        async with await opened(disk) as log:
            for _ in range(times):
                await publish(log, public)
                assert segments(disk) <= 3
                assert log._signed.end.sequence - log._signed.begin.sequence >= min(16, len(public))

    simulate(lambda: run(250))
    simulate(lambda: run(50))
    assert verify(reading(disk), POLICY, seen=public).integrity.verdict is Verdict.YES


def test_a_log_whose_old_checkpoints_went_still_knows_an_older_copy_of_itself() -> None:
    disk, public = SimulatedDisk(), list[Note]()
    older: dict[Path, bytes] = {}

    async def run() -> None:
        async with await opened(disk) as log:
            await publish(log, public, 120)
            older.update({path: disk.content(path) for path in disk.paths()})
            await publish(log, public, 120)

    simulate(run)
    for path in list(disk.paths()):
        if "public" not in path.parts:
            disk.unlink(path)
    for path, content in older.items():
        if "public" not in path.parts:
            replace_file(disk, path, content)
    with pytest.raises((Inconsistent, GatewayError), match="older copy"):
        simulate(run)


@pytest.mark.parametrize("mutation", ["none", "no sync", "the newest goes too"])
def test_power_cuts_while_old_checkpoints_go_lose_none_that_binds(
    mutation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The property, and proof that it can fail."""
    if mutation == "no sync":
        monkeypatch.setattr(SimulatedFile, "datasync", lambda self: None)
    if mutation == "the newest goes too":
        trim = JournalWriter.trim

        def all_of_them(self: JournalWriter, sequence: int) -> int:
            dropped = trim(self, sequence)
            if dropped:
                self.disk.unlink(self.segments[-1].path)
            return dropped

        monkeypatch.setattr(JournalWriter, "trim", all_of_them)

    def run(seed: int) -> int:
        luck = random.Random(seed)
        disk, public, trimmed = SimulatedDisk(seed=seed), list[Note](), 0

        async def life(cut: bool) -> None:
            log = await opened(disk)
            size = log.published.size if log.published is not None else 0
            assert size >= (Checkpoint.parse(public[-1].text).size if public else 0), "signed, public, and forgotten"
            while segments(disk) < 2 or log._signed.end.sequence - log._signed.segment_starts[1].sequence < 14:
                await publish(log, public)
            disk.cut_after = disk.calls + luck.randrange(1, 80) if cut else None
            await publish(log, public, 8)

        for number in range(3):
            with suppress(PowerCut):
                simulate(lambda: life(True), seed=luck.random())
            trimmed += segments(disk) < 2
            disk = disk.restart() if luck.random() < 0.2 else disk.power_cut(f"{seed}/{number}")
        simulate(lambda: life(False), seed=seed)
        report = verify(reading(disk), POLICY, seen=public)
        assert report.integrity.verdict is Verdict.YES, report.integrity.said
        return trimmed

    def every() -> None:
        assert sum(run(seed) for seed in range(12)) > 5, "cut where nothing went"

    if mutation == "none":
        every()
    else:
        with pytest.raises((AssertionError, GatewayError, OSError)):
            every()
