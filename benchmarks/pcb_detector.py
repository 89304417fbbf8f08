"""The PCB line's detector on one core: what a board costs, from a picture in memory, its template made ready before, to
named defects.

    python -m benchmarks.pcb_detector [--json FILE] [--boards N] [--core N]

Boards of DeepPCB where PLANTGATE_DATA has them, and drawn ones, each in turn until there were enough. Times are by the
wall, and beside them what the thread computed, which a neighbour on the core does not lengthen; the process stays on
one core. The last row is a board with as many places as are looked at, the worst there is.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import TypeAlias

from benchmarks.meter import machine, percentile, pin
from benchmarks.table import Row, save, show

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "deploy" / "reference" / "pcb-line"))

from pcb_line.deeppcb import groups, pairs  # noqa: E402 (the reference is no installed package)
from pcb_line.detect import CONFIDENCE_MIN, PLACES_MAX, Detector, decide, look, ready  # noqa: E402
from pcb_line.draw import drawn_pair  # noqa: E402
from pcb_line.pair import Pair  # noqa: E402

WARM = 20
"""Boards before the clock counts."""
SHOWN = (0.5, 0.99, 0.999)


Clocked: TypeAlias = tuple[float, float]
"""Seconds by the wall and of the thread's own computing."""


def measured(name: str, detector: Detector, boards: Sequence[Pair], count: int) -> Iterator[Row]:
    """One row for each step of the way, and one for the whole."""
    steps: dict[str, list[Clocked]] = {"preprocessing": [], "network": [], "decoding": [], "whole": []}
    places = []
    both = [(pair.board, ready(pair.template)) for pair in boards]
    for turn, (board, template) in enumerate(islice(cycle(both), count + WARM)):
        begin = _now()
        seen = look(board, template)
        looked = _now()
        shares, boxes = detector.name(seen.crops)
        named = _now()
        decide(seen, shares, boxes, CONFIDENCE_MIN)
        end = _now()
        if turn >= WARM:
            spans = ((begin, looked), (looked, named), (named, end), (begin, end))
            for step, (start, stop) in zip(steps, spans, strict=True):
                steps[step].append((stop[0] - start[0], stop[1] - start[1]))
            places.append(float(len(seen.places)))
    for step, times in steps.items():
        yield _row(name, step, f"{percentile(places, 0.5):.0f}/{max(places):.0f}", times)


def fullest(detector: Detector, count: int) -> Row:
    """The network on as many crops as it is ever given, which none of these boards reaches."""
    pair = drawn_pair(1, 9)
    cut = look(pair.board, ready(pair.template)).crops
    full = cut.repeat(-(-PLACES_MAX // len(cut)), axis=0)[:PLACES_MAX]
    times = []
    for _ in range(count):
        begin = _now()
        detector.name(full)
        end = _now()
        times.append((end[0] - begin[0], end[1] - begin[1]))
    return _row("as full as allowed", "network", f"{PLACES_MAX}/{PLACES_MAX}", times)


def _row(boards: str, step: str, places: str, times: Sequence[Clocked]) -> Row:
    wall, computing = ([1e3 * one[clock] for one in times] for clock in (0, 1))
    return {
        "boards": boards,
        "step": step,
        "places p50/max": places,
        **{f"p{100 * share:g} ms": percentile(wall, share) for share in SHOWN},
        **{f"computing p{100 * share:g} ms": percentile(computing, share) for share in SHOWN},
    }


def _now() -> Clocked:
    return time.perf_counter(), time.thread_time()


def main(arguments: list[str]) -> int:
    """Parse, measure, show."""
    parser = argparse.ArgumentParser(prog="scripts/bench pcb-detector", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the table here too")
    parser.add_argument("--boards", type=int, default=1000, help="boards a row")
    parser.add_argument("--core", type=int, default=0, help="the core to stay on")
    chosen = parser.parse_args(arguments)
    pin(os.getpid(), chosen.core)
    detector = Detector()
    folder = Path(os.environ.get("PLANTGATE_DATA") or ROOT.parent / "shared" / "data") / "deeppcb"
    real = list(pairs(folder, groups(folder)))
    rows = list(measured("DeepPCB", detector, real, chosen.boards)) if real else []
    drawn = [drawn_pair(seed, 9) for seed in range(50)]
    rows += measured("drawn", detector, drawn, chosen.boards)
    rows.append(fullest(detector, max(20, chosen.boards // 20)))
    title = f"PCB detector, 640 x 640 pixels, batch 1, one thread, {chosen.boards} boards a row"
    print(f"\n{machine()}{'' if real else f'; no DeepPCB in {folder}'}")
    show(title, rows)
    save(chosen.json, title, machine(), rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
