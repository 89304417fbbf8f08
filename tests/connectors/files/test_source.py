"""Reading files: what comes out, and what never does."""

import json
from pathlib import Path

import pytest

from plantgate.sdk import Unavailable, iso
from plantgate.sdk.quality import BAD, BAD_DECODING, BAD_NO_DATA, GOOD, UNCERTAIN
from tests.connectors.files.given import counted, files, read_all, samples, values

WIDE = "time,pressure,temperature\n2026-01-01T00:00:00Z,1.5,20\n2026-01-01T00:00:01Z,1.6,21\n"


def test_a_wide_csv_gives_a_sample_for_each_cell(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(WIDE)
    got = samples(read_all(files(tmp_path, read={"path": tmp_path / "a.csv", "prefix": "line3/"})))
    assert [(s.tag, s.value, s.quality, iso(s.time)) for s in got] == [
        ("line3/pressure", 1.5, GOOD, "2026-01-01T00:00:00Z"),
        ("line3/temperature", 20, GOOD, "2026-01-01T00:00:00Z"),
        ("line3/pressure", 1.6, GOOD, "2026-01-01T00:00:01Z"),
        ("line3/temperature", 21, GOOD, "2026-01-01T00:00:01Z"),
    ]
    assert isinstance(got[1].value, int)


def test_named_columns_alone_become_tags(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("time,p,state\n2026-01-01,1.5,running\n")
    columns = {"state": {"tag": "press/state", "kind": "text"}}
    got = samples(read_all(files(tmp_path, read={"path": tmp_path / "a.csv", "columns": columns})))
    assert [(s.tag, s.value) for s in got] == [("press/state", "running")]


@pytest.mark.parametrize(
    "cell",
    ["1.2.3", "12,5", "1_000", "0x10", "1e999", "99999999999999999999", "twelve", "١٢", "1 2", "--1"],
)
def test_a_cell_that_is_no_number_gives_a_bad_sample_and_never_a_guess(tmp_path: Path, cell: str) -> None:
    (tmp_path / "a.csv").write_text(f'time;p;t\n2026-01-01;"{cell}";7\n', encoding="utf-8")
    connector = files(tmp_path, read={"path": tmp_path / "a.csv", "delimiter": ";"})
    got = samples(read_all(connector))
    assert [(s.tag, s.value, s.quality) for s in got] == [("p", None, BAD_DECODING), ("t", 7, GOOD)]
    assert counted(connector) == {"unreadable_cells": 1}


def test_an_empty_cell_is_no_sample_unless_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("time,p,t\n2026-01-01,,7\n")
    assert values(read_all(files(tmp_path / "1", read={"path": tmp_path / "a.csv"}))) == [7]
    got = samples(read_all(files(tmp_path / "2", read={"path": tmp_path / "a.csv", "empty": "bad"})))
    assert [(s.value, s.quality) for s in got] == [(None, BAD_NO_DATA), (7, GOOD)]


def test_rows_that_cannot_be_read_are_set_aside_with_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(
        b"time,p\n"
        b"2026-01-01T00:00:00Z,1\n"
        b"yesterday,2\n"  # 3: no time
        b"2026-01-01T00:00:02Z,3,4\n"  # 4: a cell too many
        b"2026-01-01T00:00:03Z\n"  # 5: a cell too few
        b"2026-01-01T00:00:04Z,\xff\n"  # 6: not UTF-8
        b"2026-01-01T00:00:05Z,\x00\n"  # 7: NUL, as a pre-allocated log has it
        b"2026-02-30T00:00:06Z,7\n"  # 8: no such day
        b"2026-01-01T00:00:07Z," + b"9" * 200 + b"\n"  # 9: too long
        b'2026-01-01T00:00:08Z,"open\n'  # 10: a quote that never closes
        b"2026-01-01T00:00:09Z,10\n"
    )
    connector = files(tmp_path, read={"path": file, "line_bytes_max": 128})
    assert values(read_all(connector)) == [1, 10]
    refused = [json.loads(line) for line in (tmp_path / "state" / "refused.jsonl").read_text().splitlines()]
    assert [line["line"] for line in refused] == [3, 4, 5, 6, 7, 8, 9, 10]
    assert all(line["file"] == str(file) and line["reason"] for line in refused)
    assert file.read_bytes()[refused[0]["offset"] :].startswith(b"yesterday,2\n")
    assert counted(connector) == {"refused_lines": 8}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a,b\n1,2\n", "no column 'time'"),
        (b"time,p,p\n2026-01-01,1,2\n", "two columns are named 'p'"),
        ("time,p\n".encode("utf-16"), "UTF-16"),
        (b"\xffime,p\n", "not utf-8"),
    ],
)
def test_a_file_that_cannot_be_read_at_all_is_named_and_the_others_are_read(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    (tmp_path / "b.csv").write_text("time,p\n2026-01-01,5\n")
    connector = files(tmp_path, read={"path": tmp_path / "*.csv"})
    assert values(read_all(connector)) == [5]
    refused = json.loads((tmp_path / "state" / "refused.jsonl").read_text())
    assert reason in refused["reason"]
    assert refused["file"].endswith("a.csv")


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf" + WIDE.replace("\n", "\r\n").encode())
    assert values(read_all(files(tmp_path, read={"path": tmp_path / "a.csv"}))) == [1.5, 20, 1.6, 21]


def test_a_german_spreadsheet_export_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("Zeit;Öl °C\n01.07.2016 02:30:00;30,53\n".encode("cp1252"))
    connector = files(
        tmp_path,
        read={
            "path": tmp_path / "a.csv",
            "encoding": "cp1252",
            "delimiter": ";",
            "decimal": ",",
            "time_column": "Zeit",
            "time_format": "%d.%m.%Y %H:%M:%S",
            "time_zone": "Europe/Berlin",
        },
    )
    got = samples(read_all(connector))
    assert [(s.tag, s.value, iso(s.time)) for s in got] == [("Öl °C", 30.53, "2016-07-01T00:30:00Z")]


def test_an_hour_the_clock_change_repeats_is_uncertain_and_one_it_leaves_out_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("time,p\n2026-10-25 02:30,1\n2026-03-29 02:30,2\n2026-03-29 03:30,3\n")
    connector = files(tmp_path, read={"path": tmp_path / "a.csv", "time_zone": "Europe/Berlin"})
    got = samples(read_all(connector))
    assert [(s.value, s.quality, iso(s.time)) for s in got] == [
        (1, UNCERTAIN, "2026-10-25T00:30:00Z"),
        (3, GOOD, "2026-03-29T01:30:00Z"),
    ]
    assert counted(connector) == {"refused_lines": 1}


def test_a_source_time_in_the_far_future_makes_a_value_uncertain(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("time,p\n2036-01-01,1\n")
    assert samples(read_all(files(tmp_path, read={"path": tmp_path / "a.csv"})))[0].quality == UNCERTAIN


@pytest.mark.parametrize(
    ("time_format", "text", "nanoseconds"),
    [
        ("iso", "2016-07-01T00:00:00.123456789Z", 1_467_331_200_123_456_789),
        ("iso", "2016-07-01 02:00:00+02:00", 1_467_331_200_000_000_000),
        ("unix_seconds", "1467331200.25", 1_467_331_200_250_000_000),
        ("unix_ms", "1467331200123", 1_467_331_200_123_000_000),
        ("unix_ns", "1467331200123456789", 1_467_331_200_123_456_789),
    ],
)
def test_times_are_exact_to_the_nanosecond(tmp_path: Path, time_format: str, text: str, nanoseconds: int) -> None:
    (tmp_path / "a.csv").write_text(f"time,p\n{text},1\n")
    got = samples(read_all(files(tmp_path, read={"path": tmp_path / "a.csv", "time_format": time_format})))
    assert got[0].time == nanoseconds


def test_a_file_without_times_gives_samples_without_times(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("p\n1\n")
    assert samples(read_all(files(tmp_path, read={"path": tmp_path / "a.csv", "time_column": None})))[0].time is None


def test_a_long_csv_carries_tag_quality_and_kind(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "time,tag,value,quality,kind\n"
        "2026-01-01,a,1.5,Good,\n"
        "2026-01-01,b,42,0x80000000,text\n"
        "2026-01-01,c,true,0,\n"
        "2026-01-01,d,,Bad,\n"
        "2026-01-01,e,1,excellent,\n"
        "2026-01-01,,1,0,\n"
    )
    connector = files(tmp_path, read={"path": tmp_path / "a.csv", "layout": "long"})
    got = samples(read_all(connector))
    assert [(s.tag, s.value, s.quality) for s in got] == [
        ("a", 1.5, GOOD),
        ("b", "42", BAD),
        ("c", True, GOOD),
        ("d", None, BAD),
        ("e", None, BAD_DECODING),
    ]
    assert counted(connector) == {"unreadable_cells": 1, "refused_lines": 1}


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[1]",
        '{"tag":"a","value":1}',
        '{"time":"2026-01-01","value":1}',
        '{"time":"2026-01-01","tag":"a","value":1,"value":2}',
        '{"time":"2026-01-01","tag":"a","value":1e999}',
        '{"time":"2026-01-01","tag":"a","value":99999999999999999999999}',
        '{"time":"2026-01-01","tag":"a\\nb","value":1}',
        '{"time":"2026-01-01","tag":"a","value":' + "[" * 20000 + "]" * 20000 + "}",
    ],
)
def test_a_json_line_that_means_nothing_or_two_things_is_set_aside(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.jsonl").write_text(line + '\n{"time":"2026-01-01","tag":"a","value":3}\n')
    connector = files(tmp_path, read={"path": tmp_path / "a.jsonl"})
    assert values(read_all(connector)) == [3]
    assert counted(connector) == {"refused_lines": 1}


def test_half_a_surrogate_pair_is_a_bad_sample(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"time":"2026-01-01","tag":"a","value":"\\ud800"}\n')
    got = samples(read_all(files(tmp_path, read={"path": tmp_path / "a.jsonl"})))
    assert [(s.value, s.quality) for s in got] == [(None, BAD_DECODING)]


def test_wide_json_lines_give_a_sample_for_each_key(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"time":1,"a":1,"b":[1,2],"c":null}\n')
    read = {"path": tmp_path / "a.jsonl", "layout": "wide", "time_format": "unix_seconds"}
    got = samples(read_all(files(tmp_path, read=read)))
    assert [(s.tag, s.value, s.time) for s in got] == [("a", 1, 10**9), ("b", [1, 2], 10**9)]


def test_a_last_line_without_line_end_is_uncertain_since_it_may_be_half_of_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("time,p\n2026-01-01,12.345\n2026-01-02,12.3")
    got = samples(read_all(files(tmp_path, read={"path": tmp_path / "a.csv"})))
    assert [(s.value, s.quality) for s in got] == [(12.345, GOOD), (12.3, UNCERTAIN)]


def test_quoted_cells_may_span_lines(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('time,note\n2026-01-01,"two\nlines, ""quoted"""\n2026-01-02,one\n')
    columns = {"note": {"tag": "note", "kind": "text"}}
    got = values(read_all(files(tmp_path, read={"path": tmp_path / "a.csv", "columns": columns})))
    assert got == ['two\nlines, "quoted"', "one"]


@pytest.mark.parametrize("content", ["", "time,p\n"])
def test_an_empty_file_gives_nothing_and_ends(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    assert read_all(files(tmp_path, read={"path": tmp_path / "a.csv"})) == []


def test_no_file_is_unavailable_and_says_which(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"csv: there is no file .*nothing\.csv"):
        read_all(files(tmp_path, read={"path": tmp_path / "nothing.csv"}))


def test_what_was_not_acknowledged_comes_again_and_what_was_does_not(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("time,p\n" + "".join(f"2026-01-01T00:00:{n:02d}Z,{n}\n" for n in range(10)))
    read = {"path": tmp_path / "a.csv", "batch_rows": 3}
    assert values(read_all(files(tmp_path, read=read), acknowledge=False)) == list(range(10))
    first = files(tmp_path, read=read)
    batches = read_all(first)
    assert values(batches) == list(range(10))
    assert read_all(files(tmp_path, read=read)) == []


def test_a_row_in_the_middle_of_the_line_count_is_found_again_after_a_restart(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("time,p\n2026-01-01,1\n2026-01-02,2\nlater,3\n")
    read = {"path": tmp_path / "a.csv", "batch_rows": 1}
    from tests.connectors.files.given import read_some

    assert values(read_some(files(tmp_path, read=read), 1)) == [1]
    assert values(read_all(files(tmp_path, read=read))) == [2]
    refused = json.loads((tmp_path / "state" / "refused.jsonl").read_text())
    assert refused["line"] == 4
