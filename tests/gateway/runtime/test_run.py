"""The gateway as a process: from a plant file to an exit code."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PLANT = """\
plant: copy
http: {{ listen: "127.0.0.1:{port}" }}
store: {{ folder: {folder}/data }}
connections:
  readings:
    type: files
    read: {{ path: "{folder}/in.csv", follow: {follow} }}
  archive:
    type: files
    write: {{ folder: "{folder}/out" }}
{more}
flows:
  copy: {{ from: readings, to: archive }}
{flows}
"""
SECOND = '  second:\n    type: files\n    write: {{ folder: "{folder}/second" }}\n'


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def written(folder: Path, *, follow: bool, port: int = 0, second: bool = False) -> Path:
    plant = folder / "plant.yaml"
    more = SECOND.format(folder=folder) if second else ""
    flows = "  other: { from: readings, to: second }" if second else ""
    plant.write_text(PLANT.format(folder=folder, port=port, follow=str(follow).lower(), more=more, flows=flows))
    return plant


def command(plant: Path, *options: str) -> list[str]:
    return [str(Path(sys.executable).parent / "plantgate"), "run", str(plant), *options]


@contextmanager
def running(plant: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(command(plant), stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def status(port: int) -> dict[str, Any] | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=2) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except OSError:
        return None


def until(port: int, fine: Any, seconds: float = 30.0) -> dict[str, Any]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = status(port)
        if found is not None and fine(found):
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {json.dumps(status(port))}")


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in sorted(folder.glob("*.jsonl")) for line in file.read_text().splitlines()]


def lines(count: int) -> str:
    return "".join(f"2026-01-01T00:00:{second:02}Z,{second / 2}\n" for second in range(count))


def test_a_flow_of_files_ends_by_itself_when_all_is_delivered(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("time,temperature\n" + lines(5))
    plant = written(tmp_path, follow=False)
    done = subprocess.run(command(plant, "--until-done"), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert [row["value"] for row in rows(tmp_path / "out")] == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert all(json.loads(line)["level"] in ("info",) for line in done.stderr.splitlines()), "JSON lines, nothing amiss"


def test_a_changed_plant_file_is_applied_and_a_flow_that_did_not_change_is_not_touched(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "in.csv").write_text("time,temperature\n" + lines(5))
    plant = written(tmp_path, follow=True, port=port)
    with running(plant) as process:
        first = until(port, lambda found: found["flows"]["copy"]["destinations"]["archive"]["delivered"] == 5)
        since = first["connections"]["readings"]["uses"][0]["since_seconds"]

        plant.write_text(plant.read_text().replace("follow: true", "folow: true"))
        wrong = until(port, lambda found: "not applied" in found["problem"])
        assert "folow" in wrong["problem"]
        assert wrong["flows"]["copy"]["accepted"] == 5, "the old plan goes on"

        written(tmp_path, follow=True, port=port, second=True)
        process.send_signal(signal.SIGHUP)
        both = until(
            port,
            lambda found: (
                "other" in found["flows"] and found["flows"]["other"]["destinations"]["second"]["delivered"] == 5
            ),
        )
        assert both["problem"] == ""
        assert both["flows"]["copy"]["accepted"] == 5, "the flow that did not change counts on"
        assert both["connections"]["readings"]["uses"][0]["since_seconds"] >= since, "its session is the same one"

        written(tmp_path, follow=True, port=port)
        until(port, lambda found: "other" not in found["flows"])
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0


def test_a_second_gateway_on_the_same_folder_says_so_and_leaves_it_alone(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "in.csv").write_text("time,temperature\n" + lines(1))
    plant = written(tmp_path, follow=True, port=port)
    with running(plant):
        until(port, lambda found: found["ready"])
        second = subprocess.run(command(plant), capture_output=True, text=True, timeout=30)
        assert second.returncode == 2
        assert "another plantgate runs on" in second.stderr
        assert until(port, lambda found: found["ready"])


def test_an_address_in_use_is_a_sentence_not_a_traceback(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        plant = written(tmp_path, follow=True, port=taken.getsockname()[1])
        (tmp_path / "in.csv").write_text("time,temperature\n")
        done = subprocess.run(command(plant), capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "cannot listen on 127.0.0.1" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_store_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    (tmp_path / "in.csv").write_text("time,temperature\n")
    done = subprocess.run(command(written(tmp_path, follow=True)), capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_killed_and_started_again_every_row_arrives_in_order(tmp_path: Path) -> None:
    count = 3000
    moments = (f"2026-01-01T{n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}Z,{n}" for n in range(count))
    (tmp_path / "in.csv").write_text("time,n\n" + "\n".join(moments) + "\n")
    plant = written(tmp_path, follow=False)
    for _ in range(4):
        with subprocess.Popen(command(plant, "--until-done"), stderr=subprocess.DEVNULL) as process:
            time.sleep(0.9)
            os.kill(process.pid, signal.SIGKILL)
    done = subprocess.run(command(plant, "--until-done"), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    values = [row["value"] for row in rows(tmp_path / "out")]
    assert sorted(set(values)) == list(range(count)), "none is lost"
    assert [value for at, value in enumerate(values) if value not in values[:at]] == list(range(count)), "in order"
