"""Measures detections as DeepPCB does: right if a true box of the same class is overlapped by more than 0.33."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pcb_line.detect import Defect, overlap
from pcb_line.pair import CLASSES, Truth

OVERLAP_MIN = 0.33


@dataclass(slots=True)
class Score:
    """Counts over any number of boards, with the confidence and verdict of each detection."""

    true: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CLASSES, 0))
    """True defects by class."""
    boards: int = 0
    said: list[tuple[float, str, bool]] = field(default_factory=list)
    """Each detection: confidence, class, right or wrong."""

    def add(self, found: Sequence[Defect], truth: Sequence[Truth]) -> list[int | None]:
        """Count one board; says for each detection, surest first, which true defect it is, if any.

        A true defect is found once: a second detection of it is wrong.
        """
        self.boards += 1
        for one in truth:
            self.true[one.kind] += 1
        free = set(range(len(truth)))
        verdicts: list[int | None] = []
        for defect in sorted(found, key=lambda defect: -defect.confidence):
            fits = {at: overlap(defect.box, truth[at].box) for at in free if truth[at].kind == defect.kind}
            best = max(fits, key=lambda at: fits[at], default=None)
            if best is not None and fits[best] > OVERLAP_MIN:
                free.remove(best)
            else:
                best = None
            verdicts.append(best)
            self.said.append((defect.confidence, defect.kind, best is not None))
        return verdicts

    def precision(self, confidence_min: float = 0.0, kind: str | None = None) -> float:
        """Share of the detections that are right."""
        said = [right for sure, what, right in self.said if sure >= confidence_min and kind in (None, what)]
        return sum(said) / len(said) if said else 0.0

    def recall(self, confidence_min: float = 0.0, kind: str | None = None) -> float:
        """Share of the true defects that were found."""
        right = sum(right for sure, what, right in self.said if sure >= confidence_min and kind in (None, what))
        true = sum(self.true.values()) if kind is None else self.true[kind]
        return right / true if true else 0.0

    def f_score(self, confidence_min: float = 0.0, kind: str | None = None) -> float:
        """2PR / (P + R)."""
        precision, recall = self.precision(confidence_min, kind), self.recall(confidence_min, kind)
        return 2 * precision * recall / (precision + recall) if precision + recall else 0.0

    def average_precision(self, kind: str) -> float:
        """Area below precision over recall, precision made monotone; detections of every confidence must be in."""
        said = sorted((entry for entry in self.said if entry[1] == kind), key=lambda entry: -entry[0])
        right = np.cumsum([entry[2] for entry in said])
        if not len(right) or not self.true[kind]:
            return 0.0
        precision = np.maximum.accumulate((right / np.arange(1, len(right) + 1))[::-1])[::-1]
        recall = right / self.true[kind]
        return float(np.sum(np.diff(recall, prepend=0.0) * precision))
