"""A log that grows, or is closed, while it is copied, exported, appended to."""

import asyncio
import errno
from contextlib import suppress
from pathlib import Path

import pytest

from plantgate.audit.checkpoint import Checkpoint
from plantgate.audit.entry import encode
from plantgate.audit.export import Order as ExportOrder
from plantgate.audit.export import export
from plantgate.audit.log import AuditLog
from plantgate.audit.note import Note
from plantgate.audit.tiles import Tiles, folder
from plantgate.audit.verify import Verdict, verify
from plantgate.testing.disk import Call, SimulatedDisk
from plantgate.testing.simloop import simulate
from tests.gateway.audit.given import LOG, ORIGIN, POLICY, intent, outcome
from tests.gateway.audit.test_export import bare
from tests.gateway.audit.test_log import HERE, opened
from tests.gateway.audit.test_reserve import by_hand
from tests.gateway.audit.test_rotation import life, pairs


def test_an_export_of_a_log_that_grows_meanwhile_is_of_one_checkpoint(tmp_path: Path) -> None:
    life(tmp_path / "log", [LOG], *pairs(0, 3))
    read = folder(tmp_path / "log/public")
    report = verify(read, POLICY)
    life(tmp_path / "log", [LOG], *pairs(3, 3))
    out = tmp_path / "out"
    for path, content in export(read, report, ExportOrder([0, 3], [], "", "2026-11-26T00:00:00Z")):
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_bytes(content)
    said = bare(out / "verify.py")
    assert said.returncode == 0, said.stdout


def test_closing_a_closed_log_is_harmless(tmp_path: Path) -> None:
    async def run() -> None:
        audit = await AuditLog.open(tmp_path, ORIGIN, [LOG])
        await audit.close()
        await audit.close()

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["rename", "pwrite", "datasync", "sync_directory", "unlink"])
def test_a_copy_taken_at_any_moment_checkpoint_first_is_what_was_signed(kind: Call) -> None:
    """`checkpoint` first and `tile/` at any later moment, over partial tiles that became full and were cleared."""
    copies: list[tuple[bytes, SimulatedDisk]] = []

    class Copied(SimulatedDisk):
        def happen(self, call: Call, path: Path) -> None:
            super().happen(call, path)
            if call == kind and "public" in path.parts:
                for checkpoint, _ in copies[-40:]:
                    with_public(checkpoint)
                if (HERE / "public/checkpoint") in self._entries:
                    copies.append((self.content(HERE / "public/checkpoint"), self))
                    with_public(copies[-1][0])

    disk = Copied()

    def with_public(checkpoint: bytes) -> None:
        def read(path: str) -> bytes:
            if path == "checkpoint":
                return checkpoint
            place = HERE / "public" / path
            if place not in disk._entries:
                raise FileNotFoundError(errno.ENOENT, "not there", path)
            return disk.content(place)

        report = verify(read, POLICY)
        assert report.integrity.verdict is Verdict.YES, report.integrity.said

    async def run() -> None:
        async with await opened(disk) as audit:
            for number in range(130):
                await audit.append(intent(number))
                await audit.append(outcome(number))
                if number > 122 or number % 50 == 0:
                    await audit.publish()

    simulate(run)
    assert copies


def test_those_who_append_publish_and_close_at_once_lose_nothing(tmp_path: Path) -> None:
    async def run() -> dict[int, bytes]:
        told: dict[int, bytes] = {}
        audit = await AuditLog.open(tmp_path, ORIGIN, [LOG])

        async def appending(first: int) -> None:
            for number in range(first, first + 60):
                content = encode(by_hand(number))
                index = (
                    await audit.append_in_emergency(by_hand(number))
                    if number % 3
                    else await audit.append_bytes(content)
                )
                assert index is not None
                told[index] = content

        async def publishing() -> None:
            while True:
                await audit.publish()
                await audit.backfill()
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            others = [group.create_task(publishing()) for _ in range(2)]
            writers = [group.create_task(appending(1000 * each)) for each in range(8)]
            await asyncio.wait(writers[:4])
            for task in others:
                task.cancel()
            closing = group.create_task(audit.close())
            await asyncio.wait([*writers, closing])
            for task in writers:
                task.cancelled() or task.exception()
        return told

    told: dict[int, bytes] = {}
    with suppress(BaseExceptionGroup):
        told = asyncio.run(run())
    life(tmp_path, [LOG], outcome(1))
    size = Checkpoint.parse(Note.parse((tmp_path / "public/checkpoint").read_bytes()).text).size
    assert told.items() <= dict(enumerate(Tiles(folder(tmp_path / "public"), size))).items()
    assert verify(folder(tmp_path / "public"), POLICY).integrity.verdict is Verdict.YES
