"""The latest values over a restart."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from plantgate.sdk import Batch, Sample
from plantgate.testing.clock import WallClock
from plantgate.testing.context import RecordedLog
from plantgate.testing.simloop import simulate
from plantgate_connectors.opcua_server import values
from plantgate_connectors.opcua_server.kept import Kept
from plantgate_connectors.opcua_server.space import Space
from tests.connectors.opcua_server.serving import NOW, OPEN, served


def kept_file(folder: Path) -> Path:
    (found,) = (folder / "gateway" / "use" / "scada").glob("values")
    return found


def lived(folder: Path) -> None:
    """A gateway that has shown some values, and has ended."""

    async def main() -> None:
        async with served(
            folder, {**OPEN, "tags": ["waiting"]}, clock=WallClock(), port=4840, host="gateway"
        ) as server:
            await server.show(
                Sample("line/a", 1.5, 0, NOW),
                Sample("line/b", "text", 0x8034_0000, None),
                Sample("line/c", [[1, 2]], 0, NOW),
            )

    simulate(main)


def restored(folder: Path) -> tuple[Space, RecordedLog]:
    log = RecordedLog()
    space = Space(log, tags_max=1000)

    async def main() -> None:
        await Kept(kept_file(folder).parent, log).restore(space)

    simulate(main)
    return space, log


def test_every_tag_is_there_again_with_its_type_and_time_and_a_status_that_says_so(tmp_path: Path) -> None:
    lived(tmp_path)
    space, _ = restored(tmp_path)
    shown = {name: values.parts(slot.encoded)[:3] for name, slot in space.slots.items()}
    assert shown == {
        "waiting": (b"", 0x8032_0000, 0),
        "line/a": (values.variant(1.5), 0x4090_0000, values.ticks(NOW)),
        "line/b": (values.variant("text"), 0x8034_0000, 0),
        "line/c": (values.variant([[1, 2]]), 0x4090_0000, values.ticks(NOW)),
    }
    assert (space.slots["line/c"].kind, space.slots["line/c"].rank) == (values.INT64, 2)
    assert (space.slots["line/a"].kind, space.slots["line/a"].rank) == (values.DOUBLE, values.SCALAR)


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "another file"])
def test_a_damaged_file_is_told_and_shows_nothing(tmp_path: Path, damage: str) -> None:
    lived(tmp_path)
    file = kept_file(tmp_path)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(
        {"flipped": bytes(content), "cut": file.read_bytes()[:-10], "empty": b"", "another file": b"x" * 100}[damage]
    )
    space, log = restored(tmp_path)
    assert space.slots == {}
    assert any("cannot be read" in event for _, event, _ in log.lines)


def test_a_disk_that_is_full_is_told_and_costs_no_value(tmp_path: Path) -> None:
    async def main() -> None:
        written = {**OPEN, "keep_seconds": 1}
        async with served(tmp_path, written, clock=WallClock(), port=4840, host="gateway") as server:
            blocked = server.context.folder / "values.new"
            blocked.mkdir()  # stands in for every reason a file cannot be written
            await server.show(Sample("line/a", 1.0, 0, NOW))
            await asyncio.sleep(3.0)
            assert any("cannot be kept" in line for line in server.log)
            await server.show(Sample("line/a", 2.0, 0, NOW))
            blocked.rmdir()
            await asyncio.sleep(3.0)
        assert kept_file(tmp_path).exists()

    simulate(main)


def test_a_write_whose_task_was_cancelled_does_not_meet_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a server ends in the middle of its write: the thread goes on, and the last write begins."""
    log = RecordedLog()
    space = Space(log, tags_max=10)
    kept, sync = Kept(tmp_path, log), os.fsync
    begun, replaced, others = threading.Event(), threading.Event(), threading.Event()

    def slow(file: int) -> None:
        sync(file)
        if not begun.is_set():
            begun.set()
            others.wait(0.5)  # until the other is as far, if nothing keeps it
            threading.Timer(0.2, replaced.set).start()
        else:
            others.set()
            replaced.wait(5.0)

    monkeypatch.setattr(os, "fsync", slow)

    async def main() -> None:
        space.accept(Batch.of([Sample("line/a", "the older", 0, NOW)]), NOW)
        first = asyncio.create_task(kept.save(space))
        await asyncio.to_thread(begun.wait, 5.0)
        first.cancel()
        await asyncio.wait([first])
        space.accept(Batch.of([Sample("line/a", "the newer", 0, NOW + 100)]), NOW)
        await kept.save(space)
        assert log.lines == []
        again = Space(log, tags_max=10)
        await kept.restore(again)
        assert values.parts(again.slots["line/a"].encoded)[0] == values.variant("the newer")

    asyncio.run(main())
