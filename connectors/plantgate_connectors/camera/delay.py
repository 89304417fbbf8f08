"""How much later than others a picture of a stream has come, by the camera's own count of time."""

from typing import Final

_DRIFT: Final = 0.01
"""Seconds in a second by which two clocks may go apart: more than any do, little beside a network that stands still."""


class Delay:
    """A network that was held up brings old pictures in a burst; what each says of its time tells them from new ones.

    The camera's time is not believed beyond that: only how it goes on from one picture to the next.
    """

    def __init__(self, seconds_max: float) -> None:
        """Nothing is later than `seconds_max`; where it seems so, the camera's count has jumped, and begins anew."""
        self._seconds_max = seconds_max
        self._least: float | None = None
        """Between the camera's count and our clock, for those that came most promptly."""
        self._came = 0.0

    def of(self, came: float, shown: float | None) -> float:
        """Seconds by which this one is late; 0 where it does not say when it is to be shown."""
        if shown is None:
            return 0.0
        between = came - shown
        if self._least is None or not between <= self._least + self._seconds_max:
            self._least = between
        self._least = min(between, self._least + _DRIFT * (came - self._came))
        self._came = came
        return between - self._least
