"""What was sent against what arrived; the judge knows the file and the messages, and nothing of the gateway."""

import csv
from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.integration.journey.stretches import Faults, stretch, unexplained, whole


@dataclass(frozen=True, slots=True)
class Rows:
    """What was sent: column names, and per row its time as RFC 3339 text in UTC and the columns' values."""

    names: list[str]
    sent: list[tuple[str, list[float]]]


@dataclass(slots=True)
class Arrived:
    """What is at the end: samples as the mqtt connector words them, in order of arrival, and gap records, each once."""

    samples: list[dict[str, Any]]
    """``{"origin", "position", "samples": [{"tag", "value", "code", "time"}, …]}``."""
    gaps: list[dict[str, Any]]
    remarks: list[str] = field(default_factory=list)
    """What a careful reader of the protocol would object to; for people."""


def rows_of(file: Path, count: int | None, *, scale: int | None = None) -> Rows:
    """The first rows of a file; with a scale, as registers hold them: whole multiples of its inverse."""
    with file.open(newline="") as lines:
        reader = csv.reader(lines)
        names = next(reader)[1:]
        rows: list[tuple[str, list[float]]] = []
        for line in reader:
            if count is not None and len(rows) == count:
                break
            moment = datetime.strptime(f"{line[0]}+0000", "%Y-%m-%d %H:%M:%S%z")
            values = [float(cell) if scale is None else round(float(cell) * scale) / scale for cell in line[1:]]
            rows.append((moment.strftime("%Y-%m-%dT%H:%M:%SZ"), values))
    return Rows(names, rows)


@dataclass(frozen=True, slots=True)
class Promise:
    """What origin and end promise together, and are held to."""

    fetched: bool = True
    """What was missed can be fetched later, so that every row must arrive. If not, polls are counted, and each row that
    nobody polled must lie in a stretch that a gap record names."""
    once: bool = False
    """A number is at the end once, whatever was pulled."""
    anew: bool = True
    """A sample may come again under another number: a poll finds nothing new, and a SIGKILL can keep from being told
    that it was taken."""
    stale_rows: int = 0
    """Not fetched: how many rows may have arrived after the time that a restarted gateway takes for the last."""


@dataclass(slots=True)
class Verdict:
    """The closing line of a journey, and what stands behind it."""

    rows: int
    delivered: int = 0
    """Rows of which every value arrived with value, quality and source time equal."""
    lost: int = 0
    """Samples accepted by the gateway (numbered by its outbox) that neither arrived nor are named in a gap."""
    out_of_order: int = 0
    """First arrivals that came after a later sample of their tag."""
    unexplained: int = 0
    """Samples that are missing without a gap record that matches, that arrived and were never sent, or that came more
    often than promised."""
    repeats: int = 0
    """Samples that came more than once with the same number: allowed, and dropped by their number."""
    again: int = 0
    """Samples that came under another number with a time that had come already: a poll that found nothing new, or a
    batch whose acceptance a SIGKILL kept from being told."""
    gaps: list[str] = field(default_factory=list)
    surprises: list[str] = field(default_factory=list)
    """What was unexplained, the first few."""

    @property
    def fine(self) -> bool:
        """The exit code is 0 only then."""
        return not (self.lost or self.out_of_order or self.unexplained) and self.rows > 0

    def __str__(self) -> str:
        return (
            f"journey: rows {self.rows}, delivered {self.delivered}, lost {self.lost}, "
            f"out of order {self.out_of_order}, unexplained {self.unexplained}"
        )


@dataclass(slots=True)
class _Tag:
    sent: dict[str, float]
    arrived: dict[str, float] = field(default_factory=dict)
    latest: str = ""
    named_lost: int = 0


def judge(rows: Rows, prefix: str, arrived: Arrived, promise: Promise) -> Verdict:
    """Compare what was sent with what arrived; knows nothing of the gateway."""
    verdict = Verdict(rows=len(rows.sent))
    tags = {
        f"{prefix}{name}": _Tag({time: values[at] for time, values in rows.sent}) for at, name in enumerate(rows.names)
    }
    numbered: dict[str, list[tuple[int, int]]] = {}
    for message in arrived.samples:
        _take(message, tags, numbered, verdict, promise)
    dropped = 0
    for gap in arrived.gaps:
        verdict.gaps.append(
            f"{gap['cause']}: {len(gap['tags'])} tags, lost {gap['lost']}, recovered {gap['recovered']}"
        )
        if gap["cause"].startswith("outbox") and promise.fetched:
            dropped += gap["lost"] or 0
        if promise.fetched:
            _name_lost(gap, tags)
    holes = sum(_holes(spans) for spans in numbered.values())
    verdict.lost = max(0, holes - dropped)
    for name, tag in tags.items():
        missing = tag.sent.keys() - tag.arrived.keys()
        if not promise.fetched:
            stale = promise.stale_rows
            faults = unexplained(name, list(tag.sent), tag.arrived.keys(), arrived.gaps, stale_rows=stale)
        elif wrong := abs(len(missing) - tag.named_lost):
            first = min(missing, default="none")
            faults = Faults(wrong, [f"{len(missing)} missing, {tag.named_lost} named in gap records; first {first}"])
        else:
            faults = Faults()
        verdict.unexplained += faults.rows
        verdict.surprises += [f"{name}: {reason}" for reason in faults.reasons]
    every = list(tags.values())
    verdict.delivered = sum(all(time in tag.arrived for tag in every) for time, _ in rows.sent)
    return verdict


def _take(
    message: dict[str, Any],
    tags: dict[str, _Tag],
    numbered: dict[str, list[tuple[int, int]]],
    verdict: Verdict,
    promise: Promise,
) -> None:
    origin, position, samples = message["origin"], message["position"], message["samples"]
    assert isinstance(origin, str)
    assert isinstance(position, int)
    seen = numbered.setdefault(origin, [])
    for at, sample in enumerate(samples):
        if _contains(seen, position + at):
            verdict.repeats += 1
            if promise.once:
                verdict.unexplained += 1
                verdict.surprises.append(f"there twice: number {position + at} of {origin}, {sample}")
            continue
        tag, time, value = tags.get(sample["tag"]), whole(sample["time"]), sample["value"]
        if tag is None or time not in tag.sent:
            if sample["code"] >> 30 == 0 and time is not None and tag is not None and time >= next(iter(tag.sent)):
                verdict.unexplained += 1
                verdict.surprises.append(f"never sent: {sample}")
            continue  # what the variable held before the replay began
        if sample["code"] != 0 or value != tag.sent[time]:
            verdict.unexplained += 1
            verdict.surprises.append(f"changed on the way: {sample}, sent {tag.sent[time]}")
            continue
        if time in tag.arrived:
            verdict.again += 1
            if not promise.anew:
                verdict.unexplained += 1
                verdict.surprises.append(f"again under another number, {position + at} of {origin}: {sample}")
            continue
        if time < tag.latest:
            verdict.out_of_order += 1
            verdict.surprises.append(f"out of order: {sample['tag']} {time} after {tag.latest}")
        tag.latest = max(tag.latest, time)
        tag.arrived[time] = value
    _add(seen, position, position + len(samples))


def _name_lost(gap: dict[str, Any], tags: dict[str, _Tag]) -> None:
    """Charge a gap's losses to its tags: evenly, as every tag of a row is set at once."""
    concerned, lost = gap["tags"], gap["lost"]
    assert isinstance(concerned, list)
    ours = [tags[name] for name in concerned if name in tags]
    if not ours:
        return
    if isinstance(lost, int):
        for tag in ours:
            tag.named_lost += lost // len(ours)
        return
    for tag in ours:
        inside = stretch(gap, list(tag.sent))
        tag.named_lost += sum(time not in tag.arrived for time in inside)


def _contains(spans: list[tuple[int, int]], number: int) -> bool:
    at = bisect_right(spans, (number, 1 << 62)) - 1
    return at >= 0 and spans[at][0] <= number < spans[at][1]


def _add(spans: list[tuple[int, int]], begin: int, end: int) -> None:
    """Merge a span into the sorted, disjoint ones; nearly always it extends the last."""
    if spans and spans[-1][1] == begin:
        spans[-1] = (spans[-1][0], end)
        return
    spans.append((begin, end))
    spans.sort()
    merged = [spans[0]]
    for start, stop in spans[1:]:
        if start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
        else:
            merged.append((start, stop))
    spans[:] = merged


def _holes(spans: list[tuple[int, int]]) -> int:
    """Numbers missing between 0 and the last that arrived."""
    if not spans:
        return 0
    return spans[0][0] + sum(after[0] - before[1] for before, after in pairwise(spans))
