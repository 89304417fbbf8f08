"""Real cells: processes that hang, crash, take everything or talk nonsense, beside a flow that must not feel it."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.runtime.site import installed
from tests.gateway.runtime.test_run import free_port

PATIENCE_SECONDS = 90.0
"""For a machine that has other things to do; nothing here waits for it when all is well."""


class House:
    """One plant of neighbours, and the gateway that runs it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.environment = installed(folder)
        self.plant, self.log = folder / "plant.yaml", folder / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def write(self, connections: dict[str, dict[str, object]], flows: dict[str, Any], cells: dict[str, Any]) -> None:
        """A plant file of neighbours; JSON is YAML. What `sink` is given stands in the file `sink`."""
        named = {name: {"type": "neighbour", "written": name, **settings} for name, settings in connections.items()}
        self.plant.write_text(
            json.dumps(
                {
                    "plant": "house",
                    "http": {"listen": f"127.0.0.1:{self.port}"},
                    "shutdown": {"sources_seconds": 2, "sinks_seconds": 2},
                    "connections": named,
                    "flows": flows,
                    "cells": cells,
                }
            )
        )

    @contextmanager
    def running(self, *options: str) -> Iterator[subprocess.Popen[bytes]]:
        """`plantgate run`, killed in the end whatever happens."""
        command = [str(Path(sys.executable).parent / "plantgate"), "run", str(self.plant), *options]
        with self.log.open("ab") as log, subprocess.Popen(command, stderr=log, env=self.environment) as process:
            self.process = process
            try:
                yield process
            finally:
                process.kill()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(PATIENCE_SECONDS)

    def status(self) -> dict[str, Any] | None:
        """None while nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/status", timeout=5) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except OSError:
            return None

    def until(self, fine: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """The first status that is."""
        end = time.monotonic() + PATIENCE_SECONDS
        found = None
        while time.monotonic() < end:
            found = self.status()
            if found is not None and fine(found):
                return found
            time.sleep(0.1)
        raise AssertionError(f"not in {PATIENCE_SECONDS:.0f} s: {json.dumps(found)}\n{self.log.read_text()[-5000:]}")

    def lines(self) -> list[dict[str, Any]]:
        """The log lines that are JSON; a process that is ended for standing still writes a traceback besides."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def until_said(self, event: str) -> None:
        """Until a line of the log says so."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not any(line["event"] == event for line in self.lines()):
            assert time.monotonic() < end, f"the log does not say {event!r}"
            time.sleep(0.05)

    def lost(self, cell: str) -> list[str]:
        """Why it was lost, each time."""
        return [line["reason"] for line in self.lines() if line.get("cell") == cell and "cell lost" in line["event"]]

    def numbers(self, sink: str) -> list[int]:
        """What it was given."""
        return [int(line.split()[0]) for line in (self.folder / sink).read_text().splitlines()]


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def delivered(status: dict[str, Any], flow: str) -> int:
    if flow not in status["flows"]:
        return 0  # it is being moved
    (destination,) = status["flows"][flow]["destinations"].values()
    assert destination["difference"] == 0
    count: int = destination["delivered"]
    return count


def complete(numbers: list[int]) -> int:
    """Each number, in order once repeats are dropped; how many there are."""
    first = list(dict.fromkeys(numbers))
    assert first == list(range(1, len(first) + 1))
    return len(first)


DEEDS = {
    "hang": "has stood still for",
    "hang_in_c": "has stood still for",
    "stop": "has stood still for",
    "abort": "ended by SIGABRT",
    "kill": "ended by SIGKILL",
    "exit": "ended with exit code 7",
    "greed": "of memory, where its `memory_bytes_max` is 128MiB",
    "garbage": "sent what cannot be read",
    "big_words": "sent a frame of 4294967295 bytes",
    "deaf": "ended with exit code 0",
}


def test_what_a_bad_source_does_stays_in_its_cell(house: House) -> None:
    connections: dict[str, dict[str, object]] = {"tame": {}, "tame_sink": {}}
    flows = {"good": {"from": "tame", "to": "tame_sink"}}
    cells = {}
    for deed in DEEDS:
        connections |= {deed: {"deed": deed}, f"{deed}_sink": {}}
        flows[f"from_{deed}"] = {"from": deed, "to": f"{deed}_sink"}
        cells[deed] = {"connections": deed, "stall_seconds": 3, "memory_bytes_max": "128MiB"}
    house.write(connections, flows, cells)
    with house.running():
        house.until(lambda status: all(cell["restarts"] >= 1 for cell in status["cells"].values()))
        before = house.until(lambda status: all(delivered(status, f"from_{deed}") > 20 for deed in DEEDS))
        after = house.until(lambda status: delivered(status, "good") > delivered(before, "good") + 20)
        assert all(part.startswith("cell ") for part in after["problem"].split("; ") if part)
        assert after["stalls"] == 0, "the gateway's own loop never stood still"
        uses = after["connections"]["tame"]["uses"] + after["connections"]["tame_sink"]["uses"]
        assert all(use["state"] == "up" for use in uses)
        house.stop()
    for deed, reason in DEEDS.items():
        assert reason in house.lost(deed)[0]
        assert complete(house.numbers(f"{deed}_sink")) > 20, "and what it gave before and after has arrived"
    assert complete(house.numbers("tame_sink")) == len(house.numbers("tame_sink")), "nothing came twice"
    connected = [
        line for line in house.lines() if line["event"] == "connected" and line["connection"].startswith("tame")
    ]
    assert len(connected) == 2, "the sessions of the good flow are those of the start"


@pytest.mark.parametrize("deed", ["hang", "kill"])
def test_what_a_bad_sink_does_stays_in_its_cell_and_it_gets_everything(house: House, deed: str) -> None:
    house.write(
        {"tame": {}, "tame_sink": {}, "bad": {"deed": deed}},
        {"both": {"from": "tame", "to": ["tame_sink", "bad"]}},
        {"hall": {"connections": "bad", "stall_seconds": 2}},
    )
    with house.running():
        status = house.until(
            lambda status: (
                status["cells"]["hall"]["restarts"] >= 2
                and status["flows"]["both"]["destinations"]["bad"]["delivered"] > 60
            )
        )
        destinations = status["flows"]["both"]["destinations"]
        assert destinations["tame_sink"]["difference"] == destinations["bad"]["difference"] == 0
        house.stop()
    assert complete(house.numbers("tame_sink")) == len(house.numbers("tame_sink"))
    assert complete(house.numbers("bad")) > 60


def test_a_cell_that_floods_does_not_keep_others_from_going_on(house: House) -> None:
    house.write(
        {"tame": {}, "tame_sink": {}, "flood": {"samples": 50_000, "pause_seconds": 0}, "drain": {}},
        {"good": {"from": "tame", "to": "tame_sink"}, "flood": {"from": "flood", "to": "drain"}},
        {"hall": {"connections": ["flood", "drain"]}},
    )
    with house.running():
        before = house.until(lambda status: delivered(status, "flood") > 100_000)
        house.until(lambda status: delivered(status, "good") > delivered(before, "good") + 20)
        house.stop()
    assert house.lost("hall") == []
    assert complete(house.numbers("tame_sink")) == len(house.numbers("tame_sink"))
    assert complete(house.numbers("drain")) > 100_000


def test_a_cell_that_does_not_stay_up_is_a_problem_somebody_must_look_at(house: House) -> None:
    house.write(
        {"bad": {"deed": "exit", "after": 0}, "sink": {}},
        {"bad": {"from": "bad", "to": "sink"}},
        {"hall": {"connections": "bad"}},
    )
    with house.running():
        status = house.until(lambda status: status["problem"])
        assert "cell hall was lost 3 times in a row, the last time it ended with exit code 7" in status["problem"]
        assert status["ready"], "the flow stands, and waits for it"
        house.stop()


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def two_cells(house: House, **hall: object) -> None:
    house.write(
        {"tame": {}, "sink": {}, "bad": {"deed": "hang", "after": 5}, "bad_sink": {}},
        {"good": {"from": "tame", "to": "sink"}, "bad": {"from": "bad", "to": "bad_sink"}},
        {"hall": {"connections": ["tame", "sink"], **hall}, "yard": {"connections": "bad", "stall_seconds": 3600}},
    )


def test_cells_do_not_outlive_a_gateway_that_is_killed_not_even_one_that_hangs(house: House) -> None:
    two_cells(house)
    with house.running() as process:
        status = house.until(
            lambda status: delivered(status, "good") > 10 and delivered(status, "bad") == 5 and status["ready"]
        )
        process.kill()
        process.wait()
        pids = [cell["pid"] for cell in status["cells"].values()]
        end = time.monotonic() + PATIENCE_SECONDS
        while not all(map(gone, pids)):
            assert time.monotonic() < end
            time.sleep(0.05)
    with house.running():
        # What it gave is delivered a moment before it hangs; asked to stop in that moment, it stops.
        hangs = house.folder / "data" / "connections" / "bad" / "bad" / "hangs"
        house.until(
            lambda status: (
                delivered(status, "good") > 20
                and delivered(status, "bad") == 10
                and hangs.exists()
                and hangs.read_text() == str(status["cells"]["yard"]["pid"])
            )
        )
        assert house.stop() == 3, "the source that hangs had to be abandoned"
    complete(house.numbers("sink"))


def test_a_signal_for_all_processes_is_an_orderly_stop(house: House) -> None:
    """As systemd sends it to a service, and a terminal on Ctrl-C."""
    house.write(
        {"tame": {}, "sink": {}}, {"good": {"from": "tame", "to": "sink"}}, {"hall": {"connections": ["tame", "sink"]}}
    )
    with house.running() as process:
        status = house.until(lambda status: delivered(status, "good") > 10)
        for number in (signal.SIGHUP, signal.SIGINT):
            os.kill(status["cells"]["hall"]["pid"], number)
        os.kill(status["cells"]["hall"]["pid"], signal.SIGTERM)
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0
    assert house.lost("hall") == []
    assert complete(house.numbers("sink")) == len(house.numbers("sink")), "what was in hand was finished"


def test_asked_twice_to_stop_a_gateway_leaves_at_once_and_takes_its_cells_with_it(house: House) -> None:
    two_cells(house)
    plan = json.loads(house.plant.read_text())
    plan["shutdown"] = {"sources_seconds": 3600, "sinks_seconds": 3600}
    house.plant.write_text(json.dumps(plan))
    with house.running() as process:
        status = house.until(lambda status: delivered(status, "good") > 10 and delivered(status, "bad") == 5)
        process.terminate()
        house.until_said("stopping")
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 3, "something was abandoned, and that is no bug"
        assert all(gone(cell["pid"]) for cell in status["cells"].values())
    with house.running():
        house.until(lambda status: delivered(status, "good") > 20)
    complete(house.numbers("sink"))


def test_a_gateway_that_was_frozen_does_not_blame_its_cells(house: House) -> None:
    house.write(
        {"tame": {}, "sink": {}},
        {"good": {"from": "tame", "to": "sink"}},
        {"hall": {"connections": ["tame", "sink"], "stall_seconds": 1}},
    )
    with house.running() as process:
        before = house.until(lambda status: delivered(status, "good") > 10)
        process.send_signal(signal.SIGSTOP)
        time.sleep(3)  # the fault itself: three times as long as a cell may stand still
        process.send_signal(signal.SIGCONT)
        after = house.until(lambda status: delivered(status, "good") > delivered(before, "good") + 10)
        assert after["cells"]["hall"]["restarts"] == 0
        assert after["cells"]["hall"]["pid"] == before["cells"]["hall"]["pid"]
        house.stop()


def test_a_new_plan_touches_only_the_cells_and_flows_it_changes(house: House) -> None:
    connections: dict[str, dict[str, object]] = {"tame": {}, "sink": {}, "other": {}, "other_sink": {}}
    flows = {"good": {"from": "tame", "to": "sink"}, "other": {"from": "other", "to": "other_sink"}}
    house.write(connections, flows, {"hall": {"connections": "tame"}})
    with house.running():
        first = house.until(lambda status: delivered(status, "good") > 5 and delivered(status, "other") > 5)

        hall = {"connections": "tame", "stall_seconds": 5, "memory_bytes_max": "1GiB"}
        house.write(connections, flows, {"hall": hall, "yard": {"connections": "other"}})
        second = house.until(lambda status: status["cells"].get("yard", {}).get("state") == "up")
        assert second["cells"]["hall"]["pid"] == first["cells"]["hall"]["pid"], "other limits need no new process"
        assert second["flows"]["good"]["accepted"] >= first["flows"]["good"]["accepted"], "its flow was not touched"
        house.until(lambda status: delivered(status, "other") > delivered(second, "other") + 5)

        house.write(connections, flows, {"yard": {"connections": "other"}})
        third = house.until(lambda status: "hall" not in status["cells"])
        assert gone(first["cells"]["hall"]["pid"])
        assert third["cells"]["yard"]["pid"] == second["cells"]["yard"]["pid"]
        house.until(lambda status: delivered(status, "good") > delivered(second, "good") + 5)
        assert house.stop() == 0
    for sink in ("sink", "other_sink"):
        assert complete(house.numbers(sink)) == len(house.numbers(sink)), "an orderly move repeats nothing"


def test_what_cannot_be_stored_is_set_aside_in_the_cell_as_it_would_be_outside(house: House) -> None:
    house.write(
        {"odd": {"deed": "odd_value"}, "sink": {}},
        {"odd": {"from": "odd", "to": "sink"}},
        {"hall": {"connections": "odd"}},
    )
    with house.running():
        status = house.until(lambda status: delivered(status, "odd") > 20)
        assert house.stop() == 0
    assert status["connections"]["odd"]["uses"][0]["counters"]["set_aside_samples"] >= 4
    letters = (house.folder / "data" / "connections" / "odd" / "odd" / "dead-letters.jsonl").read_text().splitlines()
    assert len(letters) >= 4
    assert house.numbers("sink")[:16] == [n for n in range(1, 21) if n % 5]


def test_logs_of_a_cell_are_logs_of_the_gateway(house: House) -> None:
    house.write({"tame": {}, "sink": {}}, {"good": {"from": "tame", "to": "sink"}}, {"hall": {"connections": "tame"}})
    with house.running():
        house.until(lambda status: delivered(status, "good") > 5)
        with urllib.request.urlopen(f"http://127.0.0.1:{house.port}/live", timeout=10) as live:
            news: list[dict[str, Any]] = []
            while not any(line["connection"] == "tame" for line in news):
                line = live.readline().decode()
                if line.startswith("event: news"):
                    news.append(json.loads(live.readline().decode().removeprefix("data: ")))
        house.stop()
    (said,) = [line for line in house.lines() if line.get("connection") == "tame" and line["event"] == "connected"]
    assert said["cell"] == "hall"
    assert {"time", "level", "flow"} <= said.keys()


def test_a_gateway_that_ends_when_all_is_done_ends_its_cells_too(house: House, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("time,n\n" + "".join(f"2026-01-01T00:00:{n:02}Z,{n + 1}\n" for n in range(50)))
    house.write(
        {"sink": {}}, {"copy": {"from": "readings", "to": "sink"}}, {"hall": {"connections": ["readings", "sink"]}}
    )
    plan = json.loads(house.plant.read_text())
    plan["connections"]["readings"] = {"type": "files", "read": {"path": str(tmp_path / "in.csv")}}
    house.plant.write_text(json.dumps(plan))
    with house.running("--until-done") as process:
        assert process.wait(PATIENCE_SECONDS) == 0
    assert house.numbers("sink") == list(range(1, 51))
