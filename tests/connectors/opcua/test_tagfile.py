"""A tag list in CSV is read whole or refused with every faulty line named."""

import time
from pathlib import Path

import pytest

from plantgate_connectors.opcua.deadband import Deadband
from plantgate_connectors.opcua.tagfile import read_tags
from tests.connectors.opcua.plant_given import settings


def written(folder: Path, text: str) -> Path:
    path = folder / "tags.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_columns_may_stand_in_any_order_and_cells_may_be_empty(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "\ufeffnode, tag ,deadband,sampling_interval_ms,queue_size,discard_oldest,structure,trigger\r\n"
        "# a comment\r\n"
        "nsu=urn:press;s=T,line3/t,2%,100,7,false,json,status_value_timestamp\r\n"
        "\r\n"
        '"nsu=urn:press;s=a,b",line3/ab,,,,,,\r\n',
    )
    first, second = read_tags(path)
    assert (first.tag, str(first.address), first.sampling_interval_ms) == ("line3/t", "nsu=urn:press;s=T", 100.0)
    assert (first.queue_size, first.discard_oldest, first.structure) == (7, False, "json")
    assert (first.deadband, first.trigger) == (Deadband("percent", 2.0), "status_value_timestamp")
    assert (second.tag, second.address.identifier, second.deadband, second.queue_size) == (
        "line3/ab",
        "a,b",
        None,
        None,
    )
    assert second.where == "tags.csv:5"


def test_every_faulty_line_is_named_with_file_and_line(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "tag,node,sampling_interval_ms,deadband,queue_size\n"
        "a,Temp,,,\n"
        "b,i=1,fast,,\n"
        "c,i=1,,-1,\n"
        "d,i=1,,,0\n"
        ",i=1,,,\n"
        "e,,,,\n"
        "f,i=1\n"
        "g,i=1,,,\n"
        "g,i=2,,,\n",
    )
    with pytest.raises(ValueError, match=r".") as caught:
        read_tags(path)
    lines = str(caught.value).splitlines()
    assert [line.removeprefix(f"{path}:").split(":")[0] for line in lines] == ["2", "3", "4", "5", "6", "7", "8", "10"]
    assert "write it as nsu=" in lines[0]
    assert "'fast' is not a number of milliseconds" in lines[1]
    assert "already given in line 9" in lines[-1]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no column 'tag'"),
        ("tag,adress\na,i=1\n", "no column 'node'"),
        ("tag,node,samplng\na,i=1,5\n", "unknown column 'samplng'"),
        ("tag,node,tag\na,i=1,b\n", "twice"),
        ('tag,node\n"a,i=1\n', "not CSV"),
    ],
)
def test_a_file_that_is_no_tag_list_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_tags(written(tmp_path, text))


def test_a_missing_file_and_one_that_is_not_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot read"):
        read_tags(tmp_path / "none.csv")
    (tmp_path / "tags.csv").write_bytes(b"tag,node\n\xff\xfe,i=1\n")
    with pytest.raises(ValueError, match="not UTF-8"):
        read_tags(tmp_path / "tags.csv")


def test_only_the_first_faults_of_many_are_told(tmp_path: Path) -> None:
    path = written(tmp_path, "tag,node\n" + "".join(f"t{number},nothing\n" for number in range(5000)))
    with pytest.raises(ValueError, match="and more") as caught:
        read_tags(path)
    assert len(str(caught.value).splitlines()) == 21


def test_ten_thousand_rows_are_read_in_a_third_of_a_second(tmp_path: Path) -> None:
    rows = "".join(f"line/t{number},nsu=urn:press;s=Tag{number},100,0.5\n" for number in range(10_000))
    path = written(tmp_path, "tag,node,sampling_interval_ms,deadband\n" + rows)
    spent = []
    for _ in range(3):
        before = time.process_time()
        assert len(settings(tags_file=str(path)).rows) == 10_000
        spent.append(time.process_time() - before)
    assert min(spent) < 0.3
