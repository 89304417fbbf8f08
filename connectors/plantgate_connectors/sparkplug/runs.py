"""Data messages, read quickly: metrics of the usual kind become columns dozens at a time.

What is laid out as it was before is read at once (`layouts`), the other metrics of the usual kind are taken apart
together (`usual`), and whatever is left is read field by field (`reading`). Tests hold the three against each other.
"""

from dataclasses import dataclass, field

from plantgate_connectors.sparkplug.layouts import Block, Layouts
from plantgate_connectors.sparkplug.reading import METRICS_MAX, Reading, read_metric
from plantgate_connectors.sparkplug.usual import ALIAS_KEY, TOGETHER, Run, read_usual
from plantgate_connectors.sparkplug.wire import LENGTH, VARINT, Malformed, read_key, read_length, read_varint, skip


@dataclass(slots=True)
class Data:
    """A data message."""

    time: int | None = None
    seq: int | None = None
    parts: list[Block | Run | Reading] = field(default_factory=list)


def read_data(body: bytes, layouts: Layouts | None = None) -> Data:
    """The message in these bytes. Raises `Malformed`. `layouts` are those of earlier messages of its edge node."""
    found = Data()
    at, end, count = 0, len(body), 0
    most = TOGETHER  # fewer where many were taken apart in vain: a message must not cost more than it is long
    while at < end:
        if body[at] == 0x12:
            begin = at
            part, at = _metrics(body, begin, end, layouts, most)
            found.parts.append(part)
            if isinstance(part, Reading):
                count += 1
                if body[begin + 2 : begin + 3] == ALIAS_KEY:
                    most = 1
            else:
                count += len(part.stamps)
                most = min(TOGETHER, 4 * len(part.stamps))
            if count > METRICS_MAX:
                raise Malformed(f"more than {METRICS_MAX} metrics")
            continue
        number, kind, at = read_key(body, at, end)
        if number == 3 and kind == VARINT:
            found.seq, at = read_varint(body, at, end)
        elif number == 1 and kind == VARINT:
            found.time, at = read_varint(body, at, end)
        elif number == 2 and kind == LENGTH:  # its key written at greater length than need be
            start, at = read_length(body, at, end)
            found.parts.append(read_metric(body, start, at))
            count += 1
        else:
            at = skip(body, at, end, kind)
    return found


def _metrics(body: bytes, at: int, end: int, layouts: Layouts | None, most: int) -> tuple[Block | Run | Reading, int]:
    """Some metrics, one at least, and where they end; `most` of them are taken apart together."""
    block = None if layouts is None else layouts.find(body, at, end)
    if block is not None:
        return block, block.stop
    run = read_usual(body, at, end, most)
    if run is not None:
        if layouts is not None:
            layouts.saw(body, run)
        return run, run.stop
    start, stop = read_length(body, at + 1, end)
    return read_metric(body, start, stop), stop


def read_again(body: bytes, run: Block | Run) -> list[Reading]:
    """The metrics of a run or a block, one by one."""
    found = []
    at = run.start
    while at < run.stop:
        start, at = read_length(body, at + 1, run.stop)
        found.append(read_metric(body, start, at))
    return found
