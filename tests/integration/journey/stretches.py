"""The stretches that gap records name, against what is missing of a tag where nothing can be fetched later."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

SLOW: Final = "polled slower than asked"
"""Polls were left out one by one: what the others found has arrived."""


@dataclass(slots=True)
class Faults:
    """Rows that no record explains, or that contradict one; and why, in words."""

    rows: int = 0
    reasons: list[str] = field(default_factory=list)

    def found(self, rows: int, reason: str) -> None:
        """Add some; none is no fault."""
        if rows:
            self.rows += rows
            self.reasons.append(f"{rows} {reason}")


def unexplained(
    tag: str, sent: Sequence[str], arrived: Collection[str], gaps: Sequence[dict[str, Any]], *, stale_rows: int
) -> Faults:
    """Every row that is missing lies in a stretch that was named; and no stretch claims what is not so.

    A count is of polls, and a row stands for at least one: more rows cannot be missing than polls were. Where no poll
    was answered for a while nothing can have arrived; unless the gateway was restarted just before, and knew the time
    of the last value only as it had been a little earlier.
    """
    faults = Faults()
    missing = set(sent) - set(arrived)
    ours = [gap for gap in gaps if tag in gap["tags"] and gap["lost"] != 0 and not _without_time(gap)]
    restarts = [_ends(gap) for gap in ours if gap["lost"] is None]
    records = [(gap, set(stretch(gap, sent)) & missing) for gap in ours]
    named = Counter(time for _, rows in records for time in rows)
    bare = missing - named.keys()
    faults.found(len(bare), f"outside of every gap record, the first at {min(bare, default='')}")
    for gap, rows in records:
        told = f"{gap['cause']}, {gap['since']} to {gap['until']}, lost {gap['lost']}"
        if gap["lost"] is not None:
            polls = gap["lost"] // len(gap["tags"])
            alone = sum(named[time] == 1 for time in rows)
            faults.found(max(0, alone - polls), f"more than the polls that were missed: {told}")
        if gap["cause"] != SLOW:
            came = sum(time in arrived for time in stretch(gap, sent, inner=True))
            known = stale_rows if _ends(gap) in restarts else 0
            faults.found(came if came > known else 0, f"arrived inside a stretch that is said to be lost: {told}")
    return faults


def _without_time(gap: dict[str, Any]) -> bool:
    """From before the device's clock ran: says nothing of any row."""
    return gap["since"] is None and gap["until"] is None


def _ends(gap: dict[str, Any]) -> tuple[object, object]:
    return gap["since"], gap["until"]


def stretch(gap: dict[str, Any], sent: Sequence[str], *, inner: bool = False) -> Sequence[str]:
    """The rows after `since` and up to `until`: with `inner`, up to the one before it, which ended the gap."""
    since, until = whole(gap["since"]), whole(gap["until"])
    first = bisect_right(sent, since) if since is not None else 0
    if until is None:
        return sent[first:]
    return sent[first : bisect_left(sent, until) if inner else bisect_right(sent, until)]


def whole(time: object) -> str | None:
    """A time as the file has it, without a fraction of zeros."""
    if not isinstance(time, str):
        return None
    seconds, dot, fraction = time.removesuffix("Z").partition(".")
    return f"{seconds}Z" if not dot or not fraction.strip("0") else time
