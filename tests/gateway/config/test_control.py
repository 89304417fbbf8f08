"""What may be written to machines: what fits the rest of a plant file, and what is said about what does not."""

from pathlib import Path

import pytest

from plantgate.config.load import check
from plantgate.config.problems import Severity

SOUND = """\
plant: line3
connections:
  plc:
    type: modbus
    host: 127.0.0.1
    devices:
      - name: oven
        tags: [{ tag: oven/setpoint, address: 10, type: int16, scale: 0.1 }, { tag: oven/door, address: 20, bit: 0 }]
  archive: { type: files, write: { folder: out } }
flows: { telemetry: { from: plc, to: archive } }
audit: { origin: gateway.example/line3, key: audit.key }
control:
  people: { p-1: { user: anna, roles: [operator] }, p-2: { user: bert, roles: [engineer] } }
  writes:
    oven/setpoint:
      connection: plc
      data_type: Double
      unit: degC
      range: [20, 80]
      resolution: 0.1
      interlocks: { door: { when: closed, over: { closed: oven/door } } }
  rules:
    R-1: { cites: shift book, when: "true", allows: [oven/setpoint] }
"""


def problems(folder: Path, text: str, severity: Severity = Severity.ERROR) -> list[str]:
    file = folder / "plant.yaml"
    file.write_text(text, encoding="utf-8")
    return [str(problem).partition("plant.yaml:")[2] for problem in check(file)[1] if problem.severity is severity]


def test_a_sound_section_is_taken_without_a_word_about_it(tmp_path: Path) -> None:
    assert problems(tmp_path, SOUND) == []
    assert [said for said in problems(tmp_path, SOUND, Severity.WARNING) if "control" in said] == []


def test_what_acting_needs_on_the_machine_and_is_not_there_is_a_warning(tmp_path: Path) -> None:
    """The telemetry runs without it."""
    (old := tmp_path / "old.key").touch()
    deep = SOUND.replace("control:\n", f"control:\n  socket: {'d' * 110}\n")
    [_, key, more, socket] = problems(  # the first is about Modbus
        tmp_path, deep.replace("key: audit.key", "key: audit.key, more_keys: [old.key, older.key]"), Severity.WARNING
    )
    made = "; `plantgate audit keys gateway.example/line3 --out FILE` makes one"
    assert key.endswith(f"audit.key: not here: {tmp_path / 'audit.key'}{made}")
    assert more.endswith(f"audit.more_keys[1]: not here: {tmp_path / 'older.key'}{made}")
    assert "nothing is written to machines: " in socket
    assert socket.endswith("a socket's path has 107 at most: choose a shorter")
    old.rename(tmp_path / "audit.key")
    assert len(problems(tmp_path, SOUND, Severity.WARNING)) == 1


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ("      connection: plc\n", "      connection: plx\n", "no connection is called `plx`; did you mean `plc`?"),
        ("      connection: plc\n", "      connection: archive\n", "`archive` cannot act on a machine"),
        ("audit: { origin: gateway.example/line3, key: audit.key }\n", "", "`audit` is missing: nothing is written"),
        ("allows: [oven/setpoint]", "allows: [oven/setpiont]", "`oven/setpiont` is not under `writes`"),
        ("data_type: Double", "data_type: double", "Double"),
        ("      range: [20, 80]\n", "", "`range` is missing: least and most value, since Double is a number"),
        ("range: [20, 80]", "range: [80, 20]", "80 is more than 20; write the least first"),
        ("data_type: Double", "data_type: Boolean", "a Boolean has none; leave it out"),
        ("when: closed,", "when: 'closed &&',", "is not CEL"),
        ("when: closed,", "when: open,", "speaks of `open`, which is not declared; declared are: closed"),
        ('when: "true"', 'when: "speed < 1.0"', "speaks of `speed`, which is not declared; declared are: none"),
        ("roles: [operator]", "roles: [boss]", "boss"),
        ("R-1: {", "gateway.R: {", "ids that begin with `gateway.` are the gateway's own"),
        ("R-1: {", "'R 1': {", "is not an id: letters, digits"),
        ("allows: [oven/setpoint]", "allows: [oven/setpoint], proposers: [model]", "`confidence_min` is missing"),
        ("      resolution: 0.1\n", "      resolution: 0.1\n      numbers: [[0, 1]]\n", "only a String is a list"),
        (
            "      resolution: 0.1\n",
            "      resolution: 0.1\n      lease: { seconds: 5, fallback: 90.0 }\n",
            "90 is outside the range 20 to 80",
        ),
        (
            "      resolution: 0.1\n",
            "      resolution: 0.1\n      lease: { seconds: 5, fallback: off }\n",
            "'off' is not a number",
        ),
        ("key: audit.key }", "key: audit.key, witnesses: [{ url: 'http://b:1', key: abc }] }", "not a public key"),
        ("key: audit.key }", "key: audit.key, witnesses: [{ url: b, key: abc }] }", "not an HTTP address"),
    ],
)
def test_what_does_not_fit_is_said_where_it_is_written(tmp_path: Path, was: str, becomes: str, said: str) -> None:
    assert was in SOUND
    found = problems(tmp_path, SOUND.replace(was, becomes))
    assert any(said in problem for problem in found), found
    assert all(problem[0].isdecimal() for problem in found), "each with its line"


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ("roles: [engineer]", "roles: [operator]", "arming takes an operator and an engineer, two people"),
        (
            "people: { p-1: { user: anna, roles: [operator] }, p-2: { user: bert, roles: [engineer] } }",
            "people: {}",
            "nobody under `people` is operator or engineer",
        ),
        ("roles: [operator]", "roles: [viewer]", "W2 needs an operator to agree, and there is none"),
    ],
)
def test_people_that_are_missing_are_a_warning(tmp_path: Path, was: str, becomes: str, said: str) -> None:
    assert was in SOUND
    found = problems(tmp_path, SOUND.replace(was, becomes), Severity.WARNING)
    assert any(said in problem for problem in found), found


LOOP = """\
  loops:
    look:
      camera: eye
      model: boards
      decisions: [{ of: defects, fact: defect, rule: R-2, tag: oven/setpoint, unit: degC, value: defect.x }]
"""
RULE = """\
    R-2:
      { cites: x, when: "true", facts: [defect], allows: [oven/setpoint], proposers: [model], confidence_min: 0.9 }
"""


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("", "no connection is called `eye`"),
        ("eye", "no model is called `boards`; there is no section `models`"),
        ("archive", "`archive` gives no pictures: files is no camera"),
    ],
)
def test_a_loop_needs_a_camera_and_a_model(tmp_path: Path, more: str, said: str) -> None:
    text = SOUND + RULE + LOOP.replace("camera: eye", f"camera: {more or 'eye'}")
    if more == "eye":
        text = text.replace("  archive: {", "  eye: { type: camera, folder: { path: . } }\n  archive: {")
    assert any(said in problem for problem in problems(tmp_path, text))


def test_pictures_are_kept_where_there_is_a_vault(tmp_path: Path) -> None:
    text = SOUND + RULE + LOOP + "      keep_pictures: true\n"
    assert any("`audit.vault` is missing" in problem for problem in problems(tmp_path, text))
    there = text.replace("audit: {", "audit: { vault: { wrapping: usb },")
    assert there != text
    assert not [problem for problem in problems(tmp_path, there) if "vault" in problem]


def test_an_unknown_model_is_said_like_an_unknown_connector(tmp_path: Path) -> None:
    text = SOUND + "models: { boards: { type: nothing } }\n"
    assert any("no model `nothing` is installed" in problem for problem in problems(tmp_path, text))
