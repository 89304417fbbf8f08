"""Fuzz the RTDE framing and the decoding of recipes and data packages with atheris (libFuzzer).

    python tests/fuzz/fuzz_ur_rtde.py [-max_total_time=600] [CORPUS_FOLDER]

Without a corpus folder it starts from right answers. The same judgement runs, shorter, as a test.
"""

import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[2]))

with atheris.instrument_imports(include=["plantgate_connectors.ur.frames", "plantgate_connectors.ur.recipe"]):
    from tests.fuzz.ur_oracle import judge, seeds


def main() -> None:
    """Runs until it finds something, or the time is over."""
    arguments = sys.argv
    with tempfile.TemporaryDirectory() as made:
        if not any(not each.startswith("-") for each in arguments[1:]):
            for number, stream in enumerate(seeds()):
                (Path(made) / f"seed-{number}").write_bytes(stream)
            arguments = [*arguments, made]
        atheris.Setup(arguments, lambda stream: judge(stream) and None)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
