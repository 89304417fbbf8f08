"""What a person at the gateway reads, when the gateway has answered: what is so, and what to type next."""

import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plantgate.cli import main

Say = Callable[..., tuple[int, list[str]]]
ANSWER = {"standing": "done", "reason": "", "entry": "", "seen": None, "checks": []}
STATUS = {
    "you": "p-1",
    "roles": ["engineer"],
    "stopped": [],
    "held": [],
    "waiting": 0,
    "arming": [],
    "clock": "",
    "tags": [],
}


@pytest.fixture
def say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Say]:
    """A gateway that answers what it is told to."""
    told: dict[str, Any] = {}

    class Gateway(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            self.wfile.write(json.dumps(told).encode() + b"\n")

    with socketserver.UnixStreamServer(str(tmp_path / "s"), Gateway) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

        def typed(answer: dict[str, Any], *words: str) -> tuple[int, list[str]]:
            told.clear()
            told.update(answer)
            code = main([*words, "--socket", str(tmp_path / "s")])
            return code, capsys.readouterr().out.splitlines()

        yield typed
        server.shutdown()


def test_an_objection_is_said_once(say: Say) -> None:
    checks = [
        {"guard": "switch", "passed": False, "saw": "everything is stopped"},
        {"guard": "range", "passed": True, "saw": ""},
        {"guard": "unit", "passed": False, "saw": "proposed in degF"},
    ]
    answer = {
        **ANSWER,
        "standing": "denied",
        "entry": "e-1",
        "checks": checks,
        "reason": "switch: everything is stopped",
    }
    assert say(answer, "control", "write", "t", "1", "--rule", "R") == (
        2,
        ["denied: switch: everything is stopped", "entry e-1", "  unit: proposed in degF"],
    )


def test_who_proposes_is_told_how_people_agree(say: Say) -> None:
    checks = [{"guard": "people", "passed": False, "saw": "0 of 1 people have agreed"}]
    answer = {**ANSWER, "standing": "waiting", "entry": "e-1", "checks": checks, "reason": "0 of 1 people have agreed"}
    assert say(answer, "control", "write", "t", "1", "--rule", "R") == (
        0,
        [
            "waiting: 0 of 1 people have agreed",
            "entry e-1",
            "whoever may agree looks at it first: plantgate approvals show e-1",
        ],
    )


def test_what_is_stopped_or_held_stands_with_what_ends_it(say: Say) -> None:
    stopped = [{"name": "plc1", "reason": "smoke", "by": "p-2", "time": "T"}]
    held = [{"connection": "plc1", "tag": "t", "entry": "e-1"}]
    arming = [{"name": "plc1", "by": "p-2"}]
    told = {**STATUS, "stopped": stopped, "held": held, "waiting": 1, "arming": arming}
    code, lines = say(told, "control", "status")
    assert code == 0
    assert lines[1:7] == [
        "STOPPED plc1: smoke (by p-2, T)",
        "  people let it write again: plantgate control arm [NAME] --reason …",
        "ARMING plc1: p-2 has agreed, and somebody else must too",
        "HELD plc1: not known yet what became of t (e-1)",
        "  the machine is asked; where it cannot be: plantgate control settle ENTRY yes|no --reason …",
        "1 write waits for people: plantgate approvals list",
    ]
    assert "2 writes wait for people: plantgate approvals list" in say({**STATUS, "waiting": 2}, "control", "status")[1]


def test_a_question_is_shown_with_its_rule_and_what_the_machine_has(say: Say) -> None:
    question = {
        "entry": "e-1",
        "digest": "sha256:00",
        "command": {"tag": "t", "value": "50.0", "reverses": ""},
        "agreed": [],
        "needed": 1,
        "left_seconds": 300.0,
        "cites": "WI-0421 3.2",
        "when": "defect.score > 0.5",
        "has": "41.5 degC",
    }
    assert say({"question": question}, "approvals", "show", "e-1") == (
        0,
        [
            "  tag            t",
            "  value          50.0",
            "  the rule cites WI-0421 3.2",
            "  the rule holds when defect.score > 0.5",
            "  machine has    41.5 degC",
            "  agreed         nobody yet; 1 needed, 5 min left",
            "",
            "to agree to exactly this:",
            "  plantgate approvals approve e-1 --digest sha256:00",
        ],
    )


def test_what_the_gateway_says_is_a_sentence(say: Say) -> None:
    assert say({"said": "everything is armed"}, "control", "arm", "--reason", "x") == (0, ["everything is armed"])
    assert say({"left_seconds": 600.0}, "control", "renew", "t") == (0, ["it stands for 10 min more"])
    assert say({"stopped": "plc1"}, "control", "stop", "plc1", "--reason", "x") == (0, ["stopped: plc1"])


@pytest.mark.parametrize(
    ("path", "why"), [("nobody", "No such file or directory"), ("n" * 120, "AF_UNIX path too long")]
)
def test_where_nobody_answers_it_is_said_what_to_look_at(
    path: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["approvals", "list", "--socket", str(tmp_path / path)]) == 4
    said = capsys.readouterr().err
    assert f"{path}: {why}; is it running, has its plant file `control:`, and has it its audit log" in said
