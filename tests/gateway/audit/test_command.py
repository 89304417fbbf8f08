"""`plantgate audit`, as an inspector uses it: a folder, a public key, and nothing else."""

import asyncio
import json
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from plantgate.audit.cosign import Cosigner
from plantgate.audit.entry import Check, Kind, Phase, Quantity, Result, Target, Why, encode
from plantgate.audit.log import AuditLog
from plantgate.audit.note import Note, Signer, Verifier
from plantgate.audit.tiles import Tiles, folder
from plantgate.cli import main
from plantgate.terminal.audit_folder import telling
from tests.gateway.audit.given import LOG, ORIGIN, WITNESS, intent
from tests.gateway.audit.test_verify import pairs, published

REFUSED = Why(rule="R-12", digest="sha256:00", checks=(Check(guard="range", passed=False, saw="outside"),))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "policy").write_text(f"log {LOG.verifier}\nwitness w1 {WITNESS.verifier}\nquorum w1\n")
    (tmp_path / "key").write_text(f"{LOG.verifier}\n")
    return published(tmp_path / "log", [*pairs(150), intent(999)])


def test_a_log_is_judged_by_four_answers_and_an_exit_code(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = str(place.parent.parent / "policy")
    assert main(["audit", "verify", str(place), "--policy", policy]) == 2
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("gateway.example/plant1/line3, 301 entries signed, 301 read")
    assert [line.split()[:2] for line in said[1:5]] == [
        ["integrity", "yes"],
        ["completeness", "no"],
        ["freshness", "not"],
        ["quorum", "yes"],
    ]
    assert f"entry 300: the intent {intent(999).id} has no outcome" in said[2]
    assert main(["audit", "verify", str(place), "--policy", policy, "--within", "1h", "--json"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["freshness"]["verdict"] == "no"
    assert document["open_intents"] == [intent(999).id]


def test_a_changed_log_is_called_so(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = place / "tile/entries/000"
    bundle.write_bytes(bundle.read_bytes().replace(b"WI-0421", b"WI-0422", 1))
    assert main(["audit", "verify", str(place), "--policy", str(place.parent.parent / "key")]) == 3
    assert "tile/0/000: not the hashes of the entries" in capsys.readouterr().out


def test_an_entry_is_shown_proven_and_the_proof_checked(
    place: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["audit", "show", str(place), intent(7).id]) == 0
    shown = capsys.readouterr().out
    assert "entry 14 of 301" in shown
    assert "rule shift-when-misplaced" in shown
    assert "✓ range: -2.0 … 2.0" in shown
    assert "late" not in shown
    assert main(["audit", "tail", str(place), "--last", "2"]) == 0
    assert "ok 9.3125 mm" in capsys.readouterr().out
    receipt = str(tmp_path / "14.tlog-proof")
    assert main(["audit", "prove", str(place), "14", "--out", receipt]) == 0
    policy = str(place.parent.parent / "policy")
    assert main(["audit", "check-proof", str(place), receipt, "--policy", policy]) == 0
    assert "witnessed by w1" in capsys.readouterr().out
    written = Path(receipt)
    written.write_text(written.read_text().replace("index 14\n", "index 15\n"))
    assert main(["audit", "check-proof", str(place), receipt, "--policy", policy]) == 3
    assert "entry 15 is not in the log" in capsys.readouterr().out
    written.write_text(written.read_text().replace("index 15\n", "index 301\n"))
    assert main(["audit", "check-proof", str(place), receipt, "--policy", policy]) == 3
    assert f"{receipt}: there is no entry 301 in a log of 301" in capsys.readouterr().out
    written.write_text("no receipt at all")
    assert main(["audit", "check-proof", str(place), receipt, "--policy", policy]) == 3
    assert f"{receipt}: a receipt without a checkpoint" in capsys.readouterr().out
    assert main(["audit", "prove", str(place), "14", "--out", receipt]) == 5
    assert "is there already; nothing is written over it" in capsys.readouterr().err
    assert written.read_text() == "no receipt at all"


def test_entries_are_searched_by_what_a_person_remembers(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["audit", "search", str(place), "--tag", "robot/offset_x", "--since", "2025-10-09T08:55:30Z"]
    assert main([*asked, "--result", "ok"]) == 0
    *_, before, last = capsys.readouterr().out.splitlines()
    assert before.split()[0] == "297"
    assert last.split()[0] == "299"
    assert main([*asked, "--json", "--most", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == intent(999).id
    assert main([*asked, "--kind", "approval"]) == 5
    assert "none of the 301 entries is so: kind approval, tag robot/offset_x, since 2025" in capsys.readouterr().err


def test_the_lines_of_a_log_say_what_people_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = [
        (Kind.SWITCH, {"details": {"switch": "stopped"}, "note": "smell of smoke"}),
        (Kind.EMERGENCY, {"details": {"emergency": "declared"}, "note": "fire", "target": None}),
        (Kind.RULE_CHANGE, {"details": {"name": "rule R-12", "text": "{}"}, "target": None}),
        (Kind.APPROVAL, {"details": {"value": "42.0", "unit": "degC"}, "note": "asked: 0 of 1 people have agreed"}),
        (Kind.APPROVAL, {"note": "line is down", "result": Result.DENIED}),
        (Kind.DENIAL, {"after": Quantity(value="300", data_type="Int16"), "result": Result.DENIED, "why": REFUSED}),
    ]
    everything = Target(connection="everything", address="")
    common = {"phase": Phase.OBSERVED, "target": everything, "before": None, "after": None, "why": None}
    entries = [
        msgspec.structs.replace(intent(number), kind=kind, **{**common, **more})
        for number, (kind, more) in enumerate(told)
    ]
    assert main(["audit", "tail", str(published(tmp_path, entries))]) == 0
    lines = [line.split("solder-check")[1].split(None, 0)[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert lines == [
        "everything  stopped: smell of smoke",
        "declared: fire",
        "rule R-12",
        "everything  42.0 degC: asked: 0 of 1 people have agreed",
        "everything  denied: line is down",
        "everything  denied 300: range",
    ]


def test_an_entry_is_not_found_by_the_id_of_whoever_acted(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "show", str(place), "solder-check"]) == 5
    assert "no entry has the id solder-check" in capsys.readouterr().err


def test_half_a_copy_is_not_read_as_a_log_without_entries(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundles = place / "tile/entries"
    (bundles / "000").unlink()
    assert main(["audit", "search", str(place), "--tag", "offset_x"]) == 0
    assert "entries 0 to 255 are not here and were not looked at" in capsys.readouterr().err
    shutil.rmtree(bundles)
    for command in (["tail", str(place)], ["search", str(place)], ["show", str(place), "3"]):
        assert main(["audit", *command]) == 5
        assert "none of the 301 entries is here; copy `tile/entries` too" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["search", "{place}", "--since", "yesterday"], 5, "'yesterday' is not a time; write for example 2026"),
        (["show", "{place}", "301"], 5, "there is no entry 301: the log has 301, from 0 on"),
        (["show", "{place}", "nobody"], 5, "no entry has the id nobody"),
        (["verify", "{place}", "--policy", "{place}/nothing"], 5, "nothing: No such file or directory"),
        (["verify", "{place}", "--policy", "{place}/checkpoint"], 5, "line 1: 'gateway.example/plant1/line3' means"),
        (["verify", "{place}", "--policy", "{key}", "--within", "soon"], 5, "'soon' is not a time; write for example"),
        (["verify", "{place}", "--policy", "{key}", "--seen", "{key}"], 5, "key: no signatures below an empty line"),
        (["tail", "{place}/tile"], 5, "tile: no published log is there; give the folder that holds `checkpoint`"),
        (["tail", "{place}/.."], 5, "what is published is in {place}/../public: give that"),
        (["verify", "{place}/nowhere", "--policy", "{key}"], 5, "nowhere: there is no such folder"),
        (["verify", "{place}/tile", "--policy", "{key}"], 5, "tile: no published log is there"),
        (["verify", "{place}", "--policy", "{key}.private"], 5, "that is a private key; give the public one"),
        (["verify", "{place}", "--policy", "{key}.witness"], 5, "witness.example/w1: not a log's key"),
    ],
)
def test_what_cannot_be_judged_is_said_in_a_sentence(
    arguments: list[str], code: int, message: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = str(place.parent.parent / "key")
    Path(f"{key}.private").write_text(LOG.private())
    Path(f"{key}.witness").write_text(str(WITNESS.verifier))
    assert main(["audit", *(each.format(place=place, key=key) for each in arguments)]) == code
    assert message.format(place=place) in capsys.readouterr().err


def test_below_what_is_not_what_was_signed_stands_what_to_do(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, seen = str(place.parent.parent / "key"), str(tmp_path / "seen")
    shutil.copy(place / "checkpoint", seen)
    assert main(["audit", "verify", str(place), "--policy", key, "--seen", seen]) == 2
    assert "This is not" not in capsys.readouterr().out
    (place / "tile/0/000").write_bytes(bytes(8192))
    assert main(["audit", "verify", str(place), "--policy", key, "--seen", seen]) == 3
    assert "\nThis is not what was signed. Leave the copy as it is, copy the log again" in capsys.readouterr().out
    older = published(tmp_path / "older", pairs(3))
    assert main(["audit", "verify", str(older), "--policy", key, "--seen", seen]) == 4
    assert "Where it is shorter, copy the log again and check that: an older copy says it.\n" in capsys.readouterr().out


def test_bytes_that_are_no_entry_stop_no_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def fill() -> None:
        async with await AuditLog.open(tmp_path, ORIGIN, [LOG]) as audit:
            for content in (b"", b"\xff\x1b[2J", b'{"v":1}', b"[" * 5000, encode(intent(0))):
                await audit.append_bytes(content)
            await audit.publish()

    asyncio.run(fill())
    (tmp_path / "key").write_text(str(LOG.verifier))
    log, key = str(tmp_path / "public"), str(tmp_path / "key")
    for number in range(4):
        assert main(["audit", "show", log, str(number)]) == 5
        assert f"entry {number} is none" in capsys.readouterr().err
        assert main(["audit", "show", log, str(number), "--json"]) == 0
    assert main(["audit", "tail", log]) == 0
    assert "\x1b" not in capsys.readouterr().out.splitlines()[-5]
    assert main(["audit", "tail", log, "--json"]) == 0
    assert main(["audit", "search", log, "--text", "offset_x"]) == 0
    assert main(["audit", "export", log, str(tmp_path / "out"), "--policy", key]) == 0
    assert main(["audit", "verify", log, "--policy", key]) == 2
    assert main(["audit", "prove", log, "1", "--out", str(tmp_path / "1.tlog-proof")]) == 0


def test_whoever_waits_for_a_long_log_is_told_where_the_reading_is(place: Path) -> None:
    times, said = iter([100.0, 101.0, 104.0, 105.0, 107.5]), list[str]()
    read = telling(folder(place), lambda: next(times), said.append)
    assert [read("checkpoint") for _ in range(4)] == [(place / "checkpoint").read_bytes()] * 4
    assert said == ["  … 4 s: reading checkpoint", "  … 8 s: reading checkpoint"]


def test_an_erasure_in_a_folder_without_a_vault_makes_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vault = ["--vault", str(tmp_path / "vlt"), "--wrapping", str(tmp_path / "wrapping")]
    people = ["--basis", "GDPR 17", "--by", "u:7", "--approved-by", "u:8"]
    assert main(["audit", "erase", str(tmp_path), "s:1", *vault, *people, "--key", str(tmp_path / "key")]) == 5
    assert "vlt: no vault is there; give the folder that holds `keys` and `payloads`" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# ---- keys, and a witness of its own ----


def test_keys_are_made_once_and_readable_by_their_owner_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    private = tmp_path / "log.key"
    assert main(["audit", "keys", "gateway.example/line9", "--out", str(private)]) == 0
    assert private.stat().st_mode & 0o777 == 0o600
    assert str(Signer.parse(private.read_text().strip()).verifier) == (tmp_path / "log.key.pub").read_text().strip()
    before = private.read_text()
    assert main(["audit", "keys", "gateway.example/line9", "--out", str(private)]) == 5
    assert "is there already; a key is never written over" in capsys.readouterr().err
    assert private.read_text() == before
    assert main(["audit", "keys", "two words", "--out", str(tmp_path / "other")]) == 5
    assert "no name for a key" in capsys.readouterr().err


def test_a_witness_runs_as_a_process_of_its_own_and_signs(place: Path, tmp_path: Path) -> None:
    assert main(["audit", "keys", "witness.example/w9", "--witness", "--out", str(tmp_path / "w.key")]) == 0
    command = ["audit", "witness", "seen", "--key", "w.key", "--log", "key", "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "plantgate", *command], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        said = json.loads(process.stderr.readline())
        assert said["event"] == "witness serves"
        note = Note.parse((place / "checkpoint").read_bytes())
        witness = Cosigner(said["url"], Verifier.parse((tmp_path / "w.key.pub").read_text().strip()))
        signed = asyncio.run(witness.cosign(note, Tiles(folder(place), 301).node))
        assert [each.name for each in signed.signatures][-1] == "witness.example/w9"
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        process.stderr.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--key", "{key}", "--log", "{key}"], "not a private key"),
        (["--key", "{key}", "--log", "{key}", "--listen", "everywhere"], "'everywhere' is not an address"),
        (
            ["--key", "{key}.witness", "--log", "{key}.witness.pub"],
            "a witness' key; --log takes the public key of a log",
        ),
        (
            ["--key", "{key}.witness", "--log", "{key}", "--listen", "127.0.0.1:{taken}"],
            "audit: error while attempting",
        ),
        (["--key", "{key}.no", "--log", "{key}"], "No such file"),
    ],
)
def test_a_witness_that_cannot_be_is_named(
    arguments: list[str], message: str, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = str(place.parent.parent / "key")
    Path(f"{key}.witness").write_text(WITNESS.private())
    Path(f"{key}.witness.pub").write_text(str(WITNESS.verifier))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        filled = [each.format(key=key, taken=taken.getsockname()[1]) for each in arguments]
        assert main(["audit", "witness", str(tmp_path / "seen"), *filled]) == 5
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("which", ["--policy", "--key", "show", "within"])
def test_a_file_or_number_that_is_none_is_named(which: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    binary, public = tmp_path / "binary", str(published(tmp_path / "log", pairs(2)))
    binary.write_bytes(b"\xff\xfe\x00")
    (tmp_path / "policy").write_text(str(LOG.verifier))
    asked = {
        "--policy": ["verify", public, "--policy", str(binary)],
        "--key": ["rotate", public, "--key", str(binary), "--new", str(binary), "--statement", "s", "--by", "u"],
        "show": ["show", public, "9" * 5000],
        "within": ["verify", public, "--policy", str(tmp_path / "policy"), "--within", "9" * 5000 + "s"],
    }
    assert main(["audit", *asked[which]]) == 5
    assert "plantgate audit: " in capsys.readouterr().err
