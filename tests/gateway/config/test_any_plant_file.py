"""No plant file, however spoiled, makes `check` fail with anything but problems an operator can read."""

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

from plantgate.config.load import check
from plantgate.config.problems import Severity
from plantgate.config.yaml12 import parse

EXAMPLES = Path(__file__).parents[2] / "examples"
SOUND = (EXAMPLES / "sound" / "everything.yaml").read_bytes()
JARGON = re.compile(
    r"input|valid (string|integer|number|boolean)|pydantic|extra_|<class|NoneType|Traceback", re.IGNORECASE
)
STRANGE = [None, True, False, 0, -1, 1.5, 10**30, "", "x", "yes", "\u2028", [], [[]], {}, {"x": {}}, "${env:X}", "1:30"]
SNIPPETS = [
    b"\t",
    b": ",
    b"- ",
    b"{",
    b"}",
    b"[",
    b"'",
    b'"',
    b"&a ",
    b"*a",
    b"!!x ",
    b"\n",
    b"\x00",
    b"\xff",
    b"#",
    b"? ",
]


def judged(folder: Path, content: bytes) -> None:
    file = folder / "plant.yaml"
    file.write_bytes(content)
    plant, problems = check(file)
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    assert (plant is None) == bool(errors)
    for problem in errors:
        assert problem.place is not None
        assert problem.text
        assert not JARGON.search(problem.text), problem


@pytest.mark.parametrize("seed", range(60))
def test_spoiled_bytes(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    content = bytearray(SOUND)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(content))
        match chance.randrange(3):
            case 0:
                del content[at : at + chance.randint(1, 30)]
            case 1:
                content[at:at] = chance.choice(SNIPPETS)
            case _:
                content[at] = chance.randrange(256)
    judged(tmp_path, bytes(content))


@pytest.mark.parametrize("seed", range(120))
def test_spoiled_values(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    root: Any = parse(SOUND).root
    for _ in range(chance.randint(1, 3)):
        here = root
        while True:
            steps = list(here) if isinstance(here, dict) else list(range(len(here)))
            if not steps:
                break
            step = chance.choice(steps)
            if isinstance(here[step], dict | list) and here[step] and chance.random() < 0.8:
                here = here[step]
                continue
            match chance.randrange(3):
                case 0 if isinstance(here, dict):
                    here[f"{step}x"] = here.pop(step)
                case 1:
                    del here[step]
                case _:
                    here[step] = chance.choice(STRANGE)
            break
    judged(tmp_path, json.dumps(root, indent=1).encode())
