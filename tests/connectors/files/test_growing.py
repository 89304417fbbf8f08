"""Following files that grow, are rotated, cut off and replaced while nobody looks."""

import asyncio
from pathlib import Path

from plantgate_connectors.files import Files
from tests.connectors.files.given import files, read_some, samples, values


def _row(number: int) -> str:
    return f"2026-01-01T00:{number // 60:02d}:{number % 60:02d}Z,{number}\n"


def _rows(first: int, last: int) -> str:
    return "".join(map(_row, range(first, last)))


def _following(folder: Path, path: str = "a.csv") -> Files:
    return files(folder, read={"path": folder / path, "follow": True, "poll_seconds": 0.001, "batch_rows": 5})


def _append(file: Path, text: str) -> None:
    with file.open("a") as opened:
        opened.write(text)


def test_half_a_line_waits_for_its_other_half(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("time,p\n" + _row(1) + "2026-01-01T00:00:02Z,12.")

    async def session() -> list[object]:
        async with _following(tmp_path).source() as source:
            got: list[object] = [sample.value for sample in await source.read()]
            waiting = asyncio.ensure_future(source.read())
            await asyncio.sleep(0.02)
            assert not waiting.done()
            _append(file, "345\n")
            async with asyncio.timeout(10):
                return got + [sample.value for sample in await waiting]

    assert asyncio.run(session()) == [1, 12.345]


def test_a_read_that_is_cancelled_loses_nothing(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("time,p\n" + _rows(0, 20))

    async def session() -> list[object]:
        got: list[object] = []
        async with _following(tmp_path).source() as source:
            while len(got) < 20:
                for wait in (0, 1, 2, 5):
                    reading = asyncio.ensure_future(source.read())
                    for _ in range(wait):
                        await asyncio.sleep(0)
                    reading.cancel()
                    await asyncio.wait([reading])
                    if not reading.cancelled():
                        got += [sample.value for sample in reading.result()]
                if len(got) < 20:
                    got += [sample.value for sample in await source.read()]
        return got

    assert asyncio.run(session()) == list(range(20))


def test_a_quoted_cell_that_is_half_written_waits_for_its_other_half(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text('time,p\n2026-01-01,"1\n')
    columns = {"p": {"tag": "p", "kind": "text"}}
    read = {"path": file, "follow": True, "poll_seconds": 0.001, "columns": columns}

    async def session() -> list[object]:
        async with files(tmp_path, read=read).source() as source:
            waiting = asyncio.ensure_future(source.read())
            await asyncio.sleep(0.02)
            _append(file, '2"\n')
            async with asyncio.timeout(10):
                return [sample.value for sample in await waiting]

    assert asyncio.run(session()) == ["1\n2"]


def test_a_header_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("time")

    async def session() -> list[object]:
        async with _following(tmp_path).source() as source:
            waiting = asyncio.ensure_future(source.read())
            await asyncio.sleep(0.01)
            _append(file, ",p\n" + _row(1))
            async with asyncio.timeout(10):
                return [sample.value for sample in await waiting]

    assert asyncio.run(session()) == [1]


def test_a_file_rotated_before_it_was_read_to_its_end_is_finished_first(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("time,p\n" + _rows(0, 12))
    assert values(read_some(_following(tmp_path), 1)) == [0, 1, 2, 3, 4]
    file.rename(tmp_path / "a.csv.1")
    file.write_text("time,p\n" + _rows(100, 102))
    got = read_some(_following(tmp_path), 3)
    assert values(got) == [5, 6, 7, 8, 9, 10, 11, 100, 101]
    assert not any(batch.gaps for batch in got)


def test_two_rotations_while_away_lose_nothing(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("time,p\n" + _rows(0, 7))
    assert values(read_some(_following(tmp_path), 1)) == [0, 1, 2, 3, 4]
    file.rename(tmp_path / "a.csv.1")
    file.write_text("time,p\n" + _rows(100, 107))
    assert values(read_some(_following(tmp_path), 2)) == [5, 6, 100, 101, 102, 103, 104]
    (tmp_path / "a.csv.1").rename(tmp_path / "a.csv.2")
    file.rename(tmp_path / "a.csv.1")
    file.write_text("time,p\n" + _rows(200, 202))
    assert values(read_some(_following(tmp_path), 2)) == [105, 106, 200, 201]


def test_rotation_under_a_pattern_that_matches_the_old_names_reads_nothing_twice(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("time,p\n" + _rows(0, 7))
    assert values(read_some(_following(tmp_path, "a.csv*"), 2)) == list(range(7))
    file.rename(tmp_path / "a.csv.1")
    file.write_text("time,p\n" + _rows(100, 103))
    assert values(read_some(_following(tmp_path, "a.csv*"), 1)) == [100, 101, 102]
    (tmp_path / "a.csv.1").rename(tmp_path / "a.csv.2")
    file.rename(tmp_path / "a.csv.1")
    file.write_text("time,p\n" + _rows(200, 203))
    assert values(read_some(_following(tmp_path, "a.csv*"), 1)) == [200, 201, 202]


def test_rotation_while_reading_is_followed(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("time,p\n" + _rows(0, 3))

    async def session() -> list[object]:
        got: list[object] = []
        async with asyncio.timeout(10), _following(tmp_path).source() as source:
            got += [sample.value for sample in await source.read()]
            for generation in range(1, 4):
                for old in range(generation, 1, -1):
                    (tmp_path / f"a.csv.{old - 1}").rename(tmp_path / f"a.csv.{old}")
                _append(file, _rows(generation * 100 - 10, generation * 100 - 8))
                file.rename(tmp_path / "a.csv.1")
                file.write_text("time,p\n" + _rows(generation * 100, generation * 100 + 2))
                for _ in range(2):
                    batch = await source.read()
                    assert not batch.gaps
                    await source.ack(batch.cursor)
                    got += [sample.value for sample in batch]
        return got

    assert asyncio.run(session()) == [0, 1, 2, 90, 91, 100, 101, 190, 191, 200, 201, 290, 291, 300, 301]


def test_a_file_cut_off_in_place_is_read_from_its_start_after_a_gap(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("time,p\n" + _rows(0, 3))
    read_some(_following(tmp_path), 1)
    with file.open("r+") as opened:
        opened.truncate()
        opened.write("time,p\n" + _rows(50, 51))
    got = read_some(_following(tmp_path), 1)
    assert values(got) == [50]
    assert [(gap.cause, gap.tags, gap.lost) for gap in got[0].gaps] == [("file truncated", ("p",), None)]


def test_a_file_shortened_at_its_end_is_read_from_its_start_after_a_gap(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("time,p\n" + _rows(0, 100))
    read_some(_following(tmp_path), 20)
    with file.open("r+") as opened:
        opened.truncate(len("time,p\n" + _rows(0, 60)))
    got = read_some(_following(tmp_path), 12)
    assert values(got) == list(range(60))
    assert [gap.cause for batch in got for gap in batch.gaps] == ["file truncated"]


def test_a_file_replaced_by_another_is_read_from_its_start_after_a_gap(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("time,p\n" + _rows(0, 3))
    read_some(_following(tmp_path), 1)
    file.unlink()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b.csv").write_text("time,p\n" + _rows(50, 60))
    (tmp_path / "elsewhere" / "b.csv").rename(file)
    got = read_some(_following(tmp_path), 2)
    assert values(got) == list(range(50, 60))
    assert [gap.cause for gap in got[0].gaps] == ["file replaced"]


def test_a_file_saved_anew_with_more_rows_goes_on_where_it_was(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("time,p\n" + _rows(0, 3))
    read_some(_following(tmp_path), 1)
    file.rename(tmp_path / "a.csv~")
    file.write_text("time,p\n" + _rows(0, 5))
    got = read_some(_following(tmp_path), 1)
    assert values(got) == [3, 4]
    assert not got[0].gaps


def test_new_files_are_found_and_read_in_order_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("time,p\n" + _row(2))

    async def session() -> list[object]:
        async with asyncio.timeout(10), _following(tmp_path, "*.csv").source() as source:
            got: list[object] = [sample.value for sample in await source.read()]
            (tmp_path / "a.csv").write_text("time,q\n" + _row(1))
            (tmp_path / "c.csv").write_text("time,p\n" + _row(3))
            for _ in range(2):
                got += [sample.value for sample in await source.read()]
        return got

    assert asyncio.run(session()) == [2, 1, 3]


def test_a_header_repeated_by_a_restarted_writer_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("time,p\n" + _row(1) + "time,p\n" + _row(2))
    got = read_some(_following(tmp_path), 1)
    assert values(got) == [1, 2]
    assert [sample.tag for sample in samples(got)] == ["p", "p"]
