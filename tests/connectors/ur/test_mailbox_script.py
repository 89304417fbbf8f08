"""The sample program for the robot, as far as it can be judged without a controller: URScript runs nowhere else."""

import re
from pathlib import Path

import plantgate_connectors.ur
from plantgate.config.load import load
from plantgate_connectors.ur import UrSettings
from tests.peers import ur_program

FOLDER = Path(plantgate_connectors.ur.__file__).parent
SCRIPT = (FOLDER / "mailbox.script").read_text(encoding="utf-8")
CODE = re.sub(r"#.*", "", SCRIPT)
KINDS = {"integer": "int", "float": "double", "boolean": "bit"}


def used(verb: str, side: str) -> set[str]:
    return {
        f"{side}_{KINDS[kind]}_register_{number}"
        for kind, number in re.findall(rf"{verb}_(integer|float|boolean)_register\((\d+)", CODE)
    }


def test_the_twins_program_has_the_limits_of_the_script() -> None:
    written = dict(re.findall(r"^\s*global ([A-Z_]+) = (\S+)", CODE, re.MULTILINE))
    assert float(written["LIMIT_XY"]) == ur_program.LIMIT_XY
    assert float(written["LIMIT_RZ"]) == ur_program.LIMIT_RZ
    assert float(written["SPEED_MAX"]) == ur_program.SPEED_MAX
    assert int(written["CLOCK_WRAPS"]) == ur_program.CLOCK_WRAPS
    assert int(written["HALF"]) == ur_program.HALF
    assert int(written["LARGEST"]) == ur_program.LARGEST
    assert [int(written[name]) for name in ("APPLIED", "OUTSIDE", "LATE")] == [
        ur_program.APPLIED,
        ur_program.OUTSIDE,
        ur_program.LATE,
    ]


def test_the_twins_program_uses_the_registers_of_the_script() -> None:
    assert used("read_input", "input") == {
        ur_program.UNTIL,
        ur_program.EPOCH,
        ur_program.SEQUENCE,
        *(f"input_{name}" for name in (*ur_program.OFFSET, ur_program.SPEED)),
    }
    assert used("write_output", "output") == {
        ur_program.ECHO,
        ur_program.ECHO_EPOCH,
        ur_program.VERDICT,
        ur_program.CLOCK,
        ur_program.MOVES,
        *(f"output_{name}" for name in (*ur_program.OFFSET, ur_program.SPEED)),
    }


def test_the_example_uses_them_too() -> None:
    plant = load(FOLDER / "example.yaml")
    settings = plant.connections["robot"].settings  # type: ignore[attr-defined]
    assert isinstance(settings, UrSettings)
    [write] = settings.writes
    assert set(write.inputs) <= used("read_input", "input")
    assert set(write.outputs) <= used("write_output", "output")


def test_the_echo_is_the_last_thing_that_is_written_of_a_command() -> None:
    taken = CODE[CODE.index("local verdict = APPLIED") : CODE.index("before_sequence = sequence")]
    assert re.findall(r"write_output_\w+_register\((\d+), \w+\)", taken)[-1] == "24"
    assert "write_output_integer_register(24, last)" in taken


def test_a_number_that_is_none_is_outside_the_limits() -> None:
    assert "not within" in CODE
    assert not re.search(r"[<>] -?LIMIT", CODE), "a comparison that lets NaN pass"


def test_every_block_has_its_end() -> None:
    opens = len(re.findall(r"^\s*(?:def|thread|while|if)\b", CODE, re.MULTILINE))
    assert opens == len(re.findall(r"^\s*end$", CODE, re.MULTILINE))
    assert CODE.count("enter_critical") == CODE.count("exit_critical")
