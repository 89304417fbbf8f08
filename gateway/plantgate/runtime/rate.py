"""How fast a counter grows, over the last seconds."""

from collections import deque

WINDOW_SECONDS = 5.0


class Rate:
    """Fed with a counter's value whenever somebody looks; several lookers do not disturb each other."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int]] = deque()

    def seen(self, count: int, now: float) -> float:
        """Growth a second up to `now` (monotonic seconds) over at most `WINDOW_SECONDS`; 0 at the first look."""
        points = self._points
        if not points or now - points[-1][0] >= 0.2:
            points.append((now, count))
        while len(points) > 2 and now - points[1][0] >= WINDOW_SECONDS:
            points.popleft()
        began, first = points[0]
        return (count - first) / (now - began) if now > began else 0.0
