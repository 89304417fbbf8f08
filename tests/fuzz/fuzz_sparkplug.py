"""Fuzz the Sparkplug decoder, and the host application behind it, with atheris (libFuzzer).

    python tests/fuzz/fuzz_sparkplug.py [-max_total_time=600] [CORPUS_FOLDER]

Without a corpus folder it starts from the seed messages. The same judgement runs, shorter, as a test.
"""

import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[2]))

with atheris.instrument_imports(include=["plantgate_connectors.sparkplug"]):
    from tests.fuzz.sparkplug_oracle import judge, seeds


def main() -> None:
    """Runs until it finds something, or the time is over."""
    arguments = sys.argv
    with tempfile.TemporaryDirectory() as made:
        if not any(not each.startswith("-") for each in arguments[1:]):
            for number, body in enumerate(seeds()):
                (Path(made) / f"seed-{number}").write_bytes(body)
            arguments = [*arguments, made]
        atheris.Setup(arguments, lambda body: judge(body) and None)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
