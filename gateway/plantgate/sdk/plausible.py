"""Can a device's clock be right? A clock that is off is a quality problem, never a reason to change a time."""

from typing import Final

from plantgate.sdk.quality import GOOD, UNCERTAIN, severity

AHEAD_MOST_NS: Final = 3600 * 1_000_000_000
"""A source time over an hour ahead of the gateway cannot be right; one in the past can: late, or replayed."""


def doubt_clock(times: list[int | None], qualities: list[int], now: int) -> int:
    """Turn good into `UNCERTAIN` where the source time lies ahead of `now` (ns UTC); returns how many it turned.

    Works on the columns in place. Costs one comparison a batch when all is well.
    """
    limit = now + AHEAD_MOST_NS
    if not times or max(time or 0 for time in times) <= limit:
        return 0
    turned = 0
    for index, time in enumerate(times):
        if time is not None and time > limit and severity(qualities[index]) == GOOD:
            qualities[index] = UNCERTAIN
            turned += 1
    return turned
