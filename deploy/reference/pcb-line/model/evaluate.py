"""Measures the detector as DeepPCB does, with the code that the gateway runs: held-out groups, or drawn boards.

Usage: python evaluate.py --data DEEPPCB_FOLDER [--groups GROUP ...] [--model detector.onnx]
       python evaluate.py --drawn 100
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pcb_line.deeppcb import HELD_OUT, pairs
from pcb_line.detect import CONFIDENCE_MIN, MODEL, Detector, overlap
from pcb_line.draw import drawn_pair
from pcb_line.measure import OVERLAP_MIN, Score
from pcb_line.pair import CLASSES, Pair

EVERY = 0.02
"""Detections from this confidence on are weighed for the sweep and for the average precision."""
SWEEP = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def main() -> int:
    """Measure, show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--data", type=Path, help="folder with images/ of DeepPCB pairs")
    which.add_argument("--drawn", type=int, help="measure so many drawn boards instead")
    parser.add_argument("--groups", nargs="*", default=list(HELD_OUT), help="the held-out ones, if not given")
    parser.add_argument("--model", type=Path, default=MODEL)
    chosen = parser.parse_args()
    if chosen.data is not None:
        boards: Iterable[Pair] = pairs(chosen.data, chosen.groups)
        title = f"DeepPCB, groups {', '.join(chosen.groups)}"
    else:
        boards = (drawn_pair(100_000 + seed, 9) for seed in range(chosen.drawn))
        title = f"{chosen.drawn} drawn boards"
    score, lacking = measured(Detector(chosen.model), boards)
    print(f"{title}: {score.boards} pairs, {sum(score.true.values())} defects, overlap above {OVERLAP_MIN}\n")
    print("| confidence from | precision | recall | F-score |\n|---|---|---|---|")
    for least in SWEEP:
        rates = score.precision(least), score.recall(least), score.f_score(least)
        print(
            f"| {least:g}{' (as shipped)' if least == CONFIDENCE_MIN else ''} |", *(f"{rate:.4f} |" for rate in rates)
        )
    print("\n| class | defects | precision | recall | F-score | average precision |\n|---|---|---|---|---|---|")
    for kind in CLASSES:
        shares = [rate(CONFIDENCE_MIN, kind) for rate in (score.precision, score.recall, score.f_score)]
        shares.append(score.average_precision(kind))
        print(f"| {kind} | {score.true[kind]} |", *(f"{share:.3f} |" for share in shares))
    present = [kind for kind in CLASSES if score.true[kind]]
    print(f"\nmean average precision {sum(map(score.average_precision, present)) / max(1, len(present)):.4f}")
    for reason, count in lacking.most_common():
        print(f"not found: {count} x {reason}")
    return 0


def measured(detector: Detector, boards: Iterable[Pair]) -> tuple[Score, Counter[str]]:
    """The score, and why true defects were not found at the confidence as shipped."""
    score, lacking = Score(), Counter[str]()
    for pair in boards:
        found = detector.detect(pair.board, pair.template, EVERY)
        verdicts = score.add(found, pair.truth)
        right = {
            verdict
            for defect, verdict in zip(found, verdicts, strict=True)
            if verdict is not None and defect.confidence >= CONFIDENCE_MIN
        }
        for at, truth in enumerate(pair.truth):
            if at in right:
                continue
            on = [defect for defect in found if overlap(defect.box, truth.box) > OVERLAP_MIN]
            if any(defect.kind == truth.kind for defect in on):
                lacking["too unsure"] += 1
            elif on:
                lacking[f"{truth.kind} called {on[0].kind}"] += 1
            elif any(overlap(defect.box, truth.box) > 0 for defect in found):
                lacking["the box is off"] += 1
            else:
                lacking["no place there"] += 1
    return score, lacking


if __name__ == "__main__":
    sys.exit(main())
