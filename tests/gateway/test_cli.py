"""The command line: what it prints, and its exit codes."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from plantgate import __version__
from plantgate.cli import _COMMANDS, main
from plantgate.config.load import load
from plantgate.config.plan import document

PLANT = """\
plant: line3
connections:
  readings: { type: files, read: { path: readings.csv } }
  archive: { type: files, write: { folder: out } }
flows:
  copy: { from: readings, to: archive }
"""
STATUS: dict[str, Any] = {
    "plant": "line3",
    "version": "0.1.0",
    "started": "2026-11-26T06:00:00Z",
    "now": "2026-11-26T07:00:00Z",
    "ready": True,
    "stalls": 0,
    "problem": "",
    "connections": {
        "press3": {
            "type": "opcua",
            "uses": [
                {"flow": "telemetry", "role": "source", "state": "away", "reason": "away from 10.0.0.5",
                 "since_seconds": 3725.0, "desired": 12, "monitored": 11, "live": 10, "counters": {}},
            ],
        },
        "broker": {
            "type": "mqtt",
            "uses": [
                {"flow": "telemetry", "role": "sink", "state": "up", "reason": "", "since_seconds": 90061.0,
                 "desired": 0, "monitored": 0, "live": 0, "counters": {}},
            ],
        },
        "spare": {"type": "files", "uses": []},
    },
    "flows": {
        "telemetry": {
            "sources": ["press3"], "accepted": 1000, "rate_in": 12.5, "gaps": 1, "lost": 0,
            "destinations": {
                "broker": {"accepted": 1000, "delivered": 900, "queued": 100, "dropped": 0, "set_aside": 0,
                           "difference": 0, "rate_out": 11.0, "behind_seconds": 4.2},
            },
            "outbox": {"bytes": 100, "bytes_max": 1000},
        }
    },
}  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plant.yaml").write_text(PLANT)
    return tmp_path


@contextmanager
def answering(answers: dict[str, bytes]) -> Iterator[str]:
    """An HTTP server that answers like a gateway; gives its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answers.get(self.path)
            self.send_response(200 if body is not None else 404)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_check_of_a_sound_file_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 0
    assert capsys.readouterr().out == "plant.yaml: fine: 2 connections, 1 flow\n"


def test_check_for_programs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "bad.yaml").write_text(PLANT.replace("folder: out", "foldr: out"))
    assert main(["check", "--json", "."]) == 2
    bad, fine = json.loads(capsys.readouterr().out)
    assert fine == {"file": "plant.yaml", "fine": True, "problems": []}
    assert bad["problems"] == [
        {"file": "bad.yaml", "line": 4, "column": 36, "path": "connections.archive.write.foldr", "severity": "error",
         "text": "unknown setting; did you mean `folder`?"},
    ]  # fmt: skip


def test_check_of_a_folder_without_plant_files_is_an_error(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "empty").mkdir()
    assert main(["check", "empty"]) == 2
    assert capsys.readouterr().err == "empty: there is no YAML file in this folder\n"


@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_broken_plant_file_is_exit_code_2(here: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    (here / "plant.yaml").write_text("plant: line3\n")
    assert main([command]) == 2
    assert "`flows` is missing" in capsys.readouterr().err


def test_a_plant_file_that_is_not_there_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "nowhere.yaml"]) == 2
    assert capsys.readouterr().err == "nowhere.yaml: cannot read the file: no such file or directory\n"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("chekc", "no command `chekc`; did you mean `plantgate check`?"),
        ("frobnicate", f"no command `frobnicate`; there are {', '.join(_COMMANDS)}"),
    ],
)
def test_an_unknown_command_gets_a_suggestion(written: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([written]) == 2
    assert capsys.readouterr().err == f"plantgate: {said}\n"


def test_help_names_every_command_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    for word in ("run", "check", "plan", "status", "list", "schema", "docs", "version", "exit codes"):
        assert word in said


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out == f"plantgate {__version__}\n"


def test_list_shows_what_is_installed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["KIND", "NAME", "PACKAGE", "STABILITY", "CAN", "ABOUT"]
    assert any(line.startswith("connector  files ") and "read write" in line for line in lines)
    assert any(line.startswith("connector  camera ") and " see " in line for line in lines)
    assert any(line.startswith("connector  ur ") and " read act " in line for line in lines)
    assert main(["list", "--json"]) == 0
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert found.keys() >= {"files", "mqtt", "opcua"}
    assert {key: found["camera"][key] for key in ("reads", "writes", "acts", "sees")} == {
        "reads": False, "writes": False, "acts": False, "sees": True
    }  # fmt: skip


def test_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "plantgate plant file"


def test_docs_check_fails_on_a_stale_table_and_docs_mends_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = here / "docs" / "plant-file.md"
    page.parent.mkdir()
    page.write_text("<!-- settings -->\n<!-- /settings -->\n")
    assert main(["docs", "--check"]) == 2
    assert "docs/plant-file.md: out of date; run `plantgate docs`" in capsys.readouterr().out
    assert page.read_text() == "<!-- settings -->\n<!-- /settings -->\n"


def test_status_is_a_table_of_connections_and_flows(capsys: pytest.CaptureFixture[str]) -> None:
    with answering({"/status": json.dumps(STATUS).encode()}) as url:
        assert main(["status", "--url", url]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "line3: plantgate 0.1.0, running since 2026-11-26T06:00:00Z, ready",
        "",
        "CONNECTION  TYPE   FLOW       ROLE    STATE     SINCE      LIVE  MONITORED  WANTED  WHY",
        "press3      opcua  telemetry  source  away      1 h 2 min    10         11      12  away from 10.0.0.5",
        "broker      mqtt   telemetry  sink    up        1 d 1 h",
        "spare       files                     not used",
        "",
        "FLOW       FROM    TO      ACCEPTED  DELIVERED  QUEUED  DROPPED  SET ASIDE  DIFFERENCE  IN/S  OUT/S  BEHIND",
        "telemetry  press3  broker      1000        900     100        0          0           0  12.5   11.0   4.2 s",
    ]


def test_status_says_when_something_needs_a_person(capsys: pytest.CaptureFixture[str]) -> None:
    off = json.loads(json.dumps(STATUS))
    off.update(ready=False, problem="flow x does not run: disk full", stalls=2)
    off["flows"]["telemetry"]["destinations"]["broker"]["difference"] = 3
    with answering({"/status": json.dumps(off).encode()}) as url:
        assert main(["status", "--url", url]) == 0
    said = capsys.readouterr().out
    assert "NOT READY" in said
    assert "! flow x does not run: disk full" in said
    assert "! the event loop has stood still 2 times" in said
    assert "! flow telemetry to broker: 3 values are unaccounted for; please report this" in said


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({}, "answers, but not like a gateway: 404"),
        ({"/status": b"<html>"}, "answers, but not like a gateway: not JSON"),
        ({"/status": b"[]"}, "answers, but not like a gateway: not a JSON object"),
    ],
)
def test_something_else_at_that_address_is_no_gateway(
    answers: dict[str, bytes], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(answers) as url:
        assert main(["status", "--url", url]) == 4
    assert said in capsys.readouterr().err


def test_nobody_at_that_address_is_a_sentence(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "plant.yaml").write_text(PLANT + "http: { listen: '0.0.0.0:1' }\n")
    assert main(["status"]) == 4
    said = capsys.readouterr().err
    assert said.startswith("plantgate: no gateway answers at http://127.0.0.1:1: connection refused; ")
    (here / "plant.yaml").write_text(PLANT + "http: { listen: '127.0.0.1:0' }\n")
    assert main(["status"]) == 4
    assert "plant.yaml lets the gateway take any free port" in capsys.readouterr().err
    assert main(["status", "--url", "ftp://x"]) == 4
    assert "ftp://x is not an HTTP address" in capsys.readouterr().err


def test_plan_compares_with_the_running_gateway(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "plant.yaml").write_text(PLANT.replace("folder: out", "folder: /srv/out"))
    running = document(load(here / "plant.yaml"))
    more = "  again: { from: readings, to: archive, outbox: { bytes_max: 1GiB } }\n"
    (here / "plant.yaml").write_text(PLANT.replace("folder: out", "folder: /srv/elsewhere") + more)
    with answering({"/plan": json.dumps(running).encode()}) as url:
        assert main(["plan", "--no-survey", "--url", url]) == 0
        said = capsys.readouterr().out.splitlines()
        assert main(["plan", "--no-survey", "--json", "--url", url]) == 0
    assert said == [
        f"plant.yaml against the gateway at {url}:",
        "  flow again: new, would start",
        "  flow copy: would restart, connection archive has changed",
        '    connections.archive.write.folder: "/srv/out" → "/srv/elsewhere"',
    ]
    told = json.loads(capsys.readouterr().out)["changes"]
    assert (told["added"], list(told["restart"])) == (["again"], ["copy"])


def test_plan_without_a_running_gateway_takes_everything_as_new(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--no-survey", "--url", "http://127.0.0.1:1"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(
        "plant.yaml against nothing, since no gateway answers at http://127.0.0.1:1: connection refused:\n"
    )
    assert "flow copy: new, would start" in said


def test_plan_against_a_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "old.yaml").write_text(PLANT)
    assert main(["plan", "--no-survey", "--against", "old.yaml"]) == 0
    assert capsys.readouterr().out == "plant.yaml against old.yaml:\n  nothing would change\n"


def test_plan_asks_every_peer_what_it_would_grant(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "readings.csv").write_text("time,a\n2026-01-01T00:00:00Z,1\n")
    assert main(["plan", "--url", "http://127.0.0.1:1"]) == 0
    said = capsys.readouterr().out
    assert "\nreadings (files): would grant\n" in said
    assert "\narchive (files): " in said
    assert main(["plan", "--json", "--url", "http://127.0.0.1:1"]) == 0
    assert [each["connection"] for each in json.loads(capsys.readouterr().out)["survey"]] == ["readings", "archive"]
