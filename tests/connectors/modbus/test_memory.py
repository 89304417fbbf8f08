"""What a run leaves for the next: exact to the last safe batch, and nothing where nothing can be read."""

from pathlib import Path

import pytest

from plantgate_connectors.modbus.memory import Memory


def left(folder: Path, *devices: str) -> dict[str, int | None]:
    memory = Memory(folder, devices)
    memory.load()
    return memory.times


def test_the_last_safe_times_are_there_for_a_run_that_follows_a_kill(tmp_path: Path) -> None:
    memory = Memory(tmp_path, ["a", "b", "c"])
    memory.load()
    for time in range(1, 50):
        memory.keep({"a": time, "b": None})
    # not closed: the process was killed
    assert left(tmp_path, "a", "b", "c") == {"a": 49, "b": None}


def test_values_without_a_time_do_not_make_an_earlier_time_unknown(tmp_path: Path) -> None:
    Memory(tmp_path, ["a"]).keep({"a": 7})
    again = Memory(tmp_path, ["a"])
    again.load()
    again.keep({"a": None})
    assert left(tmp_path, "a") == {"a": 7}


def test_a_device_that_is_new_or_gone_changes_nothing_for_the_others(tmp_path: Path) -> None:
    Memory(tmp_path, ["a", "b"]).keep({"a": 1, "b": 2})
    other = Memory(tmp_path, ["c", "b"])
    other.load()
    other.keep({"c": 3})
    assert left(tmp_path, "b", "c") == {"b": 2, "c": 3}


@pytest.mark.parametrize("cut", range(0, 40, 3))
def test_a_file_that_was_cut_or_changed_counts_as_none(cut: int, tmp_path: Path) -> None:
    Memory(tmp_path, ["a", "b"]).keep({"a": 1, "b": 2})
    file = tmp_path / "polled"
    whole = file.read_bytes()
    assert len(whole) < 40
    file.write_bytes(whole[:cut])
    assert left(tmp_path, "a", "b") in ({}, {"a": 1, "b": 2} if cut >= len(whole) else {})
    file.write_bytes(whole[:-1] + b"\xff")
    assert left(tmp_path, "a", "b") == {}
