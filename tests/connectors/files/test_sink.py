"""Writing files: on disk when accepted, once, and readable back exactly."""

import csv
import errno
import json
import math
import os
from pathlib import Path

import pytest

from plantgate.sdk import Batch, Gap, Rejected, Sample, Unavailable
from plantgate.sdk.quality import BAD, GOOD, UNCERTAIN
from tests.connectors.files.given import NOON, Clock, counted, files, read_all, samples, values, write_all

SECOND = 10**9


def _batch(position: int, count: int = 3, *, gaps: tuple[Gap, ...] = (), origin: str = "box") -> Batch:
    batch = Batch.of((Sample("a", position + index, GOOD, NOON + index * SECOND) for index in range(count)), gaps=gaps)
    batch.origin, batch.position = origin, position
    return batch


def _written(folder: Path, ending: str = "jsonl") -> list[Path]:
    return sorted(
        file for file in folder.iterdir() if file.name.startswith("plantgate-") and file.suffix == f".{ending}"
    )


def _numbers(folder: Path) -> list[int]:
    lines = [json.loads(line) for file in _written(folder) for line in file.read_text().splitlines()]
    return [line["position"] for line in lines if "gap" not in line]


STRANGE: list[Sample] = [
    Sample("a/b c,ö\"'", 1.5, GOOD, NOON),
    Sample("int", 42, GOOD, NOON + 1),
    Sample("huge", 2**64 - 1, 0x480, NOON + 123_456_789),
    Sample("text", "42", GOOD, None),
    Sample("quoted", 'two, "cells"', GOOD, NOON),
    Sample("lines", "one\r\ntwo\u2028", GOOD, NOON),
    Sample("empty", "", UNCERTAIN, NOON),
    Sample("flag", True, GOOD, NOON),
    Sample("none", None, GOOD, NOON),
    Sample("bad", None, 0x8034_0000, NOON),
    Sample("stale", 7.25, BAD, NOON),
    Sample("bytes", b"\x00\xff", GOOD, NOON),
    Sample("infinite", -math.inf, GOOD, NOON),
    Sample("tiny", 5e-324, GOOD, NOON),
    Sample("array", [1, 2.5, "x", None], GOOD, NOON),
    Sample("structure", {"speed": 1.5, "steps": [1, 2]}, GOOD, NOON),
    Sample("before 1970", -1, GOOD, -1),
]


@pytest.mark.parametrize("form", ["json_lines", "csv"])
def test_what_was_written_is_read_back_exactly(tmp_path: Path, form: str) -> None:
    batch = Batch.of(STRANGE)
    batch.origin = "box"
    write_all(files(tmp_path, write={"folder": tmp_path / "out", "format": form}), [batch])
    read = {"path": tmp_path / "out" / ("*.csv" if form == "csv" else "*-*.jsonl"), "layout": "long"}
    got = samples(read_all(files(tmp_path / "back", read=read)))
    assert got == STRANGE
    assert [type(sample.value) for sample in got] == [type(sample.value) for sample in STRANGE]


def test_not_a_number_comes_back_as_not_a_number(tmp_path: Path) -> None:
    batch = Batch.of([Sample("a", math.nan, GOOD, NOON)])
    write_all(files(tmp_path, write={"folder": tmp_path / "out"}), [batch])
    assert json.loads(_written(tmp_path / "out")[0].read_text())["value"] == "NaN"
    (value,) = values(read_all(files(tmp_path / "back", read={"path": tmp_path / "out" / "*.jsonl"})))
    assert isinstance(value, float)
    assert math.isnan(value)


def test_gaps_are_lines_of_their_own_and_read_back_as_gaps(tmp_path: Path) -> None:
    gap = Gap(("a", "b"), NOON - SECOND, None, "session lost", lost=4, recovered=2)
    write_all(files(tmp_path, write={"folder": tmp_path / "out"}), [_batch(0, gaps=(gap,))])
    got = read_all(files(tmp_path / "back", read={"path": tmp_path / "out" / "*.jsonl"}))
    assert [batch.gaps for batch in got] == [(gap,)]
    assert values(got) == [0, 1, 2]


def test_gaps_of_csv_stand_beside_it_once(tmp_path: Path) -> None:
    gap = Gap(("a",), None, NOON, "outbox full", lost=None)
    for _ in range(2):
        write_all(files(tmp_path, write={"folder": tmp_path / "out", "format": "csv"}), [_batch(0, gaps=(gap,))])
    lines = (tmp_path / "out" / "plantgate.gaps.jsonl").read_text().splitlines()
    assert [json.loads(line)["gap"]["cause"] for line in lines] == ["outbox full"]
    with _written(tmp_path / "out", "csv")[0].open() as file:
        assert [row["position"] for row in csv.DictReader(file)] == ["0", "1", "2"]


@pytest.mark.parametrize("form", ["json_lines", "csv"])
def test_a_batch_repeated_after_a_restart_is_not_written_twice(tmp_path: Path, form: str) -> None:
    write = {"folder": tmp_path / "out", "format": form}
    gap = Gap(("a",), None, NOON, "session lost", lost=1)
    write_all(files(tmp_path, write=write), [_batch(0), _batch(3, gaps=(gap,))])
    (tmp_path / "state" / "written.json").unlink()  # as after a crash: only the files themselves remain
    again = files(tmp_path, write=write)
    write_all(again, [_batch(3, gaps=(gap,)), _batch(6)])
    assert counted(again)["repeats_recognised"] == 3
    got = [file.read_text() for file in (tmp_path / "out").iterdir() if file.suffix in (".csv", ".jsonl")]
    assert "".join(got).count("session lost") == 1
    read = {"path": tmp_path / "out" / ("*.csv" if form == "csv" else "*-*.jsonl"), "layout": "long"}
    assert values(read_all(files(tmp_path / "back", read=read))) == list(range(9))


@pytest.mark.parametrize("form", ["json_lines", "csv"])
def test_a_crash_at_any_byte_leaves_a_file_that_the_repeat_completes(tmp_path: Path, form: str) -> None:
    write = {"format": form}
    whole = tmp_path / "whole"
    write_all(files(tmp_path / "0", write={"folder": whole, **write}), [_batch(0), _batch(3)])
    (file,) = _written(whole, "csv" if form == "csv" else "jsonl")
    content = file.read_bytes()
    first = content[: len(content) * 2 // 3].rfind(b"\n") + 1
    for cut in range(first, len(content), 7):
        out = tmp_path / f"cut{cut}"
        out.mkdir()
        (out / file.name).write_bytes(content[:cut])
        write_all(files(tmp_path / f"state{cut}", write={"folder": out, **write}), [_batch(0), _batch(3)])
        assert (out / file.name).read_bytes() == content


def test_half_a_line_that_a_crash_left_is_set_aside_whole(tmp_path: Path) -> None:
    write = {"folder": tmp_path / "out"}
    write_all(files(tmp_path, write=write), [_batch(0)])
    (file,) = _written(tmp_path / "out")
    before = file.read_bytes()
    file.write_bytes(before + b'{"time":"' + b"x" * 5000)
    write_all(files(tmp_path, write=write), [_batch(3, 1)])
    assert file.read_bytes().startswith(before)
    assert b"xx" not in file.read_bytes()
    assert _numbers(tmp_path / "out") == [0, 1, 2, 3]
    assert (tmp_path / "out" / f"{file.name}.torn").read_bytes() == b'{"time":"' + b"x" * 5000 + b"\n"


def test_repeats_are_recognised_when_the_written_files_have_been_taken_away(tmp_path: Path) -> None:
    write = {"folder": tmp_path / "out"}
    write_all(files(tmp_path, write=write), [_batch(0)])
    for file in _written(tmp_path / "out"):
        file.unlink()
    write_all(files(tmp_path, write=write), [_batch(0), _batch(3)])
    assert _numbers(tmp_path / "out") == [3, 4, 5]


def test_numbers_that_come_out_of_their_order_are_not_taken_for_repeats(tmp_path: Path) -> None:
    write = {"folder": tmp_path / "out"}
    write_all(files(tmp_path, write=write), [_batch(6), _batch(0), _batch(20)])
    (tmp_path / "state" / "written.json").unlink()
    write_all(files(tmp_path, write=write), [_batch(0, 10), _batch(18, 10)])
    assert _numbers(tmp_path / "out") == [6, 7, 8, 0, 1, 2, 20, 21, 22, 3, 4, 5, 9, 18, 19, 23, 24, 25, 26, 27]


def test_another_outbox_is_not_taken_for_a_repeat(tmp_path: Path) -> None:
    write_all(
        files(tmp_path, write={"folder": tmp_path / "out"}), [_batch(0), _batch(0, origin="new"), _batch(0, origin="")]
    )
    assert _numbers(tmp_path / "out") == [0, 1, 2] * 3


def test_a_new_file_is_begun_for_size_and_for_the_day(tmp_path: Path) -> None:
    clock = Clock()
    connector = files(tmp_path, clock=clock, write={"folder": tmp_path / "out", "file_bytes_max": 1024})
    batches = [_batch(position) for position in range(0, 60, 3)]
    write_all(connector, batches)
    assert len(_written(tmp_path / "out")) > 3
    assert all(file.stat().st_size < 2048 for file in _written(tmp_path / "out"))
    before = len(_written(tmp_path / "out"))
    clock.time += 86400 * SECOND
    write_all(connector, [_batch(60)])
    assert len(_written(tmp_path / "out")) == before + 1
    assert _numbers(tmp_path / "out") == list(range(63))


def test_a_file_moved_away_while_it_is_written_is_followed_by_a_new_one(tmp_path: Path) -> None:
    import asyncio

    connector = files(tmp_path, write={"folder": tmp_path / "out"})

    async def session() -> None:
        async with connector.sink() as sink:
            await sink.accept(_batch(0))
            _written(tmp_path / "out")[0].rename(tmp_path / "collected.jsonl")
            await sink.accept(_batch(3))

    asyncio.run(session())
    assert _numbers(tmp_path / "out") == [3, 4, 5]
    assert len((tmp_path / "collected.jsonl").read_text().splitlines()) == 3


def test_a_full_disk_is_unavailable_and_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    connector = files(tmp_path, write={"folder": tmp_path / "out"})
    write, room = os.pwrite, [10**9]

    def pwrite(fd: int, data: memoryview, offset: int) -> int:
        if room[0] == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done = write(fd, data[: room[0]], offset)
        room[0] -= done
        return done

    monkeypatch.setattr(os, "pwrite", pwrite)

    async def session() -> None:
        async with connector.sink() as sink:
            await sink.accept(_batch(0))
            room[0] = 1000
            with pytest.raises(Unavailable, match=r"csv: cannot write to .*: No space left on device"):
                await sink.accept(_batch(3, 30))
            assert connector.context.standing.state.value == "away"
            room[0] = 10**9
            await sink.accept(_batch(3))
            assert connector.context.standing.state.value == "up"

    asyncio.run(session())
    assert _numbers(tmp_path / "out") == list(range(6))


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file where the folder should be")
    with pytest.raises(Unavailable, match="csv: cannot write to"):
        write_all(files(tmp_path, write={"folder": tmp_path / "out"}), [])


def test_two_flows_do_not_share_a_name_in_a_folder(tmp_path: Path) -> None:
    import asyncio

    write = {"folder": tmp_path / "out"}

    async def session() -> None:
        async with files(tmp_path / "1", write=write).sink():
            with pytest.raises(Unavailable, match="another flow writes plantgate"):
                async with files(tmp_path / "2", write=write).sink():
                    pass
            async with files(tmp_path / "3", write={**write, "name": "other"}).sink():
                pass

    asyncio.run(session())


def test_csv_refuses_a_tag_name_that_no_row_can_hold(tmp_path: Path) -> None:
    batch = Batch.of([Sample("a\nb", 1, GOOD, NOON)])
    with pytest.raises(Rejected, match=r"'a\\nb'; use format json_lines"):
        write_all(files(tmp_path, write={"folder": tmp_path / "out", "format": "csv"}), [batch])
    write_all(files(tmp_path / "2", write={"folder": tmp_path / "out2"}), [batch])
    assert json.loads(_written(tmp_path / "out2")[0].read_text())["tag"] == "a\nb"


def test_lone_surrogates_do_not_stop_the_flow(tmp_path: Path) -> None:
    batch = Batch.of([Sample("a", "\udc80", GOOD, NOON)])
    for form in ("csv", "json_lines"):
        write_all(files(tmp_path, write={"folder": tmp_path / form, "format": form}), [batch])
        written = next(file for file in (tmp_path / form).iterdir() if file.suffix in (".csv", ".jsonl"))
        assert "\\udc80" in written.read_text()
